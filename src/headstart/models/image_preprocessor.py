"""From image files to what a vision network reads, and what is varied at random in a training
image."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.transforms import CenterCropOrPad
from torch import Tensor
from torchvision.transforms import CenterCrop, InterpolationMode, functional, v2

from headstart.data.images import Source, fingerprint, open_rgb
from headstart.models.preprocessor import stack
from headstart.models.spec import ImagePreprocessing

Varied = Callable[[Tensor, int], Tensor]  # bytes of shape (3, height, width) and a seed
THIN = 20  # times as long as wide: no random crop fits such a picture but the one in its middle
FAST = (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC)  # that tensors can do


class ImagePreprocessor:
    """From the path of an image to what a vision network reads: {"pixel_values": tensor (3, height,
    width)}.

    Without a seed the image is prepared as the backbone expects; with one it is augmented by
    `policy`, the same way whenever the seed is the same. Floats are normalised; of bytes the
    network takes care where it computes.
    """

    def __init__(self, own: ImagePreprocessing, policy: str = "none") -> None:
        self._grey_range = own.grey_range
        self._scale = own.mean, own.std
        self._enough = 2 * max(own.input_size[1:])
        self._longest = _longest(own)
        self._plain = _as_trained(own)
        self._augmented = POLICIES[policy](own)

    def __call__(self, item: Source | np.ndarray, seed: int | None = None) -> dict[str, Tensor]:
        if seed is None and not isinstance(item, np.ndarray):
            return {"pixel_values": self._plain(self.opened(item))}
        array = item if isinstance(item, np.ndarray) else self.decoded(item)
        if seed is None:
            return {"pixel_values": self._plain(Image.fromarray(array))}
        return {"pixel_values": self._augmented(torch.from_numpy(array).permute(2, 0, 1), seed)}

    def decoded(self, item: Source) -> np.ndarray:
        """The picture to augment, shape (height, width, 3), uint8, of at most four times the
        network's input."""
        return np.array(self.opened(item, self._enough))

    def opened(self, item: Source, enough: int | None = None) -> Image.Image:
        """The picture in RGB, of a thin one no more than the network can get to see of it."""
        return _middle(open_rgb(item, enough, self._grey_range), self._longest)

    def views(self, item: Source) -> list[dict[str, Tensor]]:
        """Ten looks at an image: its middle and its four corners as large as the network's input,
        each also mirrored (Krizhevsky et al. 2012); the middle alone and mirrored where
        preprocessing leaves nothing over.

        Of a thin picture these are the corners of its middle part, THIN times as long as wide.
        """
        steps = list(self._plain.transforms)
        number = next(
            place
            for place, step in enumerate(steps)
            if isinstance(step, CenterCrop | CenterCropOrPad)
        )
        image = self.opened(item)
        resized = v2.Compose(steps[:number])(image) if number else image
        height, width = _pair(steps[number].size)
        if resized.size[0] >= width and resized.size[1] >= height:
            crops = list(functional.five_crop(resized, [height, width]))
        else:
            crops = [steps[number](resized)]
        rest = v2.Compose(steps[number + 1 :])
        return [
            {"pixel_values": rest(look)}
            for crop in crops
            for look in (crop, functional.hflip(crop))
        ]

    def show(self, item: str, seed: int | None = None) -> Image.Image:
        pixels = normalised(self(item, seed)["pixel_values"], *self._scale)
        mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in self._scale)
        shown = ((pixels * std + mean).clamp(0, 1) * 255).round().byte()
        return Image.fromarray(shown.permute(1, 2, 0).numpy())

    def mix(
        self, one: dict[str, Tensor], other: dict[str, Tensor], how: str, share: float, seed: int
    ) -> tuple[dict[str, Tensor], float]:
        """MixUp (Zhang et al. 2018) adds pixels in their shares; CutMix (Yun et al. 2019) puts a
        patch of the other image, of the shape of the whole and wholly or partly inside it, into the
        one."""
        ours, theirs = (normalised(part["pixel_values"], *self._scale) for part in (one, other))
        if how == "mixup":
            return {"pixel_values": torch.lerp(theirs, ours, share)}, share
        height, width = ours.shape[1:]
        random = np.random.default_rng(seed)
        side = (1 - share) ** 0.5
        middle_y, middle_x = random.uniform(0, height), random.uniform(0, width)
        top, bottom = _inside(middle_y, side * height, height)
        left, right = _inside(middle_x, side * width, width)
        mixed = ours.clone()
        mixed[:, top:bottom, left:right] = theirs[:, top:bottom, left:right]
        return {"pixel_values": mixed}, 1 - (bottom - top) * (right - left) / (height * width)

    def collate(self, samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return stack(samples)

    def sizes(self, items: Sequence[str]) -> None:
        return None

    def fingerprint(self, item: str) -> str:
        return fingerprint(item)


def _inside(middle: float, length: float, whole: int) -> tuple[int, int]:
    return max(round(middle - length / 2), 0), min(round(middle + length / 2), whole)


def _pair(size: Any) -> tuple[int, int]:
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return int(height), int(width)


def _longest(preprocessing: ImagePreprocessing) -> float:
    """How many times as long as wide a picture may be before it is resized.

    The network sees the same of a longer one: its shorter side decides the scale, and neither the
    crop in the middle nor a random one (which takes the middle where no other shape fits) reaches
    beyond. Where the longer side decides, the shorter one must keep a pixel; where both are resized
    alike, nothing is cut.
    """
    sides, mode = preprocessing.input_size[1:], preprocessing.crop_mode
    if mode == "squash":
        return math.inf
    return min(sides) if mode == "border" else THIN * max(sides) / min(sides)


def _middle(image: Image.Image, longest: float) -> Image.Image:
    """The middle of a picture that is more than so many times as long as wide."""
    width, height = image.size
    most = longest * min(width, height)
    if max(width, height) <= most:
        return image
    cut = (max(width, height) - int(most)) // 2  # as much at either end
    box = (cut, 0, width - cut, height) if width > height else (0, cut, width, height - cut)
    return image.crop(box)


def _as_trained(preprocessing: ImagePreprocessing) -> Any:
    return create_transform(**preprocessing.model_dump(exclude={"grey_range"}), is_training=False)


def normalised(
    pixels: Tensor, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor
) -> Tensor:
    """Bytes as floats of the network's own scale, shape (…, 3, height, width); floats as they
    are."""
    if pixels.dtype != torch.uint8:
        return pixels
    mean, std = (
        torch.as_tensor(values, device=pixels.device).reshape(-1, 1, 1) for values in (mean, std)
    )
    return (pixels.float() / 255 - mean) / std


DRAWING = threading.Lock()  # torch has one generator for all threads


@contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """What is drawn from torch's generator within depends on the seed alone, and leaves no
    trace."""
    with DRAWING, torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield


def _unvaried(preprocessing: ImagePreprocessing) -> Varied:
    plain = _as_trained(preprocessing)
    return lambda pixels, seed: plain(functional.to_pil_image(pixels))


def _varied(
    *steps: Callable[[Any], Any], mirrored: bool = True, erase: float = 0.0
) -> Callable[[ImagePreprocessing], Varied]:
    """A random resized crop (Szegedy et al. 2015), mirrored half of the time, and then these steps;
    a rectangle of some examples is erased in the end.

    Crops are resized as tensors of bytes: 0.2 ms for 224 pixels, with Pillow 0.8.
    """

    def build(preprocessing: ImagePreprocessing) -> Varied:
        stated = InterpolationMode(preprocessing.interpolation)
        crop = v2.RandomResizedCrop(
            preprocessing.input_size[1:],
            interpolation=stated if stated in FAST else InterpolationMode.BICUBIC,
        )
        scale = v2.Normalize(preprocessing.mean, preprocessing.std)
        floats = [
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            scale,
            v2.RandomErasing(erase),
        ]
        more = v2.Compose([v2.ToPILImage(), *steps, *floats])

        def vary(pixels: Tensor, seed: int) -> Tensor:
            with _drawing(seed):
                where = crop.make_params([pixels])
                mirror = mirrored and torch.rand(()).item() < 0.5
            pixels = crop.transform(pixels, where)
            pixels = pixels.flip(-1) if mirror else pixels
            if not steps and not erase:
                return pixels
            with _drawing(seed + 1):
                return more(pixels)

        return vary

    return build


POLICIES: dict[str, Callable[[ImagePreprocessing], Varied]] = {
    "none": _unvaried,
    "crop": _varied(mirrored=False),
    "crop_flip": _varied(),
    "classic": _varied(v2.RandomRotation(15), v2.ColorJitter(0.2, 0.2, 0.2, 0.05), erase=0.25),
    "rand_augment": _varied(v2.RandAugment()),  # Cubuk et al. 2020
    "trivial_augment": _varied(v2.TrivialAugmentWide()),  # Müller & Hutter 2021
}
