"""McNemar's test, one-sided: has the new model broken more images than it fixed?"""

from math import exp, lgamma, log


def mid_p(num_broken: int, num_fixed: int) -> float:
    """The one-sided mid-p value of H0: a discordant image is as likely fixed as broken; small values speak for a regression.

    Without discordant images there is no evidence and the value is 1.

    Source: M. W. Fagerland, S. Lydersen, P. Laake (2013), The McNemar test for binary matched-pairs data: mid-p and asymptotic are better
    than exact conditional, BMC Medical Research Methodology 13:91.
    """
    total = num_broken + num_fixed
    return exact_p(num_broken, num_fixed) - _mass(num_broken, total) / 2 if total else 1.0


def exact_p(num_broken: int, num_fixed: int) -> float:
    """The one-sided exact conditional p-value; never above its nominal level, less powerful than ``mid_p``."""
    from scipy.special import betainc

    return float(betainc(num_broken, num_fixed + 1, 0.5)) if num_broken else 1.0


def _mass(count: int, total: int) -> float:
    return exp(lgamma(total + 1) - lgamma(count + 1) - lgamma(total - count + 1) - total * log(2))


def smallest_mid_p(num_discordant: int) -> float:
    """The smallest mid-p value that this many discordant images can give: all of them broken."""
    return float(0.5 ** (num_discordant + 1)) if num_discordant else 1.0
