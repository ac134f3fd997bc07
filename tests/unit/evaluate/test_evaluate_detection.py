"""AP of weighted images against pycocotools, which sees the images repeated."""

import contextlib
import io
import os

import numpy as np
import pytest

from sightline.evaluate.average_precision import RECALL_LEVELS, _compiled, class_average_precision, table_of
from sightline.evaluate.coco import Detections, Truth
from sightline.evaluate.detection import SIZE_RANGES, image_slices, match, object_size_masks, summarise
from sightline.evaluate.matched import Matched, match_boxes
from sightline.evaluate.paired import PairedMetric

WORLDS = 1000 if os.environ.get("SIGHTLINE_STATS") == "full" else 60
CLOSE = 1e-9


def truth_of(sizes: int, classes: int, image: np.ndarray, kind: np.ndarray, boxes: np.ndarray, crowd: np.ndarray) -> Truth:
    return Truth(
        image_ids_N=np.arange(sizes),
        files=tuple(f"{row}.png" for row in range(sizes)),
        sizes_N2=np.full((sizes, 2), 200),
        classes=tuple(f"c{index}" for index in range(classes)),
        class_ids_C=np.arange(classes),
        image_M=image,
        class_M=kind,
        boxes_xywh_M4=boxes,
        area_M=boxes[:, 2] * boxes[:, 3],
        is_crowd_M=crowd,
        attributes={},
        clusters_N=np.arange(sizes),
    )


def random_world(seed: int) -> tuple[Truth, Detections, Detections]:
    """Few images, many accidents: crowds, equal scores, images and classes without objects, more than 100 boxes of a class."""
    rng = np.random.default_rng(seed)
    images, classes = int(rng.integers(1, 13)), int(rng.integers(1, 4))
    counts = rng.poisson(rng.choice([0.5, 3.0, 6.0]), images) * (rng.uniform(size=images) < 0.8)
    image = np.repeat(np.arange(images), counts)
    boxes = np.concatenate([rng.uniform(0, 120, (len(image), 2)), rng.uniform(4, 130, (len(image), 2))], axis=1)
    kind = rng.integers(0, classes, len(image))
    truth = truth_of(images, classes, image, kind, boxes, rng.uniform(size=len(image)) < rng.choice([0.0, 0.2]))
    return truth, random_boxes(truth, rng), random_boxes(truth, rng)


def random_boxes(truth: Truth, rng: np.random.Generator) -> Detections:
    copied = np.repeat(np.arange(len(truth.image_M)), rng.integers(0, 3, len(truth.image_M)))
    near = truth.boxes_xywh_M4[copied] + rng.normal(0, rng.choice([1.0, 6.0]), (len(copied), 4))
    extra = int(rng.choice([0, 5, 40, 260], p=[0.2, 0.4, 0.3, 0.1]))
    far = np.concatenate([rng.uniform(0, 150, (extra, 2)), rng.uniform(3, 60, (extra, 2))], axis=1)
    boxes = np.concatenate([near, far])
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1.0)
    image = np.concatenate([truth.image_M[copied], rng.integers(0, len(truth), extra)])
    kind = np.concatenate([truth.class_M[copied], rng.integers(0, len(truth.classes), extra)])
    score = np.round(rng.uniform(size=len(image)), int(rng.choice([1, 2, 8])))
    order = rng.permutation(len(image))
    return Detections(image[order], kind[order], boxes[order], score[order])


def oracle(truth: Truth, found: Detections, weights: np.ndarray) -> np.ndarray:
    """The twelve numbers of pycocotools when image n is physically there ``weights[n]`` times; NaN where it says -1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    copies = np.repeat(np.arange(len(truth)), weights.astype(int))
    annotations, results = [], []
    for number, row in enumerate(copies):
        for m in np.flatnonzero(truth.image_M == row):
            entry = {"image_id": number, "category_id": int(truth.class_M[m]), "bbox": truth.boxes_xywh_M4[m].tolist()}
            entry |= {"id": len(annotations) + 1, "area": float(truth.area_M[m]), "iscrowd": int(truth.is_crowd_M[m])}
            annotations.append(entry)
        for d in np.flatnonzero(found.image_D == row):
            entry = {"image_id": number, "category_id": int(found.class_D[d]), "bbox": found.boxes_xywh_D4[d].tolist()}
            results.append(entry | {"score": float(found.score_D[d])})
    images = [{"id": number, "width": 200, "height": 200} for number in range(len(copies))]
    categories = [{"id": index, "name": name} for index, name in enumerate(truth.classes)]
    with contextlib.redirect_stdout(io.StringIO()):
        objects = COCO()
        objects.dataset = {"images": images, "annotations": annotations, "categories": categories}
        objects.createIndex()
        detected = objects.loadRes(results) if results else COCO()
        evaluator = COCOeval(objects, detected, "bbox")
        if not results:
            evaluator.cocoDt.dataset = {"images": images, "annotations": [], "categories": categories}
            evaluator.cocoDt.createIndex()
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return np.where(evaluator.stats == -1, np.nan, evaluator.stats)


@pytest.mark.parametrize("seed", range(WORLDS))
def test_weighted_ap_is_that_of_pycocotools_on_repeated_images(seed):
    truth, first, second = random_world(seed)
    both = match(truth, first, second)
    rng = np.random.default_rng(seed + 10**6)
    weights = np.stack([np.ones(len(truth)), rng.poisson(1.0, len(truth)), rng.integers(0, 4, len(truth))]).astype(np.float32)
    weights[:, 0] = np.maximum(weights[:, 0], 1)
    ap, ap50 = both.ap.at(weights), both.ap50.at(weights)
    for column, found in enumerate((first, second)):
        for row, one in enumerate(weights):
            wanted = oracle(truth, found, one)
            np.testing.assert_allclose([ap[row, column], ap50[row, column]], wanted[:2], rtol=0, atol=CLOSE)


@pytest.mark.parametrize("seed", range(1000, 1000 + WORLDS // 3))
def test_plain_numbers_are_those_of_pycocotools(seed):
    truth, found, _ = random_world(seed)
    summary, wanted = summarise(truth, found), oracle(truth, found, np.ones(len(truth)))
    ours = [summary.ap, summary.ap50, *summary.by_size.values(), summary.ar100]
    np.testing.assert_allclose(ours, wanted[[0, 1, 3, 4, 5, 8]], rtol=0, atol=CLOSE)
    if not np.isnan(summary.ap):
        assert summary.ap == pytest.approx(np.nanmean(list(summary.by_class.values())), abs=CLOSE)


@pytest.mark.parametrize("seed", range(2000, 2000 + WORLDS // 3))
def test_a_subset_scores_as_its_images_alone_in_its_order(seed):
    truth, first, second = random_world(seed)
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(truth), 2 * len(truth))
    part = match(truth, first, second).ap.subset(rows)
    weights = rng.integers(0, 3, (2, len(rows))).astype(np.float32)
    weights[:, 0] = 1
    for one, values in zip(weights, part.at(weights), strict=True):
        chosen = np.repeat(rows, one.astype(int))
        wanted = [_reordered(truth, found, chosen) for found in (first, second)]
        np.testing.assert_allclose(values, wanted, rtol=0, atol=CLOSE)
    assert len(part) == len(rows)


def _reordered(truth: Truth, found: Detections, rows: np.ndarray) -> float:
    """AP by the oracle of the images ``rows`` as images of their own."""
    objects = np.concatenate([np.flatnonzero(truth.image_M == row) for row in rows])
    boxes = np.concatenate([np.flatnonzero(found.image_D == row) for row in rows])
    image_M = np.concatenate([np.full((truth.image_M == row).sum(), number) for number, row in enumerate(rows)])
    image_D = np.concatenate([np.full((found.image_D == row).sum(), number) for number, row in enumerate(rows)])
    picked = truth_of(
        len(rows), len(truth.classes), image_M, truth.class_M[objects], truth.boxes_xywh_M4[objects], truth.is_crowd_M[objects]
    )
    picked_boxes = Detections(image_D, found.class_D[boxes], found.boxes_xywh_D4[boxes], found.score_D[boxes])
    return float(oracle(picked, picked_boxes, np.ones(len(rows)))[0])


def test_negative_control_a_curve_without_envelope_or_with_another_tie_order_is_caught():
    caught_order = caught_envelope = 0
    for seed in range(30):
        truth, found, _ = random_world(seed)
        matched, wanted = match_boxes(truth, found), oracle(truth, found, np.ones(len(truth)))[1]
        assert _plain_ap50(matched, stable=True, envelope=True) == pytest.approx(wanted, abs=CLOSE, nan_ok=True)
        caught_order += abs(_plain_ap50(matched, stable=False, envelope=True) - wanted) > CLOSE
        caught_envelope += abs(_plain_ap50(matched, stable=True, envelope=False) - wanted) > CLOSE
    assert caught_order >= 5
    assert caught_envelope >= 5


def _plain_ap50(matched: Matched, *, stable: bool, envelope: bool) -> float:
    """AP50 in plain Python, with two ways to get it wrong."""
    values = []
    for kind in range(matched.num_classes):
        total = int((matched.object_class_M == kind).sum())
        mine = np.flatnonzero((matched.class_D == kind) & ~matched.ignored_DT[:, 0])
        if not total:
            continue
        mine = mine if stable else mine[::-1]
        mine = mine[np.argsort(-matched.score_D[mine], kind="stable")]
        found = np.cumsum(matched.tp_DT[mine, 0])
        precision = found / np.arange(1, len(mine) + 1)
        if envelope:
            precision = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(found / total, RECALL_LEVELS, side="left")
        values.append(np.append(precision, 0.0)[np.minimum(places, len(mine))].mean())
    return float(np.mean(values)) if values else float("nan")


def small_world() -> tuple[Truth, Detections]:
    """Two objects in image 0, one in image 1, none in image 2; all found except the last, and one box too many."""
    boxes = np.array([[10, 10, 20, 20], [60, 60, 50, 50], [10, 10, 120, 120]], dtype=float)
    truth = truth_of(3, 2, np.array([0, 0, 1]), np.array([0, 1, 0]), boxes, np.zeros(3, dtype=bool))
    found = np.concatenate([boxes[:2], [[150, 150, 20, 20]]])
    return truth, Detections(np.array([0, 0, 2]), np.array([0, 1, 0]), found, np.array([0.9, 0.6, 0.55]))


def test_a_model_that_finds_everything_scores_one_and_one_that_finds_nothing_zero():
    truth, _ = small_world()
    perfect = Detections(truth.image_M, truth.class_M, truth.boxes_xywh_M4, np.full(3, 0.9))
    nothing = Detections(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, 4)), np.zeros(0))
    both = match(truth, nothing, perfect)
    assert both.ap.at(np.ones((1, 3), dtype=np.float32)).tolist() == [[0.0, pytest.approx(1.0)]]
    assert (both.reference.ar100, both.candidate.ar100) == (0.0, 1.0)
    assert both.ap.image_scores().tolist() == [[0, 0, 1], [1, 1, 1]]


def test_weights_without_any_object_give_nan_and_no_images_give_nan():
    truth, found = small_world()
    both = match(truth, found, found)
    assert np.isnan(both.ap.at(np.array([[0, 0, 5]], dtype=np.float32))).all()
    assert np.isnan(both.ap.subset(np.array([], dtype=np.int64)).at(np.zeros((1, 0), dtype=np.float32))).all()
    assert both.ap.at(np.zeros((0, 3), dtype=np.float32)).shape == (0, 2)


def test_image_scores_count_boxes_from_the_threshold_of_their_class_on():
    truth, found = small_world()
    scores = match(truth, found, found, score_thresholds_2C=np.array([[0.5, 0.5], [0.6, 0.7]])).ap.image_scores()
    assert scores.tolist() == [[1.0, 0.0, 0.0], [pytest.approx(2 / 3), 0.0, 1.0]]


def test_a_metric_is_named_and_fits_the_protocol():
    both = match(small_world()[0], *[small_world()[1]] * 2)
    metrics: tuple[PairedMetric, ...] = (both.ap, both.ap50)
    assert [(metric.name, len(metric)) for metric in metrics] == [("AP", 3), ("AP50", 3)]


@pytest.mark.parametrize("weights", [[[1, 1, -1]], [[1, 0.5, 1]], [[1, np.nan, 1]], [[1, 1, 2**31]]])
def test_weights_that_cannot_count_are_refused(weights):
    truth, found = small_world()
    with pytest.raises(ValueError, match="weight"):
        match(truth, found, found).ap.at(np.array(weights, dtype=np.float32))


def test_weights_for_another_number_of_images_are_refused():
    truth, found = small_world()
    with pytest.raises(ValueError, match="3 images"):
        match(truth, found, found).ap.at(np.ones((1, 4), dtype=np.float32))


def test_more_finds_than_objects_are_refused_because_the_kernel_trusts_the_counts():
    flags = np.ones((2, 10), dtype=bool)
    rows = np.zeros(2, dtype=np.int64)
    with pytest.raises(ValueError, match="more objects were found"):
        Matched(1, 1, rows, rows, np.ones(2), flags, ~flags, rows[:1], rows[:1])


def test_slices_are_attributes_classes_and_object_sizes():
    truth, _ = small_world()
    masks = image_slices(Truth(**{**vars(truth), "attributes": {"light": ("day", "", "night"), "time": ("1", "2", "3")}}), max_values=2)
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "class=c0": [True, True, False],
        "class=c1": [True, False, False],
        "light=day": [True, False, False],
        "light=night": [False, False, True],
        "object_size=large": [False, True, False],
        "object_size=medium": [True, False, False],
        "object_size=small": [True, False, False],
    }


def test_an_object_on_the_edge_of_two_size_ranges_is_in_both_as_in_coco():
    edge = np.array([[0.0, 0.0, 32.0, 32.0]])
    one = np.zeros(1, dtype=np.int64)
    masks = object_size_masks(truth_of(1, 1, one, one, edge, np.zeros(1, dtype=bool)))
    assert [name for name, mask in masks.items() if mask[0]] == ["small", "medium"]
    assert list(SIZE_RANGES) == ["small", "medium", "large"]


def test_the_number_of_threads_does_not_change_the_result(monkeypatch):
    truth, found, _ = random_world(3)
    table = table_of(match_boxes(truth, found), 10)
    weights = np.random.default_rng(1).poisson(1.0, (17, len(truth))).astype(np.float32)
    many = class_average_precision(table, weights)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    np.testing.assert_array_equal(class_average_precision(table, weights), many)


def test_code_is_compiled_even_where_no_cache_can_be_kept():
    names = {}
    # A function without a file has no place for a cache.
    exec("def twice(x):\n    return 2 * x", names)  # noqa: S102
    assert _compiled(names["twice"])(3) == 6
