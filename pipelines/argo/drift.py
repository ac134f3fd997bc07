"""Retraining that drift asks for, through Argo Events: a webhook, and a sensor that starts one run per decision."""

from typing import Any

from pipelines.argo.arguments import KEY_DIGITS, config_text
from pipelines.argo.flows import LABELS, RETRAIN, run_of
from pipelines.argo.models import core, events, plain
from pipelines.argo.templates import container_security, pod_security
from sightline.config.run import RunConfig

NAME = "sightline-drift"
EVENT = "decision"
PORT = 12000
ACCOUNT = "sightline-sensor"

# The Service that Argo Events makes for the webhook, as pods of the same namespace reach it.
WEBHOOK = f"http://{NAME}-eventsource-svc:{PORT}/drift"


def event_source() -> Any:
    """The webhook that ``monitor.webhook`` names; who may reach it is a matter of the network policies."""
    webhook = {"endpoint": "/drift", "method": "POST", "port": str(PORT)}
    return events.EventSource(
        # Argo Events has the webhook's own fields beside `filter`; the models, made from protocol buffers, have them one level deeper.
        **_head("EventSource"),
        spec=events.EventSourceSpec(
            template=_pod(),
            service=events.Service(ports=[core.ServicePort(port=PORT)]),
            webhook={EVENT: events.WebhookEventSource(**webhook)},
        ),
    )


def sensor(config: RunConfig | None = None) -> Any:
    """Starts the retrain template when the decision is to retrain.

    The run's name is made from the decision's key, as `run_name` does, so that a decision that arrives twice is one run.

    Args:
        config: what the run starts with; None: the template's configuration.
    """
    return events.Sensor(
        **_head("Sensor"), spec=events.SensorSpec(template=_pod(), dependencies=[_dependency()], triggers=[_trigger(config)])
    )


def _head(kind: str) -> dict[str, Any]:
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": core.ObjectMeta(name=NAME, labels=dict(LABELS))}


def _pod() -> Any:
    resources = core.ResourceRequirements(requests={"cpu": "50m", "memory": "128Mi"}, limits={"memory": "128Mi"})
    return events.Template(
        service_account_name=ACCOUNT,
        security_context=pod_security(),
        metadata=events.Metadata(labels=dict(LABELS)),
        container=events.Container(security_context=container_security(), resources=resources),
    )


def _dependency() -> Any:
    # Values are regular expressions.
    wanted = {"body.decision": "^retrain$", "body.key": "^.+$"}
    filters = [events.DataFilter(path=path, type="string", value=[value]) for path, value in wanted.items()]
    return events.EventDependency(name=EVENT, event_source_name=NAME, event_name=EVENT, filters=events.EventDependencyFilter(data=filters))


def _trigger(config: RunConfig | None) -> Any:
    name = f"{RETRAIN}-{{{{ .Input.body.key | sha256sum | trunc {KEY_DIGITS} }}}}"
    run = run_of("retrain", name=RETRAIN, parameters={"config": config_text(config)} if config else None)
    return events.Trigger(
        template=events.TriggerTemplate(
            name="retrain",
            k8s=events.StandardK8STrigger(
                operation="create",
                source=events.ArtifactLocation(resource=events.K8SResource(**plain(run))),
                parameters=[
                    _parameter(name, "metadata.name"),
                    # Notes for people; nothing of an event from outside becomes an argument of a step.
                    _parameter("{{ .Input.body.reason }}", r"metadata.annotations.sightline\.dev/reason", otherwise="drift"),
                ],
            ),
        )
    )


def _parameter(template: str, target: str, **default: str) -> Any:
    value = {"value": default["otherwise"]} if default else {}
    source = events.TriggerParameterSource(dependency_name=EVENT, data_template=template, **value)
    return events.TriggerParameter(src=source, dest=target)
