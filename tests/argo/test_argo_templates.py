"""The objects as they are sent: they fit the models, keep the rules, and are the files that are committed."""

import copy
import hashlib
import json
import re

import pytest
import yaml
from argo_workflows.configuration import Configuration
from argo_workflows.exceptions import ApiTypeError

import components
from pipelines.argo.arguments import config_text, run_name
from pipelines.argo.compiled import FOLDER, document, documents, render
from pipelines.argo.drift import WEBHOOK
from pipelines.argo.flows import APPROVE, retrain_template
from pipelines.argo.models import events, plain, unknown_keys, workflows
from pipelines.argo.schedules import cron_workflow
from pipelines.argo.steps import STEPS, image_of
from pipelines.schedules import Schedule
from sightline.config.load import parse_config
from sightline.config.run import RunConfig
from sightline.errors import UsageError
from tests.argo.policy import RULES, problems

MODELS = {
    "WorkflowTemplate": lambda: workflows.WorkflowTemplate,
    "CronWorkflow": lambda: workflows.CronWorkflow,
    "EventSource": lambda: events.EventSource,
    "Sensor": lambda: events.Sensor,
}
# What the models, made from protocol buffers, do not have although Argo Events does: inline fields and the head of an object.
GAPS = ("apiVersion", "kind", "spec.webhook.decision.", "spec.triggers[0].template.k8s.source.resource.")


@pytest.fixture(scope="module")
def objects():
    return {f"{one['kind']}/{one['metadata']['name']}": one for group in documents().values() for one in group}


@pytest.fixture
def retrain(objects):
    return copy.deepcopy(objects["WorkflowTemplate/sightline-retrain"])


def read(body):
    """The body as the models read it, with every value checked."""
    body = copy.deepcopy(body)
    return MODELS[body["kind"]]()._from_openapi_data(**body, _check_type=True, _spec_property_naming=True, _configuration=Configuration())


def beyond(model):
    return [path for path in unknown_keys(model) if not path.startswith(GAPS)]


def pod(body, name):
    return next(template for template in body["spec"]["templates"] if template["name"] == name)


def task(body, name):
    return next(task for task in body["spec"]["templates"][0]["dag"]["tasks"] if task["name"] == name)


def test_there_are_two_templates_two_schedules_and_the_drift_trigger(objects):
    assert sorted(objects) == [
        "CronWorkflow/hourly-monitor",
        "CronWorkflow/weekly-retrain",
        "EventSource/sightline-drift",
        "Sensor/sightline-drift",
        "WorkflowTemplate/sightline-monitor",
        "WorkflowTemplate/sightline-retrain",
    ]


def test_every_object_is_read_by_the_models_as_it_was_written_and_has_no_key_that_they_do_not_know(objects):
    for body in objects.values():
        model = read(body)
        assert beyond(model) == []
        assert document(model) == body


def test_a_value_of_the_wrong_type_and_a_misspelt_key_are_caught(retrain):
    retrain["spec"]["ttlStrategy"]["secondsAfterSuccess"] = "a week"
    with pytest.raises(ApiTypeError):
        read(retrain)
    retrain["spec"]["ttlStrategy"] = {"secondsAfterSucces": 60}
    assert beyond(read(retrain)) == ["spec.ttl_strategy.secondsAfterSucces"]


def test_a_model_that_does_not_exist_is_named_with_near_matches():
    with pytest.raises(AttributeError, match=r"WorkflowTemplat; near matches: .*WorkflowTemplate"):
        workflows.WorkflowTemplat  # noqa: B018


def test_the_templates_keep_every_rule(objects):
    for name in ("retrain", "monitor"):
        assert problems(objects[f"WorkflowTemplate/sightline-{name}"]) == []


BROKEN = {
    "immovable_images": lambda body: pod(body, "train")["container"].update(image="ghcr.io/sightline/python-train:latest"),
    "bounded_resources": lambda body: pod(body, "gate")["container"]["resources"].pop("limits"),
    "restricted_pods": lambda body: pod(body, "deploy")["container"]["securityContext"].pop("readOnlyRootFilesystem"),
    "own_accounts": lambda body: pod(body, "ingest").update(serviceAccountName="sightline-deploy"),
    "deadlines": lambda body: pod(body, "compile").pop("activeDeadlineSeconds"),
    "retries_by_exit_code": lambda body: pod(body, "train")["retryStrategy"].update(expression="true"),
    "closed_words": lambda body: task(body, "compile").update(when=task(body, "compile")["when"].replace("'pass'", "'passed'")),
    "ancestors_only": lambda body: task(body, "tune").update(
        arguments={"parameters": [{"name": "dataset", "value": "{{tasks.train.outputs.parameters.artifact}}"}]}
    ),
    "known_variables": lambda body: pod(body, "ingest")["container"]["args"].append("{{inputs.parameters.dataset}}"),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_template_that_breaks_a_rule_is_caught_by_that_rule_alone(rule, retrain):
    BROKEN[rule.__name__](retrain)
    assert list(rule(retrain))
    assert len(problems(retrain)) == len(list(rule(retrain)))


def test_an_output_without_a_default_is_caught_because_the_output_of_a_skipped_step_would_be_an_error(retrain):
    pod(retrain, "gate")["outputs"]["parameters"][1]["valueFrom"].pop("default")
    assert any("no output outcome with a default" in problem for problem in problems(retrain))


def test_each_step_is_a_component_with_its_image_and_reads_what_the_component_reads():
    for step in STEPS.values():
        component = getattr(components, step.name).component_spec
        assert image_of(step) == component.implementation.container.image
        artifacts = [name for name, value in (component.inputs or {}).items() if value.type.startswith("system.")]
        assert sorted(artifacts) == sorted(step.inputs), step.name


def test_the_words_of_a_step_are_those_that_its_component_promises():
    for step in STEPS.values():
        text = getattr(components, step.name).python_func.__doc__
        promised = re.findall(r'"([a-z-]+)"', text[text.index("Returns:") :])
        assert sorted(promised) == sorted(step.outcomes), step.name


def test_training_goes_where_the_parameters_say_and_nothing_else_does(retrain):
    moved = [template["name"] for template in retrain["spec"]["templates"] if "workflow.parameters.gpus" in str(template)]
    assert moved == ["tune", "train"]
    given = {one["name"]: one["value"] for one in retrain["spec"]["arguments"]["parameters"]}
    text = pod(retrain, "train")["podSpecPatch"]
    for name, value in given.items():
        text = text.replace(f"{{{{workflow.parameters.{name}}}}}", value)
    patch = json.loads(text)
    assert patch["nodeSelector"] == {}
    assert patch["containers"] == [{"name": "main", "resources": {"requests": {"nvidia.com/gpu": "0"}, "limits": {"nvidia.com/gpu": "0"}}}]
    assert json.loads(pod(retrain, "gate")["podSpecPatch"]) == {"terminationGracePeriodSeconds": 110}


def test_a_configuration_that_asks_for_gpus_changes_the_defaults_of_the_parameters():
    config = RunConfig.model_validate({"cluster": {"gpus_per_node": 2, "spot": False}})
    given = {one["name"]: one["value"] for one in plain(retrain_template(config))["spec"]["arguments"]["parameters"]}
    assert (given["gpus"], given["node_selector"]) == ("2", '{"sightline.dev/pool": "gpu"}')
    assert "sightline.dev/spot" not in given["tolerations"]


def test_two_retrainings_never_run_at_once_and_monitoring_never_waits_for_one(objects):
    assert objects["WorkflowTemplate/sightline-retrain"]["spec"]["synchronization"] == {"mutexes": [{"name": "sightline-registry"}]}
    assert "synchronization" not in objects["WorkflowTemplate/sightline-monitor"]["spec"]


def test_a_run_that_waits_for_a_person_is_never_resumed_by_the_clock(retrain):
    assert pod(retrain, APPROVE)["suspend"] == {}


def test_the_schedules_that_git_declares_never_overlap_and_state_their_time_zone(objects):
    for name, pipeline, minutes in (("weekly-retrain", "retrain", "0 3 * * 1"), ("hourly-monitor", "monitor", "15 * * * *")):
        spec = objects[f"CronWorkflow/{name}"]["spec"]
        assert "schedule" not in spec
        assert (spec["schedules"], spec["timezone"], spec["concurrencyPolicy"]) == ([minutes], "UTC", "Forbid")
        assert spec["startingDeadlineSeconds"] > 0
        assert spec["workflowSpec"]["workflowTemplateRef"] == {"name": f"sightline-{pipeline}"}


def argument(workflow_spec, name):
    return next(one["value"] for one in workflow_spec["arguments"]["parameters"] if one["name"] == name)


def test_the_schedule_that_may_retrain_tells_the_drift_trigger_and_the_retraining_reads_the_same_images(objects):
    looks = objects["CronWorkflow/hourly-monitor"]["spec"]["workflowSpec"]
    assert parse_config(argument(looks, "config"), (), origin="text").monitor.webhook == WEBHOOK
    assert argument(looks, "served") == "s3://sightline/served"
    trigger = objects["Sensor/sightline-drift"]["spec"]["triggers"][0]["template"]["k8s"]
    config = parse_config(argument(trigger["source"]["resource"]["spec"], "config"), (), origin="text")
    assert (config.ingest.source, config.monitor.webhook) == ("s3://sightline/data/images", "")


def schedule(**fields):
    return Schedule.model_validate({"name": "nightly", "pipeline": "retrain", "cron": "0 0 2 * * *", **fields})


def test_a_schedule_that_does_not_fire_is_declared_and_suspended():
    spec = plain(cron_workflow(schedule(enabled=False, time_zone="Europe/Berlin")))["spec"]
    assert (spec["suspend"], spec["timezone"], spec["schedules"]) == (True, "Europe/Berlin", ["0 2 * * *"])


def test_a_schedule_without_changes_runs_with_what_the_template_says():
    assert plain(cron_workflow(schedule()))["spec"]["workflowSpec"] == {"workflowTemplateRef": {"name": "sightline-retrain"}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cron": "30 0 2 * * *"}, "second 30"),
        ({"parameters": {"gpu": "1"}}, "did you mean gpus"),
        ({"overrides": ["ingest.source=./x"]}, "cannot reach"),
    ],
)
def test_a_schedule_that_argo_cannot_keep_is_refused(fields, message):
    with pytest.raises(UsageError, match=message):
        cron_workflow(schedule(**fields))


def test_drift_starts_a_run_whose_name_is_the_one_that_the_same_key_has_everywhere(objects):
    trigger = objects["Sensor/sightline-drift"]["spec"]["triggers"][0]["template"]["k8s"]
    name = trigger["parameters"][0]
    assert name["dest"] == "metadata.name"
    # What the sensor's template makes of a key, in Python.
    prefix, expression = name["src"]["dataTemplate"].split("{{")
    assert expression.strip(" }") == ".Input.body.key | sha256sum | trunc 16"
    assert prefix + hashlib.sha256(b"drift-1").hexdigest()[:16] == run_name("retrain", "drift-1")
    assert trigger["source"]["resource"]["spec"]["workflowTemplateRef"] == {"name": "sightline-retrain"}


def test_the_sensor_listens_to_decisions_to_retrain_only(objects):
    (dependency,) = objects["Sensor/sightline-drift"]["spec"]["dependencies"]
    assert {one["path"]: one["value"] for one in dependency["filters"]["data"]} == {"body.decision": ["^retrain$"], "body.key": ["^.+$"]}


def test_nothing_of_an_event_becomes_an_argument_of_a_step(objects):
    trigger = objects["Sensor/sightline-drift"]["spec"]["triggers"][0]["template"]["k8s"]
    assert [one["dest"] for one in trigger["parameters"]] == ["metadata.name", r"metadata.annotations.sightline\.dev/reason"]


def test_the_committed_files_are_what_the_source_says():
    for name, group in documents().items():
        path = FOLDER / f"{name}.yaml"
        assert path.read_text() == render(group), f"run `python -m pipelines.argo compile`; {path.name} is old"
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(documents())


AWKWARD = 'it\'s "quoted", {{workflow.name}} {{=1+1}} }} \\ \n\t\a\x7f é \u200b \U0001f600 \U000e0001 ${HOME} `id` $(id) %s # : - null'


def test_a_configuration_is_one_line_of_plain_text_without_variables_and_comes_back_as_it_was():
    config = RunConfig.model_validate(
        {"ingest": {"source": AWKWARD, "slices": ["a", "b"]}, "compile": {"max_accuracy_drop": 1e-7}, "monitor": {"alpha": 0.02}}
    )
    text = config_text(config)
    assert text.isascii()
    assert text.isprintable()
    assert "{{" not in text
    assert parse_config(text, (), origin="text") == config
    assert yaml.safe_load(text) == config.model_dump(mode="json", exclude_defaults=True)


def test_the_same_key_is_the_same_name_and_a_valid_one():
    assert run_name("retrain", "drift-1") == run_name("retrain", "drift-1") != run_name("retrain", "drift-2")
    assert len(run_name("retrain", AWKWARD * 100)) <= 63
