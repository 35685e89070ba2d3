"""The Hugging Face hub: asked in one way for everything, and its data sets as tables in the
cache."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub.constants

from headstart.data.cache import cache_folder, make_once
from headstart.errors import DataError, first_line, needs_extra
from headstart.runtime.private import content_id


@contextmanager
def hub() -> Iterator[bool]:
    """In this context the hub client is quiet, and uses its cache only where the hub's name does
    not resolve, in place of trying for a minute. The value is whether the hub can be asked."""
    constants = huggingface_hub.constants
    log = logging.getLogger("huggingface_hub")
    before = (constants.HF_HUB_OFFLINE, log.level)
    log.setLevel(logging.ERROR)
    host = constants.ENDPOINT.partition("://")[2].partition("/")[0].partition(":")[0]
    proxies = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    proxied = any(map(os.environ.get, proxies))
    if not constants.HF_HUB_OFFLINE and not proxied:
        try:
            socket.getaddrinfo(host, 443)
        except OSError:
            constants.HF_HUB_OFFLINE = True
    try:
        yield not constants.HF_HUB_OFFLINE
    finally:
        constants.HF_HUB_OFFLINE, level = before
        log.setLevel(level)


def hub_tables(name: str) -> Path:
    """The folder of the data set `org/name` or `org/name/configuration`: a Parquet table for each
    of its splits.

    Label numbers become their names; a label of -1, the hub's sign for a withheld one, becomes a
    missing one. The data come through `datasets`, which keeps what it has fetched.

    Raises:
        HeadstartError: it cannot be had.
    """
    with needs_extra("hub", f"data.source: hub:{name}"):
        import datasets

    path, configuration = name, None
    if not Path(name).is_dir():
        parts = name.split("/")
        path, configuration = "/".join(parts[:2]), "/".join(parts[2:])
    logging.getLogger("datasets").setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        with hub():
            splits: Any = datasets.load_dataset(path, configuration or None)
    # the hub client's errors are many, and none of them tells our user what to do
    except Exception as error:
        raise DataError(
            f"data.source: hub:{name} could not be had from the hub ({type(error).__name__}: "
            f"{first_line(error)}). Expected hub:org/name or hub:org/name/configuration of a "
            "data set made of plain tables; without a network give a local table instead"
        ) from None
    state = "-".join(content_id(split) for split in splits.values())
    folder = cache_folder() / "data" / hashlib.sha256(f"{name} {state}".encode()).hexdigest()

    def fill(draft: Path) -> None:
        for role, split in splits.items():
            for key, feature in list(split.features.items()):
                if isinstance(feature, datasets.ClassLabel):
                    features = datasets.Features({**split.features, key: datasets.Value("string")})
                    split = split.cast_column(key, datasets.Value("int64")).map(
                        partial(_label_names, key=key, names=feature.names), input_columns=[key],
                        batched=True, features=features, load_from_cache_file=False,
                    )  # fmt: skip
            split.to_parquet(draft / f"{role}.parquet")

    return make_once(folder, fill)


def _label_names(
    numbers: list[int | None], *, key: str, names: list[str]
) -> dict[str, list[str | None]]:
    return {key: [None if n is None or n < 0 else names[n] for n in numbers]}
