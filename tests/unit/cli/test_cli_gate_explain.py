import json

import pytest

from sightline.cli.gate_explain import explain_command
from sightline.errors import DataError
from sightline.evaluate.verdict import write_verdict
from sightline.gate.explain import Explanation
from sightline.store.artifact import commit_artifact
from tests.unit.gate.rich_verdict import rich_verdict


@pytest.fixture
def folder(tmp_path):
    def write(aside):
        write_verdict(aside, rich_verdict())
        return {}

    return commit_artifact(tmp_path / "verdict", "verdict", write).folder


def test_the_explanation_is_printed_and_the_answer_is_no_failure_of_the_command(folder, capsys):
    assert explain_command(folder) == 0
    assert capsys.readouterr().out.startswith("✗ FAIL · gate (compiled)")


def test_the_verdict_file_itself_can_be_named(folder, capsys):
    assert explain_command(folder / "verdict.json") == 0
    assert "What blocks" in capsys.readouterr().out


def test_json_has_every_field_and_can_be_read_back(folder, capsys):
    assert explain_command(folder, as_json=True) == 0
    read = Explanation.model_validate(json.loads(capsys.readouterr().out))
    assert read.outcome == "fail"
    assert [check.name for check in read.blocking][1] == "material=brass"
    assert read.labels_needed[0].num_images == 320


def test_a_folder_without_a_verdict_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"manifest\.json"):
        explain_command(tmp_path)
