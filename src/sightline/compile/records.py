"""What the chosen variant answers: on validation images for the drift monitor, on golden images for the live check after deployment."""

from pathlib import Path

import numpy as np

from sightline.data.version import Split
from sightline.images import PROPERTIES, image_properties
from sightline.runtimes.base import Prediction


def write_reference(path: Path, val: Split, prediction: Prediction, classes: tuple[str, ...]) -> None:
    """Writes ``reference.parquet``, one row per validation image.

    Columns: ``sample_id``; each of ``sightline.images.PROPERTIES`` of the pixels that the model saw; ``label``, the predicted class name;
    ``confidence``, its probability; ``embedding``, a list of float32.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    properties = [image_properties(image) for image in val.pixels_NHWC]
    predicted_N = prediction.probabilities_NC.argmax(axis=1)
    columns = {
        "sample_id": pa.array(val.sample_ids, pa.string()),
        **{name: pa.array([row[name] for row in properties], pa.float64()) for name in PROPERTIES},
        "label": pa.array([classes[index] for index in predicted_N], pa.string()),
        "confidence": pa.array(prediction.probabilities_NC.max(axis=1), pa.float32()),
        "embedding": pa.array(list(prediction.embeddings_ND), pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(columns), path)


def write_golden(path: Path, golden: Split, prediction: Prediction) -> None:
    """Writes ``golden.parquet``, one row per golden image.

    Columns: ``sample_id``; ``location``; ``label`` and ``predicted``, true and answered class index; ``confidence``, its probability.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "sample_id": pa.array(golden.sample_ids, pa.string()),
        "location": pa.array(golden.locations, pa.string()),
        "label": pa.array(golden.labels_N, pa.int64()),
        "predicted": pa.array(prediction.probabilities_NC.argmax(axis=1).astype(np.int64), pa.int64()),
        "confidence": pa.array(prediction.probabilities_NC.max(axis=1), pa.float32()),
    }
    pq.write_table(pa.table(columns), path)
