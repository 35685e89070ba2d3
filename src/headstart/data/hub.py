"""The Hugging Face hub: asked in one way for everything, and its data sets as tables in the
cache."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub.constants

from headstart.data.cache import cache_folder, make_once
from headstart.errors import HeadstartError, first_line, needs_extra
from headstart.runtime.private import content_id


@contextmanager
def hub() -> Iterator[bool]:
    """While it lasts the hub client keeps quiet, and where the hub's name does not resolve it uses
    its cache only.

    Left alone it tries again for most of a minute before it gives up on a machine without a
    network. The value is whether there is a hub to ask.
    """
    constants = huggingface_hub.constants
    log = logging.getLogger("huggingface_hub")
    before = (constants.HF_HUB_OFFLINE, log.level)
    log.setLevel(logging.ERROR)
    host = constants.ENDPOINT.partition("://")[2].partition("/")[0].partition(":")[0]
    proxied = any(
        os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    )
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

    where, configuration = _parted(name)
    logging.getLogger("datasets").setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        with hub():
            found: Any = datasets.load_dataset(where, configuration)
    # the hub client's errors are many, and none of them tells our user what to do
    except Exception as error:
        raise HeadstartError(
            f"data.source: hub:{name} could not be had from the hub ({type(error).__name__}: "
            f"{first_line(error)}). Expected hub:org/name or hub:org/name/configuration of a "
            "data set made of plain tables; without a network give a local table instead"
        ) from None
    state = "-".join(content_id(split) for split in found.values())
    folder = cache_folder() / "data" / hashlib.sha256(f"{name} {state}".encode()).hexdigest()

    def fill(draft: Path) -> None:
        for role, split in found.items():
            named = {
                key: feature
                for key, feature in split.features.items()
                if isinstance(feature, datasets.ClassLabel)
            }
            for key, feature in named.items():
                features = datasets.Features({**split.features, key: datasets.Value("string")})
                split = split.cast_column(key, datasets.Value("int64"))
                split = split.map(
                    lambda values, key=key, feature=feature: {key: [_label(value,
                    feature) for value in values]},
                    input_columns=[key], batched=True, features=features,
                    load_from_cache_file=False,
                )  # fmt: skip
            split.to_parquet(draft / f"{role}.parquet")

    return make_once(folder, fill)


def _parted(name: str) -> tuple[str, str | None]:
    if Path(name).is_dir():
        return name, None
    parts = name.split("/")
    return ("/".join(parts[:2]), "/".join(parts[2:]) or None)


def _label(value: int | None, feature: Any) -> str | None:
    return None if value is None or value < 0 else feature.int2str(value)
