import numpy as np
import pandas as pd
import pytest

from sightline.data.version import Split
from sightline.evaluate.slices import (
    attribute_masks,
    cross_masks,
    end_masks,
    image_values,
    near_matches,
    slice_masks,
)
from sightline.images import image_properties


def _split() -> Split:
    attributes = pd.DataFrame({"light": ["day", "night", "day", "nan"], "site": ["A", "A", "", "B"]})
    return Split("golden", ("a", "b", "c", "d"), np.array([0, 1, 1, 0]), attributes, ("1", "2", "3", "4"), np.zeros((4, 8, 8, 3), np.uint8))


def test_every_value_and_every_class_is_a_slice_and_missing_values_are_none():
    masks = slice_masks(_split(), ("dent", "crack", "scratch"))
    assert list(masks) == ["class=crack", "class=dent", "class=scratch", "light=day", "light=night", "site=A", "site=B"]
    assert masks["light=day"].tolist() == [True, False, True, False]
    assert masks["class=dent"].tolist() == [True, False, False, True]
    assert all(mask.dtype == bool for mask in masks.values())


def test_a_class_without_images_has_an_empty_slice():
    assert not slice_masks(_split(), ("dent", "crack", "scratch"))["class=scratch"].any()


def test_near_matches_offer_similar_names_then_the_other_values():
    known = {"material=brass", "material=steel", "light=day"}
    assert near_matches("material=bras", known)[0] == "material=brass"
    assert near_matches("light=dawn", known) == ["light=day"]
    assert near_matches("zzz", known) == []


def test_attributes_alone_make_the_same_masks_as_the_split():
    masks = attribute_masks(_split().attributes)
    both = slice_masks(_split(), ("dent", "crack"))
    assert list(masks) == ["light=day", "light=night", "site=A", "site=B"]
    assert all(np.array_equal(mask, both[name]) for name, mask in masks.items())


def test_crosses_are_the_intersections_of_two_different_attributes():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({name: rng.choice(list("xyz"), 300) for name in ("b", "a", "c")})
    masks, parents = cross_masks(table, 20), attribute_masks(table)
    assert len(masks) == 27
    for name, mask in masks.items():
        first, second = name.split(" & ")
        assert first < second
        np.testing.assert_array_equal(mask, parents[first] & parents[second])


def test_small_crosses_missing_values_and_those_equal_to_a_parent_are_left_out():
    table = pd.DataFrame({"a": ["x"] * 6 + ["y"] * 4, "b": ["p"] * 3 + ["q"] * 3 + ["nan"] * 4})
    assert cross_masks(table, 1) == {}  # b=p and b=q lie inside a=x, and nan is no value
    table = pd.DataFrame({"a": ["x"] * 6 + ["y"] * 4, "b": ["p", "q"] * 5})
    assert {name: int(mask.sum()) for name, mask in cross_masks(table, 3).items()} == {"a=x & b=p": 3, "a=x & b=q": 3}
    assert cross_masks(table[:0], 1) == {}


def test_classes_are_crossed_with_attributes_when_they_are_given():
    table = pd.DataFrame({"light": ["day", "night"] * 4})
    names = cross_masks(table, 2, class_names=["dent"] * 4 + ["crack"] * 4)
    assert list(names) == ["class=crack & light=day", "class=crack & light=night", "class=dent & light=day", "class=dent & light=night"]


def test_image_values_equal_the_definition_image_by_image_whatever_the_block(monkeypatch):
    pixels = np.random.default_rng(2).integers(0, 256, (9, 20, 24, 3), dtype=np.uint8)
    monkeypatch.setattr("sightline.evaluate.slices._BLOCK_BYTES", 2 * pixels[0].size)
    values = image_values(pixels, np.arange(9), ("size", "sharpness", "brightness"))
    assert list(values) == ["image.brightness", "image.sharpness", "image.size"]
    for row, image in enumerate(pixels):
        wanted = image_properties(image)
        assert values["image.brightness"][row] == pytest.approx(wanted["brightness"], abs=1e-6)
        assert values["image.sharpness"][row] == pytest.approx(wanted["sharpness"], abs=1e-6)


def test_only_wanted_and_known_properties_are_given():
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    assert list(image_values(pixels, None, ("size", "brightness"))) == ["image.brightness"]
    assert image_values(pixels, None, ()) == {}
    assert all(len(values) == 0 for values in image_values(pixels[:0], np.zeros(0), ("size", "brightness")).values())


def test_the_ends_of_a_property_are_thirds_of_the_images(tmp_path):
    levels = np.random.default_rng(3).permutation(90).astype(np.uint8)
    np.save(tmp_path / "pixels.npy", np.broadcast_to(levels[:, None, None, None], (90, 8, 8, 3)))
    pixels = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    masks = end_masks(image_values(pixels, levels.astype(np.int64), ("brightness", "sharpness", "size")))
    assert list(masks) == ["image.brightness=high", "image.brightness=low", "image.size=large", "image.size=small"]  # all equally flat
    np.testing.assert_array_equal(masks["image.brightness=low"], levels < 30)
    np.testing.assert_array_equal(masks["image.size=large"], levels >= 60)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([1, 1, 1, 1], None, None),
        ([1] * 5 + [2] * 5, 5, 5),
        ([1] * 1 + [2] * 9, 1, None),
        ([1] * 3 + [2] * 4 + [3] * 3, 3, 3),
        ([np.nan] * 4 + [1, 2, 3], 1, 1),
        ([], None, None),
    ],
)
def test_equal_values_stay_together_and_no_end_holds_more_than_half(values, low, high):
    masks = end_masks({"image.brightness": np.array(values, dtype=np.float64)})
    found = {name: int(mask.sum()) for name, mask in masks.items()}
    assert (found.get("image.brightness=low"), found.get("image.brightness=high")) == (low, high)
