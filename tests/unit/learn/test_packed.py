import numpy as np
import pytest

from sightline.errors import DataError
from sightline.learn.packed import pack, refuse_golden
from tests.datasets import tiny_dataset


def test_packed_images_are_the_split_and_the_pixels_stay_on_disk(tmp_path):
    dataset = tiny_dataset(tmp_path / "d")
    pixels, labels, rows = pack(dataset, "val", tmp_path).read()
    split = dataset.split("val")
    assert isinstance(pixels, np.memmap)
    np.testing.assert_array_equal(pixels, split.pixels_NHWC)
    np.testing.assert_array_equal(labels[rows], split.labels_N)


def test_an_empty_split_is_a_data_error(tmp_path):
    dataset = tiny_dataset(tmp_path / "d", counts={"train": 6, "val": 0, "golden": 6})
    with pytest.raises(DataError, match="the val split has no images"):
        pack(dataset, "val", tmp_path)


def test_a_golden_image_in_train_is_refused_by_name(tmp_path):
    refuse_golden(tiny_dataset(tmp_path / "good"))
    leaky = tiny_dataset(tmp_path / "leaky", leak=2)
    with pytest.raises(DataError, match="golden") as caught:
        refuse_golden(leaky)
    assert len(caught.value.problems) == 2
