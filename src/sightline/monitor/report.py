"""The drift page and its summary: the decision first, then each signal before and now."""

from html import escape

from sightline.monitor.drift import Histogram, Signal
from sightline.monitor.result import Drift

_SENTENCES = {
    "wait": "Wait: too few images to say anything.",
    "ignore": "No action: the served images look like those the model was judged on.",
    "label": "Label first: something moved, retraining is not called for yet.",
    "retrain": "Retrain: the served images are no longer those the model was judged on.",
}
_COLOURS = {"wait": "#6b7280", "ignore": "#15803d", "label": "#b45309", "retrain": "#b91c1c"}
_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;border-left:.5rem solid var(--verdict);padding-left:.8rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid #8884}
th:first-child,td:first-child,td:last-child,th:last-child{text-align:left}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(280px,1fr));gap:1rem;margin:1rem 0}
figure{margin:0}figcaption{font-size:.85rem}
.drifted{font-weight:600}.note{color:#777;font-size:.9rem}
svg{width:100%;height:auto;background:#8881}.reference{fill:#64748b;opacity:.6}.served{fill:#f97316;opacity:.6}
code{font-size:.85em}
"""


def render_html(drift: Drift) -> str:
    """A self-contained page: decision, reason, charts of every signal, table of the tests, images to label first."""
    parts = [
        f"<h1>{escape(_SENTENCES[drift.decision])}</h1>",
        f"<p>{escape(_capitalised(drift.reason))}.</p>",
        f'<p class="note">{escape(_counts(drift))}</p>',
    ]
    if drift.signals:
        parts += [_charts(drift.signals), _table(drift)]
    if drift.label_first:
        ids = "".join(f"<li><code>{escape(sample)}</code></li>" for sample in drift.label_first)
        parts.append(
            f"<details><summary>Images to label first ({len(drift.label_first)}, most unusual first)</summary><ol>{ids}</ol></details>"
        )
    style = f":root{{--verdict:{_COLOURS[drift.decision]}}}{_STYLE}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Drift: {drift.decision}</title><style>{style}</style></head><body>{''.join(parts)}</body></html>"
    )


def render_markdown(drift: Drift) -> str:
    """The decision and one line per signal, as a Markdown table."""
    lines = [f"**{_SENTENCES[drift.decision]}**", "", f"{_capitalised(drift.reason)}. {_counts(drift)}", ""]
    if drift.signals:
        lines += ["| signal | change | effect | adjusted p | drifted |", "|---|---|---:|---:|---|"]
        lines += [
            f"| {signal.name} | {signal.detail} | {signal.effect:.3f} | {_p(signal.p_adjusted)} | {_yes(signal)} |"
            for signal in drift.signals
        ]
    return "\n".join(lines) + "\n"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _counts(drift: Drift) -> str:
    left_out = [
        f"{count} {what}"
        for count, what in ((drift.num_other_model, "answers of other models"), (drift.num_repeated, "repeated images"))
        if count
    ]
    counts = f"{drift.num_served} served images against {drift.num_reference} reference images of model {drift.model[:12]}"
    return f"{counts}; left out: {', '.join(left_out)}." if left_out else f"{counts}."


def _table(drift: Drift) -> str:
    rows = "".join(
        f'<tr class="{"drifted" if signal.drifted else ""}"><td>{escape(signal.name)}</td><td>{_number(signal.reference_mean)}</td>'
        f"<td>{_number(signal.served_mean)}</td><td>{signal.effect:.3f}</td><td>{_p(signal.p_value)}</td><td>{_p(signal.p_adjusted)}</td>"
        f"<td>{escape(signal.test)}</td><td>{_yes(signal)}</td></tr>"
        for signal in drift.signals
    )
    note = (
        f"A signal drifted when its p-value, corrected by Holm over all {len(drift.signals)} signals, is at most {drift.alpha:g}"
        f" and its distance is at least {drift.min_effect:g} (the embedding has no such bound)."
        " For label, the means are shares of the class that changed most."
    )
    head = "".join(f"<th>{name}</th>" for name in ("signal", "reference", "served", "effect", "p", "adjusted p", "test", "drifted"))
    return f'<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><p class="note">{note}</p>'


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _p(value: float) -> str:
    return "&lt; 0.0001" if value < 1e-4 else f"{value:.4f}"


def _yes(signal: Signal) -> str:
    return "yes" if signal.drifted else "no"


def _charts(signals: tuple[Signal, ...]) -> str:
    figures = "".join(
        f'<figure>{_svg(signal.histogram)}<figcaption class="{"drifted" if signal.drifted else ""}">'
        f"{escape(signal.name)}: {escape(signal.detail)}</figcaption></figure>"
        for signal in signals
        if signal.histogram is not None
    )
    return f'<p class="note">Grey: reference. Orange: served. Heights are shares of images.</p><div class="charts">{figures}</div>'


def _svg(histogram: Histogram) -> str:
    width, height, foot = 280.0, 120.0, 16.0
    shares = [[count / max(sum(counts), 1) for count in counts] for counts in (histogram.reference, histogram.served)]
    top = max(max(values) for values in shares) or 1.0
    step = width / len(shares[0])
    bars = "".join(
        f'<rect class="{name}" x="{index * step:.1f}" y="{(height - foot) * (1 - share / top):.1f}"'
        f' width="{step * 0.96:.1f}" height="{(height - foot) * share / top:.1f}"/>'
        for name, values in zip(("reference", "served"), shares, strict=True)
        for index, share in enumerate(values)
    )
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img">{bars}{_ticks(histogram, width, height)}</svg>'


def _ticks(histogram: Histogram, width: float, height: float) -> str:
    if histogram.categories:
        step = width / len(histogram.categories)
        places = [((index + 0.5) * step, "middle", name[:12]) for index, name in enumerate(histogram.categories)]
    else:
        places = [(2.0, "start", f"{histogram.edges[0]:.2f}"), (width - 2.0, "end", f"{histogram.edges[-1]:.2f}")]
    return "".join(
        f'<text x="{x:.1f}" y="{height - 4:.0f}" font-size="9" text-anchor="{anchor}" fill="currentColor">{escape(text)}</text>'
        for x, anchor, text in places
    )
