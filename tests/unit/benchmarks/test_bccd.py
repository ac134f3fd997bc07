"""The BCCD benchmark on tiny drawn images: what it reads, how it splits, what it writes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import bccd, bccd_data
from sightline.errors import DataError

BOX = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def voc(*boxes: tuple[str, float, float, float, float]) -> bytes:
    return f"<annotation>{''.join(BOX.format(*box) for box in boxes)}</annotation>".encode()


def write_bccd(folder: Path, num_images: int) -> Path:
    """Grey fields with one dark square each, labelled RBC; the last image is a copy of the one before."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(num_images):
        if number < num_images - 1:
            pixels = np.kron(rng.integers(150, 255, (6, 8, 3)), np.ones((80, 80, 1))).astype(np.uint8)
            pixels[100:200, 200:320] = 40
        Image.fromarray(pixels).save(folder / "JPEGImages" / f"image_{number:02}.jpg", quality=95 - number // (num_images - 1))
        (folder / "Annotations" / f"image_{number:02}.xml").write_bytes(voc(("RBC", 200, 100, 320, 200), ("Platelets", 5, 5, 5, 5)))
    (folder / "ImageSets" / "Main" / "test.txt").write_text("image_00\nimage_01\n")
    return folder


def test_boxes_are_cut_at_the_edges_and_empty_ones_left_out():
    boxes, labels = bccd_data.read_voc(voc(("WBC", -3, 10, 700, 20.5), ("RBC", 7, 7, 7, 9)))
    np.testing.assert_array_equal(boxes, [[0, 10, 640, 20.5]])
    assert labels.tolist() == [1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "document type"),
        ('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a SYSTEM "file:///etc/hostname"><a/>'.encode("utf-16"), "document type"),
        (b"<annotation>", "not XML"),
        (b"", "not XML"),
        (b"<a>" * 30, "nested"),
        (b"<annotation>" + b" " * bccd_data.MAX_XML_BYTES + b"</annotation>", "bytes"),
        (voc(("cat", 1, 2, 3, 4)), "unknown class 'cat'"),
        (voc(("RBC", "nan", 2, 3, 4)), "not a coordinate"),
        (voc(("RBC", "1" * 400, 2, 3, 4)), "not a coordinate"),
        (voc(*[("RBC", 1, 2, 3, 4)] * 1001), "more than 1000"),
    ],
)
def test_an_annotation_that_could_do_harm_is_refused(data, message):
    with pytest.raises(DataError, match=message):
        bccd_data.read_voc(data)


def test_near_copies_are_never_on_both_sides(tmp_path):
    images = bccd_data.read_images(write_bccd(tmp_path, 12))
    groups = bccd_data.group_names(images)
    assert groups[11] == groups[10] == "image_10"
    assert len(set(groups)) == 11
    for split in ("own", "official"):
        golden = bccd_data.golden_rows(images, groups, split, tmp_path)
        training = bccd_data.train_rows(golden, groups)
        assert sum(golden) >= 2
        assert not {g for g, used in zip(groups, golden, strict=True) if used} & {
            g for g, used in zip(groups, training, strict=True) if used
        }
    assert golden == [True, True, *[False] * 10]


def test_fields_of_view_that_overlap_are_one_group():
    rng = np.random.default_rng(5)
    slides = [np.kron(rng.integers(0, 255, (70, 90, 3)), np.ones((10, 10, 1))).astype(np.uint8) for _ in range(3)]
    crops = [slides[0][:480, :640], slides[1][50:530, :640], slides[0][100:580, 150:790], slides[2][:480, :640], slides[1][:480, 120:760]]
    images = [
        bccd_data.Labelled(f"{number}", crop, np.zeros((0, 4), np.float32), np.zeros(0, np.int64)) for number, crop in enumerate(crops)
    ]
    assert bccd_data.overlapping(images) == [(0, 2), (1, 4)]
    assert bccd_data.group_names(images) == ["0", "1", "0", "3", "1"]


def test_the_order_of_the_images_does_not_change_the_own_split(tmp_path):
    images = bccd_data.read_images(write_bccd(tmp_path, 12))
    names = [image.name for image in images]
    forward = dict(zip(names, bccd_data.golden_rows(images, names, "own", tmp_path), strict=True))
    backward = dict(zip(names[::-1], bccd_data.golden_rows(images[::-1], names[::-1], "own", tmp_path), strict=True))
    assert forward == backward


def test_attributes_say_what_is_in_the_image():
    pixels = np.full((480, 640, 3), (200, 180, 190), dtype=np.uint8)
    image = bccd_data.Labelled("a", pixels, np.ones((4, 4), dtype=np.float32), np.array([0, 1, 1, 2]))
    expected = {"red_cells": "few", "white_cells": "several", "platelets": "one", "light": "bright", "stain": "red"}
    assert bccd_data.attributes(image) == expected


def test_the_network_that_answers_the_target_finds_the_boxes():
    boxes = torch.tensor([[10.0, 20.0, 60.0, 70.0], [100.0, 100.0, 260.0, 220.0], [305.0, 0.0, 319.0, 18.0]])
    labels = torch.tensor([0, 1, 2])
    wanted = bccd.target(boxes, labels, 30, 40)

    class Perfect(torch.nn.Module):
        def forward(self, _images):
            return torch.logit(wanted.heat.clamp(1e-4, 0.999))[None], wanted.boxes[None]

    found, found_labels, scores = bccd.detect(Perfect(), torch.zeros(3, 240, 320))
    assert sorted(found_labels.tolist()) == [0, 1, 2]
    torch.testing.assert_close(found[found_labels.argsort()], boxes)
    assert scores.min() > 0.9
    owned = wanted.weights > 0
    torch.testing.assert_close(wanted.weights[owned].sum(), torch.tensor(3.0))


def test_an_image_without_boxes_has_an_empty_target():
    wanted = bccd.target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 3, 4)
    assert wanted.heat.sum() == wanted.weights.sum() == 0


def test_generalised_iou_equals_its_definition():
    first = torch.tensor([0.0, 0.0, 2.0, 2.0]).view(1, 4, 1, 1)
    second = torch.tensor([[1.0, 0.0, 3.0, 2.0], [4.0, 0.0, 6.0, 2.0], [0.0, 0.0, 2.0, 2.0]]).view(3, 4, 1, 1)
    expected = [2 / 6, 0 - 4 / 12, 1.0]
    torch.testing.assert_close(bccd.generalised_iou(first.expand(3, -1, -1, -1), second).flatten(), torch.tensor(expected))


def test_boxes_move_with_the_pixels():
    image = torch.full((3, 240, 320), 0.7)
    image[:, 60:120, 80:180] = 0.0
    boxes = torch.tensor([[80.0, 60.0, 180.0, 120.0]])
    rng = np.random.default_rng(3)
    for _ in range(10):
        moved, (moved_boxes, _) = bccd.augmented(image, (boxes, torch.tensor([0])), bccd.Recipe(max_zoom=1.2, max_light=0.0), rng)
        rows, columns = torch.nonzero(moved[0] < 0.35, as_tuple=True)
        seen = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
        torch.testing.assert_close(moved_boxes[0], seen, atol=1.5, rtol=0)


def test_missing_labels_only_concern_platelets():
    image = bccd_data.Labelled("a", np.zeros((480, 640, 3), np.uint8), np.ones((60, 4), np.float32), np.repeat([0, 1, 2], 20))
    _, labels = bccd.training_boxes(image, bccd.Recipe(kept_platelets=0.3), np.random.default_rng(0))
    counts = torch.bincount(labels, minlength=3).tolist()
    assert counts[:2] == [20, 20]
    assert 1 <= counts[2] <= 12


def test_a_run_writes_truth_and_detections_that_coco_reads(tmp_path, capsys):
    data, output = write_bccd(tmp_path / "data", 11), tmp_path / "out"
    bccd.run(data, output, split="official", models="AB", num_epochs=1, seed=1)
    truth = json.loads((output / "truth.json").read_text())
    assert [image["file_name"] for image in truth["images"]] == ["image_00.jpg", "image_01.jpg"]
    assert truth["annotations"][0]["bbox"] == [200, 100, 120, 100]
    results = json.loads((output / "B.json").read_text())
    assert all(0 <= row["score"] <= 1 and row["image_id"] in {1, 2} for row in results)
    table = bccd.average_precision(output / "truth.json", output / "A.json")
    assert table["all"] == table["RBC"]
    assert 0 <= table["RBC"][0] <= table["RBC"][1] <= 1
    assert np.isnan(table["WBC"]).all()
    assert "B (" in capsys.readouterr().out
