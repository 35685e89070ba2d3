"""The one range in which a data set's greys of more than 8 bits are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headstart.data.dataset import Dataset
from headstart.data.greyscale import GreyRange, combined_range, is_high_bit_depth
from headstart.data.pictures import Picture, pictures

KEY = "model.preprocessing.grey_range"
Named = tuple[str, GreyRange | None]  # an image and its own range
OWN_SCALE = (
    "Whole numbers are shown from 0 to 65535 (up to 255 as they are), floats each by its own range"
)
DIM = 64  # of 255; pictures none of which is brighter are nearly black
LITTLE = 0.01  # share of the range; an image that spans less of it shows next to nothing


def with_grey_range(dataset: Dataset, asked: GreyRange | None) -> Dataset:
    """An image data set with the range asked for, or that of its training images, and notes on it.

    A data set without greys of more than 8 bits has none unless it is asked for.
    """
    seen = {role: pictures(part.items, part.digests) for role, part in dataset.parts().items()}
    deep = {
        role: [
            (name, own.grey_range)
            for name, own in zip(dataset.parts()[role].names, some, strict=True)
            if is_high_bit_depth(own.mode)
        ]
        for role, some in seen.items()
    }
    measured = combined_range(own for _, own in deep["train"])
    used = asked or measured
    dataset = replace(dataset, grey_range=used).with_notes(*_range_note(measured, asked))
    everything = [named for some in deep.values() for named in some]
    about = [role for role, some in deep.items() if some]
    notes = [
        *_mix_note(everything, sum(map(len, seen.values())), used),
        *_dark_note(everything, used),
    ]
    notes += _dim_note([own for own in seen["train"] if not is_high_bit_depth(own.mode)])
    return dataset.with_notes(*notes, parts=about)


def unscaled_note(name: str) -> str:
    """A sentence on greys of more than 8 bits that a model reads, though it has no range for
    them."""
    return (
        f"images such as {name} are greys of more than 8 bits, and this model was trained "
        f"without a range for them. {OWN_SCALE}. Give it images as in training, or train it with "
        f"{KEY}"
    )


def _range_note(measured: GreyRange | None, asked: GreyRange | None) -> list[str]:
    if asked is None:
        if measured is None:
            return []
        return [
            f"greys of more than 8 bits: values {_words(measured)} of the training images are "
            f"shown as black to white ({KEY})"
        ]
    found = (
        f"those of the training images are {_words(measured)}"
        if measured
        else "no training image has any"
    )
    return [
        f"greys of more than 8 bits: {KEY} shows values {_words(asked)} as black to white; {found}"
    ]


def _mix_note(deep: list[Named], count: int, used: GreyRange | None) -> list[str]:
    if len(deep) in (0, count):
        return []
    own = combined_range(values for _, values in deep)
    shown = (
        f"Values {_words(used)} of them are shown as black to white ({KEY})" if used else OWN_SCALE
    )
    way_out = (
        f"; to show theirs, write {KEY} = [{own[0]:g}, {own[1]:g}]" if own and not used else ""
    )
    return [
        f"{len(deep)} of {count} images are greys of more than 8 bits (such as {deep[0][0]}); "
        "the others are read on their own scale of 0 to 255. Are they of one source? "
        f"{shown}{way_out}"
    ]


def _dim_note(shallow: Sequence[Picture]) -> list[str]:
    """Colours of 12 bits in files of 16, of which Pillow reads the upper 8."""
    brightest = max((picture.brightest for picture in shallow), default=DIM)
    if brightest >= DIM:
        return []
    return [
        f"the training images are dark: their brightest value is {brightest} of 255. Are they 12 "
        "bits in files of 16, of which the upper 8 are read? Stretch them to the full range first"
    ]


def _dark_note(deep: list[Named], used: GreyRange | None) -> list[str]:
    """Images in which the range shows next to nothing, though they hold something."""
    if used is None:
        return []
    least = LITTLE * (used[1] - used[0])
    dark = [
        (name, own)
        for name, own in deep
        if own is not None
        and own[0] < own[1]
        and min(own[1], used[1]) - max(own[0], used[0]) < least
    ]
    if not dark:
        return []
    name, own = dark[0]
    return [
        f"{len(dark)} of {len(deep)} greys of more than 8 bits span less than a hundredth of "
        f"that range, so next to nothing of them is shown (such as {name}: {_words(own)}). Are "
        f"they in another unit, or does an odd image set the range? Mend them, or set {KEY}"
    ]


def _words(values: GreyRange) -> str:
    return f"{values[0]:g} to {values[1]:g}"
