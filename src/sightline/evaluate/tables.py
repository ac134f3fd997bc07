"""Classification truth and answers from tables, for models that were not made by Sightline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sightline.errors import DataError, UsageError
from sightline.evaluate.predict import Answers, aligned

if TYPE_CHECKING:
    import pandas as pd

MAX_BYTES = 2_000_000_000
MAX_ROWS = 5_000_000
_RESERVED = ("image", "label", "group")


@dataclass(frozen=True)
class TruthTable:
    """What is true of N images.

    Attributes:
        images: unique names.
        labels_N: class index per image.
        classes: class names, sorted.
        attributes: one string column per slice attribute; missing values are empty.
        clusters_N: index of the group of each image, the images themselves where the table has no ``group``.
    """

    images: tuple[str, ...]
    labels_N: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    attributes: pd.DataFrame
    clusters_N: npt.NDArray[np.int64]


def read_table(path: Path) -> pd.DataFrame:
    """A CSV or Parquet table with a unique, non-empty ``image`` column; every cell but numbers is text.

    Raises:
        UsageError: there is no such file, or its ending is another.
        DataError: it cannot be read, is too large, has no ``image`` column, or names an image twice.
    """
    import pandas as pd

    if path.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"{path}: expected a .csv or .parquet table", remedy="give a table with the columns image and label")
    if not path.is_file():
        raise UsageError(f"there is no file {path}", remedy="check the path")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES} bytes", remedy="split the golden set")
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}", remedy="write it again") from None
    problems = _problems(table)
    if problems:
        raise DataError(f"{path} cannot be used", problems=problems, remedy="one row per image, with the columns image and label")
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    # "None" and "NA" are plausible names of classes; pandas would take them for missing.
    texts = {"image": str, "label": str, "group": str}
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=["", "nan", "NaN"])


def _problems(table: pd.DataFrame) -> list[str]:
    if "image" not in table.columns:
        return [f"there is no column 'image'; there are: {', '.join(map(str, table.columns))}"]
    problems = [f"{len(table)} rows, at most {MAX_ROWS}"] if len(table) > MAX_ROWS else []
    empty = int(table["image"].isna().sum())
    problems += [f"{empty} rows have no image name"] if empty else []
    twice = table.loc[table["image"].duplicated(), "image"].astype(str)
    return problems + [f"image named twice: {name}" for name in sorted(set(twice))[:20]]


def read_truth(path: Path) -> TruthTable:
    """The truth of a golden set: columns ``image``, ``label``, optionally ``group``, and one column per slice attribute.

    Raises:
        DataError: see ``read_table``; an image without a label; no image at all.
    """
    table = read_table(path)
    if "label" not in table.columns or not len(table):
        problem = "it has no rows" if "label" in table.columns else "there is no column 'label'"
        raise DataError(f"{path} says nothing: {problem}", remedy="one row per golden image, with its true label")
    missing = table.loc[table["label"].isna(), "image"].astype(str)
    if len(missing):
        raise DataError(
            f"{path}: {len(missing)} images have no label", problems=sorted(missing)[:20], remedy="label them, or leave them out"
        )
    classes, labels = np.unique(_names(table["label"]), return_inverse=True)
    return TruthTable(
        images=tuple(table["image"].astype(str)),
        labels_N=labels.astype(np.int64),
        classes=tuple(map(str, classes)),
        attributes=attribute_columns(table),
        clusters_N=clusters_of(table),
    )


def attribute_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that are slice attributes, as text; empty where a value is missing."""
    names = [column for column in table.columns if column not in _RESERVED]
    return table[names].astype("string").fillna("").astype(str).reset_index(drop=True)


def clusters_of(table: pd.DataFrame) -> npt.NDArray[np.int64]:
    """The index of each row's group; a row without a group is one of its own."""
    if "group" not in table.columns:
        return np.arange(len(table))
    groups = table["group"].astype("string")
    own = "\0" + table["image"].astype(str)
    return np.unique(groups.where(groups.notna() & (groups != ""), own).astype(str), return_inverse=True)[1].astype(np.int64)


def read_answers(path: Path, truth: TruthTable) -> Answers:
    """A model's answers: columns ``image``, ``label`` and optionally ``confidence`` in [0, 1].

    A missing label or a confidence that is no number in [0, 1] is an invalid answer, which is never right; a class that the truth
    does not have is a wrong answer.

    Raises:
        DataError: an image of the truth is missing, or another one is answered, or one is answered twice; or most labels are none of
            the truth's classes, which is a table in other words and would make a current model look worse than any candidate.
    """
    table = read_table(path)
    if "label" not in table.columns:
        raise DataError(f"{path} has no column 'label'", remedy="give the predicted class of each image as 'label'")
    index = {name: position for position, name in enumerate(truth.classes)}
    given = table["label"].notna().to_numpy()
    predicted = np.array([index.get(name, -1) for name in _names(table["label"])], dtype=np.int64)
    _require_same_words(path, table.loc[given & (predicted < 0), "label"], int(given.sum()), truth.classes)
    confidence = _numbers(table["confidence"]) if "confidence" in table.columns else np.ones(len(table))
    valid = given & (confidence >= 0) & (confidence <= 1)
    answers = Answers(
        sample_ids=tuple(table["image"].astype(str)),
        predicted_N=np.where(valid, predicted, -1),
        confidence_N=np.where(valid, confidence, 0).astype(np.float32),
        num_invalid=int((~valid).sum()),
    )
    return aligned(answers, truth.images)


def _require_same_words(path: Path, unknown: pd.Series[str], num_given: int, classes: Sequence[str]) -> None:
    if 2 * len(unknown) <= num_given:
        return
    words = [f"'{name}' ({count} images)" for name, count in unknown.astype(str).value_counts().head(10).items()]
    raise DataError(
        f"{path}: {len(unknown)} of {num_given} labels are no class of the truth; its classes are {', '.join(classes[:20])}",
        problems=words,
        remedy="write the predicted classes in the words of the truth",
    )


def _names(column: pd.Series[str]) -> list[str]:
    """Class names as text; whole numbers that a missing value turned into floats are whole again."""
    import pandas as pd

    whole = pd.api.types.is_float_dtype(column) and bool((column.dropna().astype(float) % 1 == 0).all())
    return list((column.astype("Int64") if whole else column).astype("string").fillna(""))


def _numbers(column: pd.Series[float]) -> npt.NDArray[np.float64]:
    import pandas as pd

    return pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)


def with_attributes(truth: TruthTable, path: Path) -> TruthTable:
    """The truth with the slice attributes (and groups) of another table, which has to name every image.

    Raises:
        DataError: an image of the truth is missing in it.
    """
    from dataclasses import replace

    attributes, clusters = attributes_for(path, truth.images)
    return replace(truth, attributes=attributes, clusters_N=clusters)


def attributes_for(path: Path, images: tuple[str, ...]) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """Slice attributes and cluster indices of ``images`` from a table that may hold more images.

    Where no name fits, names are compared without their endings.

    Raises:
        DataError: an image is missing in it.
    """
    table = read_table(path)
    names = table["image"].astype(str)
    if not set(images) & set(names):
        # Masks are named like their images, but for the ending.
        stems = names.map(lambda name: PurePosixPath(name).with_suffix("").as_posix())
        by_stem = {PurePosixPath(name).with_suffix("").as_posix(): name for name in images}
        names = stems.map(lambda stem: by_stem.get(stem, stem))
        if names.duplicated().any():
            twice = sorted(set(names[names.duplicated()]))
            raise DataError(f"{path}: images differ in their ending only", problems=twice[:20], remedy="name the images as in the truth")
    missing = sorted(set(images) - set(names))
    if missing:
        raise DataError(f"{path}: {len(missing)} golden images are not in it", problems=missing[:20], remedy="name every golden image")
    rows = table.set_index(names).loc[list(images)].reset_index(drop=True)
    return attribute_columns(rows.drop(columns=[c for c in ("label",) if c in rows.columns])), clusters_of(rows)
