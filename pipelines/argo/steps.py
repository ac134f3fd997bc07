"""The steps as Argo runs them: what each reads, what it may say, whose account it has and what it gets."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines._placement import Profile

SCRATCH_OUTPUTS = "outputs"
RETRY_EXIT_CODES = (75, 137, 143)


@dataclass(frozen=True)
class ArgoStep:
    """One container template.

    Attributes:
        name: the component and the word of ``sightline step``.
        inputs: names of the artifacts it reads; each is a parameter that holds a URI.
        outcomes: every word it may end with; nothing else may be branched on.
        profile: the row of the table of resources.
        options: flags of its own with their values.
        parameters: names of further parameters of the template.
        account: whose ServiceAccount it has; the pod's rights in the store come with it.
        pool: runs where the workflow's placement parameters say; the others take a CPU of any node.
        calls_kubernetes: starts jobs or servers of its own, so its own account's token is mounted.
    """

    name: str
    inputs: tuple[str, ...]
    outcomes: tuple[str, ...]
    profile: Profile
    options: Mapping[str, str] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    account: str = ""
    pool: bool = False
    calls_kubernetes: bool = False

    @property
    def service_account(self) -> str:
        """The ServiceAccount of its pods."""
        return f"sightline-{self.account or self.name}"


_VERDICTS = ("pass", "fail", "inconclusive")

STEPS = {
    step.name: step
    for step in (
        ArgoStep("ingest", (), ("done",), "cpu"),
        ArgoStep("tune", ("dataset",), ("done",), "train", pool=True, calls_kubernetes=True),
        ArgoStep("train", ("dataset", "tuned"), ("done",), "train", pool=True, calls_kubernetes=True),
        ArgoStep(
            "gate", ("candidate", "dataset"), _VERDICTS, "cpu", options={"--stage": "{{inputs.parameters.stage}}"}, parameters=("stage",)
        ),
        ArgoStep("compile", ("model", "dataset"), ("done",), "compile"),
        ArgoStep("deploy", ("model", "verdict", "dataset"), ("promoted", "rolled-back"), "deploy", calls_kubernetes=True),
        ArgoStep("reject", ("verdict",), ("rejected",), "light", account="report"),
        ArgoStep(
            "report",
            (),
            ("promoted", "rejected", "rolled-back"),
            "light",
            # The failures are a JSON list that Argo quotes once more; as one argument of a command without a shell it stays one text.
            options={"--state": "{{workflow.status}}", "--error": "{{workflow.failures}}"},
        ),
        ArgoStep("monitor", (), ("wait", "ignore", "label", "retrain"), "cpu", options={"--served": "{{workflow.parameters.served}}"}),
    )
}


def image_of(step: ArgoStep) -> str:
    """The image of the step's component: the catalogue is stated there and nowhere else."""
    import components

    return str(getattr(components, step.name).component_spec.implementation.container.image)
