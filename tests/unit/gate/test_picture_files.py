"""Finding the golden images' files by the names in the truth."""

import numpy as np
import pytest
from PIL import Image

from sightline.errors import DataError
from sightline.evaluate.slices import image_values
from sightline.gate.picture_files import PictureFiles
from tests.unit.gate.comparisons import write_pictures


@pytest.fixture
def folder(tmp_path):
    return write_pictures(tmp_path / "images", ["a.png", "cam/b.jpg", "cam/c.png"])


def test_each_image_is_found_by_its_name_or_with_another_ending(folder):
    found = PictureFiles.find(folder, ["cam/c.png", "a.bmp", "./cam/b.png"])
    assert [path.relative_to(folder.resolve()).as_posix() for path in found.paths] == ["cam/c.png", "a.png", "cam/b.jpg"]
    assert found.read(2).shape == (48, 64, 3)


def test_files_beside_the_images_are_not_taken_for_them(folder):
    # As annotation tools leave them: the last in the alphabet.
    (folder / "cam/b.json").write_text("{}")
    (folder / "cam/b.xml").write_text("<x/>")
    assert PictureFiles.find(folder, ["cam/b.png"]).paths[0].name == "b.jpg"


def test_an_image_that_could_be_several_files_is_refused(folder):
    write_pictures(folder, ["a.jpg"])
    assert PictureFiles.find(folder, ["a.jpg"]).paths[0].name == "a.jpg"
    with pytest.raises(DataError, match=r"no image a\.bmp: it could be a\.jpg, a\.png"):
        PictureFiles.find(folder, ["a.bmp"])


def test_every_missing_image_is_named(folder):
    with pytest.raises(DataError) as caught:
        PictureFiles.find(folder, ["a.png", "b.png", "cam/d.png"])
    assert caught.value.problems == ("no image b.png", "no image cam/d.png")


@pytest.mark.parametrize("name", ["../secret.png", "cam/../../secret.png", "{outside}/secret.png", "..", ".", "", "a\0.png", "x" * 5000])
def test_a_name_never_leads_out_of_the_folder(folder, tmp_path, name):
    write_pictures(tmp_path, ["secret.png"])
    with pytest.raises(DataError, match="lacks 1 golden images"):
        PictureFiles.find(folder, [name.format(outside=tmp_path)])


def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path):
    write_pictures(tmp_path, ["secret.png"])
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match=r"no image link\.png"):
        PictureFiles.find(folder, ["link.png"])


def test_a_damaged_file_is_an_error_that_names_it(folder):
    (folder / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png cannot be used"):
        PictureFiles.find(folder, ["a.png"]).read(0)


def test_properties_are_those_of_the_images(folder):
    found = PictureFiles.find(folder, ["a.png", "cam/c.png"])
    values = found.values(("brightness", "sharpness", "size"))
    # Of flat images the small copy and the file have the same brightness.
    for path, grey in zip(found.paths, (40, 200), strict=True):
        Image.new("RGB", (80, 20), (grey,) * 3).save(path)
    flat = found.values(("brightness", "size"))
    whole = np.stack([found.read(row) for row in range(2)])
    assert values.keys() == {"image.brightness", "image.sharpness", "image.size"}
    assert flat["image.brightness"] == pytest.approx(image_values(whole, None, ("brightness",))["image.brightness"], abs=1e-6)
    assert flat["image.size"].tolist() == [1600, 1600]
    assert found.values(()) == {}
