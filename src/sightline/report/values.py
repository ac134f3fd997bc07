"""Numbers of a verdict as people read them: a check's unit and metric decide how."""

from sightline.evaluate.verdict import SCORES
from sightline.report import figures
from sightline.report.views import CheckView, VerdictView

_NARROW = "\u202f"


def value_text(check: CheckView, value: float | None) -> str:
    """A value of the check in its unit, e.g. "91.2 %", "0.512" or "12.4 MB"; a number without a unit stays one."""
    if value is None or not figures.finite(value):
        return figures.MISSING
    if check.unit == "share":
        return figures.decimals(value) if check.metric in SCORES else figures.percent(value).replace("-", "−")
    return f"{_amount(value)}{_NARROW}{check.unit}".strip()


def change_text(check: CheckView) -> str:
    """Value minus reference in the check's unit, e.g. "−2.1 points" or "+0.3 ms"; empty when the estimate is no difference."""
    if not check.is_paired or check.estimate is None:
        return ""
    return (
        f"{figures.points(check.estimate)} points" if check.unit == "share" else f"{_signed(check.estimate)}{_NARROW}{check.unit}".strip()
    )


def interval_text(check: CheckView) -> str:
    """The estimate's interval in its unit, differences with signs, e.g. "+1.9 … +5.7" or "0.471 … 0.523"; empty without one."""
    if check.interval is None:
        return ""
    if check.is_difference:
        return figures.interval(check.low, check.high)
    ends = [end for end in check.interval if end is not None]
    if len(ends) < 2:
        return ""
    low, high = (f"{_signed(end)}{_NARROW}{check.unit}".strip() if check.is_paired else value_text(check, end) for end in ends)
    return f"{low} … {high}"


def limit_text(check: CheckView) -> str:
    """What an absolute check asks for, e.g. "at most 200 MB" or "at least 0.300"; empty for a comparison or without a limit."""
    if check.margin is None or check.is_paired:
        return ""
    return f"at {'most' if check.lower_is_better else 'least'} {value_text(check, check.margin)}"


def images_text(check: CheckView) -> str:
    """How much evidence there is, e.g. "340 images" or "340 images in 28 groups"; empty without images."""
    if not check.num_images:
        return ""
    images = f"{figures.count(check.num_images)} image{'' if check.num_images == 1 else 's'}"
    if not check.num_clusters or check.num_clusters >= check.num_images:
        return images
    return f"{images} in {figures.count(check.num_clusters)} group{'' if check.num_clusters == 1 else 's'}"


def metric_text(check: CheckView, verdict: VerdictView) -> str:
    """The check's metric where its name and the verdict's metric leave it open; else empty."""
    is_told = check.metric in check.name or (check.metric == verdict.metric and check.kind != "overall")
    return "" if is_told or check.value is None or check.unit != "share" else check.metric


def attempt_text(verdict: VerdictView) -> str:
    """How often these golden images were looked at, and the level of this look: "look 4 at this golden set · … · α of this look 1.7 %"."""
    parts = [f"look {figures.count(verdict.looks)} at this golden set"]
    if verdict.attempt is not None:
        parts.append(f"attempt {figures.count(verdict.attempt)} in the alpha ledger")
    if verdict.alpha is not None:
        parts.append(f"α of this look {verdict.alpha * 100:.2g}{_NARROW}%")
    return " · ".join(parts)


def title_of(metric: str) -> str:
    """A metric at the start of a line: "Accuracy", "Macro F1", but "mIoU" as it is."""
    first = metric.split(maxsplit=1)[0] if metric.strip() else ""
    return f"{metric[0].upper()}{metric[1:]}" if first.islower() else metric


def _amount(value: float) -> str:
    return figures.count(value) if abs(value) >= 1000 else figures.number(value)


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{_amount(value)}".replace("-", "−")
