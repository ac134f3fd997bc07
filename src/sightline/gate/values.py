"""Numbers of a check as people read them; the check's unit decides how."""

import datetime
from collections.abc import Sequence

from sightline.evaluate.verdict import SCORES, Check

SLICE_KINDS = frozenset({"slice", "critical-slice", "discovered-slice"})


def points(share: float, *, digits: int = 1) -> str:
    """A difference of shares in percentage points with its sign, e.g. "+3.8" or "−0.4"; zero has no sign."""
    return _signed(share * 100, digits)


def percent(share: float) -> str:
    """A share as a percentage with one digit, e.g. "91.2 %"."""
    return f"{share * 100:.1f} %"


def probability(share: float) -> str:
    """A small probability as a percentage with up to two significant digits, e.g. "5 %" or "0.34 %"."""
    return f"{float(f'{share * 100:.2g}'):g} %"


def count_of(number: int, noun: str) -> str:
    """A number with its noun, e.g. "1 image" or "340 images"; "y" becomes "ies"."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def listed(names: Sequence[str], *, at_most: int = 3) -> str:
    """Names as in a sentence, e.g. "a, b and c"; longer lists end with "and 4 more"."""
    shown = list(names[:at_most])
    if len(names) > at_most:
        shown.append(f"{len(names) - at_most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def day(unix_s: float) -> str:
    """A day in UTC, e.g. "2026-01-31"."""
    return datetime.datetime.fromtimestamp(unix_s, tz=datetime.UTC).strftime("%Y-%m-%d")


def is_difference(check: Check) -> bool:
    """Whether the estimate is value minus reference."""
    return check.reference is not None and check.estimate is not None


def is_figure(check: Check) -> bool:
    """Whether it is a plain number for information, without a test, e.g. AP50 or the AP of one class."""
    return check.kind == "agreement" and not check.required and check.metric != "accuracy"


def loss(check: Check) -> float:
    """How much worse, as far as is known: the larger, the worse; without a reference a low value is a large loss."""
    if check.estimate is None:
        return 0.0
    return check.estimate if check.lower_is_better else -check.estimate


def certain_loss(check: Check) -> float:
    """The loss that the interval leaves no doubt about, which ranks slices of any size: a few unlucky images do not come first."""
    if check.interval is None:
        return loss(check)
    return check.interval[0] if check.lower_is_better else -check.interval[1]


def value_text(check: Check, value: float | None) -> str:
    """A value of the check in its unit, e.g. "91.2 %", "0.512" or "12.40 MB"; empty for None."""
    if value is None:
        return ""
    if check.unit == "share":
        return f"{value:.3f}".replace("-", "−") if check.metric in SCORES else percent(value).replace("-", "−")
    return f"{_amount(value)} {check.unit}".replace("-", "−")


def change_text(check: Check) -> str:
    """The difference in the check's unit, e.g. "−2.1 pts" or "+0.30 ms"; empty when the estimate is no difference."""
    if not is_difference(check) or check.estimate is None:
        return ""
    return f"{points(check.estimate)} pts" if check.unit == "share" else f"{_signed(check.estimate, 2)} {check.unit}"


def interval_text(check: Check) -> str:
    """The interval of the estimate in its unit, e.g. "[+1.9, +5.7]" or "[61.0 %, 70.2 %]"; empty without one."""
    if check.interval is None:
        return ""
    if not is_difference(check):
        return f"[{value_text(check, check.interval[0])}, {value_text(check, check.interval[1])}]"
    low, high = (points(end) if check.unit == "share" else _signed(end, 2) for end in check.interval)
    return f"[{low}, {high}]"


def p_text(check: Check) -> str:
    """The p-value, e.g. "0.031" or "< 0.001"; empty without one."""
    return "" if check.p_value is None else "< 0.001" if check.p_value < 0.001 else f"{check.p_value:.3f}"


def images_text(check: Check) -> str:
    """How much evidence there is, e.g. "340 images" or "340 images in 28 groups"."""
    groups = f" in {count_of(check.num_clusters, 'group')}" if 0 < check.num_clusters < check.num_images else ""
    return f"{count_of(check.num_images, 'image')}{groups}"


def explains(check: Check, num_broken: int) -> str:
    """How many of the ``num_broken`` newly broken images a discovered slice holds; empty when none is known.

    "At least", because such a slice holds images of one half only.
    """
    if not check.num_broken:
        return ""
    return f"explains at least {check.num_broken} of the {count_of(num_broken, 'newly broken image')}"


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    return text if not float(text) else f"{'+' if value > 0 else '−'}{text}"


def _amount(value: float) -> str:
    # Costs per 1 000 inferences are often far below a cent.
    return f"{value:.2f}" if abs(value) >= 0.1 or not value else f"{value:.2g}"
