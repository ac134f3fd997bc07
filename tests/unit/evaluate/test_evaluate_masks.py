import numpy as np
import pytest
from PIL import Image

from sightline.errors import DataError
from sightline.evaluate import masks
from sightline.evaluate.masks import MaskRefusedError, open_masks

NAMES = ("day/a.jpg", "night/b.png")


def write(folder, name, mask, palette=None):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(mask, np.uint8))
    if palette is not None:
        image = image.copy()
        image.putpalette(palette)
    image.save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "day/a.png", [[0, 1, 2], [255, 1, 0]])
    write(tmp_path, "night/b.png", [[2, 2], [0, 0]], palette=[0, 0, 0, 255, 0, 0, 0, 255, 0])
    return tmp_path


def test_grey_and_palette_masks_are_read_as_class_indices(folder):
    opened = open_masks(folder, NAMES, 3)
    assert opened.names == NAMES
    assert opened.read("day/a.jpg").tolist() == [[0, 1, 2], [255, 1, 0]]
    assert opened.read("night/b.png").tolist() == [[2, 2], [0, 0]]


def test_small_palettes_and_two_coloured_masks_keep_their_indices(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8))
    image.putpalette(list(range(12)))
    image.save(tmp_path / "few.png", bits=2)
    Image.fromarray(np.array([[0, 1], [1, 0]], bool)).convert("P").save(tmp_path / "odd.png", bits=1)
    opened = open_masks(tmp_path, ["few.jpg", "odd.jpg"], 4)
    assert (tmp_path / "few.png").read_bytes()[24] == 2
    assert opened.read("few.jpg").tolist() == [[0, 1], [2, 3]]


def test_every_missing_and_surplus_mask_is_named_at_once(folder):
    (folder / "night/b.png").rename(folder / "night/c.png")
    (folder / "notes.txt").write_text("x")
    with pytest.raises(DataError) as raised:
        open_masks(folder, NAMES, 3)
    assert raised.value.problems == (
        "no mask night/b.png for night/b.png",
        "night/c.png belongs to no image",
        "notes.txt belongs to no image",
    )


def test_two_images_cannot_share_a_mask(folder):
    with pytest.raises(DataError, match=r"day/a\.png would belong to both day/a\.jpg and day/a\.bmp"):
        open_masks(folder, (*NAMES, "day/a.bmp"), 3)


@pytest.mark.parametrize("name", ["../a.jpg", "/data/a.jpg"])
def test_names_do_not_lead_out_of_the_folder(folder, name):
    with pytest.raises(DataError, match="leads out of the folder"):
        open_masks(folder, (*NAMES, name), 3)


def test_a_folder_that_does_not_exist_has_no_masks(tmp_path):
    with pytest.raises(DataError, match=r"no mask day/a\.png"):
        open_masks(tmp_path / "nowhere", NAMES, 3)


def test_a_class_that_does_not_exist_is_refused(folder):
    with pytest.raises(MaskRefusedError, match=r"class indices 2 do not exist, there are 2 classes"):
        open_masks(folder, NAMES, 2).read("day/a.jpg")


def refused(folder, content):
    (folder / "day/a.png").write_bytes(content)
    return open_masks(folder, NAMES, 3)


def test_damaged_files_are_refused(folder):
    whole = (folder / "day/a.png").read_bytes()
    for content, reason in (
        (b"", "empty"),
        (b"no image at all, just some text", "not a PNG"),
        (whole[:-30], "day/a"),
        (whole[:40], "day/a"),
    ):
        with pytest.raises(MaskRefusedError, match=reason):
            refused(folder, content).read("day/a.jpg")


def test_colours_are_no_class_indices(folder):
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(folder / "day/a.png")
    with pytest.raises(MaskRefusedError, match="a colour PNG"):
        open_masks(folder, NAMES, 3).read("day/a.jpg")


def test_sixteen_bit_and_one_bit_grey_are_refused_as_their_values_would_change(folder):
    for image in (Image.fromarray(np.zeros((2, 3), np.uint16)), Image.fromarray(np.zeros((2, 3), bool))):
        image.save(folder / "day/a.png")
        with pytest.raises(MaskRefusedError, match="bit grey, expected 8-bit grey or a palette"):
            open_masks(folder, NAMES, 3).read("day/a.jpg")


def test_large_files_and_images_are_refused_before_they_are_decoded(folder, monkeypatch):
    opened = open_masks(folder, NAMES, 3)
    with pytest.raises(MaskRefusedError, match="3×2 pixels, at most 5 are decoded"):
        opened.read("day/a.jpg", max_pixels=5)
    monkeypatch.setattr(masks, "MAX_BYTES", 10)
    with pytest.raises(MaskRefusedError, match="bytes, at most 10"):
        opened.read("day/a.jpg")


def test_the_number_of_classes_fits_into_a_byte(folder):
    with pytest.raises(DataError, match="256 classes"):
        open_masks(folder, NAMES, 256)
