import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score

from sightline.errors import DataError
from sightline.evaluate.masks import open_masks
from sightline.evaluate.segmentation import class_overlaps, count_folders, count_pixels, overlap_metric

CLASSES = 4
SKLEARN = {"miou": jaccard_score, "dice": f1_score}


def images(num_images=12, seed=0, size=9):
    """Truth with ignored pixels, and two predictions of it."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, CLASSES, (num_images, size, size)).astype(np.uint8)
    predictions = [np.where(rng.uniform(size=truth.shape) < 0.4, rng.integers(0, CLASSES, truth.shape), truth) for _ in range(2)]
    truth[rng.uniform(size=truth.shape) < 0.1] = 255
    return truth, *(prediction.astype(np.uint8) for prediction in predictions)


def metric_of(kind, seed=0):
    truth, old, new = images(seed=seed)
    reference, candidate = (count_pixels(zip(truth, one, strict=True), CLASSES) for one in (old, new))
    return overlap_metric(kind, reference, candidate)


def flat(truth, predicted):
    return truth[truth != 255], predicted[truth != 255]


@pytest.mark.parametrize("kind", ["miou", "dice"])
def test_the_metric_agrees_with_scikit_learn_over_all_pixels_and_per_image(kind):
    truth, old, new = images()
    metric = metric_of(kind)
    found, scores = metric.at(np.ones((1, 12), np.float32))[0], metric.image_scores()
    for column, predicted in enumerate((old, new)):
        assert found[column] == pytest.approx(SKLEARN[kind](*flat(truth, predicted), average="macro"))
        for image in range(12):
            assert scores[column, image] == pytest.approx(SKLEARN[kind](*flat(truth[image], predicted[image]), average="macro"))


def test_counts_are_those_of_the_confusion_matrix():
    truth, old, _ = images()
    counts = count_pixels(zip(truth, old, strict=True), CLASSES)
    matrix = confusion_matrix(*flat(truth, old))
    assert counts.hits_NC.sum(axis=0).tolist() == np.diag(matrix).tolist()
    assert counts.truth_NC.sum(axis=0).tolist() == matrix.sum(axis=1).tolist()
    assert counts.predicted_NC.sum(axis=0).tolist() == matrix.sum(axis=0).tolist()
    assert class_overlaps(counts, "miou") == pytest.approx(jaccard_score(*flat(truth, old), average=None))


def test_a_weighting_counts_images_as_often_as_it_says():
    truth, old, new = images()
    weights = np.random.default_rng(1).integers(0, 4, (5, 12)).astype(np.float32)
    found = metric_of("miou").at(weights)
    for row, (reference, value) in zip(weights.astype(int), found, strict=True):
        assert reference == pytest.approx(jaccard_score(*flat(truth.repeat(row, axis=0), old.repeat(row, axis=0)), average="macro"))
        assert value == pytest.approx(jaccard_score(*flat(truth.repeat(row, axis=0), new.repeat(row, axis=0)), average="macro"))


def test_a_class_in_neither_truth_nor_prediction_is_left_out():
    truth = np.array([[[0, 0], [1, 1]]], np.uint8)
    counts = count_pixels([(truth[0], truth[0])], CLASSES)
    assert np.isnan(class_overlaps(counts, "miou")).tolist() == [False, False, True, True]
    assert overlap_metric("miou", counts, counts).at(np.ones((1, 1), np.float32)).tolist() == [[1.0, 1.0]]


def test_a_class_that_is_only_predicted_counts_as_zero():
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    counts = count_pixels([(truth, np.array([[0, 0, 1, 2]], np.uint8))], 3)
    assert class_overlaps(counts, "miou") == pytest.approx([1.0, 0.5, 0.0])


def test_a_pixel_without_a_predicted_class_is_a_miss():
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    counts = count_pixels([(truth, np.array([[0, 255, 1, 77]], np.uint8))], 2)
    assert class_overlaps(counts, "miou") == pytest.approx([0.5, 0.5])
    assert class_overlaps(counts, "dice") == pytest.approx([2 / 3, 2 / 3])


def test_images_without_judged_pixels_say_nothing():
    ignored = np.full((2, 2), 255, np.uint8)
    counts = count_pixels([(ignored, np.zeros((2, 2), np.uint8))], 2)
    metric = overlap_metric("dice", counts, counts)
    assert np.isnan(metric.at(np.ones((1, 1), np.float32))).all()
    assert np.isnan(metric.image_scores()).all()
    assert metric.name == "Dice"


def test_a_subset_keeps_the_order_of_its_rows_and_a_missing_reference_is_nan():
    metric = overlap_metric("miou", None, metric_of("miou").candidate)
    rows = np.array([4, 1])
    assert len(metric.subset(rows)) == 2
    assert metric.subset(rows).image_scores()[1] == pytest.approx(metric.image_scores()[1, rows])
    assert np.isnan(metric.at(np.ones((1, 12), np.float32))).tolist() == [[True, False]]


def test_models_that_were_counted_against_other_masks_are_not_compared():
    with pytest.raises(DataError, match="not counted against the same masks"):
        overlap_metric("miou", metric_of("miou").reference, metric_of("miou", seed=1).candidate)


def folders(tmp_path, names, truth, predicted):
    for folder, masks in (("truth", truth), ("predicted", predicted)):
        (tmp_path / folder).mkdir()
        for name, mask in zip(names, masks, strict=True):
            Image.fromarray(mask).save(tmp_path / folder / f"{name}.png")
    opened = [f"{name}.jpg" for name in names]
    return open_masks(tmp_path / "truth", opened, CLASSES), open_masks(tmp_path / "predicted", opened[::-1], CLASSES)


def test_folders_are_counted_like_arrays_in_the_order_of_the_truth(tmp_path):
    truth, old, _ = images(3)
    counts = count_folders(*folders(tmp_path, "cab", truth, old))
    wanted = count_pixels(zip(truth, old, strict=True), CLASSES)
    assert np.array_equal(counts.hits_NC, wanted.hits_NC)
    assert np.array_equal(counts.predicted_NC, wanted.predicted_NC)


def test_all_masks_that_cannot_be_compared_are_named_at_once(tmp_path):
    truth, old, _ = images(3)
    opened = folders(tmp_path, "abc", truth, [old[0][:5], np.full((9, 9), 17, np.uint8), old[2]])
    with pytest.raises(DataError) as raised:
        count_folders(*opened)
    assert len(raised.value.problems) == 2
    assert "9×5 pixels, its truth has 9×9" in raised.value.problems[0]
    assert "class indices 17 do not exist" in raised.value.problems[1]


def test_folders_of_other_images_are_not_compared(tmp_path):
    truth, old, _ = images(2)
    opened = folders(tmp_path, "ab", truth, old)
    (tmp_path / "predicted/b.png").unlink()
    with pytest.raises(DataError, match="not of the same images"):
        count_folders(opened[0], open_masks(tmp_path / "predicted", ["a.jpg"], CLASSES))
