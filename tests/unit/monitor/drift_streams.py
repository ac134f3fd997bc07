"""Streams of images with known drift, and the files that the monitor reads."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sightline.images import PROPERTIES
from sightline.models.bundle import COMPILED, BundleInfo, ModelBundle, Preprocessing
from sightline.monitor.sample import Sample
from sightline.store.artifact import commit_artifact

CLASSES = ("dent", "ok", "scratch")


def draw(num: int, rng: np.random.Generator, *, shift: float = 0.0, num_dims: int = 8) -> Sample:
    """Images of one stream; ``shift`` moves brightness, confidence, labels and embeddings, all correlated as in real images."""
    light = rng.normal(size=num)
    properties = {name: 0.5 + 0.05 * (light + rng.normal(size=num)) for name in PROPERTIES}
    properties["brightness"] = properties["brightness"] - 0.1 * shift
    weights = np.array([0.2, 0.5 - 0.25 * min(shift, 1.0), 0.3 + 0.25 * min(shift, 1.0)])
    return Sample(
        ids=tuple(f"{rng.integers(2**62):016x}{index}" for index in range(num)),
        labels=tuple(rng.choice(CLASSES, size=num, p=weights)),
        confidence_N=np.clip(rng.beta(8, 2, size=num) - 0.15 * shift, 0.34, 1.0),
        properties=properties,
        embeddings_ND=rng.normal(size=(num, num_dims)) + 0.3 * light[:, None] + 0.8 * shift,
    )


def write_reference(folder: Path, sample: Sample) -> ModelBundle:
    def write(aside: Path) -> dict[str, Any]:
        info = BundleInfo(classes=CLASSES, backbone="compact", width=16, embedding_dim=8, dataset_digests={})
        (aside / "weights.safetensors").write_bytes(b"w")
        (aside / "model.json").write_text(info.model_dump_json())
        (aside / "preprocessing.json").write_text(Preprocessing(size_px=64).model_dump_json())
        columns = {
            **{name: pa.array(values) for name, values in sample.properties.items()},
            "label": pa.array(sample.labels),
            "confidence": pa.array(sample.confidence_N),
            "embedding": pa.array(list(sample.embeddings_ND.astype(np.float32)), type=pa.list_(pa.float32())),
            "sample_id": pa.array(sample.ids),
        }
        pq.write_table(pa.table(columns), aside / "reference.parquet")
        return {}

    return ModelBundle(commit_artifact(folder, COMPILED, write))


def served_lines(sample: Sample, model: str, *, start: float = 1000.0) -> list[str]:
    return [
        json.dumps(
            {
                "time": start + index,
                "sample_id": sample.ids[index],
                "model": model,
                "label": sample.labels[index],
                "confidence": float(sample.confidence_N[index]),
                "properties": {name: float(values[index]) for name, values in sample.properties.items()},
                "embedding": sample.embeddings_ND[index].tolist(),
            }
        )
        for index in range(len(sample))
    ]
