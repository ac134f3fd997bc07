import numpy as np
import pandas as pd
import pytest

from sightline.config.gate import GateConfig
from sightline.evaluate.golden_slices import golden_masks, golden_rows, group_indices, known_slices
from tests.datasets import tiny_dataset


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("golden") / "data", counts={"train": 30, "val": 6, "golden": 60}, size_px=16)


def _masks(version, **policy):
    return golden_masks(version.split("golden"), golden_rows(version), version.info.classes, GateConfig(**policy))


def test_rows_are_those_of_the_golden_images_in_their_order(version):
    rows = golden_rows(version)
    assert tuple(rows.index) == version.split("golden").sample_ids
    assert len(np.unique(group_indices(rows))) == 60


def test_an_image_that_also_trains_is_one_golden_row(tmp_path):
    leaked = tiny_dataset(tmp_path / "leak", counts={"train": 6, "val": 6, "golden": 9}, size_px=16, leak=2)
    assert tuple(golden_rows(leaked).index) == leaked.split("golden").sample_ids


def test_images_of_a_group_share_an_index():
    assert group_indices(pd.DataFrame({"group_id": ["b", "a", "b", 3]})).tolist() == [2, 1, 2, 0]


def test_a_critical_cross_that_is_too_small_for_the_others_has_its_images(version):
    cross = "class=ring & site=A"
    assert cross not in _masks(version, min_slice_images=50)
    small = _masks(version, min_slice_images=50, critical_slices=(cross,))
    plain = _masks(version)
    assert small[cross].any()
    assert (small[cross] == (plain["class=ring"] & plain["site=A"])).all()
    assert (_masks(version, slice_crosses=False, critical_slices=(cross,))[cross] == small[cross]).all()


def test_a_critical_image_property_is_there_although_the_policy_looks_at_others(version):
    name = "image.brightness=low"
    found = _masks(version, property_slices=("sharpness",), critical_slices=(name,))
    assert (found[name] == _masks(version)[name]).all()
    assert "image.brightness=high" not in found


def test_a_critical_slice_without_a_golden_image_is_empty(version):
    found = _masks(version, critical_slices=("site=Z", "image.size=large", "site=Z & light=day"))
    assert not any(found[name].any() for name in ("site=Z", "image.size=large", "site=Z & light=day"))
    assert {len(mask) for mask in found.values()} == {60}


def test_known_are_classes_values_crosses_and_image_properties(version):
    known = known_slices(version.samples, version.info.attributes, version.info.classes)
    assert {"class=ring", "site=A", "class=ring & site=A", "light=day & site=B", "image.size=small", "image.sharpness=high"} <= known
    assert not {"site=A & class=ring", "site=A & site=B", "site=Z", "image.brightness=small"} & known
    assert set(_masks(version)) <= known


def test_values_that_are_missing_or_never_meet_are_not_known():
    samples = pd.DataFrame({"class_name": ["a", "b", "b"], "slice_lot": ["1", "2", None], "slice_line": ["x", "nan", "y & z"]})
    known = known_slices(samples, ["lot", "line"], ["a", "b", "c"])
    assert {"class=c", "line=x & lot=1", "class=a & lot=1", "class=b & line=y & z"} <= known
    assert not {name for name in known if "None" in name or "nan" in name}
    assert "class=a & lot=2" not in known
