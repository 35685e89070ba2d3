"""Images: files, opened pictures or their bytes; a timm backbone."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.checks.duplicate_images import find_duplicate_images
from headstart.checks.sanity_checks import check_images
from headstart.data.dataset import Dataset
from headstart.data.grey_range import no_range_note
from headstart.data.image_formats import FIRST_BYTES, detect_format, heif_version, open_image
from headstart.data.images import is_high_bit_depth
from headstart.data.inputs import images_at
from headstart.data.python_inputs import image_inputs
from headstart.data.readers import IMAGE_FILES, read_images
from headstart.data.unicode import printable
from headstart.modalities import Defaults, Modality, UnsupportedFormatError, Upload, modalities
from headstart.models.image_preprocessor import ImagePreprocessor
from headstart.models.network import Network
from headstart.models.preprocessor import Item, Preprocessor
from headstart.models.spec import ImageSpec, Spec
from headstart.models.vision import load_vision_network, vision_network
from headstart.recipe import Model

# neither formats whose reader starts other programs, nor TIFF, whose tiles may be larger than the
# picture
UPLOADS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "MPO", "AVIF", "HEIF")
HEAT = 0.55  # share of the colours that show what spoke for a class


def _network(model: Model, dataset: Dataset, pretrained: bool) -> tuple[Network, list[str]]:
    return vision_network(model, len(dataset.labels), pretrained, dataset.grey_range)


def _preprocessor(spec: Spec, _: Mapping[str, bytes]) -> ImagePreprocessor:
    assert isinstance(spec, ImageSpec)
    return ImagePreprocessor(spec.preprocessing)


def _open(content: bytes) -> Image.Image:
    """The picture in a file's content, not yet decoded.

    Raises:
        UnsupportedFormatError: its format is none of `UPLOADS`.
        Exception: there is no picture; as many types as Pillow has readers.
    """
    Image.init()
    heif_version()  # registers its format
    formats = [name for name in UPLOADS if name in Image.OPEN]
    try:
        return open_image(io.BytesIO(content), formats)
    except Exception:
        known = detect_format(content[:FIRST_BYTES])
        if known and known not in formats:
            raise UnsupportedFormatError(
                f"{known} is not taken here; send {', '.join(formats)}"
            ) from None
        raise


def _input_note(item: Item, spec: Spec) -> str | None:
    assert isinstance(spec, ImageSpec)
    if spec.preprocessing.grey_range is not None or not is_high_bit_depth(item):
        return None
    return no_range_note(
        printable(str(item)) if isinstance(item, str | Path) else "one that was given"
    )


def _highlight(preprocessor: Preprocessor, item: str, marks: np.ndarray) -> Image.Image:
    """The image blended with a colour map of the evidence for a class."""
    from matplotlib import colormaps

    picture = preprocessor.show(item)
    assert isinstance(picture, Image.Image)
    heat = (colormaps["inferno"](marks)[..., :3] * 255).astype(np.float32)
    mixed = np.asarray(picture, np.float32) * (1 - HEAT) + heat * HEAT
    return Image.fromarray(mixed.round().astype(np.uint8))


modalities.register("image")(
    Modality(
        name="image",
        noun="image",
        files=IMAGE_FILES,
        read=read_images,
        from_paths=images_at,
        from_objects=image_inputs,
        duplicates=find_duplicate_images,
        notes=check_images,
        network=_network,
        load=load_vision_network,
        baselines=("raw_pixels_forest",),
        policies=("crop_flip", "crop", "none", "classic", "rand_augment", "trivial_augment"),
        example=lambda: Image.new("RGB", (32, 32)),
        chunk=128,
        preprocessor_files=lambda _: {},
        preprocessor=_preprocessor,
        highlight=_highlight,
        as_shown=lambda preprocessor, item: preprocessor.show(item),
        # other libraries do not read 16 bits as this preprocessor does
        opened=lambda preprocessor, item: preprocessor.opened(item),
        defaults=Defaults(
            packaged="packaged:efficientnet_lite0",
            hub="resnet18.tv_in1k",
            larger="resnet50.a1_in1k or convnext_small.fb_in22k_ft_in1k",
            lr="1e-4",
        ),
        library="timm",
        pipeline="image-classification",
        input_note=_input_note,
        upload=Upload(
            media_type="image/*",
            open=_open,
            size=lambda image: image.size,
            unit="pixels",
            too_large=Image.DecompressionBombError,
        ),
    )
)
