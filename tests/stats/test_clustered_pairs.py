"""Images in correlated groups: the tests for independent images keep their level with the counts of ``gate.clusters``."""

import functools

import numpy as np
import pytest

from sightline.gate import tango
from sightline.gate.clusters import Effective, effective, independent
from sightline.gate.evidence import Pair
from tests.stats.size import FULL, RateExceededError, require_rate

ALPHA, WORLDS = 0.05, 2000 if FULL else 500
# Clusters, margin, share of fixed images, share of clusters whose images all change together.
WORLDS_AT_THE_MARGIN = [
    (12, 0.05, 0.1, 0.6),
    (20, 0.05, 0.0, 1.0),
    (50, 0.05, 0.03, 0.6),
    (200, 0.05, 0.0, 0.3),
    (200, 0.03, 0.01, 0.3),
    (400, 0.03, 0.0, 0.15),
    (400, 0.03, 0.0, 0.6),
]


@functools.cache
def non_inferiority(broken: int, fixed: int, images: int, margin: float) -> float:
    # The plain score test above 60 images, for speed; its size is within a point of the exact test that the gate uses.
    if images > 60:
        return tango.asymptotic_p(broken, fixed, images, margin)
    return tango.non_inferiority_p(broken, fixed, images, margin)[0]


def promoted(pair: Pair, margin: float) -> bool:
    return non_inferiority(pair.num_broken, pair.num_fixed, pair.num_images, margin) <= ALPHA


def blocked(found: Effective) -> bool:
    return found.p_worse() <= ALPHA


def clustered(rng, clusters: int, broken: float, fixed: float, together: float):
    """Reference, candidate and cluster of images in groups of 5 to 10; in a share of the groups all images change together."""
    index = np.repeat(np.arange(clusters), rng.integers(5, 11, clusters))
    own, common = rng.uniform(size=len(index)), rng.uniform(size=clusters)[index]
    draw = np.where((rng.uniform(size=clusters) < together)[index], common, own)
    old = draw >= broken + fixed
    return old | (draw < broken), old | (draw >= broken), index


def rates(world, decide):
    """How many worlds are decided on the effective counts, and how many when clusters are ignored."""
    rng = np.random.default_rng(20)
    found = [effective(*clustered(rng, *world)) for _ in range(WORLDS)]
    ignoring = [independent(one.plain) for one in found]
    return sum(map(decide, found)), sum(map(decide, ignoring))


@pytest.mark.parametrize(("clusters", "margin", "fixed", "together"), WORLDS_AT_THE_MARGIN)
def test_a_model_at_the_margin_is_promoted_no_more_often_than_claimed_and_ignoring_clusters_is_caught(clusters, margin, fixed, together):
    world = (clusters, fixed + margin, fixed, together)
    ours, ignoring = rates(world, lambda found: promoted(found.promotion, margin))
    require_rate(ours, WORLDS, ALPHA)
    with pytest.raises(RateExceededError):
        require_rate(ignoring, WORLDS, ALPHA)


@pytest.mark.parametrize(("clusters", "churn", "together"), [(12, 0.1, 0.6), (20, 0.1, 1.0), (50, 0.03, 0.6), (200, 0.03, 0.3)])
def test_an_equal_model_is_blocked_no_more_often_than_claimed_and_ignoring_clusters_is_caught(clusters, churn, together):
    ours, ignoring = rates((clusters, churn, churn, together), blocked)
    require_rate(ours, WORLDS, ALPHA)
    with pytest.raises(RateExceededError):
        require_rate(ignoring, WORLDS, ALPHA)


def test_an_equal_model_still_passes_when_there_are_enough_clusters():
    ours, _ = rates((400, 0.01, 0.01, 0.3), lambda found: promoted(found.promotion, 0.03))
    assert ours / WORLDS > 0.8


def test_a_worse_model_is_still_found():
    ours, _ = rates((200, 0.08, 0.02, 0.3), blocked)
    assert ours / WORLDS > 0.8
