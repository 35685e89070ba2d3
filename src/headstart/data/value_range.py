"""The one range in which a data set's greys of more than 8 bits are shown."""

from __future__ import annotations

from dataclasses import replace

from headstart.data.dataset import Dataset, joined
from headstart.data.grey import GreyRange, common_range, is_deep
from headstart.data.pictures import pictures

KEY = "model.preprocessing.grey_range"
Named = tuple[str, GreyRange | None]  # an image and its own range
LITTLE = 0.01  # share of the range; an image that spans less of it shows next to nothing


def with_grey_range(dataset: Dataset, asked: GreyRange | None) -> Dataset:
    """An image data set with the range asked for, or that of its training images, and notes on it.

    A data set without greys of more than 8 bits has none unless it is asked for.
    """
    everything = joined(dataset.parts().values())  # training comes first
    seen = pictures(everything.items, everything.digests)
    deep = [(name, own.grey_range) for name, own in zip(everything.names, seen, strict=True) if is_deep(own.mode)]
    measured = common_range(picture.grey_range for picture in seen[: len(dataset.train)])
    used = asked or measured
    notes = [*_range_note(measured, asked), *_mix_note(deep, len(everything)), *_dark_note(deep, used)]
    return replace(dataset, grey_range=used).noting(*notes)


def _range_note(measured: GreyRange | None, asked: GreyRange | None) -> list[str]:
    if asked is None:
        if measured is None:
            return []
        return [
            f"greys of more than 8 bits: values {_words(measured)} of the training images are shown as black to white ({KEY})"
        ]
    found = f"those of the training images are {_words(measured)}" if measured else "no training image has any"
    return [f"greys of more than 8 bits: {KEY} shows values {_words(asked)} as black to white; {found}"]


def _mix_note(deep: list[Named], count: int) -> list[str]:
    if len(deep) in (0, count):
        return []
    return [
        f"{len(deep)} of {count} images are greys of more than 8 bits (such as {deep[0][0]}); the others are read on their own "
        "scale of 0 to 255. Are they of one source?"
    ]


def _dark_note(deep: list[Named], used: GreyRange | None) -> list[str]:
    """Images in which the range shows next to nothing, though they hold something."""
    if used is None:
        return []
    least = LITTLE * (used[1] - used[0])
    dark = [
        (name, own)
        for name, own in deep
        if own is not None and own[0] < own[1] and min(own[1], used[1]) - max(own[0], used[0]) < least
    ]
    if not dark:
        return []
    name, own = dark[0]
    return [
        f"{len(dark)} of {len(deep)} greys of more than 8 bits span less than a hundredth of that range, so next to nothing of "
        f"them is shown (such as {name}: {_words(own)}). Are they in another unit, or does an odd image set the range? Mend "
        f"them, or set {KEY}"
    ]


def _words(values: GreyRange) -> str:
    return f"{values[0]:g} to {values[1]:g}"
