from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from sightline.evaluate.f1 import MacroF1
from sightline.gate import bootstrap, bounds
from sightline.gate.bootstrap import paired_bootstrap, replicates, single_bootstrap


@dataclass(frozen=True)
class MeanScore:
    """The mean of a score per image: the simplest metric there is, with closed forms to compare with."""

    scores_2N: np.ndarray

    @property
    def name(self) -> str:
        return "mean score"

    def __len__(self) -> int:
        return self.scores_2N.shape[1]

    def subset(self, rows_M):
        return MeanScore(self.scores_2N[:, rows_M])

    def at(self, weights_BN):
        total = weights_BN.sum(axis=1, dtype=np.float64)[:, None]
        sums = weights_BN.astype(np.float64) @ self.scores_2N.T
        return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)

    def image_scores(self):
        return self.scores_2N


@dataclass(frozen=True)
class OnlyFirstImage(MeanScore):
    """Not defined on resamples without the first image."""

    def subset(self, rows_M):
        return OnlyFirstImage(self.scores_2N[:, rows_M])

    def at(self, weights_BN):
        return np.where(weights_BN[:, :1] > 0, super().at(weights_BN), np.nan)


SETTINGS = {"margin": 0.03, "alpha": 0.05, "num_resamples": 2000, "seed": 1}


def mean_score(num_images=300, loss=0.0, seed=0) -> MeanScore:
    rng = np.random.default_rng(seed)
    old = rng.beta(8, 2, num_images)
    return MeanScore(np.stack([old, np.clip(old + rng.normal(-loss, 0.05, num_images), 0, 1)]))


def test_replicates_agree_with_scipy():
    metric = mean_score(seed=3)
    found = replicates(metric, None, num_resamples=20_000, seed=1)
    theirs = stats.bootstrap((metric.scores_2N[1] - metric.scores_2N[0],), np.mean, confidence_level=0.9, method="percentile", rng=5)
    difference = found[:, 1] - found[:, 0]
    assert np.quantile(difference, [0.05, 0.95]) == pytest.approx(theirs.confidence_interval, abs=3e-4)
    ours = paired_bootstrap(metric, None, **SETTINGS)
    assert ours.standard_error == pytest.approx(theirs.standard_error, rel=0.06)
    assert (ours.num_images, ours.num_clusters) == (300, 300)


def test_the_p_value_is_that_of_a_normal_test_when_many_images_are_there():
    metric = mean_score(10_000, loss=0.0286, seed=4)
    difference = metric.scores_2N[1] - metric.scores_2N[0]
    ours = paired_bootstrap(metric, None, **SETTINGS)
    theirs = stats.ttest_1samp(difference, -0.03, alternative="greater").pvalue
    assert 0.001 < theirs < 0.2
    assert theirs - 0.01 < ours.p_value < 2 * theirs + 0.02


@pytest.mark.parametrize("num_broken", [0, 1, 3, 10])
def test_both_ends_for_right_and_wrong_answers_are_those_of_clopper_and_pearson_to_within_an_image(num_broken):
    right, broken = np.ones(400), np.ones(400)
    broken[:num_broken] = 0
    settings = SETTINGS | {"num_resamples": 20_000}
    loss = paired_bootstrap(MeanScore(np.stack([right, broken])), None, **settings)
    gain = paired_bootstrap(MeanScore(np.stack([broken, right])), None, **settings)
    exact = bounds.upper_bound(num_broken, 400, 0.05)
    assert loss.interval[0] == pytest.approx(-exact, abs=1 / 400)
    assert gain.interval[1] == pytest.approx(exact, abs=1 / 400)


def test_whole_clusters_are_drawn_and_their_spread_is_that_of_their_sums():
    rng = np.random.default_rng(7)
    scores = np.repeat(rng.uniform(0, 1, (2, 60)), 5, axis=1)
    clusters = np.repeat(rng.permutation(60) * 10 - 100, 5)
    ours = paired_bootstrap(MeanScore(scores), clusters, **SETTINGS)
    assert ours.num_clusters == 60
    assert ours.standard_error == pytest.approx((scores[1] - scores[0])[::5].std() / np.sqrt(60), rel=0.05)
    assert paired_bootstrap(MeanScore(scores), None, **SETTINGS).standard_error < 0.6 * ours.standard_error


def test_the_answer_does_not_depend_on_the_size_of_a_block(monkeypatch):
    metric, clusters = mean_score(), np.arange(300) // 3
    answers = MacroF1(np.arange(300) % 3, np.arange(300) % 4 % 3, np.arange(300) % 5 % 3, 3)
    before = [replicates(metric, clusters, num_resamples=300, seed=9), replicates(answers, None, num_resamples=300, seed=9)]
    monkeypatch.setattr(bootstrap, "_BLOCK_BYTES", 50_000)
    after = [replicates(metric, clusters, num_resamples=300, seed=9), replicates(answers, None, num_resamples=300, seed=9)]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_another_seed_is_another_draw_and_the_same_seed_the_same():
    metric = mean_score()
    first, again, other = (replicates(metric, None, num_resamples=50, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_both_models_are_drawn_on_the_same_images():
    scores = np.random.default_rng(2).uniform(0, 1, 200)
    found = replicates(MeanScore(np.stack([scores, scores])), None, num_resamples=100, seed=3)
    assert np.array_equal(found[:, 0], found[:, 1])
    assert found[:, 0].std() > 0


def test_the_lower_end_lies_above_the_limit_exactly_when_the_p_value_is_small():
    for seed in range(30):
        ours = paired_bootstrap(mean_score(100, 0.022, seed), None, margin=0.03, alpha=0.05, num_resamples=199, seed=seed)
        assert (ours.interval[0] > -0.03) == (ours.p_value <= 0.05)


def test_resamples_without_a_value_count_against_promotion():
    metric = OnlyFirstImage(mean_score().scores_2N)
    ours = paired_bootstrap(metric, None, **SETTINGS)
    assert ours.p_value == pytest.approx(np.exp(-1), abs=0.04)
    assert ours.interval == (-1.0, 1.0)
    assert ours.p_below > 0.3


def test_a_metric_that_is_not_defined_is_never_evidence():
    metric = MeanScore(np.stack([np.ones(50), np.full(50, np.nan)]))
    ours = paired_bootstrap(metric, None, **SETTINGS)
    assert np.isnan(ours.estimate)
    assert (ours.p_value, ours.p_below, ours.interval) == (1.0, 1.0, (-1.0, 1.0))


def test_no_images_are_no_evidence():
    ours = paired_bootstrap(MeanScore(np.zeros((2, 0))), None, **SETTINGS)
    assert (ours.p_value, ours.num_images, ours.num_clusters, ours.interval) == (1.0, 0, 0, (-1.0, 1.0))


def test_a_p_value_is_never_zero():
    scores = np.ones((2, 1000))
    assert paired_bootstrap(MeanScore(scores), None, **SETTINGS).p_value == pytest.approx(1 / 2001)


def test_a_tie_with_the_margin_counts_against_promotion():
    scores = np.stack([np.full(100, 0.9), np.full(100, 0.87)])
    assert paired_bootstrap(MeanScore(scores), None, **SETTINGS).p_value == 1.0


def test_a_single_model_is_compared_with_a_limit():
    metric = MeanScore(np.stack([np.full(300, np.nan), mean_score().scores_2N[1]]))
    high = single_bootstrap(metric, None, limit=0.95, alpha=0.05, num_resamples=500, seed=1)
    low = single_bootstrap(metric, None, limit=0.6, alpha=0.05, num_resamples=500, seed=1)
    assert (high.p_value, low.p_below) == (1.0, 1.0)
    assert (high.p_below, low.p_value) == (pytest.approx(1 / 501), pytest.approx(1 / 501))
    assert high.estimate == high.value
    assert high.interval[0] < high.value < high.interval[1]


def test_counts_of_equal_images_follow_the_law_of_drawing_images():
    rng = np.random.default_rng(11)
    labels = rng.choice(4, 2000, p=[0.7, 0.2, 0.09, 0.01])
    old, new = (np.where(rng.uniform(size=2000) < 0.15, rng.integers(0, 4, 2000), labels) for _ in range(2))
    metric = MacroF1(labels, old, new, 4)
    quick = replicates(metric, None, num_resamples=1500, seed=1)
    drawn = np.random.default_rng(2).integers(0, 2000, (1500, 2000))
    weights = np.stack([np.bincount(rows, minlength=2000) for rows in drawn]).astype(np.float32)
    for column in (0, 1):
        assert stats.ks_2samp(quick[:, column], metric.at(weights)[:, column]).pvalue > 0.01
    assert stats.ks_2samp(quick[:, 1] - quick[:, 0], np.diff(metric.at(weights))[:, 0]).pvalue > 0.01
