"""Thumbnails laid on each other as well as shifting and stretching can (Lucas & Kanade 1981), many
pairs at a time."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

# of the search; the largest shift or stretch, where a picture reaches from -1 to 1
STEPS, FARTHEST = 8, 0.35
CHUNK = 1_024  # pairs at a time


def agreement(
    grey: np.ndarray,
    colours: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    mirrored: np.ndarray,
) -> np.ndarray:
    """How well pairs of thumbnails agree in details and colours, at best 1, shape (m,).

    Args:
        grey: shape (n, side, side). colours: shape (n, 2, side, side). first, second: rows of the
            pairs, shape (m,).
        mirrored: whether the
            second of a pair is to be mirrored, shape (m,).
    """
    found = np.empty(len(first), np.float32)
    for start in range(0, len(first), CHUNK):
        rows = slice(start, start + CHUNK)
        flip = mirrored[rows]
        one, other = grey[first[rows]], _turned(grey[second[rows]], flip)
        ours, theirs = colours[first[rows]], _turned(colours[second[rows]], flip)
        still = np.zeros((len(one), 4), np.float32)
        best = _agreement(one, other, ours, theirs, still)
        apart = np.flatnonzero(best < 0.9)
        if len(apart):
            moved = _laid_on(one[apart], other[apart])
            aligned = _agreement(one[apart], other[apart], ours[apart], theirs[apart], moved)
            best[apart] = np.maximum(best[apart], aligned)
        found[rows] = best
    return found


def _turned(images: np.ndarray, flip: np.ndarray) -> np.ndarray:
    return np.where(flip.reshape(-1, *[1] * (images.ndim - 1)), images[..., ::-1], images)


def _agreement(
    one: np.ndarray, other: np.ndarray, ours: np.ndarray, theirs: np.ndarray, moved: np.ndarray
) -> np.ndarray:
    """The lower of two: the correlation of the details, and the share of all variation that both
    have."""
    laid, inside = _sampled(other, moved)
    details = _correlation(_details(one), _sampled(_details(other), moved)[0], inside)
    same, all_of_it = _difference(one, laid, inside)
    for channel in range(2):
        seen, within = _sampled(theirs[:, channel], moved)
        differing, total = _difference(ours[:, channel], seen, within)
        same, all_of_it = same + 4 * differing, all_of_it + 4 * total
    return np.minimum(details, 1 - same / np.maximum(all_of_it, 1e-6)).astype(np.float32)


def _difference(
    one: np.ndarray, other: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(Mean squared difference, mean of both variances) within a mask, shape (m,) each."""
    weight = inside / inside.sum((1, 2), keepdims=True)
    mean = ((one + other) / 2 * weight).sum((1, 2), keepdims=True)
    variance = (((one - mean) ** 2 + (other - mean) ** 2) * weight).sum((1, 2))
    return ((one - other) ** 2 * weight).sum((1, 2)), variance


def _correlation(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> np.ndarray:
    weight = inside / inside.sum((1, 2), keepdims=True)
    one, other = (values - (values * weight).sum((1, 2), keepdims=True) for values in (one, other))
    lengths = [np.sqrt((values**2 * weight).sum((1, 2))) for values in (one, other)]
    return (one * other * weight).sum((1, 2)) / np.maximum(lengths[0] * lengths[1], 1e-6)


def _details(images: np.ndarray) -> np.ndarray:
    return images - gaussian_filter(images, (0, 2, 2))


def _laid_on(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Stretch and shift of the other image, across and down, so that it lies on the one best: shape
    (m, 4), by Gauss and Newton."""
    one, other = gaussian_filter(one, (0, 1, 1)), gaussian_filter(other, (0, 1, 1))
    side = one.shape[1]
    down, across = (slope * (side / 2) for slope in np.gradient(other, axis=(1, 2)))
    place = _places(side)
    moved = np.zeros((len(one), 4), np.float32)
    for _ in range(STEPS):
        laid, inside = _sampled(other, moved)
        slope_across, slope_down = (_sampled(slope, moved)[0] * inside for slope in (across, down))
        weight = inside / inside.sum((1, 2), keepdims=True)
        ours, theirs = (
            (values - (values * weight).sum((1, 2), keepdims=True)) * inside
            for values in (one, laid)
        )
        power = np.maximum((theirs**2).sum((1, 2)), 1e-6)
        gain = np.clip((ours * theirs).sum((1, 2)) / power, 0.3, 3.0).reshape(-1, 1, 1)
        rest = (ours - gain * theirs).reshape(len(one), -1, 1)
        columns = [slope_across * place, slope_down * place[:, None], slope_across, slope_down]
        jacobian = np.stack([(gain * column).reshape(len(one), -1) for column in columns], axis=1)
        normal = jacobian @ jacobian.transpose(0, 2, 1) + 1e-4 * np.eye(4, dtype=np.float32)
        step = np.linalg.solve(normal, jacobian @ rest)[..., 0]
        moved = np.clip(moved + step, -FARTHEST, FARTHEST).astype(np.float32)
    return moved


def _places(side: int) -> np.ndarray:
    return ((np.arange(side, dtype=np.float32) + 0.5) * (2 / side) - 1).astype(np.float32)


def _sampled(images: np.ndarray, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images stretched and shifted, and a mask of where they have pixels, both of shape (m, side,
    side).

    As stretch and shift do not turn anything, each is one product with a matrix a direction.
    """
    across, inside_across = _weights(images.shape[2], moved[:, 0], moved[:, 2])
    down, inside_down = _weights(images.shape[1], moved[:, 1], moved[:, 3])
    inside = inside_down[:, :, None] * inside_across[:, None, :]
    return down @ images @ across.transpose(0, 2, 1), inside


def _weights(side: int, stretch: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear interpolation as matrices, shape (m, side, side), and which places are inside, shape
    (m, side)."""
    places = (1 + stretch[:, None]) * _places(side) + shift[:, None]
    pixels = np.clip((places + 1) * (side / 2) - 0.5, 0, side - 1)
    weights = np.maximum(1 - np.abs(pixels[:, :, None] - np.arange(side, dtype=np.float32)), 0)
    return weights, (np.abs(places) <= 1).astype(np.float32)
