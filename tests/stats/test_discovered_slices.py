"""Discovered slices: measured without bias on the half where they were not searched, and found when they are there."""

import functools

import numpy as np
import pandas as pd
import pytest

from sightline.evaluate.discover import discover, find_rules, search_half
from tests.stats.size import FULL

WORLDS = 2000 if FULL else 250
NUM, ERROR_RATE, MIN_IMAGES = 800, 0.15, 20
IDS = tuple(f"sample-{index}" for index in range(NUM))


class BiasedError(Exception):
    """A mean that chance does not explain."""


def require_mean(values: np.ndarray, wanted: float) -> None:
    """Refuses a mean more than 3.3 standard errors from what is claimed (99.9 %)."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    if abs(values.mean() - wanted) > 3.3 * error:
        raise BiasedError(f"mean {values.mean():.4f}, claimed {wanted:.4f} (standard error {error:.4f})")


def _features(rng: np.random.Generator) -> pd.DataFrame:
    columns = {"material": rng.choice(["brass", "steel", "zinc"], NUM), "site": rng.choice(list("ABCD"), NUM)}
    return pd.DataFrame({**columns, "image.brightness": rng.random(NUM), "image.sharpness": rng.random(NUM)})


@functools.cache
def null_worlds() -> tuple[np.ndarray, np.ndarray]:
    """Error rates of the worst rule per world where errors have nothing to do with the features: on the other half, on its own half."""
    rng, searched = np.random.default_rng(30), search_half(IDS, None)
    other, own = [], []
    for _ in range(WORLDS):
        features, errors = _features(rng), rng.random(NUM) < ERROR_RATE
        found = discover(errors, features, None, IDS, min_images=MIN_IMAGES)
        rules = {str(rule): rule for rule in find_rules(errors.astype(float), features, searched, MIN_IMAGES)}
        for name, mask in list(found.items())[:1]:
            other.append(errors[mask].mean())
            own.append(errors[rules[name].mask(features) & searched].mean())
    return np.array(other), np.array(own)


def test_the_error_rate_on_the_other_half_is_unbiased():
    other, _ = null_worlds()
    assert len(other) > WORLDS / 3
    require_mean(other, ERROR_RATE)


def test_negative_control_measuring_where_it_was_searched_is_caught():
    _, own = null_worlds()
    assert own.mean() > ERROR_RATE + 0.05
    with pytest.raises(BiasedError):
        require_mean(own, ERROR_RATE)


def test_a_planted_weak_slice_is_found():
    rng, worlds, hits = np.random.default_rng(31), 40, 0
    for _ in range(worlds):
        features = _features(rng)
        weak = (features["site"] == "C").to_numpy() & (features["image.brightness"] < 0.5).to_numpy()
        errors = rng.random(NUM) < np.where(weak, 0.5, 0.1)
        found = list(discover(errors, features, None, IDS, min_images=MIN_IMAGES).values())
        hits += bool(found) and errors[found[0]].mean() > 0.25 and weak[found[0]].mean() > 0.5
    assert hits >= 0.9 * worlds
