"""The confusion matrix that Kubeflow draws."""

import json
from pathlib import Path

import pandas as pd
import pytest
from kfp.dsl import ClassificationMetrics

from sightline.evaluate.verdict import KIND
from sightline.gate.matrix import MAX_CLASSES, NO_ANSWER, confusion_matrix
from sightline.store.artifact import commit_artifact


def verdict_with(folder: Path, labels: list[str], answers: list[str | None]) -> str:
    def write(aside: Path) -> dict[str, object]:
        pd.DataFrame({"label": labels, "candidate": pd.array(answers, dtype="string")}).to_parquet(aside / "predictions.parquet")
        return {}

    commit_artifact(folder, KIND, write)
    return str(folder)


def test_rows_are_true_classes_and_columns_are_answers_as_in_the_client_of_kubeflow(tmp_path):
    labels, answers = ["a", "a", "b", "b", "b"], ["a", "b", "b", "b", "a"]
    theirs = ClassificationMetrics(name="", uri="", metadata={})
    theirs.log_confusion_matrix(["a", "b"], [[1, 1], [1, 2]])
    assert confusion_matrix(verdict_with(tmp_path / "v", labels, answers)) == theirs.metadata


def test_a_class_that_is_never_answered_still_has_its_column(tmp_path):
    found = confusion_matrix(verdict_with(tmp_path / "v", ["a", "b"], ["a", "a"]))["confusionMatrix"]
    assert [len(row["row"]) for row in found["rows"]] == [2, 2]


def test_images_without_a_valid_answer_are_counted_and_the_matrix_stays_square_and_finite(tmp_path):
    found = confusion_matrix(verdict_with(tmp_path / "v", ["a", "b"], ["a", None]))
    names = [one["displayName"] for one in found["confusionMatrix"]["annotationSpecs"]]
    assert names == ["a", "b", NO_ANSWER]
    assert [row["row"] for row in found["confusionMatrix"]["rows"]] == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("num_classes", [0, MAX_CLASSES + 1])
def test_without_images_or_with_more_classes_than_one_can_read_there_is_none(tmp_path, num_classes):
    names = [f"c{index}" for index in range(num_classes)]
    assert confusion_matrix(verdict_with(tmp_path / "v", names, names)) == {}
