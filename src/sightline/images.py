"""The one image decoder: ingest, training, gate and serving all see the same pixels."""

import io
import struct

import numpy as np
import numpy.typing as npt

ImageU8 = npt.NDArray[np.uint8]
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
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


def decode(data: bytes, *, max_pixels: int = 50_000_000) -> ImageU8:
    """The pixels as RGB, shape (height, width, 3), uint8, turned upright by the EXIF orientation.

    The size is read from the header and checked against ``max_pixels`` before any pixel is decoded. JPEGs are decoded strictly: a truncated
    file or one with garbage in its scan is refused, where Pillow would return partly grey pixels. Grey images get three equal channels,
    transparency is blended with black, 16-bit images are scaled to 8 bits.

    Raises:
        ImageRefusedError: the bytes are not an image that can be used; the reason says why.
    """
    import warnings

    from PIL import Image, ImageOps, UnidentifiedImageError

    if not data:
        raise ImageRefusedError("empty", "0 bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > max_pixels:
                    raise ImageRefusedError("too-large", f"{image.width}×{image.height} pixels, at most {max_pixels} are decoded")
                if image.format == "JPEG" and image.mode in {"RGB", "L"} and image.getexif().get(0x0112, 1) == 1:
                    return _decode_jpeg(data)
                return _to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise ImageRefusedError("unknown-format", f"not one of {', '.join(FORMATS)}") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        reason = "truncated" if "truncated" in str(error).lower() else "undecodable"
        raise ImageRefusedError(reason, str(error)) from None


def _decode_jpeg(data: bytes) -> ImageU8:
    import simplejpeg

    try:
        pixels: ImageU8 = simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, strict=True)
    except ValueError as error:
        text = str(error)
        reason = "truncated" if "premature" in text.lower() or "end of" in text.lower() else "undecodable"
        raise ImageRefusedError(reason, text) from None
    return pixels


def _to_rgb(image: object) -> ImageU8:
    from PIL import Image

    assert isinstance(image, Image.Image)  # noqa: S101 - narrows the type for mypy; exif_transpose returns an Image here
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
    """The image as the model sees it: a square of ``size_px``, bilinear with antialiasing, aspect ratio not kept."""
    from PIL import Image

    if image.shape[:2] == (size_px, size_px):
        return image
    return np.asarray(Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BILINEAR), dtype=np.uint8)


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
