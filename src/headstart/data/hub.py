"""Data sets of the Hugging Face hub, as tables in the cache."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from headstart.data.cache import cache_folder, make_once
from headstart.errors import HeadstartError, first_line


def hub_tables(name: str) -> Path:
    """The folder of the data set `org/name` or `org/name/configuration`: a Parquet table for each of its splits.

    Label numbers become their names; a label of -1, the hub's sign for a withheld one, becomes a missing one. The data come
    through `datasets`, which keeps what it has fetched.

    Raises:
        HeadstartError: it cannot be had.
    """
    import datasets

    where, configuration = _parted(name)
    for log in ("datasets", "huggingface_hub"):
        logging.getLogger(log).setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        found: Any = datasets.load_dataset(where, configuration)
    except Exception as error:  # the hub client's errors are many, and none of them tells our user what to do
        raise HeadstartError(
            f"data.source: hub:{name} could not be had from the hub ({type(error).__name__}: {first_line(error)}). Expected "
            "hub:org/name or hub:org/name/configuration of a data set made of plain tables; without a network give a local "
            "table instead"
        ) from None
    state = "-".join(split._fingerprint for split in found.values())
    folder = cache_folder() / "data" / hashlib.sha256(f"{name} {state}".encode()).hexdigest()

    def fill(draft: Path) -> None:
        for role, split in found.items():
            named = {
                key: feature for key, feature in split.features.items() if isinstance(feature, datasets.ClassLabel)
            }
            for key, feature in named.items():
                features = datasets.Features({**split.features, key: datasets.Value("string")})
                split = split.cast_column(key, datasets.Value("int64"))
                split = split.map(
                    lambda values, key=key, feature=feature: {key: [_label(value, feature) for value in values]},
                    input_columns=[key], batched=True, features=features, load_from_cache_file=False,
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
