"""What to do about drift: wait, ignore, label or retrain; a retraining is recorded, rate-limited and never started twice for one run."""

import time
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.config.monitor import MonitorConfig
from sightline.errors import DataError, TemporaryError
from sightline.monitor.drift import Signal
from sightline.store.objects import ConflictError, open_store

Kind = Literal["wait", "ignore", "label", "retrain"]
_ATTEMPTS = 10


class Decision(BaseModel):
    """The decision and its reason in one sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Kind
    reason: str


class Retraining(BaseModel):
    """One retraining that drift asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    time: float
    run_id: str
    model: str
    reason: str


def decide(signals: tuple[Signal, ...], num_served: int, config: MonitorConfig) -> Decision:
    """What the signals alone ask for.

    Args:
        signals: every tested signal; not looked at below ``config.min_images``.
        num_served: different served images.
        config: the thresholds.
    """
    if num_served < config.min_images:
        return Decision(kind="wait", reason=f"{num_served} images were served, at least {config.min_images} are needed")
    drifted = [signal for signal in signals if signal.drifted]
    if not drifted:
        return Decision(kind="ignore", reason=f"none of {len(signals)} signals drifted")
    names = ", ".join(signal.name for signal in drifted)
    if len(drifted) < config.retrain_drifted:
        return Decision(
            kind="label", reason=f"{len(drifted)} of {len(signals)} signals drifted ({names}), {config.retrain_drifted} ask for retraining"
        )
    return Decision(kind="retrain", reason=f"{len(drifted)} of {len(signals)} signals drifted: {names}")


def admit(
    decision: Decision, registry: str, *, run_id: str, model: str, config: MonitorConfig, clock: Callable[[], float] = time.time
) -> Decision:
    """The decision after cool-down, budget and kill switch: a suppressed retraining becomes ``label``.

    An admitted retraining is recorded in the registry before this returns, so that monitors that run at the same time share one budget.
    The same run asking again gets the same answer without a second record.

    Raises:
        DataError: a record is damaged; the budget is then unknown.
        TemporaryError: too many monitors record at the same time.
    """
    if decision.kind != "retrain":
        return decision
    store = open_store(registry)
    for _ in range(_ATTEMPTS):
        past = retrainings(registry)
        if any(entry.run_id == run_id for entry in past):
            return decision
        now = clock()
        refusal = _refusal(past, now, config)
        if refusal:
            return Decision(kind="label", reason=f"{decision.reason}; not retrained: {refusal}")
        entry = Retraining(time=now, run_id=run_id, model=model, reason=decision.reason)
        try:
            store.write(f"retrains/{len(past) + 1:08d}.json", entry.model_dump_json().encode(), if_absent=True)
        except ConflictError:
            continue
        return decision
    raise TemporaryError("other monitors keep recording retrainings", remedy="run the monitor again")


def retrainings(registry: str) -> list[Retraining]:
    """Every retraining that drift asked for, oldest first."""
    store = open_store(registry)
    entries = []
    for key in store.list("retrains/"):
        try:
            entries.append(Retraining.model_validate_json(store.read(key)))
        except ValidationError as error:
            raise DataError(f"the record of retrainings is damaged: {key}", remedy="restore the registry from a backup") from error
    return entries


def _refusal(past: list[Retraining], now: float, config: MonitorConfig) -> str:
    if config.max_retrains == 0:
        return "monitor.max_retrains is 0 (kill switch)"
    if past and now - past[-1].time < config.cool_down_s:
        return f"the last retraining was {max(now - past[-1].time, 0):.0f} s ago, the cool-down is {config.cool_down_s:.0f} s"
    recent = [entry for entry in past if now - entry.time < config.budget_window_s]
    if len(recent) >= config.max_retrains:
        return f"{len(recent)} retrainings in the last {config.budget_window_s:.0f} s, the budget is {config.max_retrains}"
    return ""
