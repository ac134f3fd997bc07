"""Schedules in git against recurring runs on the server."""

import json
from pathlib import Path

import pytest

from pipelines import client, cron, schedules
from sightline.errors import TemporaryError, UsageError

WEEKLY = """
name: weekly
pipeline: retrain
cron: "0 0 3 * * 1"
overrides: ["ingest.source=s3://bucket/images"]
"""
HOURLY = """
name: hourly
pipeline: monitor
cron: "0 15 * * * *"
parameters: {on_drift: retrain}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "weekly.yaml").write_text(WEEKLY)
    (tmp_path / "schedules" / "hourly.yaml").write_text(HOURLY)
    return tmp_path / "schedules"


def changes(server, folder):
    return schedules.plan(schedules.read_schedules(folder), schedules.read_existing(server))


def apply(server, folder, *, prune=False):
    return [(change.kind, change.name) for change in schedules.apply(server, changes(server, folder), prune=prune)]


def names_on(server):
    return sorted(run.name for run in schedules.read_existing(server))


def test_what_is_declared_is_created_and_a_second_apply_does_nothing(server, folder):
    assert apply(server, folder) == [("add", "hourly"), ("add", "weekly")]
    assert apply(server, folder) == []
    runs = {run.name: run.fields for run in schedules.read_existing(server)}
    assert runs["weekly"]["cron"] == "0 0 3 * * 1"
    assert runs["weekly"]["parameters"]["source"] == "s3://bucket/images"
    assert runs["hourly"]["parameters"]["on_drift"] == "retrain"
    assert all(fields["no_catchup"] and fields["max_concurrency"] == 1 and fields["enabled"] for fields in runs.values())


def test_a_changed_file_shows_the_difference_and_replaces_the_recurring_run(server, folder):
    apply(server, folder)
    (folder / "weekly.yaml").write_text(WEEKLY.replace("0 0 3", "0 30 4") + "enabled: false\n")
    (change,) = changes(server, folder)
    assert change.fields == {"cron": ("0 0 3 * * 1", "0 30 4 * * 1"), "enabled": (True, False)}
    assert apply(server, folder) == [("change", "weekly")]
    assert names_on(server) == ["hourly", "weekly"]
    assert changes(server, folder) == []


def test_a_recurring_run_that_was_paused_by_hand_is_a_difference(server, folder):
    apply(server, folder)
    weekly = next(run for run in schedules.read_existing(server) if run.name == "weekly")
    with client.calling("pause"):
        server.client.disable_recurring_run(weekly.recurring_run_id)
    (change,) = changes(server, folder)
    assert change.fields == {"enabled": (False, True)}


def test_a_file_that_is_gone_is_removed_only_when_asked(server, folder):
    apply(server, folder)
    (folder / "hourly.yaml").unlink()
    assert [(change.kind, change.name) for change in changes(server, folder)] == [("remove", "hourly")]
    assert apply(server, folder) == []
    assert names_on(server) == ["hourly", "weekly"]
    assert apply(server, folder, prune=True) == [("remove", "hourly")]
    assert names_on(server) == ["weekly"]


def test_a_recurring_run_that_somebody_else_made_is_never_touched(server, folder):
    version = client.upload(server, "monitor")
    with client.calling("create"):
        foreign = server.client.create_recurring_run(
            client.experiment(server),
            "weekly",
            cron_expression="0 0 0 * * *",
            pipeline_id=version.pipeline_id,
            version_id=version.version_id,
        )
    apply(server, folder, prune=True)
    (folder / "weekly.yaml").unlink()
    apply(server, folder, prune=True)
    with client.calling("read"):
        assert server.client.get_recurring_run(foreign.recurring_run_id).display_name == "weekly"


@pytest.mark.parametrize("call", ["delete_recurring_run", "create_recurring_run"])
def test_apply_that_is_killed_in_the_middle_loses_no_schedule_and_the_next_one_puts_it_right(server, folder, call, monkeypatch):
    apply(server, folder)
    (folder / "weekly.yaml").write_text(WEEKLY.replace("0 0 3", "0 30 4"))

    def die(*_: object, **__: object):
        raise SystemExit(137)

    with monkeypatch.context() as patched:
        patched.setattr(server.client, call, die)
        with pytest.raises(SystemExit):
            apply(server, folder)
    assert "weekly" in names_on(server)
    assert apply(server, folder) == [("change", "weekly")]
    assert [run.fields["cron"] for run in schedules.read_existing(server) if run.name == "weekly"] == ["0 30 4 * * 1"]


def test_a_server_that_fails_in_the_middle_is_a_temporary_error(server, folder, double):
    wanted = changes(server, folder)
    double.faults = [503]
    with pytest.raises(TemporaryError):
        schedules.apply(server, wanted, prune=False)


def test_more_schedules_than_one_page_are_all_seen(server, folder, monkeypatch):
    monkeypatch.setattr(schedules, "_PAGE", 1)
    apply(server, folder)
    assert names_on(server) == ["hourly", "weekly"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (WEEKLY.replace("0 0 3 * * 1", "0 3 * * 1"), "has 5 fields, expected 6 with the seconds first"),
        (WEEKLY.replace("0 0 3 * * 1", "0 61 3 * * 1"), "minute: '61' is outside 0 to 59"),
        (WEEKLY + "time_zone: Europe/Berlin\n", "the server reads cron in UTC"),
        (WEEKLY + "max_concurrency: 3\n", "max_concurrency"),
        (WEEKLY + "no_catchup: false\n", "no_catchup"),
        (WEEKLY + "surprise: 1\n", "surprise"),
        (WEEKLY + "parameters: {epoch: 3}\n", "did you mean `epochs`"),
        (HOURLY.replace("on_drift: retrain", "on_drift: explode"), "expected one of report, retrain"),
        (WEEKLY.replace("ingest.source=s3://bucket/images", "ingest.source=./images"), "relative folders of this machine"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path, text, problem):
    (tmp_path / "one.yaml").write_text(text)
    with pytest.raises(UsageError) as raised:
        schedules.read_schedules(tmp_path)
    assert problem in str(raised.value)


def test_another_time_zone_is_right_where_the_server_has_it(tmp_path):
    (tmp_path / "one.yaml").write_text(WEEKLY + "time_zone: Europe/Berlin\n")
    (wanted,) = schedules.read_schedules(tmp_path, time_zone="Europe/Berlin")
    assert wanted.schedule.time_zone == "Europe/Berlin"


def test_two_files_with_one_name_are_an_error(folder):
    (folder / "again.yaml").write_text(WEEKLY)
    with pytest.raises(UsageError, match="two files declare weekly"):
        schedules.read_schedules(folder)


@pytest.mark.parametrize("text", ["0 0 3 * * 1", "*/30 * * * * *", "0 0 9 ? * MON-FRI", "0 0,30 8-18/2 1 jan *", "59 59 23 31 12 6"])
def test_cron_expressions_of_kubeflow_are_read(text):
    assert cron.problems(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * * *",
        "60 * * * * *",
        "* * 24 * * *",
        "* * * 0 * *",
        "* * * * 13 *",
        "* * * * * 7",
        "a * * * * *",
        "*/0 * * * * *",
        "9-3 * * * * *",
        "? * * * * *",
    ],
)
def test_control_expressions_that_it_cannot_read_are_refused(text):
    assert cron.problems(text)


def test_the_committed_schedules_are_right():
    found = schedules.read_schedules(Path(__file__).parents[2] / "schedules")
    assert [wanted.schedule.name for wanted in found] == ["hourly-monitor", "weekly-retrain"]
    assert "secret" not in json.dumps([wanted.fields for wanted in found]).lower()
