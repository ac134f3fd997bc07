"""The gate between two bundles, outside a pipeline; with a live endpoint, that is judged too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import DataError, UsageError
from sightline.evaluate.verdict import KIND, Verdict
from sightline.gate.collect import Case, Reference
from sightline.gate.conclude import Terms, spend, valid_overrides
from sightline.gate.judge import judge
from sightline.gate.step import subject_of
from sightline.models.bundle import COMPILED, ModelBundle
from sightline.store.artifact import commit_artifact

if TYPE_CHECKING:
    from sightline.config.gate import GateConfig
    from sightline.registry.ledger import Ledger
    from sightline.store.steps import Progress

CHAMPION = "champion"


@dataclass(frozen=True)
class Bundles:
    """What is compared.

    Attributes:
        current: folder of the bundle in production, "champion" for the registry's, empty for none.
        new: folder of the candidate.
        dataset: folder of a dataset version.
        endpoint: URL of a server that serves the candidate; empty: none is asked.
    """

    current: str
    new: Path
    dataset: Path
    endpoint: str = ""


def compare_bundles(bundles: Bundles, policy: GateConfig, *, output: Path, registry: str, progress: Progress) -> Verdict:
    """The signed verdict on ``bundles.new``, committed to ``output``; a compiled bundle is judged as what ships.

    Raises:
        UsageError: the output is there already, or the policy names what the data does not have.
        DataError: a folder is damaged, the endpoint serves another model, or there is nothing to judge on.
    """
    from sightline.data.version import DatasetVersion
    from sightline.registry.audits import anchor
    from sightline.registry.ledger import Ledger
    from sightline.runtimes.endpoint import Endpoint

    if output.exists():
        raise UsageError(f"{output} is there already", remedy="a verdict is never overwritten: give another --output")
    ledger = Ledger(registry) if registry else None
    bundle = ModelBundle.open(bundles.new)
    case = Case(
        bundle=bundle,
        version=DatasetVersion.open(bundles.dataset),
        stage="compiled" if bundle.artifact.manifest.kind == COMPILED else "trained",
        champion=_current(bundles.current, ledger),
        anchor=Reference.of(anchor(ledger)) if ledger else None,
    )
    case.check_policy(policy)
    # A refused connection or another model must not cost a look.
    live = case.ask(Endpoint(bundles.endpoint), progress) if bundles.endpoint else None
    subject = subject_of(case, policy)
    terms = Terms(policy, spend(subject, policy, registry), valid_overrides(subject, registry))
    found: list[Verdict] = []

    def write(folder: Path) -> dict[str, object]:
        found.append(judge(case, subject, terms, folder, progress, live=live))
        return {"config": {**policy.model_dump(mode="json"), "stage": subject.stage}}

    commit_artifact(output, KIND, write)
    return found[0]


def _current(current: str, ledger: Ledger | None) -> Reference | None:
    if not current:
        return None
    if current != CHAMPION:
        return Reference(ModelBundle.open(current).digest, current)
    if ledger is None:
        raise UsageError("'champion' needs a registry", remedy="give --registry, or the folder of a bundle")
    champion = ledger.champion()
    if champion is None:
        raise DataError("the registry has no champion yet", remedy="compare with 'none'")
    return Reference.of(champion)
