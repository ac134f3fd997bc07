"""The gate's decision on 100 000 images and 50 slices, beside the same questions put to scipy, statsmodels and scikit-learn in loops.

Run: python -m benchmarks.gate_classification [--json] [--images 100000] [--slices 50] [--threads 2]. About a minute on two cores. Timed are
the whole decision with the policy's defaults, overlapping slices by sign flips, and macro F1 by the bootstrap; the peer's slow loops are
timed on a part and scaled up, which is said. The replicates of both ways of drawing macro F1 are compared by Kolmogorov-Smirnov.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from threadpoolctl import threadpool_limits

from sightline.config.gate import GateConfig
from sightline.evaluate.f1 import MacroF1
from sightline.evaluate.predict import Answers
from sightline.evaluate.verdict import overall_outcome
from sightline.gate.bootstrap import paired_bootstrap, replicates
from sightline.gate.decide import decide
from sightline.gate.evidence import BoolArray, Evidence
from sightline.gate.signflip import sign_flip

NUM_CLASSES = 10
LIMIT_S = 5.0
RESAMPLES = 2000


@dataclass(frozen=True)
class Line:
    """One job, ours and the peer's; ``scaled`` is how often the peer's timed part is contained in the whole."""

    job: str
    ours_s: float
    peer: str
    peer_s: float
    scaled: float

    @property
    def ratio(self) -> float:
        """How many times longer the peer takes."""
        return self.peer_s / self.ours_s


def evidence_of(num_images: int, num_slices: int, seed: int = 7) -> Evidence:
    """Two models that are right on about 90 % of the images and differ on about 5 %; each image is in about a fifth of the slices."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, NUM_CLASSES, num_images)
    champion = np.where(rng.uniform(size=num_images) < 0.1, rng.integers(0, NUM_CLASSES, num_images), labels)
    candidate = np.where(rng.uniform(size=num_images) < 0.05, rng.integers(0, NUM_CLASSES, num_images), champion)
    ids = tuple(map(str, range(num_images)))
    shares = np.geomspace(0.001, 0.6, num_slices)
    return Evidence(
        stage="trained",
        labels_N=labels,
        masks={f"slice={index}": rng.uniform(size=num_images) < share for index, share in enumerate(shares)},
        candidate=Answers(ids, candidate, rng.beta(8, 2, num_images).astype(np.float32)),
        champion=Answers(ids, champion, rng.beta(8, 2, num_images).astype(np.float32)),
        eager=None,
        same_model=False,
    )


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds on the clock, and what came out."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def peak_mb() -> float:
    """The most memory that this process ever held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def peer_decision(old: BoolArray, new: BoolArray, masks: Mapping[str, BoolArray], num_resamples: int) -> None:
    """Paired bootstrap for the overall difference, McNemar per slice, Holm and Benjamini-Hochberg over them."""
    difference = new.astype(np.float64) - old
    stats.bootstrap((difference,), np.mean, n_resamples=num_resamples, method="percentile", batch=100, rng=1)
    p_values = []
    for mask in masks.values():
        table = [
            [np.sum(old[mask] & new[mask]), np.sum(old[mask] & ~new[mask])],
            [np.sum(~old[mask] & new[mask]), np.sum(~old[mask] & ~new[mask])],
        ]
        p_values.append(mcnemar(table, exact=True).pvalue)
    multipletests(p_values, 0.05, method="holm")
    multipletests(p_values, 0.1, method="fdr_bh")


def peer_flips(difference: npt.NDArray[np.float64], masks: Mapping[str, BoolArray], num_flips: int) -> None:
    """scipy's permutation test, slice by slice, without any correction for many slices."""
    for mask in masks.values():
        values = difference[mask]
        stats.permutation_test(
            (values, np.zeros_like(values)),
            lambda x, y, axis: (x - y).mean(axis=axis),
            permutation_type="samples",
            alternative="less",
            n_resamples=num_flips,
            batch=50,
            vectorized=True,
            rng=1,
        )


def naive_replicates(metric: MacroF1, num_resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """Macro F1 of both models on drawn rows, by scikit-learn."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(num_resamples):
        rows = rng.integers(len(metric), size=len(metric))
        labels, answers = metric.labels_N[rows], (metric.reference_N, metric.candidate_N)
        found.append([f1_score(labels, predicted[rows], average="macro") for predicted in answers if predicted is not None])
    return np.array(found)


def equivalence(metric: MacroF1, num_resamples: int) -> dict[str, float]:
    """p-values of Kolmogorov-Smirnov tests that our replicates and those of drawn rows have one law; 10 000 images for time."""
    few = metric.subset(np.arange(min(len(metric), 10_000)))
    ours, theirs = replicates(few, None, num_resamples=num_resamples, seed=1), naive_replicates(few, num_resamples, 2)
    pairs = {"reference": (ours[:, 0], theirs[:, 0]), "candidate": (ours[:, 1], theirs[:, 1])}
    pairs["difference"] = (ours[:, 1] - ours[:, 0], theirs[:, 1] - theirs[:, 0])
    return {name: float(stats.ks_2samp(*pair).pvalue) for name, pair in pairs.items()}


def run(num_images: int, num_slices: int) -> dict[str, Any]:
    """All lines, the equivalence of the draws and the memory."""
    evidence, policy = evidence_of(num_images, num_slices), GateConfig()
    if evidence.champion is None:
        raise ValueError("the benchmark compares two models")
    old, new = evidence.correct(evidence.champion), evidence.correct(evidence.candidate)
    difference = new.astype(np.float64) - old
    metric = MacroF1(evidence.labels_N, evidence.champion.predicted_N, evidence.candidate.predicted_N, NUM_CLASSES)
    before_mb = peak_mb()
    decision_s, checks = timed(lambda: decide(evidence, policy))
    flips_s, _ = timed(lambda: sign_flip(difference, evidence.masks, None, num_flips=RESAMPLES, seed=1))
    macro = {"margin": policy.margin, "alpha": policy.alpha, "num_resamples": RESAMPLES, "seed": 1}
    macro_s, _ = timed(lambda: paired_bootstrap(metric, None, **macro))
    ours_mb = peak_mb()
    parts = {"decision": 200, "flips": 40, "macro": 10}
    peer_decision_s = timed(lambda: peer_decision(old, new, evidence.masks, parts["decision"]))[0]
    peer_flips_s = timed(lambda: peer_flips(difference, evidence.masks, parts["flips"]))[0]
    peer_macro_s = timed(lambda: naive_replicates(metric, parts["macro"], 1))[0]
    scale = {job: RESAMPLES / part for job, part in parts.items()}
    lines = (
        Line("whole decision", decision_s, "scipy bootstrap, statsmodels McNemar", peer_decision_s * scale["decision"], scale["decision"]),
        Line("sign flips, max-T", flips_s, "scipy permutation_test per slice", peer_flips_s * scale["flips"], scale["flips"]),
        Line("macro F1 bootstrap", macro_s, "rows drawn, scikit-learn f1_score", peer_macro_s * scale["macro"], scale["macro"]),
    )
    return {
        "images": num_images,
        "slices": num_slices,
        "checks": len(checks),
        "outcome": overall_outcome(checks),
        "within_limit": decision_s <= LIMIT_S,
        "lines": [asdict(line) | {"ratio": line.ratio} for line in lines],
        "same_law_p": equivalence(metric, 300),
        "data_mb": before_mb,
        "peak_mb": ours_mb,
    }


def show(result: dict[str, Any]) -> None:
    """The same figures for people."""
    print(f"{result['images']} images, {result['slices']} slices: {result['checks']} checks, verdict {result['outcome']}")
    for line in result["lines"]:
        peer = f"{line['peer']:38s} {line['peer_s']:9.1f} s (part × {line['scaled']:g})"
        print(f"  {line['job']:20s} {line['ours_s']:7.3f} s   {peer}   ×{line['ratio']:.0f}")
    verb = "within" if result["within_limit"] else "ABOVE"
    print(f"  the decision is {verb} {LIMIT_S:g} s; peak memory {result['peak_mb']:.0f} MB, {result['data_mb']:.0f} MB before it")
    laws = ", ".join(f"{name} p = {p:.2f}" for name, p in result["same_law_p"].items())
    print(f"  both ways of drawing macro F1 have one law (Kolmogorov-Smirnov): {laws}")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--slices", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of matrix products")
    arguments = parser.parse_args()
    with threadpool_limits(arguments.threads):
        result = run(arguments.images, arguments.slices)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


if __name__ == "__main__":
    main()
