"""The two pipelines as WorkflowTemplates: the same steps and branches as in `pipelines/retrain.py` and `pipelines/monitor.py`."""

import difflib
from collections.abc import Mapping
from typing import Any

from pipelines._parameters import DEFAULT, SERVED, placement
from pipelines.argo.arguments import config_text, parameter_text
from pipelines.argo.models import core, workflows
from pipelines.argo.steps import STEPS
from pipelines.argo.templates import pod_security, step_template
from sightline.config.run import RunConfig
from sightline.errors import UsageError

RETRAIN, MONITOR = "sightline-retrain", "sightline-monitor"
EXECUTOR = "sightline-argo-executor"
LABELS = {"app.kubernetes.io/part-of": "sightline"}
PRIORITY = "sightline-scheduled"
APPROVE = "approve"
TEMPLATES = {"retrain": RETRAIN, "monitor": MONITOR}

# One lock for the namespace's registry: two retrainings at once would judge against the same champion, and one result would be stale.
MUTEX = "sightline-registry"

_DAY_S = 24 * 3600
# Long enough for a person to come back from a weekend and approve.
_RETRAIN_DEADLINE_S = 4 * _DAY_S
_MONITOR_DEADLINE_S = 6 * 3600


def retrain_template(config: RunConfig = DEFAULT) -> Any:
    """Ingest, tune, train, gate, compile, gate again what will ship, approval where it is asked for, canary; always a report.

    Args:
        config: what a run starts with when it is given nothing else.
    """
    names = ("ingest", "tune", "train", "gate", "compile", "deploy", "reject", "report")
    flow = workflows.Template(name="retrain", dag=workflows.DAGTemplate(tasks=_retrain_tasks()))
    # Without a duration: Argo resumes such a node when its time is over, and nobody would have approved.
    approve = workflows.Template(name=APPROVE, suspend=workflows.SuspendTemplate())
    spec = _spec(
        [flow, approve, *(step_template(STEPS[name]) for name in names)],
        parameters=[_config(config), *_placement(config), _approval()],
        pipeline="retrain",
        deadline_s=_RETRAIN_DEADLINE_S,
        on_exit="report",
        synchronization=workflows.Synchronization(mutexes=[workflows.Mutex(name=MUTEX)]),
    )
    return _workflow_template(RETRAIN, spec, "Retrains a vision model and ships it only if it is not worse.")


def monitor_template(config: RunConfig = DEFAULT, *, served: str = SERVED) -> Any:
    """One look at what was served; a decision to retrain leaves through ``monitor.webhook``.

    Args:
        config: what a run starts with when it is given nothing else.
        served: the log of served images, a folder or s3://bucket/prefix.
    """
    flow = workflows.Template(name="look", dag=workflows.DAGTemplate(tasks=[_task("monitor")]))
    spec = _spec(
        [flow, step_template(STEPS["monitor"])],
        parameters=[
            _config(config),
            workflows.Parameter(name="served", value=served, description="The log of served images: a folder or s3://bucket/prefix."),
        ],
        pipeline="monitor",
        deadline_s=_MONITOR_DEADLINE_S,
    )
    return _workflow_template(
        MONITOR, spec, "Compares served images with the champion's reference and decides: wait, ignore, label or retrain."
    )


def parameters_of(pipeline: str) -> dict[str, tuple[str, ...]]:
    """Names of a template's parameters, each with the words it may have; none: any text."""
    template = {"retrain": retrain_template, "monitor": monitor_template}[pipeline]()
    return {one.name: tuple(one.get("enum") or ()) for one in template.spec.arguments.parameters}


def check_parameters(pipeline: str, values: Mapping[str, str]) -> None:
    """Raises a UsageError for a parameter that the template does not have: Argo takes any, and ignores those that nobody reads."""
    known = parameters_of(pipeline)
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"{pipeline} has no parameter '{name}'" + (f", did you mean {near[0]}?" if near else ""),
                remedy=f"use one of {', '.join(known)}",
            )
        if known[name] and value not in known[name]:
            raise UsageError(f"{name}={value}: expected {' or '.join(known[name])}")


def run_of(pipeline: str, *, name: str, parameters: Mapping[str, str] | None = None, key: str = "") -> Any:
    """The Workflow that runs a pipeline's template with these parameters."""
    given = [workflows.Parameter(name=parameter, value=value) for parameter, value in (parameters or {}).items()]
    notes = {"annotations": {"sightline.dev/key": key}} if key else {}
    spec = workflows.WorkflowSpec(
        workflow_template_ref=workflows.WorkflowTemplateRef(name=TEMPLATES[pipeline]),
        **({"arguments": workflows.Arguments(parameters=given)} if given else {}),
    )
    metadata = core.ObjectMeta(name=name, labels={**LABELS, "sightline.dev/pipeline": pipeline}, **notes)
    return workflows.Workflow(api_version="argoproj.io/v1alpha1", kind="Workflow", metadata=metadata, spec=spec)


def _retrain_tasks() -> list[Any]:
    data = {"dataset": _made_by("ingest")}
    passes = {stage: f"{_said(f'gate-{stage}')} == 'pass'" for stage in ("trained", "compiled")}
    refused = {stage: f"{_said(f'gate-{stage}')} != 'pass'" for stage in ("trained", "compiled")}
    approval = f"{passes['compiled']} && '{{{{workflow.parameters.approval}}}}' == 'required'"
    verdict = _made_by("gate-compiled")
    return [
        _task("ingest"),
        _task("tune", after="ingest.Succeeded", **data),
        _task("train", after="tune.Succeeded", tuned=_made_by("tune"), **data),
        _gate("trained", after="train.Succeeded", candidate=_made_by("train"), **data),
        _task("compile", after="gate-trained.Succeeded", when=passes["trained"], model=_made_by("train"), **data),
        _gate("compiled", after="compile.Succeeded", candidate=_made_by("compile"), **data),
        _task(APPROVE, after="gate-compiled.Succeeded", when=approval),
        _task(
            "deploy",
            after="gate-compiled.Succeeded && (approve.Succeeded || approve.Skipped)",
            when=passes["compiled"],
            model=_made_by("compile"),
            verdict=verdict,
            **data,
        ),
        _task("reject", name="reject-trained", after="gate-trained.Succeeded", when=refused["trained"], verdict=_made_by("gate-trained")),
        _task("reject", name="reject-compiled", after="gate-compiled.Succeeded", when=refused["compiled"], verdict=verdict),
    ]


def _task(template: str, *, name: str = "", after: str = "", when: str = "", **arguments: str) -> Any:
    parameters = [workflows.Parameter(name=key, value=value) for key, value in arguments.items()]
    optional = {
        "depends": after,
        "when": when,
        "arguments": workflows.Arguments(parameters=parameters) if parameters else None,
    }
    return workflows.DAGTask(name=name or template, template=template, **{key: value for key, value in optional.items() if value})


def _gate(stage: str, *, after: str, **arguments: str) -> Any:
    return _task("gate", name=f"gate-{stage}", after=after, stage=stage, **arguments)


def _made_by(task: str) -> str:
    return f"{{{{tasks.{task}.outputs.parameters.artifact}}}}"


def _said(task: str) -> str:
    # Quoted, because the word of a step that was skipped is empty, and an empty operand is no expression.
    return f"'{{{{tasks.{task}.outputs.parameters.outcome}}}}'"


def _spec(templates: list[Any], *, parameters: list[Any], pipeline: str, deadline_s: int, **more: Any) -> Any:
    labels = {**LABELS, "sightline.dev/pipeline": pipeline}
    return workflows.WorkflowSpec(
        entrypoint=templates[0].name,
        arguments=workflows.Arguments(parameters=parameters),
        templates=templates,
        service_account_name="sightline-report",
        executor=workflows.ExecutorConfig(service_account_name=EXECUTOR),
        automount_service_account_token=False,
        security_context=pod_security(),
        pod_priority_class_name=PRIORITY,
        pod_metadata=workflows.Metadata(labels=labels),
        workflow_metadata=workflows.WorkflowMetadata(labels=labels),
        active_deadline_seconds=deadline_s,
        # The pods of a run that failed stay as long as the run does: their logs are what a person needs then.
        pod_gc=workflows.PodGC(strategy="OnWorkflowSuccess"),
        ttl_strategy=workflows.TTLStrategy(seconds_after_success=7 * _DAY_S, seconds_after_failure=14 * _DAY_S),
        **more,
    )


def _workflow_template(name: str, spec: Any, description: str) -> Any:
    metadata = core.ObjectMeta(name=name, labels=dict(LABELS), annotations={"workflows.argoproj.io/description": description})
    return workflows.WorkflowTemplate(api_version="argoproj.io/v1alpha1", kind="WorkflowTemplate", metadata=metadata, spec=spec)


def _config(config: RunConfig) -> Any:
    return workflows.Parameter(
        name="config", value=config_text(config), description="sightline.yaml, as `python -m pipelines.argo config` writes it."
    )


def _approval() -> Any:
    return workflows.Parameter(
        name="approval", value="none", enum=["none", "required"], description="Whether a person resumes the run before the canary."
    )


def _placement(config: RunConfig) -> list[Any]:
    texts = {
        "gpus": "GPUs of the search and of training; 0 trains on CPUs.",
        "gpu_resource": "Name of the GPU resource.",
        "node_selector": "Labels of the nodes they run on, as JSON.",
        "tolerations": "Taints that they tolerate, as JSON.",
        "affinity": "Node affinity, as JSON; how spot nodes are preferred without being required.",
    }
    values = {name: parameter_text(value) for name, value in placement(config).items()}
    return [workflows.Parameter(name=name, value=values[name], description=text) for name, text in texts.items()]
