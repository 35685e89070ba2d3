"""Alignment of pairs of thumbnails by shifting and stretching (Lucas & Kanade 1981), in
batches."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

STEPS = 8  # of the search
MAX_WARP = 0.35  # largest shift or stretch, for coordinates from -1 to 1
CHUNK = 1_024  # pairs at a time


def agreement(
    grey: np.ndarray,
    colours: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    mirrored: np.ndarray,
) -> np.ndarray:
    """How well pairs of thumbnails agree in details and colours after alignment, at most 1, shape
    (m,).

    Args:
        grey: shape (n, side, side). colours: shape (n, 2, side, side).
        first, second: rows of the pairs, shape (m,).
        mirrored: whether the second of a pair is mirrored, shape (m,).
    """
    result = np.empty(len(first), np.float32)
    for start in range(0, len(first), CHUNK):
        rows = slice(start, start + CHUNK)
        flip = mirrored[rows]
        grey_1, grey_2 = grey[first[rows]], _mirror(grey[second[rows]], flip)
        colours_1, colours_2 = colours[first[rows]], _mirror(colours[second[rows]], flip)
        no_warp = np.zeros((len(grey_1), 4), np.float32)
        best = _agreement(grey_1, grey_2, colours_1, colours_2, no_warp)
        low = np.flatnonzero(best < 0.9)
        if len(low):
            warp = _align(grey_1[low], grey_2[low])
            aligned = _agreement(grey_1[low], grey_2[low], colours_1[low], colours_2[low], warp)
            best[low] = np.maximum(best[low], aligned)
        result[rows] = best
    return result


def _mirror(images: np.ndarray, flip: np.ndarray) -> np.ndarray:
    flip = flip.reshape(-1, *[1] * (images.ndim - 1))
    return np.asarray(np.where(flip, images[..., ::-1], images))


def _agreement(
    grey_1: np.ndarray,
    grey_2: np.ndarray,
    colours_1: np.ndarray,
    colours_2: np.ndarray,
    warp: np.ndarray,
) -> np.ndarray:
    """The lower of two values: the correlation of the details, and the share of variance in
    common."""
    warped, inside = _warp(grey_2, warp)
    details = _correlation(_details(grey_1), _warp(_details(grey_2), warp)[0], inside)
    difference, variance = _difference(grey_1, warped, inside)
    for channel in range(2):
        warped, inside = _warp(colours_2[:, channel], warp)
        colour_difference, colour_variance = _difference(colours_1[:, channel], warped, inside)
        difference, variance = difference + 4 * colour_difference, variance + 4 * colour_variance
    common = 1 - difference / np.maximum(variance, 1e-6)
    return np.asarray(np.minimum(details, common), np.float32)


def _difference(
    first: np.ndarray, second: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(Mean squared difference, sum of both variances) within a mask, shape (m,) each."""
    weight = inside / inside.sum((1, 2), keepdims=True)
    mean = ((first + second) / 2 * weight).sum((1, 2), keepdims=True)
    variance = (((first - mean) ** 2 + (second - mean) ** 2) * weight).sum((1, 2))
    return ((first - second) ** 2 * weight).sum((1, 2)), variance


def _centred(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.asarray(values - (values * weight).sum((1, 2), keepdims=True))


def _correlation(first: np.ndarray, second: np.ndarray, inside: np.ndarray) -> np.ndarray:
    weight = inside / inside.sum((1, 2), keepdims=True)
    first, second = _centred(first, weight), _centred(second, weight)
    lengths = [np.sqrt((values**2 * weight).sum((1, 2))) for values in (first, second)]
    product = (first * second * weight).sum((1, 2))
    return np.asarray(product / np.maximum(lengths[0] * lengths[1], 1e-6))


def _details(images: np.ndarray) -> np.ndarray:
    return np.asarray(images - gaussian_filter(images, (0, 2, 2)))


def _align(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """The warp (stretch across and down, shift across and down) that aligns the moving images with
    the fixed ones best, shape (m, 4), by the Gauss-Newton method."""
    fixed, moving = gaussian_filter(fixed, (0, 1, 1)), gaussian_filter(moving, (0, 1, 1))
    side = fixed.shape[1]
    down, across = (gradient * (side / 2) for gradient in np.gradient(moving, axis=(1, 2)))
    coordinates = _coordinates(side)
    warp = np.zeros((len(fixed), 4), np.float32)
    for _ in range(STEPS):
        warped, inside = _warp(moving, warp)
        across_warped, down_warped = (
            _warp(gradient, warp)[0] * inside for gradient in (across, down)
        )
        weight = inside / inside.sum((1, 2), keepdims=True)
        target, warped = (_centred(values, weight) * inside for values in (fixed, warped))
        power = np.maximum((warped**2).sum((1, 2)), 1e-6)
        gain = np.clip((target * warped).sum((1, 2)) / power, 0.3, 3.0).reshape(-1, 1, 1)
        residual = (target - gain * warped).reshape(len(fixed), -1, 1)
        columns = [
            across_warped * coordinates,
            down_warped * coordinates[:, None],
            across_warped,
            down_warped,
        ]
        jacobian = np.stack([(gain * column).reshape(len(fixed), -1) for column in columns], axis=1)
        normal = jacobian @ jacobian.transpose(0, 2, 1) + 1e-4 * np.eye(4, dtype=np.float32)
        step = np.linalg.solve(normal, jacobian @ residual)[..., 0]
        warp = np.clip(warp + step, -MAX_WARP, MAX_WARP).astype(np.float32)
    return warp


def _coordinates(side: int) -> np.ndarray:
    """The centres of a row of pixels, from -1 to 1."""
    return ((np.arange(side, dtype=np.float32) + 0.5) * (2 / side) - 1).astype(np.float32)


def _warp(images: np.ndarray, warp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images after stretch and shift, and a mask of where they have pixels, both of shape (m, side,
    side).

    There is no rotation, so each direction is one matrix product.
    """
    across, inside_across = _weights(images.shape[2], warp[:, 0], warp[:, 2])
    down, inside_down = _weights(images.shape[1], warp[:, 1], warp[:, 3])
    inside = inside_down[:, :, None] * inside_across[:, None, :]
    return down @ images @ across.transpose(0, 2, 1), inside


def _weights(side: int, stretch: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear interpolation as matrices, shape (m, side, side), and which coordinates are inside,
    shape (m, side)."""
    coordinates = (1 + stretch[:, None]) * _coordinates(side) + shift[:, None]
    pixels = np.clip((coordinates + 1) * (side / 2) - 0.5, 0, side - 1)
    weights = np.maximum(1 - np.abs(pixels[:, :, None] - np.arange(side, dtype=np.float32)), 0)
    return weights, (np.abs(coordinates) <= 1).astype(np.float32)
