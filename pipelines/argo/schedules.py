"""When the pipelines start by themselves: one CronWorkflow each."""

from typing import Any

from pipelines.argo.flows import LABELS, MONITOR, RETRAIN
from pipelines.argo.models import core, workflows

_RETRAIN_AT, _MONITOR_AT = "0 2 * * 1", "15 * * * *"


def cron_workflow(template: str, schedule: str, *, timezone: str, starting_deadline_s: int, suspended: bool = False) -> Any:
    """Starts a WorkflowTemplate at fixed times; never two of its runs at once, and none that was missed for longer than the deadline.

    Args:
        template: name of the WorkflowTemplate, and of the schedule.
        schedule: five cron fields.
        timezone: IANA name; the clock of the cluster's nodes is never used.
        starting_deadline_s: seconds for which a missed start is made up for.
        suspended: declared, but not started.
    """
    return workflows.CronWorkflow(
        api_version="argoproj.io/v1alpha1",
        kind="CronWorkflow",
        metadata=core.ObjectMeta(name=template, labels=dict(LABELS)),
        spec=workflows.CronWorkflowSpec(
            # `schedule`, in the singular, was removed in Argo 4.
            schedules=[schedule],
            timezone=timezone,
            concurrency_policy="Forbid",
            starting_deadline_seconds=starting_deadline_s,
            successful_jobs_history_limit=3,
            failed_jobs_history_limit=3,
            workflow_metadata=core.ObjectMeta(labels=dict(LABELS)),
            workflow_spec=workflows.WorkflowSpec(workflow_template_ref=workflows.WorkflowTemplateRef(name=template)),
            **({"suspend": True} if suspended else {}),
        ),
    )


def cron_workflows() -> list[Any]:
    """Retraining on Monday nights, a look at what was served each hour."""
    return [
        cron_workflow(RETRAIN, _RETRAIN_AT, timezone="Etc/UTC", starting_deadline_s=6 * 3600),
        cron_workflow(MONITOR, _MONITOR_AT, timezone="Etc/UTC", starting_deadline_s=600),
    ]
