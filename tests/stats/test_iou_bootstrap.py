"""The paired cluster bootstrap of mIoU at a true loss equal to the margin: its size, and that the plain percentile bootstrap exceeds it."""

import functools

import numpy as np
import pytest

from sightline.evaluate.segmentation import OverlapMetric, PixelCounts
from sightline.gate.bootstrap import NOMINAL_SHARE, paired_bootstrap, replicates
from tests.stats.size import FULL, RateExceededError, require_rate

ALPHA = 0.05
WORLDS, RESAMPLES = (1500, 399) if FULL else (200, 299)
POPULATION = 20_000
# Share of images that have any pixel of a class: background, a common, a less common and a rare one.
PRESENCE = np.array([1.0, 0.6, 0.3, 0.15])


@functools.cache
def population() -> OverlapMetric:
    """Many images whose classes overlap well; the candidate misses nearly all of a few classes of a few images."""
    rng = np.random.default_rng(1)
    shape = (POPULATION, len(PRESENCE))
    truth = np.where(rng.uniform(size=shape) < PRESENCE, rng.lognormal(6, 1, shape), 0).astype(np.int64)
    quality = rng.beta(12, 2, shape)
    broken = rng.uniform(size=shape) < 0.05
    shares = (quality + rng.normal(0, 0.03, shape), np.where(broken, 0.1, quality) + rng.normal(0, 0.03, shape))
    return OverlapMetric("miou", *(counted(truth, share, rng) for share in shares))


def counted(truth, share, rng) -> PixelCounts:
    hits = (truth * np.clip(share, 0, 1)).astype(np.int64)
    spurious = np.where(truth > 0, rng.lognormal(4, 1, truth.shape), 0).astype(np.int64)
    return PixelCounts(hits, truth, hits + spurious)


@functools.cache
def true_loss() -> float:
    reference, value = population().at(np.ones((1, POPULATION), np.float32))[0]
    return float(reference - value)


def worlds(num_clusters: int, cluster_images: int = 1):
    """Metrics on images drawn from the population, with their clusters; all images of a cluster are the same, the strongest correlation."""
    rng = np.random.default_rng(num_clusters)
    clusters = np.repeat(np.arange(num_clusters), cluster_images)
    for _ in range(WORLDS):
        yield population().subset(rng.integers(POPULATION, size=num_clusters)[clusters]), clusters


@functools.cache
def p_values(num_clusters: int, cluster_images: int = 1) -> list[float]:
    """P-values at a margin that is exactly the true loss."""
    settings = {"margin": true_loss(), "alpha": ALPHA, "num_resamples": RESAMPLES}
    found = enumerate(worlds(num_clusters, cluster_images))
    return [paired_bootstrap(metric, clusters, seed=seed, **settings).p_value for seed, (metric, clusters) in found]


def plain_p_values(num_clusters: int) -> list[float]:
    """The same from the percentiles alone."""
    found = [replicates(metric, None, num_resamples=RESAMPLES, seed=seed) for seed, (metric, _) in enumerate(worlds(num_clusters))]
    return [(1 + np.count_nonzero(one[:, 1] - one[:, 0] <= -true_loss())) / (RESAMPLES + 1) for one in found]


def promoted(p_of_worlds, level):
    return sum(p <= level for p in p_of_worlds)


@pytest.mark.parametrize(("num_clusters", "cluster_images"), [(50, 1), (200, 1), (400, 1), (200, 3)] if FULL else [(100, 1), (200, 2)])
@pytest.mark.parametrize("alpha", [0.05, 0.02])
def test_a_model_at_the_margin_is_promoted_no_more_often_than_claimed(num_clusters, cluster_images, alpha):
    require_rate(promoted(p_values(num_clusters, cluster_images), NOMINAL_SHARE * alpha), WORLDS, alpha)


def test_a_model_at_the_margin_is_not_ruled_out_altogether():
    assert promoted(p_values(200, 2), NOMINAL_SHARE * ALPHA) / WORLDS > 0.01


def test_an_equal_model_passes_with_two_hundred_images():
    rng, passed = np.random.default_rng(6), 0
    for seed in range(60):
        metric = population().subset(rng.integers(POPULATION, size=200))
        equal = OverlapMetric("miou", metric.reference, jittered(metric.reference, rng))
        boot = paired_bootstrap(equal, None, margin=0.03, alpha=ALPHA, num_resamples=RESAMPLES, seed=seed)
        passed += boot.p_value <= NOMINAL_SHARE * ALPHA
    assert passed / 60 > 0.8


def jittered(counts: PixelCounts, rng) -> PixelCounts:
    hits = np.clip(counts.hits_NC * rng.normal(1, 0.05, counts.hits_NC.shape), 0, counts.truth_NC).astype(np.int64)
    return PixelCounts(hits, counts.truth_NC, np.maximum(counts.predicted_NC, hits))


def test_negative_control_ignoring_clusters_is_caught():
    rng, num_promoted = np.random.default_rng(5), 0
    for seed in range(200):
        metric = population().subset(rng.integers(POPULATION, size=100).repeat(4))
        boot = paired_bootstrap(metric, None, margin=true_loss(), alpha=ALPHA, num_resamples=RESAMPLES, seed=seed)
        num_promoted += boot.p_value <= NOMINAL_SHARE * ALPHA
    with pytest.raises(RateExceededError):
        require_rate(num_promoted, 200, ALPHA)


@pytest.mark.skipif(not FULL, reason="needs 1 500 worlds")
@pytest.mark.parametrize("num_clusters", [50, 200])
def test_negative_control_the_plain_percentile_bootstrap_is_caught(num_clusters):
    with pytest.raises(RateExceededError):
        require_rate(promoted(plain_p_values(num_clusters), ALPHA), WORLDS, ALPHA)
