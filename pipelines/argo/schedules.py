"""The schedules that git declares, as CronWorkflows: the same files that `sightline schedule apply` gives to Kubeflow."""

from pathlib import Path
from typing import Any

from pipelines._parameters import for_cluster
from pipelines.argo.arguments import config_text, parameter_text
from pipelines.argo.drift import WEBHOOK
from pipelines.argo.flows import LABELS, TEMPLATES, check_parameters
from pipelines.argo.models import core, workflows
from pipelines.schedules import Schedule, read_schedule
from sightline.config.load import load_config
from sightline.config.run import RunConfig
from sightline.errors import UsageError

FOLDER = Path(__file__).parents[2] / "schedules"

# A start that was missed because the controller was away is made up for this long; a pause is never followed by what it missed.
_STARTING_DEADLINE_S = 600


def cron_workflows(folder: Path = FOLDER) -> list[Any]:
    """One CronWorkflow per file, in the order of the files' names.

    Raises:
        UsageError: a file is wrong, or says what Argo cannot do.
    """
    return [cron_workflow(read_schedule(path), path) for path in sorted(folder.glob("*.yaml"))]


def cron_workflow(schedule: Schedule, path: Path = FOLDER / "schedule.yaml") -> Any:
    """Starts a pipeline's template at fixed times, in the schedule's own time zone, and never while its last run still goes on.

    Args:
        schedule: as declared.
        path: its file; the configuration is relative to it.

    Raises:
        UsageError: a parameter is not known, or the schedule fires at another second than 0.
    """
    given = [workflows.Parameter(name=name, value=value) for name, value in _arguments(schedule, path).items()]
    reference = workflows.WorkflowTemplateRef(name=TEMPLATES[schedule.pipeline])
    return workflows.CronWorkflow(
        api_version="argoproj.io/v1alpha1",
        kind="CronWorkflow",
        metadata=core.ObjectMeta(name=schedule.name, labels=dict(LABELS)),
        spec=workflows.CronWorkflowSpec(
            # `schedule`, in the singular, was removed in Argo 4.
            schedules=[_minutes(schedule.cron, path)],
            timezone=schedule.time_zone,
            concurrency_policy="Forbid",
            starting_deadline_seconds=_STARTING_DEADLINE_S,
            successful_jobs_history_limit=3,
            failed_jobs_history_limit=3,
            workflow_metadata=core.ObjectMeta(labels={**LABELS, "sightline.dev/pipeline": schedule.pipeline}),
            workflow_spec=workflows.WorkflowSpec(
                workflow_template_ref=reference, **({"arguments": workflows.Arguments(parameters=given)} if given else {})
            ),
            **({} if schedule.enabled else {"suspend": True}),
        ),
    )


def drift_config(folder: Path = FOLDER) -> RunConfig | None:
    """What a retraining that drift asks for starts with: the configuration of the schedule that looks; None where no schedule may ask."""
    found = [(path, read_schedule(path)) for path in sorted(folder.glob("*.yaml"))]
    return next((_config(schedule, path) for path, schedule in found if _tells(schedule)), None)


def _arguments(schedule: Schedule, path: Path) -> dict[str, str]:
    parameters = {name: parameter_text(value) for name, value in schedule.parameters.items() if name != "on_drift"}
    check_parameters(schedule.pipeline, parameters)
    if not (schedule.config or schedule.overrides or _tells(schedule)):
        return parameters
    config = _config(schedule, path)
    return {"config": config_text(_with_webhook(config) if _tells(schedule) else config), **parameters}


def _tells(schedule: Schedule) -> bool:
    return bool(schedule.parameters.get("on_drift") == "retrain")


def _config(schedule: Schedule, path: Path) -> RunConfig:
    return for_cluster(load_config(path.parent / schedule.config if schedule.config else None, schedule.overrides))


def _with_webhook(config: RunConfig) -> RunConfig:
    """`on_drift: retrain` on Argo: the monitor step tells the drift trigger, unless the configuration names somebody else."""
    webhook = config.monitor.webhook or WEBHOOK
    return config.model_copy(update={"monitor": config.monitor.model_copy(update={"webhook": webhook})})


def _minutes(cron: str, path: Path) -> str:
    second, rest = cron.split(maxsplit=1)
    if second != "0":
        raise UsageError(f"{path}: cron fires at second {second}, but Argo knows minutes only", remedy=f"write '0 {rest}'")
    return rest
