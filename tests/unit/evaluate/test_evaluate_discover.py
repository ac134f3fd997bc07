import numpy as np
import pandas as pd
import pytest

from sightline.evaluate.discover import discover, feature_table, find_rules, search_half

NUM = 1200
IDS = tuple(f"sample-{index}" for index in range(NUM))


def _features(rng: np.random.Generator) -> pd.DataFrame:
    attributes = pd.DataFrame({"material": rng.choice(["brass", "steel", "zinc"], NUM), "site": rng.choice(["A", "B"], NUM)})
    return feature_table(attributes, {"image.brightness": rng.random(NUM), "image.size": rng.integers(100, 10_000, NUM).astype(float)})


def _planted(rng: np.random.Generator, features: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    weak = (features["material"] == "brass").to_numpy() & (features["image.brightness"] < 0.4).to_numpy()
    return weak, rng.random(NUM) < np.where(weak, 0.5, 0.05)


def test_a_planted_weak_part_gets_a_readable_rule_measured_on_the_other_half():
    rng = np.random.default_rng(0)
    features = _features(rng)
    weak, errors = _planted(rng, features)
    found = discover(errors, features, None, IDS, min_images=20)
    rule, mask = next(iter(found.items()))
    assert rule.startswith("material=brass & image.brightness < 0.")
    assert not (mask & search_half(IDS, None)).any()
    assert (mask & weak).sum() > 0.9 * (weak & ~search_half(IDS, None)).sum()


def test_a_rule_holds_for_exactly_the_images_that_it_names():
    rng = np.random.default_rng(1)
    features = _features(rng)
    _, errors = _planted(rng, features)
    rule = find_rules(errors.astype(float), features, np.ones(NUM, bool), 20)[0]
    limit = float(str(rule).rsplit("< ", 1)[1])
    wanted = (features["material"] == "brass") & (features["image.brightness"] < limit)
    np.testing.assert_array_equal(rule.mask(features), wanted.to_numpy())


def test_masks_are_disjoint_large_enough_and_repeatable_whatever_the_order_of_columns():
    rng = np.random.default_rng(2)
    features = _features(rng)
    errors = rng.random(NUM) < 0.05 + 0.3 * (features["image.brightness"] > 0.8) + 0.3 * (features["site"] == "A")
    found = discover(errors, features, None, IDS, min_images=25)
    again = discover(errors, features[features.columns[::-1]], None, IDS, min_images=25)
    assert list(found) == list(again)
    assert all(np.array_equal(found[name], again[name]) for name in found)
    assert 1 <= len(found) <= 3
    assert np.sum(list(found.values()), axis=0).max() == 1
    assert min(mask.sum() for mask in found.values()) >= 25
    assert len(discover(errors, features, None, IDS, min_images=25, max_slices=1)) == 1


def test_where_a_value_is_left_out_the_rule_says_so():
    rng = np.random.default_rng(3)
    features = _features(rng)[["material"]]
    errors = np.where(features["material"] == "zinc", 0.0, 1.0)
    found = discover(errors, features, None, IDS, min_images=20)
    assert list(found) == ["material≠zinc"]


def test_a_fixed_image_makes_up_for_a_broken_one():
    rng = np.random.default_rng(4)
    features = _features(rng)
    busy = (features["material"] == "brass").to_numpy()
    flips = np.where(busy, rng.choice([-1.0, 0.0, 1.0], NUM), 0.0)
    assert not any("material=brass" in rule for rule in discover(flips, features[["material"]], None, IDS, min_images=20))


def test_clusters_stay_in_one_half_and_images_keep_theirs_when_others_go():
    clusters = np.arange(NUM) // 4
    searched = search_half(IDS, clusters)
    assert (searched.reshape(-1, 4) == searched[::4, None]).all()
    assert 0.4 < searched.mean() < 0.6
    np.testing.assert_array_equal(search_half(IDS[100:], None), search_half(IDS, None)[100:])


@pytest.mark.parametrize("errors", [np.zeros(NUM), np.ones(NUM)])
def test_nothing_is_found_where_all_images_are_alike(errors):
    assert discover(errors, _features(np.random.default_rng(5)), None, IDS, min_images=20) == {}


def test_nothing_is_found_without_features_or_with_few_images():
    rng = np.random.default_rng(6)
    features = _features(rng)
    _, errors = _planted(rng, features)
    assert discover(errors, features[[]], None, IDS, min_images=20) == {}
    assert discover(errors, features, None, IDS, min_images=400) == {}
    assert discover(errors[:0], features[:0], None, (), min_images=20) == {}
    constant = pd.DataFrame({"site": ["nan"] * NUM})
    assert discover(errors, constant, None, IDS, min_images=20) == {}


def test_missing_numbers_count_as_the_median():
    rng = np.random.default_rng(7)
    features = _features(rng)
    _, errors = _planted(rng, features)
    features.loc[::10, "image.brightness"] = np.nan
    found = discover(errors, features, None, IDS, min_images=20)
    assert any("image.brightness" in rule for rule in found)
