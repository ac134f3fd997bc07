"""`sightline gate plan`: what the promotion policy can show on these golden images, before anything is trained."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.cli.display import Display, emit
from sightline.cli.launch import absolute, new_run_id
from sightline.data.trees import resolved_source
from sightline.errors import DataError, UsageError
from sightline.store.cache import fetch_artifact

if TYPE_CHECKING:
    from sightline.config.run import RunConfig
    from sightline.config.store import StoreConfig
    from sightline.data.version import DatasetVersion
    from sightline.evaluate.verdict import Verdict
    from sightline.gate.plan import Golden, Plan, PlanRow

_MOST_ROWS = 30
_BAR = 10
_NAME_WIDTH = 32
_MARKS = {"supported": "✓", "unsupported": "✗", "watched": "·", "shown": " "}
# A verdict on two nearly identical models says little about the next pair.
_LEAST_CHURN = 0.01


def plan_command(
    config: RunConfig, *, dataset: str, churn: float | None, attempts: int, as_json: bool, together: float | None = None
) -> int:
    """Prints the plan; 0 when the golden images support the margins.

    Args:
        config: the run's configuration; ``gate`` is what is planned.
        dataset: address of a dataset version, a folder or ``s3://…``; empty: the images of ``config.ingest``
            are ingested, as the pipeline would.
        churn: share of images on which equally good models differ; None: as in the last verdict, else 5 %.
        attempts: the number of the look at the golden set that is planned for, from 1.
        as_json: print the whole plan as JSON.
        together: assumed share of groups of images whose images change all together; None: 10 %.

    Raises:
        UsageError: the data cannot support the margins; says which it can.
        DataError: the data cannot be used.
    """
    from sightline.gate.plan import ASSUMED_TOGETHER, Assumed, plan

    golden = _golden(config, dataset)
    share, source = (churn, "given") if churn is not None else _expected_churn(absolute(config.store))
    assumed = Assumed(share, ASSUMED_TOGETHER if together is None else together, source)
    made = plan(golden, config.gate, assumed, attempts)
    if as_json:
        emit(made.model_dump(mode="json"))
    else:
        sys.stdout.write(describe(made))
    if not made.supported:
        message = "\n  - ".join(["the golden images cannot support this policy:", *made.problems])
        raise UsageError(message, remedy="; ".join(_remedies(made)))
    return 0


def describe(plan: Plan) -> str:
    """The plan for a terminal: a row per check, worst first, and what follows from them."""
    width = min(_NAME_WIDTH, max(8, *(len(row.name) for row in plan.rows)))
    look = f"look {plan.attempt} (alpha {plan.alpha:.2%})"
    lines = [
        f"\nWhat {plan.num_images} golden images can show at {look}; churn {plan.churn:.1%}, {plan.churn_source}\n",
        f"    {'':<{width}}  images  margin  power                equal passes  -5 pts stopped  -10 pts  labels missing  can show",
    ]
    lines += [_line(row, width) for row in plan.rows[:_MOST_ROWS]]
    if len(plan.rows) > _MOST_ROWS:
        lines.append(f"    … and {len(plan.rows) - _MOST_ROWS} more (--json shows all)")
    lines += ["", *_groups(plan), *_sentences(plan), *(f"  {note}" for note in plan.notes)]
    return "\n".join(lines) + "\n"


def _line(row: PlanRow, width: int) -> str:
    name = row.name if len(row.name) <= width else row.name[: width - 1] + "…"
    start = f"  {_MARKS[row.state]} {name:<{width}}  {row.num_images:>6}  {_points(row.margin) if row.margin else '–':>6}"
    if row.state == "shown":
        return f"{start}  too few images to be judged"
    decisive = row.power_10 if row.margin is None else row.power_equal
    filled = round(decisive * _BAR)
    bar = f"{'█' * filled}{'░' * (_BAR - filled)} {_percent(decisive):>7}"
    chances = f"{_percent(row.power_equal):>14}  {_percent(row.power_5):>14}  {_percent(row.power_10):>7}"
    missing = str(row.labels_missing) if row.labels_missing else "–"
    able = row.smallest_visible_drop if row.margin is None else row.smallest_margin
    shown = f"{_points(able)} {'drop' if row.margin is None else 'margin'}" if able else "nothing"
    return f"{start}  {bar} {chances}  {missing:>14}  {shown}"


def _groups(plan: Plan) -> Iterator[str]:
    if plan.num_groups < plan.num_images:
        images = f"{plan.num_images:,} images in {plan.num_groups:,} groups".replace(",", " ")
        like = f"about {plan.num_independent:,} independent ones".replace(",", " ")
        yield f"  {images} count like {like} at this churn."


def _sentences(plan: Plan) -> list[str]:
    equal = (
        f"  An equally good model is promoted in {_percent(plan.promote_equal)} of cases (slice alarms stop {_percent(plan.false_alarm)})."
    )
    worse = f"  A model that loses the margin overall or on a critical slice is promoted in at most {_percent(plan.promote_worse)}."
    signs = (
        "  ✓ ✗ must be shown not to be worse (power: an equal model passes) · blocks when shown to be worse (power: sees a 10-point drop)."
    )
    return [equal, worse, signs, "  Labels missing: for 80 % power. Can show: the smallest margin, or the smallest drop, with 80 % power."]


def _points(share: float) -> str:
    return f"{share * 100:.1f}".removesuffix(".0")


def _percent(share: float) -> str:
    # 99.96 % is not certainty.
    return f"{min(share, 0.999) * 100:.1f} %" if 0 < share < 1 else f"{share * 100:.0f} %"


def _remedies(plan: Plan) -> Iterator[str]:
    """What to do about each problem, with its name where there are several."""
    named = len(plan.problems) > 1
    for problem, remedy in zip(plan.problems, plan.remedies, strict=True):
        yield f"{problem.split(':', 1)[0]}: {remedy}" if named else remedy


def _golden(config: RunConfig, dataset: str) -> Golden:
    from sightline.data.version import DatasetVersion

    if dataset:
        with tempfile.TemporaryDirectory() as scratch:
            return _slices_of(DatasetVersion.open(fetch_artifact(dataset, Path(scratch))), config)
    if not config.ingest.source:
        raise UsageError("there is no data to plan for", remedy="set ingest.source, or name a dataset version: --dataset DIR")
    from sightline.ingest.step import run as ingest

    source = resolved_source(config.ingest.source)
    with tempfile.TemporaryDirectory() as scratch:
        # The cache and the registry are the pipeline's own; only the records of this look are thrown away.
        store = absolute(config.store).model_copy(update={"runs": str(Path(scratch) / "runs")})
        Display(sys.stderr).text(f"reading {source} …\n")
        output = str(Path(scratch) / "dataset")
        made = ingest(config=config.ingest.model_copy(update={"source": source}), store=store, run_id=new_run_id(), output=output)
        return _slices_of(DatasetVersion(made.artifact), config)


def _slices_of(version: DatasetVersion, config: RunConfig) -> Golden:
    from sightline.evaluate.golden_slices import golden_masks, golden_rows, group_indices, known_slices
    from sightline.gate.decide import require_known_slices
    from sightline.gate.plan import Golden

    split = version.split("golden")
    if not len(split):
        raise DataError("the dataset has no golden images, so nothing can be judged", remedy="raise ingest.golden_share")
    known = known_slices(version.samples, version.info.attributes, version.info.classes)
    require_known_slices(config.gate.critical_slices, known)
    rows = golden_rows(version)
    return Golden.from_masks(len(split), golden_masks(split, rows, version.info.classes, config.gate), group_indices(rows))


def _expected_churn(store: StoreConfig) -> tuple[float, str]:
    """The churn of the last verdict with a champion in the cache, else the assumed one; and which it is."""
    from sightline.gate.plan import ASSUMED_CHURN

    if "://" in store.cache:
        return ASSUMED_CHURN, "assumed: verdicts in a bucket are not searched, give --churn"
    for verdict in _verdicts(Path(store.cache)):
        flips = verdict.flips.num_broken + verdict.flips.num_fixed
        if verdict.champion not in {"none", verdict.candidate} and verdict.num_images:
            share = min(max(flips / verdict.num_images, _LEAST_CHURN), 0.5)
            return share, f"as in the last verdict: {flips} of {verdict.num_images} images changed sides"
    return ASSUMED_CHURN, "assumed: there is no earlier verdict against a champion"


def _verdicts(cache: Path) -> Iterator[Verdict]:
    from sightline.evaluate.verdict import FILE, read_verified

    files = [*cache.glob(f"gate-trained/*/{FILE}"), *cache.glob(f"gate-compiled/*/{FILE}")]
    for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            yield read_verified(path.parent)
        except DataError:
            continue  # an old or damaged verdict only costs a default here
