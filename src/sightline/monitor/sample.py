"""What drift is judged on: the reference of the champion and the images it served, in the same columns."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sightline.errors import DataError, UsageError
from sightline.images import PROPERTIES
from sightline.models.bundle import ModelBundle
from sightline.store.digest import sha256_bytes
from sightline.store.objects import open_store

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """N images as the model saw them.

    Attributes:
        ids: sample id per image.
        labels: predicted class name per image.
        confidence_N: largest probability.
        properties: one array of N per name in ``PROPERTIES``.
        embeddings_ND: penultimate features.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    confidence_N: FloatArray
    properties: dict[str, FloatArray]
    embeddings_ND: FloatArray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Served:
    """The served images and what was left out.

    Attributes:
        sample: the newest images that the model answered, each image once.
        num_other_model: answers of other models.
        num_repeated: further answers for an image that is in the sample: the same image again is no new evidence.
        digest: SHA-256 of all that was read.
    """

    sample: Sample
    num_other_model: int
    num_repeated: int
    digest: str


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)
    time: float
    sample_id: str
    model: str
    label: str
    confidence: float = Field(ge=0, le=1)
    properties: dict[str, float]
    embedding: tuple[float, ...] = Field(min_length=1)


def read_reference(bundle: ModelBundle) -> Sample:
    """The reference of a compiled bundle, one row per validation image.

    Raises:
        DataError: the bundle has no reference, or the reference lacks a column, has no rows or a value that is not finite.
    """
    import pyarrow.parquet as pq

    path = bundle.artifact.file("reference.parquet")
    table = pq.read_table(path)
    missing = sorted({*PROPERTIES, "label", "confidence", "embedding", "sample_id"} - set(table.column_names))
    if missing or table.num_rows == 0:
        raise DataError(
            f"{path} is no reference: {'lacks ' + ', '.join(missing) if missing else 'no rows'}", remedy="compile the model again"
        )
    sample = Sample(
        ids=tuple(table["sample_id"].to_pylist()),
        labels=tuple(table["label"].to_pylist()),
        confidence_N=np.asarray(table["confidence"].to_numpy(), dtype=np.float64),
        properties={name: np.asarray(table[name].to_numpy(), dtype=np.float64) for name in PROPERTIES},
        embeddings_ND=np.array(table["embedding"].to_pylist(), dtype=np.float64),
    )
    if not all(np.isfinite(values).all() for values in (sample.confidence_N, sample.embeddings_ND, *sample.properties.values())):
        raise DataError(f"{path} has values that are not finite", remedy="compile the model again")
    return sample


def read_served(served: str, *, model: str, max_images: int) -> Served:
    """The newest ``max_images`` different images that ``model`` answered; none when nothing was served.

    A server that was killed leaves a torn last line, which is skipped; any other unreadable line is an error. Cost: one pass over the log
    of a folder; from a bucket only the newest objects are read, until there are enough images.

    Args:
        served: the server's log, a folder of ``*.jsonl`` files or ``s3://bucket/prefix``.
        model: digest of the bundle; answers of others are counted and left out.
        max_images: at least 1.

    Raises:
        UsageError: there is no such folder.
        DataError: lines that are not what the server writes, all of them named.
    """
    rows: list[_Row] = []
    problems: list[str] = []
    digests = []
    different: set[str] = set()
    for name, data in _segments(served) if "://" in served else _files(Path(served)):
        digests.append(sha256_bytes(data))
        read = _read_lines(name, data, problems)
        rows += read
        different.update(row.sample_id for row in read if row.model == model)
        if "://" in served and len(different) >= max_images:
            break
    ours = sorted((row for row in rows if row.model == model), key=lambda row: row.time, reverse=True)
    widths = sorted({len(row.embedding) for row in ours})
    if len(widths) > 1:
        problems.append(f"embeddings of one model have different widths: {widths}")
    if problems:
        raise DataError(f"the served log {served} is damaged", problems=problems, remedy="move the damaged file away")
    latest = list({row.sample_id: row for row in reversed(ours)}.values())
    newest = sorted(latest, key=lambda row: row.time, reverse=True)[:max_images]
    return Served(
        sample=_sample(newest),
        num_other_model=len(rows) - len(ours),
        num_repeated=len(ours) - len(latest),
        digest=sha256_bytes("".join(digests).encode()),
    )


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    if not folder.is_dir():
        raise UsageError(f"the served log {folder} is not a folder", remedy="give the folder that the server logs to (--served)")
    for path in sorted(folder.glob("*.jsonl")):
        yield path.name, path.read_bytes()


def _segments(place: str) -> Iterator[tuple[str, bytes]]:
    """The log's objects, newest first."""
    store = open_store(place)
    for day in reversed(store.folders()):
        for key in reversed(store.list(f"{day}/")):
            yield key, store.read(key)


def _read_lines(name: str, data: bytes, problems: list[str]) -> list[_Row]:
    rows: list[_Row] = []
    lines = data.split(b"\n")
    last = len(lines) if lines[-1] else len(lines) - 1
    for number, line in enumerate(lines[:last], start=1):
        try:
            row = _Row.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            if number < last or first["type"] != "json_invalid":
                problems.append(f"{name}:{number}: {'.'.join(str(part) for part in first['loc'])} {first['msg']}")
            continue
        missing = [column for column in PROPERTIES if column not in row.properties]
        if missing:
            problems.append(f"{name}:{number}: properties lack {', '.join(missing)}")
        else:
            rows.append(row)
    return rows


def _sample(rows: list[_Row]) -> Sample:
    return Sample(
        ids=tuple(row.sample_id for row in rows),
        labels=tuple(row.label for row in rows),
        confidence_N=np.array([row.confidence for row in rows], dtype=np.float64),
        properties={name: np.array([row.properties[name] for row in rows], dtype=np.float64) for name in PROPERTIES},
        embeddings_ND=np.array([row.embedding for row in rows], dtype=np.float64).reshape(len(rows), -1 if rows else 0),
    )
