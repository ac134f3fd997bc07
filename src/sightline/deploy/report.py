"""The pages of a deployment: one self-contained HTML file and one short Markdown file."""

import math
from collections.abc import Sequence
from html import escape

from sightline.deploy.record import Deployment, Moment

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#66707d;--line:#d9dee5;--page:#fff;--good:#1a7f4b;--bad:#c0392b;--blue:#2563c9}
@media(prefers-color-scheme:dark){:root{--ink:#e7ebf0;--soft:#9aa5b1;--line:#38414d;--page:#14181e;--good:#4cc38a;--bad:#ff7b6b;--blue:#7aa7ff}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:900px;margin:24px auto;padding:0 16px}
h1{font-size:22px}h2{font-size:16px;margin-top:28px}.good{color:var(--good)}.bad{color:var(--bad)}.soft{color:var(--soft)}
table{border-collapse:collapse}td,th{padding:4px 14px 4px 0;text-align:right;border-bottom:1px solid var(--line)}
td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}svg text{fill:var(--soft);font:11px system-ui,sans-serif}
"""
_HOW_TO_READ = (
    "Each curve is an e-value on a logarithmic scale; it may be looked at after every request. Under a healthy canary a red curve reaches "
    "its dashed line with at most the configured probability, under a bad one a green curve does. Solid: errors, dashed: slow answers."
)
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 860, 260, 44, 28, 12
_COLOURS = {"rollback": "var(--bad)", "promote": "var(--good)", "split": "var(--soft)"}


def html_page(deployment: Deployment) -> str:
    """The report; needs nothing from anywhere else."""
    promoted = deployment.outcome == "promoted"
    title = {"promoted": "Promoted", "rejected": "Rejected"}.get(deployment.outcome, "Rolled back")
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Deployment: {title}</title><style>{_STYLE}</style>",
        f"<h1 class='{'good' if promoted else 'bad'}'>{title}</h1><p>{escape(deployment.reason)}</p>",
        f"<p class='soft'>{_facts(deployment)}</p>",
        "<h2>Requests</h2>",
        _arm_table(deployment),
        f"<p>{_kept_from_clients(deployment)}</p>",
        "<h2>Evidence over time</h2>",
        _evidence_chart(deployment),
        f"<p class='soft'>{_HOW_TO_READ}</p>",
        "<h2>Final evidence</h2>",
        _evidence_table(deployment),
    ]
    if deployment.wrong_sentinels:
        items = "".join(f"<li>{escape(line)}</li>" for line in deployment.wrong_sentinels)
        parts.append(f"<h2>Sentinels that differ</h2><ul>{items}</ul>")
    return "\n".join([*parts, "</html>"])


def markdown_page(deployment: Deployment) -> str:
    """The summary."""
    lines = [
        f"# Deployment: {deployment.outcome}",
        "",
        deployment.reason,
        "",
        "| arm | requests | errors | slow | p50 ms | p95 ms |",
        "|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(row) + " |" for row in _arm_rows(deployment)]
    lines += [
        "",
        f"{_kept_from_clients(deployment)} {deployment.sentinels} sentinel answers were checked.",
        "",
    ]
    return "\n".join(lines)


def _facts(deployment: Deployment) -> str:
    models = f"candidate {deployment.candidate[:12]} · incumbent {deployment.incumbent[:12]} · generation {deployment.generation}"
    return f"{models} · decided after {deployment.decided_after_s:.1f} s of traffic · {deployment.sentinels} sentinel answers checked"


def _kept_from_clients(deployment: Deployment) -> str:
    answered = f"{deployment.fallbacks} requests that the canary failed were answered by the incumbent"
    return f"{answered}; clients saw {deployment.client_errors} errors."


def _arm_rows(deployment: Deployment) -> list[list[str]]:
    rows = []
    for name, arm in deployment.arms.items():
        latencies = ["–" if value is None else f"{value:.1f}" for value in (arm.p50_ms, arm.p95_ms)]
        rows.append([name, str(arm.requests), str(arm.errors), str(arm.slow), *latencies])
    return rows


def _arm_table(deployment: Deployment) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("arm", "requests", "errors", "slow", "p50 ms", "p95 ms"))
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in _arm_rows(deployment))
    return f"<table><tr>{head}</tr>{rows}</table>"


def _evidence_table(deployment: Deployment) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{value:.3g}</td><td>{deployment.thresholds.get(name, 0.0):.3g}</td></tr>"
        for name, value in deployment.e_values.items()
    )
    return f"<table><tr><th>e-value</th><th>at the decision</th><th>threshold</th></tr>{rows}</table>"


def _evidence_chart(deployment: Deployment) -> str:
    """All e-values over time, log10, between 1e-6 and 1e6, so that a hopeless curve does not flatten the others."""
    moments = [moment for moment in deployment.timeline if moment.state not in {"starting", "sentinels"}]
    if len(moments) < 2:
        return "<p class='soft'>The decision was made before any traffic.</p>"
    first, last = moments[0].t, max(moments[-1].t, moments[0].t + 0.001)
    parts = [f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='e-values over time'>"]
    for power in (-6, -3, 0, 3, 6):
        y = _y(10.0**power)
        parts.append(f"<line x1='{_LEFT}' x2='{_WIDTH}' y1='{y}' y2='{y}' stroke='var(--line)'/><text x='0' y='{y + 4}'>1e{power}</text>")
    for name, threshold in deployment.thresholds.items():
        y, colour = _y(threshold), _colour(name)
        parts.append(f"<line x1='{_LEFT}' x2='{_WIDTH}' y1='{y}' y2='{y}' stroke='{colour}' stroke-dasharray='4 4' opacity='.5'/>")
    parts += [_curve(name, moments, first, last) for name in deployment.thresholds]
    parts.append(f"<text x='{_LEFT}' y='{_HEIGHT - 4}'>{first:.1f} s</text>")
    parts.append(f"<text x='{_WIDTH}' y='{_HEIGHT - 4}' text-anchor='end'>{last:.1f} s</text></svg>")
    return "".join(parts)


def _curve(name: str, moments: Sequence[Moment], first: float, last: float) -> str:
    points = " ".join(
        f"{_LEFT + (moment.t - first) / (last - first) * (_WIDTH - _LEFT):.1f},{_y(moment.e_values.get(name, 1.0))}" for moment in moments
    )
    dashes = "" if name.startswith("errors") or name == "split" else " stroke-dasharray='8 3'"
    title = f"<title>{escape(name)}</title>"
    return f"<polyline points='{points}' fill='none' stroke='{_colour(name)}' stroke-width='2'{dashes}>{title}</polyline>"


def _colour(name: str) -> str:
    return _COLOURS[name.rsplit("/", maxsplit=1)[-1]]


def _y(value: float) -> float:
    power = max(-6.0, min(6.0, math.log10(max(value, 1e-300))))
    return round(_TOP + (6.0 - power) / 12.0 * (_HEIGHT - _TOP - _BOTTOM), 1)
