"""The candidate's answers as Kubeflow's confusion matrix."""

from pathlib import Path
from typing import Any

from sightline.evaluate.verdict import KIND
from sightline.store.artifact import open_artifact

NO_ANSWER = "(no valid answer)"
MAX_CLASSES = 60


def confusion_matrix(verdict: str) -> dict[str, Any]:
    """What a ClassificationMetrics artifact holds to be drawn: the classes, and one row of counts per true class.

    Args:
        verdict: folder of a classification verdict with ``predictions.parquet``.

    Returns:
        A square matrix of whole numbers; images without a valid answer have a class of their own. Empty for more than 60 classes, which
        nobody can read and the run page cannot draw.
    """
    import pandas as pd

    table = pd.read_parquet(open_artifact(Path(verdict), KIND).file("predictions.parquet"), columns=["label", "candidate"])
    truth, answers = table["label"].astype(str), table["candidate"].fillna(NO_ANSWER).astype(str)
    classes = sorted({*truth, *answers} - {NO_ANSWER}) + ([NO_ANSWER] if (answers == NO_ANSWER).any() else [])
    if not classes or len(classes) > MAX_CLASSES:
        return {}
    counts = pd.crosstab(truth, answers).reindex(index=classes, columns=classes, fill_value=0)
    rows = [{"row": [int(count) for count in counts.loc[name]]} for name in classes]
    return {"confusionMatrix": {"annotationSpecs": [{"displayName": name} for name in classes], "rows": rows}}
