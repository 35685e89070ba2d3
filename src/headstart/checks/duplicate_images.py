"""Duplicate images: the same picture re-encoded, resized, mirrored or slightly cropped.

Candidate pairs have similar perceptual hashes, the low frequencies of a thumbnail (Zauner 2010).
Each pair is then aligned by shifting and stretching, and its details and colours are compared.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import dctn

from headstart.checks.duplicates import MIRRORED, PICTURE, PIXELS, Duplicates, factorize
from headstart.checks.image_registration import agreement
from headstart.checks.similar_pairs import similar_vectors
from headstart.data.dataset import Examples
from headstart.data.greyscale import combined_range
from headstart.data.images import open_rgb
from headstart.data.pictures import BYTES, COLOUR_SIDE, SIDE, Picture, pictures

GREY, COLOUR = 6, 4  # frequencies per direction
MIN_COSINE = 0.8  # of two descriptors, for a candidate pair
MIN_AGREEMENT = 0.88  # of two thumbnails, for a near duplicate
MAX_CANDIDATES = 3  # per image, that are aligned with it


def find_duplicate_images(examples: Examples) -> Duplicates:
    """Images that are the same file, have the same pixels, or show the same picture."""
    digests = np.fromiter(examples.digests, "S32", len(examples))
    content, first = factorize(digests)
    items = [examples.items[row] for row in first]
    images = pictures(items, [examples.digests[row] for row in first])
    thumbnails = np.frombuffer(b"".join(image.thumbnail for image in images), np.uint8)
    pairs, mirrored = near_duplicates(thumbnails.reshape(-1, BYTES))
    kinds = []
    for (i, j), flipped in zip(pairs.tolist(), mirrored.tolist(), strict=True):
        same_size = (images[i].width, images[i].height) == (images[j].width, images[j].height)
        if same_size and not flipped and _same_pixels((items[i], items[j]), (images[i], images[j])):
            kinds.append(PIXELS)
        else:
            kinds.append(MIRRORED if flipped else PICTURE)
    return Duplicates(content, pairs, np.array(kinds, np.uint8))


def _same_pixels(items: tuple[str, str], images: tuple[Picture, Picture]) -> bool:
    grey_range = combined_range(image.grey_range for image in images)
    first, second = (open_rgb(item, grey_range=grey_range).tobytes() for item in items)
    return first == second


def near_duplicates(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of images that show the same picture, shape (m, 2), and whether one is mirrored, shape
    (m,).

    Args:
        thumbnails: as in `data.pictures`, shape (n, bytes), uint8.
    """
    upright, mirrored, grey, colours = describe(thumbnails)
    n = len(upright)
    pairs = similar_vectors(np.concatenate([upright, mirrored]), MIN_COSINE)
    # two mirror images give nothing new, nor does an image and its own mirror image
    pairs = pairs[(pairs[:, 0] < n) & (pairs[:, 0] != pairs[:, 1] - n)]
    flipped = pairs[:, 1] >= n
    first, second = pairs[:, 0], pairs[:, 1] % n
    similarity = np.einsum(
        "ij,ij->i", upright[first], np.where(flipped[:, None], mirrored[second], upright[second])
    )
    chosen = _most_similar(first, second, similarity)
    first, second, flipped = first[chosen], second[chosen], flipped[chosen]
    same = agreement(grey, colours, first, second, flipped) >= MIN_AGREEMENT
    flipped_by_pair: dict[tuple[int, int], bool] = {}
    for i, j, flip in zip(
        first[same].tolist(), second[same].tolist(), flipped[same].tolist(), strict=True
    ):
        pair = min(i, j), max(i, j)
        flipped_by_pair[pair] = flipped_by_pair.get(pair, True) and flip
    ordered = sorted(flipped_by_pair)
    return (
        np.array(ordered, np.int64).reshape(-1, 2),
        np.array([flipped_by_pair[pair] for pair in ordered], bool),
    )


def _most_similar(first: np.ndarray, second: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """A mask of the pairs that are among the MAX_CANDIDATES most similar of one of their images."""
    chosen = np.zeros(len(first), bool)
    for rows in (first, second):
        order = np.lexsort((-similarity, rows))
        rank = np.arange(len(rows)) - np.searchsorted(rows[order], rows[order])
        chosen[order[rank < MAX_CANDIDATES]] = True
    return chosen


def describe(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Descriptors of the images and of their mirror images, unit vectors of shape (n, 65) each
    (zero for an image of one colour); and the thumbnails as grey values, shape (n, side, side), and
    colours, shape (n, 2, side, side), from 0 to 1."""
    values = thumbnails.astype(np.float32) / 255
    grey = values[:, : SIDE * SIDE].reshape(-1, SIDE, SIDE)
    colours = values[:, SIDE * SIDE :].reshape(-1, 2, COLOUR_SIDE, COLOUR_SIDE)
    planes = [(grey, GREY, 1.0), (colours[:, 0], COLOUR, 8.0), (colours[:, 1], COLOUR, 8.0)]
    upright, mirrored = [], []
    for plane, count, weight in planes:
        frequencies = dctn(plane, axes=(1, 2), norm="ortho")[:, :count, :count]
        down, across = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
        # whitened: amplitudes in natural images fall with 1 / frequency
        frequencies = frequencies * (weight * np.hypot(down, across))
        flipped = frequencies * np.where(across % 2, -1.0, 1.0)
        upright.append(frequencies.reshape(len(values), -1)[:, 1:])
        mirrored.append(flipped.reshape(len(values), -1)[:, 1:])
    return _unit(upright), _unit(mirrored), grey, colours


def _unit(planes: list[np.ndarray]) -> np.ndarray:
    vectors = np.concatenate(planes, axis=1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths > 0.1, vectors / np.maximum(lengths, 1e-9), 0.0).astype(np.float32)
