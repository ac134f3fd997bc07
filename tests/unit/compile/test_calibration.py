import dataclasses

import numpy as np
import pytest

from sightline.compile.calibration import choose_calibration
from sightline.errors import DataError
from tests.datasets import CLASSES, tiny_dataset


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    dataset = tiny_dataset(tmp_path_factory.mktemp("data") / "d", counts={"train": 6, "val": 30, "golden": 12})
    return dataset.split("val"), dataset.split("golden")


def choose(val, golden, *, num_images=12, seed=7):
    return choose_calibration(val, golden, CLASSES, num_images=num_images, seed=seed)


def test_the_sample_is_balanced_recorded_and_disjoint_from_golden(splits):
    val, golden = splits
    calibration = choose(val, golden)
    assert set(calibration.record.class_counts.values()) == {4}
    assert not set(calibration.record.sample_ids) & set(golden.sample_ids)
    rows = [val.sample_ids.index(sample_id) for sample_id in calibration.record.sample_ids]
    np.testing.assert_array_equal(calibration.images_NHWC, val.pixels_NHWC[rows])


def test_a_rare_class_is_taken_whole_and_the_others_fill_up(splits):
    val, golden = splits
    rare = np.where(np.arange(30) < 2, 0, 1 + np.arange(30) % 2)
    counts = choose(dataclasses.replace(val, labels_N=rare), golden).record.class_counts
    assert counts == {"ring": 2, "stripes": 5, "blob": 5}


def test_the_same_seed_gives_the_same_digest_and_another_seed_another(splits):
    assert choose(*splits).record == choose(*splits).record
    assert choose(*splits).record.digest != choose(*splits, seed=8).record.digest


def test_fewer_images_than_asked_are_all_taken(splits):
    assert len(choose(*splits, num_images=500).record.sample_ids) == 30


def test_a_validation_image_that_is_golden_too_is_refused(splits):
    val, golden = splits
    leaked = dataclasses.replace(golden, sample_ids=(val.sample_ids[3], *golden.sample_ids[1:]))
    with pytest.raises(DataError, match="must not be golden") as caught:
        choose(val, leaked)
    assert caught.value.problems == (f"image {val.sample_ids[3]}",)


def test_images_without_contrast_are_left_out_and_too_few_are_an_error(splits):
    val, golden = splits
    pixels = val.pixels_NHWC.copy()
    pixels[:20] = 128
    assert len(choose(dataclasses.replace(val, pixels_NHWC=pixels), golden).record.sample_ids) == 10
    pixels[:25] = 128
    with pytest.raises(DataError, match="5 of 30 validation images have contrast, at least 8"):
        choose(dataclasses.replace(val, pixels_NHWC=pixels), golden)


def test_a_class_without_images_is_an_error(splits):
    val, golden = splits
    with pytest.raises(DataError, match="class blob has no validation image"):
        choose(dataclasses.replace(val, labels_N=val.labels_N % 2), golden)


def test_pixels_that_could_be_nan_are_refused(splits):
    val, golden = splits
    floats = np.full(val.pixels_NHWC.shape, np.nan, np.float32)
    with pytest.raises(DataError, match="must be uint8"):
        choose(dataclasses.replace(val, pixels_NHWC=floats), golden)
