"""What is told about the images of two segmenters: which changed, in what order, and in which words."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sightline.config.gate import GateConfig
from sightline.evaluate.verdict import Check
from sightline.gate.compare import Files
from sightline.gate.compare_masks import Masks, read_masks

POLICY = GateConfig(property_slices=(), discover_slices=False)
WORST = [
    Check(name="line=b", kind="slice", slice="line=b", required=True, outcome="fail", metric="image IoU", num_images=3),
    Check(name="line=a", kind="slice", slice="line=a", required=True, outcome="pass", metric="image IoU", num_images=3),
]
FULL, HALF, THIRD, NONE, STRAY = (slice(0, 12), slice(0, 6), slice(0, 4), slice(0, 0), slice(0, 2))
# Per image the rows of the defect in the truth, the current and the new model's mask, and its line.
IMAGES = {
    "lost": (FULL, FULL, NONE, "a"),
    "shrunk": (FULL, FULL, THIRD, "b"),
    "invented": (NONE, NONE, STRAY, "a"),
    "invented-more": (NONE, NONE, HALF, "a"),
    "found": (FULL, THIRD, FULL, "b"),
    "cleaned": (NONE, HALF, NONE, "b"),
}


def write(folder: Path, which: int) -> Path:
    folder.mkdir()
    for name, parts in IMAGES.items():
        mask = np.zeros((20, 20), dtype=np.uint8)
        mask[parts[which]] = 1
        Image.fromarray(mask).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def files(tmp_path) -> Files:
    truth, current, new = (write(tmp_path / name, which) for which, name in enumerate(("truth", "current", "new")))
    (tmp_path / "images").mkdir()
    for name in IMAGES:
        Image.new("RGB", (20, 20), (90, 90, 90)).save(tmp_path / "images" / f"{name}.jpg")
    pd.DataFrame([(f"{name}.png", parts[3]) for name, parts in IMAGES.items()], columns=["image", "line"]).to_csv(
        tmp_path / "lines.csv", index=False
    )
    return Files(current, new, truth, tmp_path / "lines.csv", tmp_path / "images", ("background", "defect"))


def flips(masks: Masks, folder: Path) -> dict[str, tuple[str, str, str]]:
    masks.write(folder, WORST)
    table = pd.read_parquet(folder / "flips.parquet")
    return {row.location.removesuffix(".png"): (row.kind, row.label, row.detail) for row in table.itertuples()}


def test_changed_images_come_worst_slice_first_then_by_the_change_and_its_size(files, tmp_path):
    found = flips(read_masks(files, POLICY), tmp_path)
    assert list(found) == ["shrunk", "lost", "invented-more", "invented", "cleaned", "found"]


def test_a_defect_that_is_not_there_is_told_in_pixels(files, tmp_path):
    found = flips(read_masks(files, POLICY), tmp_path)
    assert found["invented"] == ("worse", "defect", "not there; pixels 0 → 40")
    assert found["cleaned"] == ("better", "defect", "not there; pixels 120 → 0")
    assert found["shrunk"] == ("worse", "defect", "IoU 1.00 → 0.33")


def test_a_fixed_image_is_told_by_the_class_that_was_wrong(files, tmp_path):
    assert flips(read_masks(files, POLICY), tmp_path)["found"] == ("better", "defect", "IoU 0.33 → 1.00")


def test_pictures_are_in_one_group_for_each_slice(files):
    broken, fixed = read_masks(files, POLICY).galleries(WORST)
    assert [(name, len(pictures)) for name, pictures in broken.groups] == [("line=b", 1), ("line=a", 3)]
    assert (broken.title, broken.total, fixed.total) == ("Newly broken", 4, 2)
    assert not any("nan" in line for gallery in (broken, fixed) for picture in gallery.pictures for _, line in picture.lines)


def test_a_first_models_mistakes_are_shown(files, tmp_path):
    masks = read_masks(Files(None, files.new, *list(vars(files).values())[2:]), POLICY)
    (mistakes,) = masks.galleries(WORST)
    assert (mistakes.title, mistakes.total) == ("Mistakes", 4)
    assert flips(masks, tmp_path)["shrunk"] == ("wrong", "defect", "IoU 0.33")
    assert (masks.findings(POLICY, []).flips.num_broken, masks.findings(POLICY, []).flips.num_fixed) == (0, 0)


def test_of_two_classes_each_wrong_pixel_is_told_once(files):
    errors = {error.name: (error.reference, error.candidate) for error in read_masks(files, POLICY).findings(POLICY, []).errors}
    assert errors == {"pixels of defect missed": (160, 240 + 160), "pixels wrongly called defect": (120, 40 + 120)}
