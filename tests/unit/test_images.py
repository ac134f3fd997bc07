import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from sightline.data.flaws import bomb_png
from sightline.images import PROPERTIES, ImageRefusedError, decode, format_of, image_properties, resize


def _pixels(height: int = 40, width: int = 56) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 4 % 256, y * 5 % 256, (x + y) * 2 % 256], axis=2).astype(np.uint8)


def _encoded(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or Image.fromarray(_pixels())).save(buffer, kind, **options)
    return buffer.getvalue()


def _reason(data: bytes, **options: int) -> str:
    with pytest.raises(ImageRefusedError) as caught:
        decode(data, **options)
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_come_back_as_they_were(kind):
    np.testing.assert_array_equal(decode(_encoded(kind)), _pixels())


def test_lossless_webp_comes_back_as_it_was():
    np.testing.assert_array_equal(decode(_encoded("WEBP", lossless=True)), _pixels())


@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_decode_as_with_a_second_decoder(progressive):
    data = _encoded("JPEG", quality=90, progressive=progressive)
    other = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(decode(data).astype(int) - other).max() <= 3


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_cut_anywhere_is_refused_as_truncated(mode, progressive):
    data = _encoded("JPEG", Image.fromarray(_pixels()).convert(mode), quality=90, progressive=progressive)
    reasons = {_reason(data[: len(data) * percent // 100]) for percent in range(2, 100)}
    assert reasons == {"truncated"}


def test_a_cut_jpeg_would_be_half_grey_for_a_tolerant_decoder(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    noise = np.random.default_rng(1).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    cut = _encoded("JPEG", Image.fromarray(noise), quality=90)
    cut = cut[: len(cut) // 2]
    assert (np.asarray(Image.open(io.BytesIO(cut)))[-1] == 128).all()
    assert _reason(cut) == "truncated"


def test_zeros_inside_the_scan_of_a_jpeg_are_refused():
    noise = np.random.default_rng(1).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    data = bytearray(_encoded("JPEG", Image.fromarray(noise), quality=90))
    data[3000:3200] = bytes(200)
    Image.open(io.BytesIO(bytes(data))).load()
    assert _reason(bytes(data)) == "undecodable"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_other_formats_cut_in_the_middle_are_refused(kind):
    data = _encoded(kind)
    assert _reason(data[: len(data) // 2]) in {"truncated", "undecodable"}


def test_no_bytes_are_empty():
    assert _reason(b"") == "empty"


@pytest.mark.parametrize(
    "data",
    [
        b"This is not an image.",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"8BPS\0\1",
        b"\0",
        _encoded("GIF"),
    ],
)
def test_formats_outside_the_list_are_unknown_whatever_they_are_called(data):
    assert _reason(data) == "unknown-format"


def test_a_file_that_only_begins_like_an_image_is_undecodable():
    assert _reason(b"BM" + b"x" * 100) in {"truncated", "undecodable"}
    assert _reason(b"\xff\xd8" + b"x" * 100 + b"\xff\xd9") == "undecodable"


@pytest.mark.parametrize("edge", [8_000, 13_000, 65_500])
def test_a_png_bomb_is_refused_from_its_header_before_its_content_matters(edge):
    bomb = bomb_png(edge, edge)
    assert len(bomb) < 10_000
    assert _reason(bomb) == "too-large"
    header_and_some = bomb[: len(bomb) - 500]
    assert _reason(header_and_some) == "too-large"


def test_a_jpeg_header_that_promises_too_many_pixels_is_refused():
    data = bytearray(_encoded("JPEG", quality=90))
    start = data.find(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", 65_500, 65_500)
    assert _reason(bytes(data)) == "too-large"


def test_the_largest_number_of_pixels_is_inclusive():
    data = _encoded("PNG")
    assert decode(data, max_pixels=40 * 56).shape == (40, 56, 3)
    assert _reason(data, max_pixels=40 * 56 - 1) == "too-large"


def test_a_png_with_a_text_bomb_is_refused():
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    plain = _encoded("PNG")
    bomb = plain[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000), 9)) + plain[33:]
    assert _reason(bomb) == "undecodable"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {}
    data = _encoded(kind, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")).astype(int)
    upright = decode(data)
    assert upright.shape == expected.shape
    assert np.abs(upright.astype(int) - expected).max() <= 3
    assert upright.flags["C_CONTIGUOUS"]


def test_an_orientation_that_says_nothing_leaves_the_image_alone():
    exif = Image.Exif()
    exif[0x0112] = 99
    data = _encoded("JPEG", exif=exif, quality=95)
    assert decode(data).shape == (40, 56, 3)
    damaged = data.replace(b"Exif\0\0MM", b"Exif\0\0??")
    assert decode(damaged).shape == (40, 56, 3)


def test_a_turned_jpeg_is_decoded_strictly_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = _encoded("JPEG", exif=exif, quality=95)
    assert _reason(data[: len(data) * 3 // 4]) == "truncated"


def test_grey_images_get_three_equal_channels():
    grey = decode(_encoded("PNG", Image.fromarray(_pixels()).convert("L")))
    assert grey.shape == (40, 56, 3)
    assert (grey[:, :, 0] == grey[:, :, 1]).all()
    assert (grey[:, :, 1] == grey[:, :, 2]).all()


def test_sixteen_bits_are_scaled_to_eight():
    levels = np.linspace(0, 65_535, 40 * 56).reshape(40, 56).astype(np.uint16)
    np.testing.assert_allclose(decode(_encoded("PNG", Image.fromarray(levels)))[:, :, 0], levels / 257.0, atol=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_blended_with_black(mode):
    image = Image.fromarray(_pixels()).convert(mode)
    image.putalpha(0)
    assert decode(_encoded("PNG", image)).max() == 0


def test_a_palette_with_transparency_is_blended_with_black():
    image = Image.fromarray(_pixels()).convert("P", palette=Image.Palette.ADAPTIVE)
    data = _encoded("PNG", image, transparency=bytes([0] * 256))
    assert decode(data).max() == 0


def test_cmyk_jpegs_become_rgb():
    plain = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red = decode(_encoded("JPEG", plain, quality=95))
    assert red[:, :, 0].min() > 200
    assert red[:, :, 1:].max() < 60


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1)])
def test_odd_shapes_are_decoded_and_resized(width, height):
    data = _encoded("PNG", Image.new("RGB", (width, height), (9, 8, 7)))
    image = decode(data)
    assert image.shape == (height, width, 3)
    assert (resize(image, 32) == np.asarray([9, 8, 7])).all()


def test_threads_get_the_same_pixels():
    files = [_encoded(kind) for kind in ("PNG", "BMP", "TIFF", "JPEG")] * 20
    with ThreadPoolExecutor(4) as pool:
        for data, image in zip(files, pool.map(decode, files), strict=True):
            np.testing.assert_array_equal(image, decode(data))


def test_formats_are_told_by_their_first_bytes():
    for kind in ("JPEG", "PNG", "BMP", "WEBP", "TIFF"):
        assert format_of(_encoded(kind)) == kind
    assert format_of(b"RIFF1234WAVE") == ""


def test_resize_keeps_an_image_of_the_right_size_and_averages_when_it_shrinks():
    image = _pixels(64, 64)
    assert resize(image, 64) is image
    checks = np.zeros((64, 64, 3), dtype=np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = 255
    assert abs(float(resize(checks, 8).mean()) - 127.5) < 3


def test_large_images_are_resized_as_by_one_filter_within_some_grey_levels():
    image = np.random.default_rng(1).integers(0, 256, (640, 900, 3), dtype=np.uint8)
    once = np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(resize(image, 48).astype(int) - once).max() <= 6


def test_properties_agree_with_their_definitions():
    image = _pixels(16, 16)
    scaled = image.astype(float) / 255
    grey = scaled.mean(axis=2)
    laplacian = [
        abs(4 * grey[y, x] - grey[y - 1, x] - grey[y + 1, x] - grey[y, x - 1] - grey[y, x + 1]) for y in range(1, 15) for x in range(1, 15)
    ]
    expected = (grey.mean(), grey.std(), np.mean(laplacian), np.ptp(scaled, axis=2).mean(), (grey > 0.9).mean())
    values = image_properties(image)
    assert tuple(values) == PROPERTIES
    np.testing.assert_allclose(list(values.values()), expected, rtol=1e-4, atol=1e-6)
