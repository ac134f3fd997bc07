"""Which charts each section shows."""

import math
from collections.abc import Sequence
from html import escape

from sightline.report.charts import Axes, Line, category_bars, histogram, line_chart
from sightline.report.views import DeploymentView, DriftView, EpochView, MomentView, SignalView

_MAX_HISTOGRAMS = 8


def training_charts(epochs: Sequence[EpochView]) -> tuple[str, ...]:
    """Loss and validation accuracy over epochs; empty without epochs."""
    if not epochs:
        return ()
    numbered = [(epoch.epoch if epoch.epoch is not None else float(place + 1), epoch) for place, epoch in enumerate(epochs)]
    train = [(x, epoch.train_loss) for x, epoch in numbered if epoch.train_loss is not None]
    val = [(x, epoch.val_loss) for x, epoch in numbered if epoch.val_loss is not None]
    accuracy = [(x, epoch.val_accuracy) for x, epoch in numbered if epoch.val_accuracy is not None]
    return (
        _titled(
            "Loss", line_chart([Line("training", "a", train), Line("validation", "b", val)], Axes("epoch", low=0.0), title="Loss per epoch")
        ),
        _titled(
            "Validation accuracy", line_chart([Line("validation", "b", accuracy)], Axes("epoch", "%", high=1.0), title="Accuracy per epoch")
        ),
    )


def canary_charts(deployment: DeploymentView) -> tuple[str, ...]:
    """Requests over time, and how far the evidence for either decision got; empty without a timeline."""
    moments = [moment for moment in deployment.timeline if moment.t is not None]
    if len(moments) < 2:
        return ()
    canary = [(moment.t or 0.0, moment.canary_requests) for moment in moments if moment.canary_requests is not None]
    total = [(moment.t or 0.0, moment.requests) for moment in moments if moment.requests is not None]
    lines = [Line("both arms", "ref", total), Line("canary", "a", canary)]
    charts = [_titled("Requests answered", line_chart(lines, Axes("seconds", low=0.0), title="Requests over time"))]
    for word, title in (("promote", "Evidence that it is healthy"), ("rollback", "Evidence that it is bad")):
        curves = _evidence_lines(deployment, moments, word)
        if curves:
            charts.append(_titled(title, line_chart(curves, Axes("seconds", "%", 0.0, 1.0), title=f"{title}, 100 % decides")))
    return tuple(charts)


def _evidence_lines(deployment: DeploymentView, moments: Sequence[MomentView], word: str) -> list[Line]:
    """Each e-value as a share of what it must reach, on a logarithmic scale, so that 0 is no evidence and 1 decides."""
    names = [
        name
        for name, limit in deployment.thresholds.items()
        if limit > 1 and (name.endswith(f"/{word}") or (word, name) == ("rollback", "split"))
    ]
    lines = []
    for name, style in zip(sorted(names), ("a", "b", "c"), strict=False):
        limit = math.log(deployment.thresholds[name])
        values = [(moment.t or 0.0, moment.e_values[name]) for moment in moments if name in moment.e_values]
        points = [(t, min(1.1, max(0.0, math.log(value) / limit))) for t, value in values if value > 0]
        lines.append(Line(name.removesuffix(f"/{word}"), style, points))
    ends = [(moments[0].t or 0.0, 1.0), (moments[-1].t or 0.0, 1.0)]
    return [*lines, Line("decides", "limit", ends)] if lines else []


def drift_charts(drift: DriftView) -> tuple[str, ...]:
    """Reference against served per signal, drifted ones first; empty when no histogram was recorded."""
    drawn = [signal for signal in drift.signals if signal.histogram is not None and (signal.histogram.edges or signal.histogram.categories)]
    drawn.sort(key=lambda signal: (signal.drifted is not True, -(signal.effect or 0.0)))
    return tuple(_signal_chart(signal) for signal in drawn[:_MAX_HISTOGRAMS])


def _signal_chart(signal: SignalView) -> str:
    shape = signal.histogram
    if shape is None:
        return ""
    title = f"Histogram of {signal.name}: reference and served images"
    draw = histogram(shape.edges, shape.reference, shape.served, title=title) if shape.edges else ""
    bars = draw or category_bars(shape.categories, shape.reference, shape.served, title=title)
    return _titled(f"{signal.name}{' · drifted' if signal.drifted else ''}", bars)


def _titled(title: str, chart: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{chart}</figure>"
