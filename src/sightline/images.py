"""The one image decoder: ingest, training, gate and serving all see the same pixels."""

import contextlib
import io
import struct
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

ImageU8 = npt.NDArray[np.uint8]
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
_SIGNATURES = (
    ("JPEG", b"\xff\xd8"),
    ("PNG", b"\x89PNG\r\n\x1a\n"),
    ("BMP", b"BM"),
    ("TIFF", b"II*\0"),
    ("TIFF", b"MM\0*"),
)
_WARNING_FILTERS = threading.Lock()
PROPERTIES = ("brightness", "contrast", "sharpness", "saturation", "highlights")


class ImageRefusedError(Exception):
    """An image that must not be used.

    Attributes:
        reason: a closed word: empty, unknown-format, too-large, truncated, undecodable.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def format_of(data: bytes) -> str:
    """The format that the first bytes promise, one of ``FORMATS``; empty for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((name for name, start in _SIGNATURES if data.startswith(start)), "")


def decode(data: bytes, *, max_pixels: int = 50_000_000) -> ImageU8:
    """The pixels as RGB, shape (height, width, 3), uint8, turned upright by the EXIF orientation.

    The size is read from the header and checked against ``max_pixels`` before any pixel is decoded. JPEGs are decoded strictly: a truncated
    file or one with garbage in its scan is refused, where Pillow would return partly grey pixels. Grey images get three equal channels,
    transparency is blended with black, 16-bit images are scaled to 8 bits. May be called from several threads.

    Raises:
        ImageRefusedError: the bytes are not an image that can be used; the reason says why.
    """
    if not data:
        raise ImageRefusedError("empty", "0 bytes")
    kind = format_of(data)
    if not kind:
        raise ImageRefusedError("unknown-format", f"not one of {', '.join(FORMATS)}")
    return _decode_jpeg(data, max_pixels) if kind == "JPEG" else _decode_other(data, max_pixels)


def _decode_jpeg(data: bytes, max_pixels: int) -> ImageU8:
    import simplejpeg

    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        _check_size(width, height, max_pixels)
        # Pillow knows how to turn CMYK into RGB; the strict decoder has looked at every byte before.
        is_cmyk = colours in {"CMYK", "YCCK"}
        pixels: ImageU8 = simplejpeg.decode_jpeg(data, colorspace="CMYK" if is_cmyk else "RGB", fastdct=False, strict=True)
    except ValueError as error:
        ends = data.rstrip(b"\0").endswith(b"\xff\xd9")
        raise ImageRefusedError("truncated" if "premature" in str(error).lower() or not ends else "undecodable", str(error)) from None
    if is_cmyk:
        return _decode_other(data, max_pixels)
    return _upright(pixels, _orientation(data)) if b"Exif\0\0" in data else pixels


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageRefusedError("too-large", f"{width}×{height} pixels, at most {max_pixels} are decoded")


def _orientation(data: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 when it says nothing that can be used."""
    from PIL import Image

    try:
        with _quiet(), Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            value = image.getexif().get(0x0112, 1)
    except (OSError, SyntaxError, ValueError, struct.error):
        return 1
    return value if value in range(1, 9) else 1


def _upright(pixels: ImageU8, orientation: int) -> ImageU8:
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _decode_other(data: bytes, max_pixels: int) -> ImageU8:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with _quiet():
            image: PillowImage = Image.open(io.BytesIO(data), formats=FORMATS)
        with image:
            _check_size(image.width, image.height, max_pixels)
            image.load()
            with _quiet():
                upright = ImageOps.exif_transpose(image)
            return _to_rgb(upright)
    except UnidentifiedImageError:
        raise ImageRefusedError("undecodable", f"begins like {format_of(data)} but is none") from None
    except Image.DecompressionBombError:
        raise ImageRefusedError("too-large", f"more than {max_pixels} pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError) as error:
        raise ImageRefusedError("truncated" if "truncated" in str(error).lower() else "undecodable", str(error)) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # Pillow warns about odd metadata and large sizes, both of which are handled here. The list of warning filters belongs to the whole
    # process, hence the lock; pixels are decoded outside it.
    import warnings

    with _WARNING_FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _to_rgb(image: "PillowImage") -> ImageU8:
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        scale = 255.0 / 65535.0 if values.max(initial=0) > 255 else 1.0
        grey = np.clip(values * scale, 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image.convert("RGB"), dtype=np.uint8)


def resize(image: ImageU8, size_px: int) -> ImageU8:
    """The image as the model sees it: a square of ``size_px``, bilinear with antialiasing, aspect ratio not kept.

    Images of more than three times the size are first averaged over whole blocks: a third of the time, a few grey levels of difference.
    """
    from PIL import Image

    if image.shape[:2] == (size_px, size_px):
        return image
    return np.asarray(Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BILINEAR, reducing_gap=3.0), dtype=np.uint8)


def image_properties(image: ImageU8) -> dict[str, float]:
    """Label-free properties of an RGB image, each in [0, 1] or close to it.

    Args:
        image: (height, width, 3), uint8, at the size the model sees, so that reference and served images compare.

    Returns:
        ``PROPERTIES``: mean grey value, its standard deviation, mean absolute Laplacian, mean chroma, share of pixels above 0.9.
    """
    scaled = image.astype(np.float32) / 255.0
    grey = scaled.mean(axis=2)
    laplacian = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    chroma = scaled.max(axis=2) - scaled.min(axis=2)
    values = (grey.mean(), grey.std(), np.abs(laplacian).mean(), chroma.mean(), (grey > 0.9).mean())
    return dict(zip(PROPERTIES, (float(value) for value in values), strict=True))
