import itertools

import numpy as np
import pytest

from sightline.errors import DataError
from sightline.monitor.statistics import category_mix, embedding_discrepancy, holm, kolmogorov_smirnov


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("num_first", "num_second", "shift"), [(50, 80, 0.0), (400, 300, 0.1), (200, 1000, 0.5), (1, 5, 0.0)])
def test_ks_agrees_with_scipy(num_first: int, num_second: int, shift: float) -> None:
    from scipy.stats import ks_2samp

    rng = generator()
    first, second = rng.normal(size=num_first), rng.normal(size=num_second) + shift
    ours, theirs = kolmogorov_smirnov(first, second), ks_2samp(first, second, method="exact")
    assert ours.statistic == pytest.approx(theirs.statistic)
    assert ours.p_value >= theirs.pvalue * 0.9, "the limit is conservative"
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.06) or num_first == 1


def test_ks_counts_ties_once_and_sees_no_difference_between_equal_samples() -> None:
    values = np.repeat([0.0, 1.0, 2.0], 50)
    same = kolmogorov_smirnov(values, values)
    assert (same.statistic, same.p_value) == (0.0, 1.0)


def test_ks_of_separated_samples_is_one_with_a_positive_p_value() -> None:
    apart = kolmogorov_smirnov(np.zeros(2000), np.ones(2000))
    assert apart.effect == 1.0
    assert 0.0 < apart.p_value < 1e-100


def test_category_mix_agrees_with_scipy_on_common_categories() -> None:
    from scipy.stats import chi2_contingency

    rng = generator(3)
    first, second = rng.choice(list("abc"), 300, p=[0.3, 0.5, 0.2]), rng.choice(list("abc"), 200, p=[0.35, 0.42, 0.23])
    table = [[int((side == name).sum()) for name in "abc"] for side in (first, second)]
    theirs = chi2_contingency(table, correction=False)
    ours = category_mix(list(first), list(second), num_permutations=4000, rng=rng)
    assert ours.statistic == pytest.approx(theirs.statistic)
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.03)


def test_category_mix_handles_categories_that_one_side_lacks() -> None:
    result = category_mix(["a"] * 40, ["a"] * 20 + ["b"] * 20, num_permutations=999, rng=generator())
    assert result.effect == pytest.approx(0.5)
    assert result.p_value == pytest.approx(0.001)
    assert category_mix(["a"] * 5, ["a"] * 5, num_permutations=99, rng=generator()).p_value == 1.0


def brute_force_mmd(first: np.ndarray, second: np.ndarray) -> float:
    rows = np.concatenate([first, second])
    distances = [float(((a - b) ** 2).sum()) for a, b in itertools.combinations(rows, 2)]
    width = 2.0 * float(np.median(distances))

    def mean(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
        return float(np.mean([np.exp(-((a - b) ** 2).sum() / width) for a, b in pairs]))

    within = mean(list(itertools.combinations(first, 2))) + mean(list(itertools.combinations(second, 2)))
    return within - 2 * mean(list(itertools.product(first, second)))


@pytest.mark.parametrize(("num_first", "num_second", "offset"), [(12, 12, 0.0), (20, 9, 0.0), (9, 20, 1000.0), (2, 2, 0.0)])
def test_mmd_is_the_one_of_the_double_loop(num_first: int, num_second: int, offset: float) -> None:
    rng = generator(4)
    first, second = rng.normal(size=(num_first, 5)) + offset, rng.normal(size=(num_second, 5)) + offset + 0.4
    ours = embedding_discrepancy(first, second, num_permutations=100, rng=rng)
    assert ours.statistic == pytest.approx(brute_force_mmd(first, second), abs=1e-9)


def test_the_permutation_p_value_is_the_one_over_all_splits() -> None:
    rng = generator(5)
    first, second = rng.normal(size=(5, 2)), rng.normal(size=(5, 2)) + 1.0
    rows = np.concatenate([first, second])
    observed = brute_force_mmd(first, second)
    splits = [set(chosen) for chosen in itertools.combinations(range(10), 5)]
    values = [brute_force_mmd(rows[sorted(chosen)], rows[sorted(set(range(10)) - chosen)]) for chosen in splits]
    exact = float(np.mean([value >= observed - 1e-12 for value in values]))
    ours = embedding_discrepancy(first, second, num_permutations=20_000, rng=rng)
    assert ours.p_value == pytest.approx(exact, abs=0.01)


def test_embeddings_that_are_all_equal_do_not_drift() -> None:
    assert embedding_discrepancy(np.ones((30, 4)), np.ones((40, 4)), num_permutations=100, rng=generator()).p_value == 1.0


def test_large_samples_are_subsampled() -> None:
    rng = generator(6)
    result = embedding_discrepancy(rng.normal(size=(5000, 3)), rng.normal(size=(4000, 3)) + 1, num_permutations=200, rng=rng, max_rows=100)
    assert result.p_value == pytest.approx(1 / 201)


def test_embeddings_of_another_width_are_an_error() -> None:
    with pytest.raises(DataError, match="served embeddings have 3 values, those of the reference 4"):
        embedding_discrepancy(np.ones((5, 4)), np.ones((5, 3)), num_permutations=100, rng=generator())


def test_no_values_are_an_error_and_not_an_agreement() -> None:
    empty = np.array([])
    with pytest.raises(DataError):
        kolmogorov_smirnov(empty, np.ones(3))
    with pytest.raises(DataError):
        category_mix([], ["a"], num_permutations=100, rng=generator())
    with pytest.raises(DataError):
        embedding_discrepancy(np.ones((5, 2)), np.ones((1, 2)), num_permutations=100, rng=generator())


def test_holm_agrees_with_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    p_values = [0.01, 0.04, 0.03, 0.005, 0.6, 0.03]
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))
    assert holm([]) == []
