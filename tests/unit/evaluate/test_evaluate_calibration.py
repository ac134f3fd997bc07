import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from sightline.evaluate.calibration import Stated, bin_edges, brier, error_interval, error_rise, expected_error, reliability, shared_edges


def _stated(rng: np.random.Generator, num_images: int, *, sharper: float = 1.0) -> Stated:
    """Right with the stated probability; ``sharper`` above 1 states more than that."""
    chance = rng.beta(6, 1, num_images) * 0.7 + 0.29
    return Stated(rng.random(num_images) < chance, _sharpened(chance, sharper))


def _sharpened(chance: np.ndarray, sharper: float) -> np.ndarray:
    return (1 / (1 + (1 / chance - 1) ** sharper)).astype(np.float32)


def _pair(rng: np.random.Generator, num_images: int, sharper: float) -> tuple[Stated, Stated]:
    chance = rng.beta(6, 1, num_images) * 0.7 + 0.29
    old = rng.random(num_images) < chance
    new = np.where(rng.random(num_images) < 0.85, old, rng.random(num_images) < chance)
    return Stated(old, chance.astype(np.float32)), Stated(new, _sharpened(chance, sharper))


def test_the_curve_is_that_of_scikit_learn():
    stated = _stated(np.random.default_rng(0), 3000)
    curve = reliability(stated, bin_edges(stated.confidence_N, 10))
    accuracy, confidence = calibration_curve(stated.correct_N, stated.confidence_N, n_bins=10, strategy="quantile")
    np.testing.assert_allclose(curve.accuracy_K, accuracy, atol=1e-6)
    np.testing.assert_allclose(curve.confidence_K, confidence, atol=1e-6)
    assert curve.num_K.tolist() == [300] * 10


def test_error_and_brier_score_equal_their_definitions():
    stated = _stated(np.random.default_rng(1), 1500)
    order = np.argsort(stated.confidence_N)
    parts = np.split(order, 15)
    wanted = sum(abs(stated.confidence_N[part].mean() - stated.correct_N[part].mean()) * len(part) for part in parts) / 1500
    assert expected_error(stated) == pytest.approx(wanted, abs=1e-6)
    assert brier(stated) == pytest.approx(brier_score_loss(stated.correct_N, stated.confidence_N), abs=1e-6)


def test_equal_confidences_share_a_bin_and_nothing_has_no_error():
    same = Stated(np.array([True, False, True, True]), np.full(4, 0.9, np.float32))
    assert expected_error(same) == pytest.approx(0.15, abs=1e-6)
    nothing = Stated(np.zeros(0, bool), np.zeros(0, np.float32))
    assert np.isnan(expected_error(nothing))
    assert np.isnan(brier(nothing))
    assert len(reliability(nothing, bin_edges(nothing.confidence_N)).num_K) == 0
    assert np.isnan(error_rise(nothing, nothing, None, 0.05, 200).high)
    assert np.isnan(error_interval(nothing, None, 0.05, 200).high)


def test_the_rise_is_the_difference_over_shared_bins_and_its_interval_is_repeatable():
    old, new = _pair(np.random.default_rng(2), 1000, 2.0)
    found = error_rise(old, new, None, 0.05, 300)
    edges = shared_edges(old, new)
    assert found.value == pytest.approx(expected_error(new, edges) - expected_error(old, edges), abs=1e-6)
    assert 0 < found.low <= found.value <= found.high < 0.15
    assert found == error_rise(old, new, None, 0.05, 300)


def test_a_stricter_level_and_repeated_images_widen_the_interval_rightly():
    old, new = _pair(np.random.default_rng(3), 600, 1.5)
    plain, strict = (error_rise(old, new, None, alpha, 500) for alpha in (0.05, 0.005))
    assert strict.high > plain.high
    # Each image four times, as one cluster, knows no more than the image once; taken as independent it would seem to.
    copies = [Stated(np.repeat(stated.correct_N, 4), np.repeat(stated.confidence_N, 4)) for stated in (old, new)]
    clustered = error_rise(copies[0], copies[1], np.repeat(np.arange(600), 4), 0.05, 500)
    naive = error_rise(copies[0], copies[1], None, 0.05, 500)
    assert clustered.error == pytest.approx(plain.error, rel=0.15)
    assert naive.error < 0.7 * clustered.error


def test_many_images_are_resampled_in_unions_with_the_same_spread(monkeypatch):
    old, new = _pair(np.random.default_rng(4), 4000, 1.5)
    unions = error_rise(old, new, None, 0.05, 600)
    monkeypatch.setattr("sightline.evaluate.calibration.MAX_UNITS", 4000)
    assert error_rise(old, new, None, 0.05, 600).error == pytest.approx(unions.error, rel=0.12)


def test_the_interval_holds_the_true_rise_where_percentiles_of_the_resamples_do_not():
    rng, worlds = np.random.default_rng(5), 60
    chance = rng.beta(6, 1, 400_000) * 0.7 + 0.29
    truth = float(np.abs(_sharpened(chance, 2.0) - chance).mean())
    missed = naive = 0
    for _ in range(worlds):
        old, new = _pair(rng, 500, 2.0)
        missed += error_rise(old, new, None, 0.05, 200).high < truth
        naive += _percentile_high(old, new, rng) < truth
    assert missed <= 8  # 5 % of 60 worlds is 3; more than 8 has probability 0.2 %
    assert naive > 30  # negative control


def _percentile_high(old: Stated, new: Stated, rng: np.random.Generator) -> float:
    edges, rises = shared_edges(old, new), []
    for rows in rng.integers(0, len(old), (60, len(old))):
        parts = [Stated(stated.correct_N[rows], stated.confidence_N[rows]) for stated in (old, new)]
        rises.append(expected_error(parts[1], edges) - expected_error(parts[0], edges))
    return float(np.quantile(rises, 0.95))


def test_one_calibrated_model_may_have_no_error_and_an_overconfident_one_may_not():
    rng = np.random.default_rng(6)
    calibrated, sharp = (error_interval(_stated(rng, 2000, sharper=sharper), None, 0.05, 300) for sharper in (1.0, 2.5))
    assert calibrated.low == 0
    assert calibrated.value > 0  # noise alone
    assert 0.03 < sharp.low < sharp.value < sharp.high < 1
