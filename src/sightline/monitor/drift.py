"""Which signals drifted, and which images differ most."""

import math

import numpy as np
from pydantic import BaseModel, ConfigDict

from sightline.config.monitor import MonitorConfig
from sightline.errors import DataError
from sightline.images import PROPERTIES
from sightline.monitor.sample import FloatArray, Sample
from sightline.monitor.statistics import (
    TwoSample,
    category_mix,
    embedding_discrepancy,
    holm,
    kolmogorov_smirnov,
    squared_distances,
)

NUM_SIGNALS = len(PROPERTIES) + 3
_NUM_BINS = 20
_NEIGHBOURS = 5
_MAX_ROWS = 600


class Histogram(BaseModel):
    """Counts per bin (or category) of reference and served images; ``edges`` has one entry more than there are bins."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    reference: tuple[int, ...]
    served: tuple[int, ...]


class Signal(BaseModel):
    """One tested signal.

    Attributes:
        name: an image property, ``confidence``, ``label`` (the mix of predicted classes) or ``embedding``.
        test: ks, chi-square or mmd.
        statistic: KS distance, chi-square or unbiased MMD².
        effect: KS distance, total variation distance or MMD.
        p_value: of this test alone.
        p_adjusted: Holm over all signals.
        drifted: p_adjusted is at most alpha and, for ks and chi-square, the effect is at least ``min_effect``.
        reference_mean: mean over the reference; for ``label`` the share of the class that changed most; None for ``embedding``.
        served_mean: the same over the served images.
        detail: what changed, for people.
        histogram: None for ``embedding``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    name: str
    test: str
    statistic: float
    effect: float
    p_value: float
    p_adjusted: float
    drifted: bool
    reference_mean: float | None = None
    served_mean: float | None = None
    detail: str
    histogram: Histogram | None = None


def compare(reference: Sample, served: Sample, config: MonitorConfig) -> tuple[Signal, ...]:
    """Every signal tested, Holm-corrected over all; at most ``config.alpha`` of the looks at undrifted images show any drift.

    Args:
        reference: what the champion was shipped with; at least 2 images.
        served: at least 2 images, each image once.
        config: alpha, min_effect, permutations and seed.

    Raises:
        DataError: too few images, or embeddings of another width.
    """
    if min(len(reference), len(served)) < 2:
        raise DataError(f"drift needs images on both sides: {len(reference)} in the reference, {len(served)} served")
    tests = _tests(reference, served, config)
    adjusted = holm([test.p_value for test in tests.values()])
    return tuple(
        _signal(name, test, p_adjusted, reference, served, config) for (name, test), p_adjusted in zip(tests.items(), adjusted, strict=True)
    )


def _tests(reference: Sample, served: Sample, config: MonitorConfig) -> dict[str, TwoSample]:
    rng = np.random.default_rng(config.seed)
    # A permutation p-value is at least 1/(1+permutations): with fewer than this, one signal alone could never pass Holm's first step.
    num_permutations = max(config.num_permutations, math.ceil(2 * NUM_SIGNALS / config.alpha))
    tests = {name: kolmogorov_smirnov(reference.properties[name], served.properties[name]) for name in PROPERTIES}
    tests["confidence"] = kolmogorov_smirnov(reference.confidence_N, served.confidence_N)
    tests["label"] = category_mix(reference.labels, served.labels, num_permutations=num_permutations, rng=rng)
    tests["embedding"] = embedding_discrepancy(
        reference.embeddings_ND, served.embeddings_ND, num_permutations=num_permutations, rng=rng, max_rows=_MAX_ROWS
    )
    return tests


def _signal(name: str, test: TwoSample, p_adjusted: float, reference: Sample, served: Sample, config: MonitorConfig) -> Signal:
    histogram: Histogram | None = None
    means: tuple[float | None, float | None] = (None, None)
    kind = "ks"
    if name == "embedding":
        kind, detail = "mmd", f"MMD {test.effect:.2f}"
    elif name == "label":
        histogram = _categories(reference, served)
        means, changed = _most_changed(histogram)
        kind, detail = "chi-square", f"{changed} {means[0]:.2f}→{means[1]:.2f}"
    else:
        first, second = _values(reference, name), _values(served, name)
        histogram = _bins(first, second)
        means = (float(first.mean()), float(second.mean()))
        detail = f"{means[0]:.2f}→{means[1]:.2f} (KS {test.effect:.2f})"
    matters = name == "embedding" or test.effect >= config.min_effect
    return Signal(
        name=name,
        test=kind,
        statistic=test.statistic,
        effect=test.effect,
        p_value=test.p_value,
        p_adjusted=p_adjusted,
        drifted=p_adjusted <= config.alpha and matters,
        reference_mean=means[0],
        served_mean=means[1],
        detail=detail,
        histogram=histogram,
    )


def _values(sample: Sample, name: str) -> FloatArray:
    return sample.confidence_N if name == "confidence" else sample.properties[name]


def _bins(reference: FloatArray, served: FloatArray) -> Histogram:
    edges = np.histogram_bin_edges(np.concatenate([reference, served]), bins=_NUM_BINS)
    counts = [np.histogram(values, bins=edges)[0] for values in (reference, served)]
    return Histogram(edges=tuple(edges.tolist()), reference=tuple(counts[0].tolist()), served=tuple(counts[1].tolist()))


def _categories(reference: Sample, served: Sample) -> Histogram:
    names = tuple(sorted({*reference.labels, *served.labels}))
    return Histogram(
        categories=names,
        reference=tuple(reference.labels.count(name) for name in names),
        served=tuple(served.labels.count(name) for name in names),
    )


def _most_changed(histogram: Histogram) -> tuple[tuple[float, float], str]:
    num_reference, num_served = sum(histogram.reference), sum(histogram.served)
    shares = [(first / num_reference, second / num_served) for first, second in zip(histogram.reference, histogram.served, strict=True)]
    index = max(range(len(shares)), key=lambda position: abs(shares[position][0] - shares[position][1]))
    return shares[index], histogram.categories[index]


def most_different(reference: Sample, served: Sample, *, limit: int = 50) -> tuple[str, ...]:
    """The served images farthest from the reference, farthest first: those are worth a label first.

    The distance is the mean one to the five nearest reference embeddings. Cost: served × reference distances.
    """
    if not len(served):
        return ()
    squares = squared_distances(served.embeddings_ND, reference.embeddings_ND)
    count = min(_NEIGHBOURS, len(reference))
    nearest = np.partition(squares, count - 1, axis=1)[:, :count]
    farthest_first = np.argsort(-np.sqrt(nearest).mean(axis=1), kind="stable")
    return tuple(served.ids[index] for index in farthest_first[:limit])
