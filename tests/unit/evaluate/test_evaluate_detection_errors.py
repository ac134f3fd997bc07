"""Kinds of detection errors on worlds that fit on a page, and against COCO's own matching on random ones."""

import numpy as np
import pytest

from sightline.evaluate.coco import Detections, Truth
from sightline.evaluate.detection_errors import DetectionErrors, count_errors, find_errors, find_flips
from sightline.evaluate.matched import match_boxes

HALF = np.full(2, 0.5)
CAT, DOG = 0, 1


def truth_of(*objects: tuple[int, int, tuple[float, ...], bool], images: int = 2) -> Truth:
    """Objects as (image, class, x y w h, is crowd)."""
    boxes = np.array([box for _, _, box, _ in objects], dtype=float).reshape(-1, 4)
    return Truth(
        image_ids_N=np.arange(images),
        files=tuple(f"{row}.png" for row in range(images)),
        sizes_N2=np.full((images, 2), 200),
        classes=("cat", "dog"),
        class_ids_C=np.arange(2),
        image_M=np.array([image for image, *_ in objects], dtype=np.int64),
        class_M=np.array([kind for _, kind, *_ in objects], dtype=np.int64),
        boxes_xywh_M4=boxes,
        area_M=boxes[:, 2] * boxes[:, 3],
        is_crowd_M=np.array([crowd for *_, crowd in objects], dtype=bool),
        attributes={},
        clusters_N=np.arange(images),
    )


def found(*boxes: tuple[int, int, tuple[float, ...], float]) -> Detections:
    """Boxes as (image, class, x y w h, score)."""
    return Detections(
        np.array([image for image, *_ in boxes], dtype=np.int64),
        np.array([kind for _, kind, *_ in boxes], dtype=np.int64),
        np.array([box for _, _, box, _ in boxes], dtype=float).reshape(-1, 4),
        np.array([score for *_, score in boxes], dtype=float),
    )


OBJECT = (10.0, 10.0, 40.0, 40.0)
ONE_CAT = truth_of((0, CAT, OBJECT, False))
BESIDE = (30.0, 10.0, 40.0, 40.0)  # IoU 1/3 with OBJECT
FAR = (120.0, 120.0, 30.0, 30.0)


@pytest.mark.parametrize(
    ("boxes", "kinds", "state"),
    [
        ([(0, CAT, OBJECT, 0.9)], [], "found"),
        ([], ["missed"], "missed"),
        ([(0, CAT, OBJECT, 0.4)], ["missed"], "missed"),
        ([(0, DOG, OBJECT, 0.9)], ["class"], "class"),
        ([(0, CAT, BESIDE, 0.9)], ["localisation"], "localisation"),
        ([(0, DOG, BESIDE, 0.9)], ["spurious", "missed"], "missed"),
        ([(0, CAT, OBJECT, 0.9), (0, CAT, OBJECT, 0.8)], ["duplicate"], "found"),
        ([(0, CAT, OBJECT, 0.9), (0, DOG, OBJECT, 0.8)], ["class"], "found"),
        ([(0, CAT, OBJECT, 0.9), (0, CAT, FAR, 0.8)], ["spurious"], "found"),
        ([(1, CAT, OBJECT, 0.9)], ["missed", "spurious"], "missed"),
        ([(0, CAT, BESIDE, 0.9), (0, DOG, OBJECT, 0.8)], ["localisation", "class"], "class"),
    ],
)
def test_each_box_and_each_object_without_a_box_has_one_kind_of_error(boxes, kinds, state):
    errors = find_errors(ONE_CAT, found(*boxes), HALF)
    assert [error.kind for error in errors.errors] == kinds
    assert errors.states_M == (state,)


def test_a_box_on_a_crowd_of_its_class_is_no_error_and_the_crowd_is_never_missed():
    truth = truth_of((0, CAT, (0.0, 0.0, 100.0, 100.0), True))
    errors = find_errors(truth, found((0, CAT, OBJECT, 0.9), (0, DOG, OBJECT, 0.9)), HALF)
    assert [(error.kind, error.class_index) for error in errors.errors] == [("spurious", DOG)]
    assert errors.states_M == ("",)


def test_the_better_score_takes_the_object():
    errors = find_errors(ONE_CAT, found((0, CAT, (11.0, 10.0, 40.0, 40.0), 0.7), (0, CAT, OBJECT, 0.9)), HALF)
    assert [(error.kind, error.score, error.object) for error in errors.errors] == [("duplicate", 0.7, 0)]


def test_errors_are_counted_by_name_most_frequent_first():
    truth = truth_of((0, CAT, OBJECT, False), (1, CAT, OBJECT, False))
    old = find_errors(truth, found((0, CAT, OBJECT, 0.9)), HALF)
    new = find_errors(truth, found((0, DOG, OBJECT, 0.9), (1, DOG, OBJECT, 0.9), (1, CAT, FAR, 0.9)), HALF)
    names = [(error.name, error.reference, error.candidate) for error in count_errors(truth, old, new)]
    assert names == [("cat taken for dog", 0, 2), ("spurious", 0, 1), ("missed", 1, 0)]
    assert [error.reference for error in count_errors(truth, None, new)] == [None, None]


def test_flips_show_the_object_and_what_both_models_made_of_it():
    truth = truth_of((0, CAT, OBJECT, False), (1, DOG, OBJECT, False))
    old = find_errors(truth, found((0, CAT, OBJECT, 0.9)), HALF)
    new = find_errors(truth, found((0, CAT, BESIDE, 0.9), (0, CAT, FAR, 0.9), (1, DOG, OBJECT, 0.9)), HALF)
    flips = find_flips(truth, old, new)
    assert [(flip.image, flip.class_index, flip.was, flip.kind, flip.is_broken) for flip in flips] == [
        (0, CAT, "found", "localisation", True),
        (0, CAT, "nothing", "spurious", True),
        (1, DOG, "missed", "found", False),
    ]
    assert [flip.box_xyxy for flip in flips] == [(10, 10, 50, 50), (120, 120, 150, 150), (10, 10, 50, 50)]


def test_a_spurious_box_of_both_models_is_no_flip_and_one_that_disappears_is_fixed():
    near = (122.0, 120.0, 30.0, 30.0)
    old = find_errors(ONE_CAT, found((0, CAT, FAR, 0.9), (0, CAT, FAR, 0.8)), HALF)
    new = find_errors(ONE_CAT, found((0, CAT, near, 0.6)), HALF)
    assert [(flip.was, flip.kind, flip.is_broken) for flip in find_flips(ONE_CAT, old, new)] == [("spurious", "nothing", False)]


def test_the_same_model_twice_has_no_flips_and_no_images_no_errors():
    errors = find_errors(ONE_CAT, found((0, DOG, OBJECT, 0.9), (1, CAT, FAR, 0.9)), HALF)
    assert find_flips(ONE_CAT, errors, errors) == ()
    empty = find_errors(truth_of(images=0), found(), HALF)
    assert empty == DetectionErrors((), ())
    assert count_errors(truth_of(images=0), empty, empty) == ()


@pytest.mark.parametrize("seed", range(30))
def test_found_objects_are_those_of_cocos_matching_at_iou_half(seed):
    rng = np.random.default_rng(seed)
    truth = truth_of(
        *[
            (int(rng.integers(3)), int(rng.integers(2)), (*rng.uniform(0, 120, 2), *rng.uniform(20, 80, 2)), bool(rng.uniform() < 0.2))
            for _ in range(15)
        ],
        images=3,
    )
    copied = rng.integers(0, 15, 40)
    boxes = truth.boxes_xywh_M4[copied] + rng.normal(0, 5, (40, 4))
    kinds = np.where(rng.uniform(size=40) < 0.8, truth.class_M[copied], 1 - truth.class_M[copied])
    detections = Detections(truth.image_M[copied], kinds, boxes, np.round(rng.uniform(size=40), 1))
    matched, errors = match_boxes(truth, detections), find_errors(truth, detections, HALF)
    kept = matched.score_D >= 0.5
    assert errors.states_M.count("found") == int((matched.tp_DT[:, 0] & kept).sum())
    false_boxes = int((~matched.tp_DT[:, 0] & ~matched.ignored_DT[:, 0] & kept).sum())
    assert sum(error.kind != "missed" for error in errors.errors) == false_boxes
