"""Image files as plain RGB: orientation, transparency, animation and bit depth resolved."""

from __future__ import annotations

from contextlib import suppress

from PIL import ExifTags, Image, TiffTags, UnidentifiedImageError

from headstart.data import greyscale
from headstart.data.greyscale import GreyRange, NoValueError
from headstart.data.image_formats import (
    HeifError,
    ImageFile,
    first_bytes,
    open_image,
    open_png_pixels,
)

WHITE = (255, 255, 255, 255)
Turn = Image.Transpose
TRANSPOSE = {  # by EXIF orientation
    2: Turn.FLIP_LEFT_RIGHT, 3: Turn.ROTATE_180, 4: Turn.FLIP_TOP_BOTTOM, 5: Turn.TRANSPOSE,
    6: Turn.ROTATE_270, 7: Turn.TRANSVERSE, 8: Turn.ROTATE_90,
}  # fmt: skip
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF and BigTIFF
ANIMATED_FORMATS = ("GIF", "WEBP", "PNG", "AVIF")
MIN_VISIBLE = 0.01  # share of opaque pixels in a frame that shows something
MAX_FRAMES, MAX_FRAME_PIXELS = 8, 20_000_000  # decoded in search of a visible frame
Source = ImageFile | Image.Image


def open_rgb(
    source: Source, enough: int | None = None, grey_range: GreyRange | None = None
) -> Image.Image:
    """An image file, stream or opened image in RGB, as an image viewer shows it.

    Args:
        enough: pixels of the shorter side that suffice. An image at least twice as large is reduced
            by a whole factor; a JPEG is then decoded at a half, a quarter or an eighth, which is
            faster (12 megapixels for 448: 23 ms in place of 160).
        grey_range: of high bit depth greyscale, the values shown as black and as white.

    Raises:
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: it holds no readable image.
    """
    if isinstance(source, Image.Image):
        return to_rgb(source, grey_range)
    with open_image(source) as file:
        if enough is None:
            return to_rgb(file, grey_range)
        file.draft(None, (enough, enough))
        image = to_rgb(file, grey_range)
    factor = min(image.size) // enough
    return image.reduce(factor) if factor > 1 else image


def is_high_bit_depth(source: Source) -> bool:
    """Whether an image file, stream or opened image is greyscale of more than 8 bits.

    Raises:
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: it holds no readable image.
    """
    if isinstance(source, Image.Image):
        return greyscale.loads_high_bit_depth(source)
    with open_image(source) as file:
        return greyscale.loads_high_bit_depth(file)


def load_pixels(file: Image.Image) -> Image.Image:
    """Decode an opened image; a PNG with damaged or very large ancillary chunks without them.

    Raises:
        OSError, ValueError, SyntaxError: the pixels are damaged.
    """
    if file.format == "TIFF":
        with suppress(Exception):
            for tag in TiffTags.TAGS_V2_GROUPS:  # Pillow would follow these offsets anywhere
                file.getexif().pop(tag, None)
    try:
        return greyscale.load_pixels(file)
    except Exception as error:
        stream = getattr(file, "fp", None)
        if stream is None:
            raise
        return greyscale.load_pixels(open_png_pixels(stream, error))


def to_rgb(file: Image.Image, grey_range: GreyRange | None = None) -> Image.Image:
    """An opened image in RGB, as an image viewer shows it.

    Turned upright by EXIF; palettes and CMYK converted; transparent parts on white; of an animation
    the first visible frame; high bit depth greyscale by `grey_range`.
    """
    file = load_pixels(file)
    transpose = _exif_transpose(file)
    image = _first_visible_frame(file)
    if greyscale.is_high_bit_depth(image.mode):
        image = greyscale.to_8bit(image, grey_range)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, WHITE), rgba)
    image = image.convert("RGB")
    return image if transpose is None else image.transpose(transpose)


def _exif_transpose(file: Image.Image) -> Image.Transpose | None:
    """How to turn an image upright; None where EXIF says nothing legible."""
    try:
        return TRANSPOSE.get(file.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF raises errors of many types
        return None


def _first_visible_frame(file: Image.Image) -> Image.Image:
    """The first frame of an image of which at least a hundredth of the pixels is opaque; the
    current frame if none of the first few is."""
    if file.format not in ANIMATED_FORMATS or not getattr(file, "is_animated", False):
        return file
    if _opaque_share(file) >= MIN_VISIBLE:
        return file
    start, current = file.tell(), file.copy()
    frames = min(MAX_FRAMES, max(MAX_FRAME_PIXELS // (file.width * file.height), 2))
    with suppress(Exception):  # a later frame is damaged or missing
        for frame in range(start + 1, start + frames):
            file.seek(frame)
            if _opaque_share(file) >= MIN_VISIBLE:
                return file
    with suppress(Exception):
        file.seek(start)
    return current


def _opaque_share(image: Image.Image) -> float:
    """The share of pixels that are not transparent."""
    if not image.has_transparency_data:
        return 1.0
    counts = image.convert("RGBA").getchannel("A").histogram()
    return sum(counts[128:]) / sum(counts)


def describe_error(error: Exception, path: str = "") -> str:
    """Why an image cannot be read, in words."""
    if isinstance(error, HeifError | NoValueError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        advice = ""
        with suppress(OSError, ValueError):
            if first_bytes(path).startswith(TIFF_SIGNATURES):
                advice = (
                    ": a TIFF of another kind; convert it to 8 or 16 bits a channel, channels "
                    "together"
                )
        return f"no picture in a format that Pillow reads{advice}"
    if isinstance(error, Image.DecompressionBombError):
        return f"over {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} megapixels; resize it first"
    reason = error.strerror if isinstance(error, OSError) else None
    reason = reason or f"{type(error).__name__}: {error}"
    return reason.replace(path or "\0", "file").splitlines()[0][:120]
