"""The one range of values in which the high bit depth images of a data set are shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from headstart.data.dataset import Dataset
from headstart.data.greyscale import GreyRange, combined_range, is_high_bit_depth
from headstart.data.pictures import Picture, pictures

KEY = "model.preprocessing.grey_range"
NamedRange = tuple[str, GreyRange | None]  # an image and its own range
DEFAULT_SCALE = (
    "Whole numbers are shown from 0 to 65535 (up to 255 as they are), floats each by its own range"
)
DIM = 64  # of 255; brightest value below which images are nearly black
MIN_SPAN = 0.01  # share of the range; an image that spans less of it shows next to nothing


def with_grey_range(dataset: Dataset, requested: GreyRange | None) -> Dataset:
    """An image data set with the requested grey range, or that of its training images, and notes.

    A data set without high bit depth images has no range unless one is requested.
    """
    pictures_of = {
        role: pictures(part.items, part.digests) for role, part in dataset.parts().items()
    }
    by_role = {
        role: [
            (name, picture.grey_range)
            for name, picture in zip(dataset.parts()[role].names, in_part, strict=True)
            if is_high_bit_depth(picture.mode)
        ]
        for role, in_part in pictures_of.items()
    }
    measured = combined_range(values for _, values in by_role["train"])
    grey_range = requested or measured
    dataset = replace(dataset, grey_range=grey_range).with_notes(*_range_note(measured, requested))
    images = [image for in_part in by_role.values() for image in in_part]
    notes = [
        *_mixed_note(images, sum(map(len, pictures_of.values())), grey_range),
        *_low_contrast_note(images, grey_range),
        *_dim_note([image for image in pictures_of["train"] if not is_high_bit_depth(image.mode)]),
    ]
    return dataset.with_notes(*notes, parts=[role for role, in_part in by_role.items() if in_part])


def no_range_note(name: str) -> str:
    """A note on high bit depth images for a model that was trained without a range."""
    return (
        f"images such as {name} are greys of more than 8 bits, and this model was trained "
        f"without a range for them. {DEFAULT_SCALE}. Give it images as in training, or train it "
        f"with {KEY}"
    )


def _range_note(measured: GreyRange | None, requested: GreyRange | None) -> Iterator[str]:
    prefix = "greys of more than 8 bits:"
    if requested:
        training = "no training image has any"
        if measured:
            training = f"those of the training images are {_interval(measured)}"
        yield f"{prefix} {KEY} shows values {_interval(requested)} as black to white; {training}"
    elif measured:
        yield (
            f"{prefix} values {_interval(measured)} of the training images are shown as black to "
            f"white ({KEY})"
        )


def _mixed_note(
    images: list[NamedRange], count: int, grey_range: GreyRange | None
) -> Iterator[str]:
    """High bit depth images (`images`) beside others, `count` in all."""
    if len(images) in (0, count):
        return
    own = combined_range(values for _, values in images)
    shown = DEFAULT_SCALE
    if grey_range:
        shown = f"Values {_interval(grey_range)} of them are shown as black to white ({KEY})"
    elif own:
        shown += f"; to show theirs, write {KEY} = [{own[0]:g}, {own[1]:g}]"
    yield (
        f"{len(images)} of {count} images are greys of more than 8 bits (such as {images[0][0]}); "
        f"the others are read on their own scale of 0 to 255. Are they of one source? {shown}"
    )


def _dim_note(images: Sequence[Picture]) -> Iterator[str]:
    """Colours of 12 bits in files of 16, of which Pillow reads the upper 8."""
    brightest = max((picture.brightest for picture in images), default=DIM)
    if brightest < DIM:
        yield (
            f"the training images are dark: their brightest value is {brightest} of 255. Are they "
            "12 bits in files of 16, of which the upper 8 are read? Stretch them to the full range "
            "first"
        )


def _low_contrast_note(images: list[NamedRange], grey_range: GreyRange | None) -> Iterator[str]:
    """Images with contents, of which the range shows next to nothing."""
    low, high = grey_range or (0.0, 0.0)
    dim = [
        f"{name}: {_interval(own)}"
        for name, own in images
        if own
        and own[0] < own[1]
        and min(own[1], high) - max(own[0], low) < MIN_SPAN * (high - low)
    ]
    if grey_range and dim:
        yield (
            f"{len(dim)} of {len(images)} greys of more than 8 bits span less than a hundredth of "
            f"that range, so next to nothing of them is shown (such as {dim[0]}). Are they in "
            f"another unit, or does an outlier set the range? Correct them, or set {KEY}"
        )


def _interval(values: GreyRange) -> str:
    return f"{values[0]:g} to {values[1]:g}"
