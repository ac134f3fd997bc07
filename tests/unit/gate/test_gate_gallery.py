import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sightline.data.version import Split
from sightline.evaluate.predict import Answers
from sightline.evaluate.slices import slice_masks
from sightline.gate.drawings import plot, reliability_curves
from sightline.gate.evidence import Evidence
from sightline.gate.gallery import (
    MAX_PICTURES,
    GoldenPictures,
    classification_galleries,
    detection_gallery,
    segmentation_gallery,
    worst_slices_first,
)
from sightline.gate.pictures import CROP_PX, DetectionFlip, SegmentationFlip, crop_window, detection_uri, segmentation_uri, thumbnail_uri
from tests.unit.gate.rich_verdict import paired

CLASSES = ("dent", "crack")
IMAGES = 400
GREY = np.full((200, 300, 3), 128, dtype=np.uint8)
BOX = (100.0, 60.0, 180.0, 120.0)
NO_BOXES = np.zeros((0, 4))


def _case(*, champion=True, broken=40) -> tuple[Evidence, GoldenPictures]:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, IMAGES)
    attributes = pd.DataFrame({"material": np.where(np.arange(IMAGES) < 30, "brass", "steel")})
    pixels = rng.integers(0, 255, (IMAGES, 16, 16, 3), dtype=np.uint8)
    names = tuple(f"data/{i:04d}.jpg" for i in range(IMAGES))
    split = Split("golden", tuple(f"{i:04d}" for i in range(IMAGES)), labels, attributes, names, pixels)
    old_right, new_right = np.ones(IMAGES, bool), np.ones(IMAGES, bool)
    old_right[200:210], new_right[:broken] = False, False

    def answers(right):
        return Answers(split.sample_ids, np.where(right, labels, -1), rng.uniform(0.5, 1, IMAGES).astype(np.float32))

    masks = slice_masks(split, CLASSES)
    old = answers(old_right) if champion else None
    return Evidence("trained", labels, masks, answers(new_right), old, None, same_model=False), GoldenPictures(
        lambda row: split.pixels_NHWC[row], split.locations
    )


def _checks():
    brass = paired("material=brass", "slice", slice="material=brass", value=0.2, outcome="fail")
    return [brass, paired("material=steel", "slice", slice="material=steel"), paired("unknown=x", "slice", slice="unknown=x", value=0.1)]


def _pixels(uri: str) -> np.ndarray:
    assert uri.startswith("data:image/jpeg;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")).astype(int)


def _near(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.abs(pixels - np.array(colour)).max(axis=2) < 60


def test_broken_images_of_the_worst_slice_come_first_and_at_most_24_are_shown():
    evidence, golden = _case()
    broken, fixed = classification_galleries(evidence, golden, CLASSES, _checks())
    assert (broken.title, broken.total, len(broken.pictures)) == ("Newly broken", 40, MAX_PICTURES)
    assert [name for name, _ in broken.groups] == ["material=brass"]
    assert (fixed.total, len(fixed.pictures)) == (10, 10)
    assert [name for name, _ in fixed.groups] == ["material=steel"]
    rows = [int(picture.file[:4]) for picture in broken.pictures]
    confidence = evidence.candidate.confidence_N[rows]
    assert list(confidence) == sorted(confidence, reverse=True)


def test_a_picture_says_what_both_models_said():
    evidence, golden = _case()
    _, fixed = classification_galleries(evidence, golden, CLASSES, _checks())
    picture = fixed.pictures[0]
    assert picture.lines[0] == ("current", "no valid answer")
    assert picture.lines[1][1].startswith(f"{picture.label} ")


def test_a_first_model_shows_its_mistakes():
    evidence, golden = _case(champion=False, broken=5)
    (mistakes,) = classification_galleries(evidence, golden, CLASSES, [])
    assert (mistakes.title, mistakes.total, len(mistakes.pictures)) == ("Mistakes", 5, 5)
    assert mistakes.pictures[0].slice == ""


def test_failing_slices_come_before_larger_but_unproven_losses():
    checks = [
        paired("a", "slice", slice="a", value=0.5, outcome="info"),
        paired("b", "slice", slice="b", value=0.88, outcome="fail"),
        paired("c", "slice", slice="c", value=0.6),
        paired("d", "slice", slice="d", value=0.1, num_images=0),
    ]
    assert [check.name for check in worst_slices_first(checks)] == ["b", "c", "a"]


def test_reliability_curves_share_their_bins_and_fit_the_plot():
    evidence, _ = _case()
    curves = reliability_curves(evidence)
    assert [curve.name for curve in curves] == ["current model", "new model"]
    assert all(int(curve.points.num_K.sum()) == IMAGES for curve in curves)
    drawn = plot(curves)
    assert drawn is not None
    assert drawn.ticks[-1] == (drawn.size, "100 %")
    assert plot(()) is None
    first = Evidence("trained", np.zeros(0, int), {}, Answers((), np.zeros(0, int), np.zeros(0, np.float32)), None, None, same_model=False)
    assert plot(reliability_curves(first)) is None


@pytest.mark.parametrize("kind", ["missed", "spurious", "found", "no longer spurious"])
def test_the_box_in_question_is_drawn_where_it_is(kind):
    pixels = _pixels(detection_uri(DetectionFlip(GREY, BOX, NO_BOXES, kind, "dent", "a.jpg")))
    assert max(pixels.shape[:2]) == CROP_PX
    drawn = np.abs(pixels - 128).max(axis=2) > 60
    left, top, right, bottom = crop_window(BOX, GREY.shape[:2])
    scale = CROP_PX / max(right - left, bottom - top)
    rows, columns = np.nonzero(drawn)
    assert columns.min() == pytest.approx((BOX[0] - left) * scale, abs=5)
    assert columns.max() == pytest.approx((BOX[2] - left) * scale, abs=5)
    assert rows.min() == pytest.approx((BOX[1] - top) * scale, abs=5)
    assert rows.max() == pytest.approx((BOX[3] - top) * scale, abs=5)
    middle = drawn[rows.min() + 12 : rows.max() - 12, columns.min() + 12 : columns.max() - 12]
    assert not middle.any()


def test_kinds_differ_in_pattern_not_only_in_colour():
    def strokes(kind):
        pixels = _pixels(detection_uri(DetectionFlip(GREY, BOX, NO_BOXES, kind, "dent", "a.jpg")))
        drawn = np.abs(pixels - 128).max(axis=2) > 60
        row = np.nonzero(drawn)[0].min() + 2
        return int((np.diff(drawn[row].astype(int)) == 1).sum())

    assert strokes("found") == 1
    assert strokes("missed") > 3
    assert strokes("spurious") > strokes("missed")


def test_true_boxes_are_drawn_in_white():
    with_truth = _pixels(detection_uri(DetectionFlip(GREY, BOX, np.array([[60.0, 40.0, 200.0, 140.0]]), "missed", "dent", "a.jpg")))
    without = _pixels(detection_uri(DetectionFlip(GREY, BOX, NO_BOXES, "missed", "dent", "a.jpg")))
    assert _near(with_truth, (255, 255, 255)).sum() > 50 > _near(without, (255, 255, 255)).sum()


@pytest.mark.parametrize(
    ("box", "shape"), [(BOX, (200, 300)), ((-50, -50, 20, 20), (200, 300)), ((290, 190, 400, 300), (200, 300)), ((0, 0, 5, 5), (8, 6)),
                       ((-9e5, 0, 9e5, 10), (200, 300)), ((10, 10, 10, 10), (200, 300))]
)  # fmt: skip
def test_a_crop_lies_inside_the_image_whatever_the_box(box, shape):
    left, top, right, bottom = crop_window(box, shape)
    assert 0 <= left < right <= shape[1]
    assert 0 <= top < bottom <= shape[0]
    image = np.zeros((*shape, 3), dtype=np.uint8)
    assert _pixels(detection_uri(DetectionFlip(image, box, NO_BOXES, "spurious", "dent", "a.jpg"))).size


def test_mask_outlines_are_drawn_and_their_inside_is_not():
    truth = np.zeros((200, 300), bool)
    truth[60:140, 80:200] = True
    candidate = np.roll(truth, 25, axis=1)
    flip = SegmentationFlip(GREY, truth, truth, candidate, "dent", "a.jpg")
    pixels = _pixels(segmentation_uri(flip))
    assert _near(pixels, (213, 94, 0)).sum() > 100
    assert _near(pixels, (255, 255, 255)).sum() > 50
    left, top, right, bottom = crop_window((80, 60, 225, 140), (200, 300))
    scale = CROP_PX / max(right - left, bottom - top)
    row, column = int((100 - top) * scale), int((150 - left) * scale)
    assert np.abs(pixels[row, column] - 128).max() < 10


def test_empty_masks_and_a_first_model_give_the_whole_image():
    nothing = np.zeros((200, 300), bool)
    pixels = _pixels(segmentation_uri(SegmentationFlip(GREY, nothing, None, nothing, "dent", "a.jpg")))
    assert pixels.shape == (112, 168, 3)
    assert np.abs(pixels - 128).max() < 10


def test_thumbnails_are_small():
    assert _pixels(thumbnail_uri(GREY)).shape == (75, 112, 3)


def test_only_the_pictures_that_are_shown_are_decoded():
    decoded = []

    def flips():
        for index in range(1000):
            decoded.append(index)
            yield DetectionFlip(GREY, BOX, NO_BOXES, "missed", "dent", f"part/{index}.jpg", "material=brass", "score 0.9 → 0.1")

    gallery = detection_gallery("Newly broken", "worst first", flips(), total=1000)
    assert len(decoded) == len(gallery.pictures) == MAX_PICTURES
    assert gallery.total == 1000
    assert gallery.pictures[0].lines == (("", "missed"), ("", "score 0.9 → 0.1"))
    assert gallery.pictures[0].file == "0.jpg"
    assert gallery.legend == "thin white line: true boxes; thick orange dashes: newly missed"
    assert "current model" not in segmentation_gallery("x", "y", [], total=0).legend
