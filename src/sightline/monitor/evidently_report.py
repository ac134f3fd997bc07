"""Evidently's data drift page over the scalar signals, for people who know it; our own tests decide."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sightline.images import PROPERTIES
from sightline.monitor.sample import Sample

if TYPE_CHECKING:
    import pandas as pd

NUMERICAL = (*PROPERTIES, "confidence")
CATEGORICAL = ("label",)


def write_evidently(reference: Sample, served: Sample, path: Path, *, max_rows: int = 1000, seed: int = 0) -> None:
    """Writes Evidently's HTML (about 4 MB, self-contained) on random samples of at most ``max_rows`` of each side.

    Takes 4 to 5 s, nearly all of it Evidently's import. Nothing is sent anywhere.

    Args:
        reference: at least one image.
        served: at least one image.
        path: the HTML file.
        max_rows: rows of each side.
        seed: of the samples.
    """
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("EVIDENTLY_DISABLE_TELEMETRY", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import and pandas' deprecations are not ours to repair
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        definition = DataDefinition(numerical_columns=list(NUMERICAL), categorical_columns=list(CATEGORICAL))
        rng = np.random.default_rng(seed)
        current, past = (Dataset.from_pandas(_sampled(frame(side), max_rows, rng), definition) for side in (served, reference))
        Report([DataDriftPreset()]).run(current, past).save_html(str(path))


def frame(sample: Sample) -> "pd.DataFrame":
    """The scalar signals as columns: the image properties, confidence and label."""
    import pandas as pd

    return pd.DataFrame({**sample.properties, "confidence": sample.confidence_N, "label": list(sample.labels)})


def _sampled(data: "pd.DataFrame", max_rows: int, rng: np.random.Generator) -> "pd.DataFrame":
    return data if len(data) <= max_rows else data.iloc[rng.choice(len(data), size=max_rows, replace=False)]
