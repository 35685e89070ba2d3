"""Which images show the same picture: re-encoded, resized, mirrored or slightly cropped.

Candidates are found by a perceptual hash, the low frequencies of a thumbnail (Zauner 2010). Each
pair of them is then laid on each other as well as shifting and stretching can, and compared in its
details and colours.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import dctn

from headstart.checks.duplicates import MIRRORED, PICTURE, PIXELS, Duplicates, numbered
from headstart.checks.image_registration import agreement
from headstart.checks.nearest_pairs import like_vectors
from headstart.data.dataset import Examples
from headstart.data.greyscale import combined_range
from headstart.data.images import open_rgb
from headstart.data.pictures import BYTES, COLOUR_SIDE, SIDE, Picture, pictures

GREY, COLOUR = 6, 4  # frequencies a direction
CANDIDATE = 0.8  # cosine of two descriptors
SAME = 0.88  # agreement of two thumbnails from which on it is one picture
MOST = 3  # candidates an image that are laid on it


def like_images(examples: Examples) -> Duplicates:
    """Which images are the same file, have the same pixels, or show the same picture."""
    digests = np.fromiter(examples.digests, "S32", len(examples))
    content, first = numbered(digests)
    items = [examples.items[row] for row in first]
    seen = pictures(items, [examples.digests[row] for row in first])
    thumbnails = np.frombuffer(b"".join(picture.thumbnail for picture in seen), np.uint8).reshape(
        -1, BYTES
    )
    pairs, mirrored = same_pictures(thumbnails)
    how = []
    for (one, other), turned in zip(pairs.tolist(), mirrored.tolist(), strict=True):
        equal = (seen[one].width, seen[one].height) == (seen[other].width, seen[other].height)
        same = (
            equal
            and not turned
            and _same_pixels([items[one], items[other]], [seen[one], seen[other]])
        )
        how.append(PIXELS if same else MIRRORED if turned else PICTURE)
    return Duplicates(content, pairs, np.array(how, np.uint8))


def _same_pixels(items: list[str], seen: list[Picture]) -> bool:
    both = combined_range(picture.grey_range for picture in seen)
    one, other = (open_rgb(item, grey_range=both).tobytes() for item in items)
    return one == other


def same_pictures(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of images that show the same picture, shape (m, 2), and which of them are mirrored,
    shape (m,).

    Args:
        thumbnails: as in `data.pictures`, shape (n, bytes), uint8.
    """
    upright, mirrored, grey, colours = describe(thumbnails)
    n = len(upright)
    pairs = like_vectors(np.concatenate([upright, mirrored]), CANDIDATE)
    # of two mirror images nothing new is to be seen
    pairs = pairs[(pairs[:, 0] < n) & (pairs[:, 0] != pairs[:, 1] - n)]
    turned = pairs[:, 1] >= n
    first, second = pairs[:, 0], pairs[:, 1] % n
    likeness = np.einsum(
        "ij,ij->i", upright[first], np.where(turned[:, None], mirrored[second], upright[second])
    )
    chosen = _nearest(first, second, likeness)
    first, second, turned = first[chosen], second[chosen], turned[chosen]
    same = agreement(grey, colours, first, second, turned) >= SAME
    found: dict[tuple[int, int], bool] = {}
    for one, other, flip in zip(
        first[same].tolist(), second[same].tolist(), turned[same].tolist(), strict=True
    ):
        pair = min(one, other), max(one, other)
        found[pair] = found.get(pair, True) and flip
    ordered = sorted(found)
    return np.array(ordered, np.int64).reshape(-1, 2), np.array(
        [found[pair] for pair in ordered], bool
    )


def _nearest(first: np.ndarray, second: np.ndarray, likeness: np.ndarray) -> np.ndarray:
    """Which pairs are among the MOST likeliest of one of their two images, as a mask."""
    chosen = np.zeros(len(first), bool)
    for own in (first, second):
        order = np.lexsort((-likeness, own))
        place = np.arange(len(own)) - np.searchsorted(own[order], own[order])
        chosen[order[place < MOST]] = True
    return chosen


def describe(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors of the images and of their mirror images, shape (n, 65) each, zero for an image
    of one colour; and the thumbnails as grey values, shape (n, side, side), and colours, shape (n,
    2, side, side), from 0 to 1."""
    values = thumbnails.astype(np.float32) / 255
    grey = values[:, : SIDE * SIDE].reshape(-1, SIDE, SIDE)
    colours = values[:, SIDE * SIDE :].reshape(-1, 2, COLOUR_SIDE, COLOUR_SIDE)
    planes = [(grey, GREY, 1.0), (colours[:, 0], COLOUR, 8.0), (colours[:, 1], COLOUR, 8.0)]
    upright, turned = [], []
    for plane, count, weight in planes:
        found = dctn(plane, axes=(1, 2), norm="ortho")[:, :count, :count]
        down, across = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
        # natural images have 1 / frequency of each
        found = found * (weight * np.hypot(down, across))
        upright.append(found.reshape(len(values), -1)[:, 1:])
        turned.append((found * np.where(across % 2, -1.0, 1.0)).reshape(len(values), -1)[:, 1:])
    return (
        _unit(np.concatenate(upright, axis=1)),
        _unit(np.concatenate(turned, axis=1)),
        grey,
        colours,
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths > 0.1, vectors / np.maximum(lengths, 1e-9), 0.0).astype(np.float32)
