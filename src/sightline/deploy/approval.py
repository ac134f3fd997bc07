"""Waits for a person's approval of the verdict; the step then verifies the verdict again, because time has passed."""

import time
from collections.abc import Callable

from sightline.config.deploy import DeployConfig
from sightline.evaluate.verdict import Verdict
from sightline.registry.approvals import approval_of
from sightline.store.steps import Progress

_LOOK_EVERY_S = 5.0


def approved(
    verdict: Verdict, config: DeployConfig, *, registry: str, run_id: str, progress: Progress, sleep: Callable[[float], None] = time.sleep
) -> str:
    """An empty text once the verdict is approved, or where no approval is required; else why not, when the time is up.

    Args:
        verdict: the verified verdict; an approval of another verdict, or of another model, counts for nothing.
        config: whether to wait, and for how long.
        registry: where approvals are recorded.
        run_id: the run, for the command that people are told.
        progress: is told what is waited for and how to approve.
        sleep: waits; tests pass one that does not.

    Raises:
        DataError: the recorded approval was altered.
    """
    if config.approval == "none":
        return ""
    deadline = time.monotonic() + config.approval_timeout_s
    command = f"sightline approve --run {run_id} --who NAME --why REASON"
    while approval_of(registry, verdict) is None:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return f"nobody approved the verdict on model {verdict.candidate[:12]} within {config.approval_timeout_s:g} s"
        progress(f"waiting for an approval of model {verdict.candidate[:12]} for another {left_s:.0f} s: {command}")
        sleep(min(_LOOK_EVERY_S, left_s))
    return ""
