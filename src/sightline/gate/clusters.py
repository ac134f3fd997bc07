"""Right and wrong answers on images that come in groups: how many independent images they are worth."""

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from sightline.evaluate.paired import Floats, Ints
from sightline.gate import mcnemar
from sightline.gate.bootstrap import index_clusters
from sightline.gate.evidence import BoolArray, Pair
from sightline.gate.signflip import sign_flip

_FLIPS, _SEED = 4000, 20_252

PSEUDO_CLUSTERS = 6
"""Clusters whose images change all together that are added to those seen. A few clusters with a difference say little about how much images
of a cluster move together, and none says nothing; see tests/stats/test_clustered_pairs.py, which refutes 0."""


@dataclass(frozen=True)
class Effective:
    """Counts of independent images that carry the evidence of grouped ones.

    Attributes:
        plain: the counts as they are, for people.
        promotion: counts for a test of non-inferiority: all divided by the design effect, rounded towards "worse".
        design_effect: at least 1; variance of the mean difference over what it would be for independent images.
        num_clusters: groups.
        moved_K: fixed minus broken images of each group in which any changed.
    """

    plain: Pair
    promotion: Pair
    design_effect: float
    num_clusters: int
    moved_K: Floats

    @property
    def is_plain(self) -> bool:
        """Whether each image counts by itself."""
        return self.num_clusters == self.plain.num_images

    def p_worse(self) -> float:
        """The p-value of H0 "not worse": mid-p McNemar, or swaps of whole groups, which need no design effect and no prior."""
        if self.is_plain:
            return mcnemar.mid_p(self.plain.num_broken, self.plain.num_fixed)
        everything = {"": np.ones(len(self.moved_K), dtype=np.bool_)}
        return sign_flip(self.moved_K, everything, None, num_flips=_FLIPS, seed=_SEED)[""].p_value


def effective(old_N: BoolArray, new_N: BoolArray, clusters_N: Ints | None, *, alpha: float = 0.05) -> Effective:
    """The counts with which tests for independent images keep their level when images of a cluster are correlated.

    The design effect of the difference per image (-1 broken, 0, 1 fixed) divides all counts. It is never below 1, is drawn towards the
    whole-cluster case by ``PSEUDO_CLUSTERS``, and grows by the squared ratio of Student's to the normal quantile, which matters for few
    clusters (20: 1.10, 5: 1.68). With one cluster nothing is known: no images are left. When every image is a cluster by itself the counts
    are exactly the plain ones.

    Args:
        old_N: right answers of the reference.
        new_N: right answers of the candidate.
        clusters_N: cluster of each image; None when each image is one.
        alpha: one-sided level of the test that uses the counts.

    Source: J. N. K. Rao and A. J. Scott (1992), A simple method for the analysis of clustered binary data, Biometrics 48, 577-585.
    """
    plain = Pair.count(old_N, new_N)
    index_N, num_clusters = index_clusters(clusters_N, len(old_N))
    if num_clusters == len(old_N):
        return independent(plain)
    effect = design_effect(new_N.astype(np.float64) - old_N.astype(np.float64), index_N)
    effect = max(1.0, effect) * student_inflation(num_clusters - 1, alpha)
    moved_K = np.bincount(index_N, weights=new_N.astype(np.float64) - old_N)
    return Effective(plain, _shrunk(plain, effect), effect, num_clusters, moved_K[moved_K != 0])


def independent(pair: Pair) -> Effective:
    """The counts of images that each stand for themselves."""
    return Effective(pair, pair, 1.0, pair.num_images, np.zeros(0))


def independent_share(right_N: BoolArray, clusters_N: Ints | None, *, alpha: float = 0.05) -> tuple[int, int]:
    """Right answers and images of one model, reduced to independent images like the pairs of ``effective``, rounded towards "worse"."""
    num_right, num_images = int(right_N.sum()), len(right_N)
    index_N, num_clusters = index_clusters(clusters_N, num_images)
    if num_clusters == num_images:
        return num_right, num_images
    effect = max(1.0, design_effect(right_N.astype(np.float64), index_N)) * student_inflation(num_clusters - 1, alpha)
    return _down(num_right / effect), _up(num_images / effect)


def design_effect(differences_N: npt.NDArray[np.float64], clusters_N: Ints) -> float:
    """Variance of the mean over that of as many independent images, as a ratio estimate over clusters with the pseudo-clusters' weight.

    Args:
        differences_N: one number per image, at least 1 image.
        clusters_N: cluster of each, indices from 0 without gaps.
    """
    sizes_K = np.bincount(clusters_N).astype(np.float64)
    num_clusters, num_images = len(sizes_K), len(differences_N)
    # All images of a cluster the same: the mean is worth (sum of sizes)² / (sum of squared sizes) images.
    largest = float((sizes_K**2).sum()) / num_images
    mean = float(differences_N.mean())
    simple = float((differences_N**2).mean()) - mean**2
    if simple <= 0 or num_clusters < 2:
        return largest
    residuals_K = np.bincount(clusters_N, weights=differences_N) - sizes_K * mean
    observed = num_clusters / (num_clusters - 1) * float((residuals_K**2).sum()) / num_images / simple
    num_moved = int(np.count_nonzero(np.bincount(clusters_N, weights=np.abs(differences_N))))
    return (num_moved * max(observed, 1.0) + PSEUDO_CLUSTERS * largest) / (num_moved + PSEUDO_CLUSTERS)


def student_inflation(degrees: int, alpha: float) -> float:
    """The squared ratio of Student's to the normal quantile; infinite without degrees of freedom."""
    from scipy.special import ndtri, stdtrit

    return float((stdtrit(degrees, 1 - alpha) / ndtri(1 - alpha)) ** 2) if degrees else float("inf")


def _shrunk(pair: Pair, effect: float) -> Pair:
    images = _down(pair.num_images / effect)
    broken = min(_up(pair.num_broken / effect), images)
    fixed = min(_down(pair.num_fixed / effect), images - broken)
    share_old = pair.num_correct_old / pair.num_images if pair.num_images else 0.0
    right_old = min(max(round(share_old * images), broken), images - fixed)
    return Pair(images, right_old, right_old - broken + fixed, broken, fixed)


def _down(count: float) -> int:
    # A rounding error must not cost an image, here and below.
    return floor(count + 1e-9)


def _up(count: float) -> int:
    return ceil(count - 1e-9)
