"""Sign flips over 30 overlapping slices: no more false alarms than claimed, and no less power than Tarone-Holm."""

import functools

import numpy as np
import pytest

from sightline.gate import mcnemar
from sightline.gate.multiplicity import tarone_holm
from sightline.gate.signflip import sign_flip
from tests.stats.size import FULL, RateExceededError, require_rate

ALPHA, NUM_SLICES, NUM_IMAGES, CHURN = 0.05, 30, 800, 0.03
WORLDS, FLIPS = (2000, 999) if FULL else (250, 299)


def overlapping_masks():
    """Slices of 40 to 500 images; each image is in about ten."""
    rng = np.random.default_rng(7)
    sizes = np.linspace(40, 500, NUM_SLICES).astype(int)
    return {f"slice={index}": np.isin(np.arange(NUM_IMAGES), rng.permutation(NUM_IMAGES)[:size]) for index, size in enumerate(sizes)}


def outcomes(rng, loss_N):
    """-1 broken, 1 fixed: symmetric churn, and a loss where there is one."""
    draw = rng.uniform(size=NUM_IMAGES)
    return np.where(draw < CHURN + loss_N, -1.0, np.where(draw > 1 - CHURN, 1.0, 0.0))


def scores(rng, loss_N):
    """Differences of IoU of mixed size, with mean zero where nothing is lost."""
    return rng.standard_t(4, NUM_IMAGES) * rng.choice([0.01, 0.1], NUM_IMAGES) - loss_N


@functools.cache
def null_worlds(kind):
    """Raw and adjusted p-values of equal models; the last kind has groups of images that change together."""
    rng, masks = np.random.default_rng(20), overlapping_masks()
    found = []
    for seed in range(WORLDS):
        differences = (outcomes if kind == "answers" else scores)(rng, np.zeros(NUM_IMAGES))
        clusters = None
        if kind == "groups":
            clusters = np.arange(NUM_IMAGES) // 10
            differences = differences[clusters * 10]
        flips = sign_flip(differences, masks, clusters, num_flips=FLIPS, seed=seed).values()
        found.append((min(one.p_value for one in flips), min(one.adjusted_p for one in flips)))
    return found


@pytest.mark.parametrize("kind", ["answers", "scores", "groups"])
def test_equal_models_are_blocked_by_no_slice_more_often_than_claimed(kind):
    alarms = sum(adjusted <= ALPHA for _, adjusted in null_worlds(kind))
    require_rate(alarms, WORLDS, ALPHA)
    assert alarms / WORLDS > 0.015  # not so conservative that nothing is ever found


def test_negative_control_uncorrected_slices_are_caught():
    alarms = sum(raw <= ALPHA for raw, _ in null_worlds("answers"))
    with pytest.raises(RateExceededError):
        require_rate(alarms, WORLDS, ALPHA)


def test_negative_control_images_of_a_group_that_are_swapped_one_by_one_are_caught():
    rng, masks, alarms = np.random.default_rng(3), overlapping_masks(), 0
    for seed in range(100):
        differences = scores(rng, np.zeros(NUM_IMAGES))[np.arange(NUM_IMAGES) // 10 * 10]
        flips = sign_flip(differences, masks, None, num_flips=FLIPS, seed=seed).values()
        alarms += min(one.adjusted_p for one in flips) <= ALPHA
    with pytest.raises(RateExceededError):
        require_rate(alarms, 100, ALPHA)


def found_by(name, loss):
    """How often a slice that loses ``loss`` of its images is found: by sign flips and by Tarone-Holm with mid-p."""
    rng, masks = np.random.default_rng(9), overlapping_masks()
    ours, theirs, worlds = 0, 0, WORLDS // 2
    for seed in range(worlds):
        differences = outcomes(rng, loss * masks[name])
        ours += sign_flip(differences, masks, None, num_flips=FLIPS, seed=seed)[name].adjusted_p <= ALPHA
        counts = [(int((differences[mask] < 0).sum()), int((differences[mask] > 0).sum())) for mask in masks.values()]
        p_values, smallest = [mcnemar.mid_p(*pair) for pair in counts], [mcnemar.smallest_mid_p(sum(pair)) for pair in counts]
        theirs += bool(tarone_holm(p_values, smallest, ALPHA).rejected[list(masks).index(name)])
    return ours / worlds, theirs / worlds


@pytest.mark.parametrize(("name", "loss"), [("slice=3", 0.12), ("slice=12", 0.08), ("slice=25", 0.05)])
def test_a_slice_that_breaks_is_found_about_as_often_as_by_tarone_holm_or_more_often(name, loss):
    ours, theirs = found_by(name, loss)
    assert 0.3 < theirs < 0.95
    assert ours > theirs - 0.05
