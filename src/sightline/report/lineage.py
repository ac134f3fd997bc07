"""From data to deployment by digest: what each step made, and from what."""

from collections.abc import Sequence
from dataclasses import dataclass

from sightline.report.evidence import RunEvidence, StepEvidence


@dataclass(frozen=True)
class Link:
    """One artifact: what it is, its digest, the digests it was made from, and whether its files still match."""

    run_id: str
    step: str
    kind: str
    digest: str
    inputs: tuple[tuple[str, str], ...]
    code: str
    verified: bool
    problem: str


def links(runs: Sequence[RunEvidence]) -> list[Link]:
    """One link per step that ended, runs and steps in order."""
    return [_link(run.run_id, step) for run in runs for step in run.steps if step.record.digest]


def _link(run_id: str, step: StepEvidence) -> Link:
    manifest = step.artifact.manifest if step.artifact else None
    return Link(
        run_id=run_id,
        step=step.record.name,
        kind=manifest.kind if manifest else "",
        digest=step.record.digest,
        inputs=tuple(manifest.inputs.items()) if manifest else (),
        code=manifest.code if manifest else "",
        verified=manifest is not None,
        problem=step.problem,
    )
