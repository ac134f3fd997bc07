import numpy as np
import pandas as pd

from sightline.data.version import Split
from sightline.evaluate.slices import near_matches, slice_masks


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
