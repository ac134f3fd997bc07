"""`sightline cost`: what a run cost, step by step."""

import sys

from sightline.cli.display import emit
from sightline.cli.registry import located
from sightline.errors import UsageError
from sightline.report.cost import RunCost, StepCost, cost_of, read_prices
from sightline.store.records import read_records


def cost_command(run_id: str, *, prices: str, runs: str, as_json: bool) -> int:
    """Prints the cost of a run; 0.

    Raises:
        UsageError: the run left no records, or the prices cannot be used.
    """
    found = read_records(f"{located(runs)}/{run_id}/steps")
    if not found:
        raise UsageError(f"run {run_id} has no records in {runs}", remedy="check the run's name and --runs (store.runs)")
    cost = cost_of(found, read_prices(prices))
    if as_json:
        emit(cost.model_dump(mode="json"))
    else:
        sys.stdout.write(describe(cost))
    return 0


def describe(cost: RunCost) -> str:
    """The cost as a table for a terminal."""
    lines = [f"  {'step':<18} {'pool':<10} {'seconds':>9} {'GPU min':>9} {cost.currency:>10}"]
    lines += [_line(step) for step in cost.steps]
    lines.append(f"  {'in all':<18} {'':<10} {cost.seconds:>9.1f} {cost.gpu_minutes:>9.1f} {cost.money:>10.4f}")
    lines += [f"  not counted · {reason}" for reason in cost.unpriced]
    return "\n".join(lines) + "\n"


def _line(step: StepCost) -> str:
    money = "–" if step.money is None else f"{step.money:.4f}"
    aside = "cached" if step.cached else "" if step.status == "done" else step.status
    text = f"  {step.name:<18} {step.pool or '–':<10} {step.seconds:>9.1f} {step.gpu_minutes:>9.1f} {money:>10}  {aside}"
    return text.rstrip()
