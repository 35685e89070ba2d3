"""The one range in which a data set's greys of more than 8 bits are shown."""

from __future__ import annotations

from dataclasses import replace

from headstart.data.dataset import Dataset, Examples, joined
from headstart.data.grey import GreyRange, common_range, is_deep
from headstart.data.pictures import Picture, pictures

KEY = "model.preprocessing.grey_range"


def with_grey_range(dataset: Dataset, asked: GreyRange | None) -> Dataset:
    """An image data set with the range asked for, or that of its training images, and notes on it.

    A data set without greys of more than 8 bits has none unless it is asked for.
    """
    train = [seen for seen in _pictures(dataset.train) if is_deep(seen.mode)]
    measured = common_range(seen.grey_range for seen in train)
    return replace(dataset, grey_range=asked or measured).noting(*_range_note(measured, asked), *_mix_note(dataset))


def _pictures(examples: Examples) -> list[Picture]:
    return pictures(examples.items, examples.digests)


def _range_note(measured: GreyRange | None, asked: GreyRange | None) -> list[str]:
    if asked is None:
        if measured is None:
            return []
        return [
            f"greys of more than 8 bits: values {_words(measured)} of the training images are shown as black to white ({KEY})"
        ]
    found = f"those of the training images are {_words(measured)}" if measured else "no training image has any"
    return [f"greys of more than 8 bits: {KEY} shows values {_words(asked)} as black to white; {found}"]


def _mix_note(dataset: Dataset) -> list[str]:
    everything = joined(dataset.parts().values())
    deep = [row for row, seen in enumerate(_pictures(everything)) if is_deep(seen.mode)]
    if len(deep) in (0, len(everything)):
        return []
    return [
        f"{len(deep)} of {len(everything)} images are greys of more than 8 bits (such as {everything.names[deep[0]]}); the "
        "others are read on their own scale of 0 to 255. Are they of one source?"
    ]


def _words(values: GreyRange) -> str:
    return f"{values[0]:g} to {values[1]:g}"
