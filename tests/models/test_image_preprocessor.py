"""What a vision network is shown of pictures of any shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from headstart.models.image_preprocessor import POLICIES, THIN, ImagePreprocessor
from headstart.models.spec import ImagePreprocessing

PREPROCESSING = ImagePreprocessing(
    input_size=(3, 64, 64),
    interpolation="bicubic",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    crop_pct=0.875,
    crop_mode="center",
)
MODES = ("center", "squash", "border")


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1), (90, 70), (30, 200), (200, 10), (5, 100)])
def test_a_picture_is_prepared_as_timm_does(mode: str, size: tuple[int, int]) -> None:
    preprocessing = PREPROCESSING.model_copy(update={"crop_mode": mode})
    settings = preprocessing.model_dump(exclude={"grey_range"})
    image, timms = noise(*size), create_transform(**settings, is_training=False)
    assert torch.equal(ImagePreprocessor(preprocessing)(image)["pixel_values"], timms(image))
    assert ImagePreprocessor(preprocessing).decoded(image).shape[:2] == size[::-1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(20_000, 1), (1, 5000), (40_000, 2)])
def test_a_thin_picture_costs_what_the_network_reads(
    mode: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def watched(image: Image.Image, size: tuple[int, int], *more: Any) -> Image.Image:
        made.append(size)
        return resize(image, size, *more)

    preprocessing = PREPROCESSING.model_copy(update={"crop_mode": mode})
    encoder, image = ImagePreprocessor(preprocessing, "crop_flip"), noise(*size)
    monkeypatch.setattr(Image.Image, "resize", watched)
    seen = [encoder(image), encoder(encoder.decoded(image), 3), *encoder.views(image)]
    assert {tuple(example["pixel_values"].shape) for example in seen} == {(3, 64, 64)}
    assert max(width * height for width, height in made) <= THIN * 73 * 73  # 73 = 64 / 0.875


@pytest.mark.parametrize(("width", "height"), [(THIN * 8 + 3, 8), (7, THIN * 12)])
def test_of_a_thin_picture_no_more_is_left_out_than_before(width: int, height: int) -> None:
    image = noise(width, height)
    encoder = ImagePreprocessor(PREPROCESSING, "crop_flip")
    assert max(encoder.decoded(image).shape) <= THIN * min(width, height) + 1
    plain, whole = (
        encoder(image)["pixel_values"],
        create_transform(**PREPROCESSING.model_dump(exclude={"grey_range"}), is_training=False)(
            image
        ),
    )
    assert (plain - whole).abs().mean() < 0.1  # half a pixel's shift
    for seed in range(5):
        whole = POLICIES["crop_flip"](PREPROCESSING)(
            torch.from_numpy(np.array(image)).permute(2, 0, 1), seed
        )
        assert torch.equal(encoder(encoder.decoded(image), seed)["pixel_values"], whole)
