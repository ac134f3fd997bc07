"""The demonstration data: inspected surfaces as real JPEGs, one folder per class, everything about each image known."""

import csv
import io
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sightline.data.surfaces import CAMERAS, CLASSES, LIGHTINGS, MATERIALS, Scene, quality, render
from sightline.errors import EnvironmentFault, UsageError
from sightline.store.artifact import disk_faults_explained, write_file

COLUMNS = ("file", "lot", "material", "lighting", "camera", "lamp", "blur", "exposure")
TABLE = "attributes.csv"
# The classes in the order in which a lot shows them: 30 % good, 17.5 % of each defect.
_ORDER = (2, 3, 0, 1, 4, 2, 0, 3, 4, 1, 2, 3, 1, 0, 4, 2, 4, 3, 0, 2, 1, 3, 4, 2, 0, 1, 2, 3, 4, 0, 2, 1, 3, 2, 4, 0, 2, 1, 2, 2)
_COMBINATIONS = [(material, lighting, camera) for lighting in LIGHTINGS for camera in CAMERAS for material in MATERIALS]
_EXPOSURES = ("under", "normal", "over")
_EXPOSURE_STEPS = (0.15, 0.85)
# A helper process costs 0.3 s to start, as much as a hundred images or so.
_MIN_LOTS_PER_PROCESS = 12


@dataclass(frozen=True)
class Mislabel:
    """Wrong labels: images of some lots are filed under the class that follows theirs.

    Attributes:
        lots: the lots concerned.
        material: only lots of this material; empty means all.
        share: share of a lot's images that get the wrong class, in [0, 1].
    """

    lots: frozenset[int]
    material: str = ""
    share: float = 1.0


@dataclass(frozen=True)
class _Job:
    folder: str
    lots: tuple[int, ...]
    images_per_lot: int
    lamp_age: float
    seed: int
    mislabel: Mislabel | None


def generate(
    folder: str | Path,
    *,
    lots: Sequence[int],
    images_per_lot: int = 20,
    lamp_age: float = 0.0,
    seed: int = 7,
    mislabel: Mislabel | None = None,
    flaws: bool = False,
    num_processes: int = 2,
) -> int:
    """Makes lots of images in ``folder`` and extends its ``attributes.csv``.

    An image depends on seed, lot and index (and on lamp age and labels) only, so lots that are added later leave the older files alone, and
    files that are there already are not made again. A lot has one material, lighting and camera; 24 lots in a row show every combination.

    Args:
        folder: created when absent; gets one sub-folder per class.
        lots: numbers from 0.
        images_per_lot: images of each lot; 40 of them hold the classes in fixed shares.
        lamp_age: 0 (new lamp) to 1 (dim, yellow, noisy, dark corners).
        seed: another seed is another factory.
        mislabel: lots to file under wrong classes.
        flaws: also plant damaged files and duplicates (see ``flaws.plant``).
        num_processes: processes that render, this one included.

    Returns:
        The number of new files; 0 when everything was there.

    Raises:
        UsageError: a value out of its range, or a lot that is already there with another lamp or other labels.
    """
    _check(lots, images_per_lot, lamp_age)
    root = Path(folder)
    job = _Job(str(root), tuple(sorted(set(lots))), images_per_lot, lamp_age, seed, mislabel)
    known = read_table(root / TABLE)
    rows = [row for lot in job.lots for row in _rows(job, lot)]
    _check_agreement(rows, known)
    missing = [row for row in rows if row["file"] not in known or not (root / row["file"]).is_file()]
    with disk_faults_explained(root):
        for name in CLASSES:
            (root / name).mkdir(parents=True, exist_ok=True)
        _render_all(job, sorted({int(row["lot"][1:]) for row in missing}), num_processes)
        num_flaws = _plant(root, rows, known) if flaws else 0
        extend_table(root / TABLE, missing)
    return len(missing) + num_flaws


def lot_name(lot: int) -> str:
    """The value of the ``lot`` column for a lot number."""
    return f"L{lot:04d}"


def material_of(lot: int) -> str:
    """The material of a lot."""
    return _COMBINATIONS[lot % len(_COMBINATIONS)][0]


def _check(lots: Sequence[int], images_per_lot: int, lamp_age: float) -> None:
    if not lots or min(lots) < 0 or max(lots) > 9999:
        raise UsageError(f"lots must be numbers from 0 to 9999 and at least one, not {list(lots)[:5]}")
    if not 1 <= images_per_lot <= 999:
        raise UsageError(f"images_per_lot must be from 1 to 999, not {images_per_lot}")
    if not 0 <= lamp_age <= 1:
        raise UsageError(f"lamp_age must be from 0 to 1, not {lamp_age}")


def _check_agreement(rows: Sequence[Mapping[str, str]], known: Mapping[str, Mapping[str, str]]) -> None:
    by_name = {file.rpartition("/")[2]: row for file, row in known.items()}
    for row in rows:
        old = by_name.get(row["file"].rpartition("/")[2])
        if old is not None and (old["file"], old["lamp"]) != (row["file"], row["lamp"]):
            raise UsageError(
                f"lot {row['lot']} is already there with other labels or another lamp ({old['file']}, lamp {old['lamp']})",
                remedy="choose other lots, or another folder",
            )


def _scene(job: _Job, lot: int, index: int) -> Scene:
    lot_rng = np.random.default_rng([job.seed, lot])
    angle, light = lot_rng.uniform(0, math.pi), lot_rng.uniform(0, 2 * math.pi)
    rng = np.random.default_rng([job.seed, lot, index, 1])
    material, lighting, camera = _COMBINATIONS[lot % len(_COMBINATIONS)]
    return Scene(
        class_name=CLASSES[_ORDER[(index + 7 * lot) % len(_ORDER)]],
        material=material,
        lighting=lighting,
        camera=camera,
        angle=angle,
        light=light,
        lamp_age=job.lamp_age,
        blur="soft" if rng.random() < 0.25 else "sharp",
        exposure=_EXPOSURES[int(np.searchsorted(_EXPOSURE_STEPS, rng.random()))],
    )


def _filed_under(job: _Job, lot: int, index: int, class_name: str) -> str:
    wrong = job.mislabel
    if wrong is None or lot not in wrong.lots or (wrong.material and material_of(lot) != wrong.material):
        return class_name
    if np.random.default_rng([job.seed, lot, index, 2]).random() >= wrong.share:
        return class_name
    return CLASSES[(CLASSES.index(class_name) + 1) % len(CLASSES)]


def _rows(job: _Job, lot: int) -> list[dict[str, str]]:
    rows = []
    for index in range(job.images_per_lot):
        scene = _scene(job, lot, index)
        name = f"{_filed_under(job, lot, index, scene.class_name)}/{lot_name(lot)}-{index:03d}.jpg"
        lamp = "aged" if job.lamp_age > 0 else "new"
        values = (name, lot_name(lot), scene.material, scene.lighting, scene.camera, lamp, scene.blur, scene.exposure)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def _render_all(job: _Job, lots: Sequence[int], num_processes: int) -> None:
    # Plain subprocesses: fork is unsafe beside the threads of other libraries, and multiprocessing's spawn runs the caller's script again.
    shares = max(1, min(num_processes, len(lots) // _MIN_LOTS_PER_PROCESS))
    command = [sys.executable, "-m", __name__]
    helpers = []
    for share in range(1, shares):
        wrong = None if job.mislabel is None else {**asdict(job.mislabel), "lots": sorted(job.mislabel.lots)}
        part = json.dumps({**asdict(job), "lots": list(lots[share::shares]), "mislabel": wrong}).encode()
        helper = subprocess.Popen(command, stdin=subprocess.PIPE)
        helpers.append(helper)
        if helper.stdin is not None:
            helper.stdin.write(part)
            helper.stdin.close()
    try:
        _render(job, lots[0::shares])
    finally:
        codes = [helper.wait() for helper in helpers]
    if any(codes):
        raise EnvironmentFault(
            f"a process that renders images ended with code {next(filter(None, codes))}", remedy="run it again with num_processes=1"
        )


def _render(job: _Job, lots: Sequence[int]) -> None:
    import simplejpeg

    for lot in lots:
        for index, row in enumerate(_rows(job, lot)):
            target = Path(job.folder) / row["file"]
            if target.is_file():
                continue
            pixels = render(_scene(job, lot, index), np.random.default_rng([job.seed, lot, index]))
            aside = target.with_name(f".{target.name}")
            aside.write_bytes(simplejpeg.encode_jpeg(pixels, quality=quality(row["camera"]), colorsubsampling="420"))
            aside.replace(target)


def _plant(root: Path, rows: list[dict[str, str]], known: Mapping[str, Mapping[str, str]]) -> int:
    from sightline.data.flaws import plant

    planted = [row for row in plant(root, rows) if row["file"] not in known]
    extend_table(root / TABLE, planted)
    return len(planted)


def read_table(path: Path) -> dict[str, dict[str, str]]:
    """The rows of an ``attributes.csv`` by file; empty when there is none."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def extend_table(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Adds rows to an ``attributes.csv``; the rows that it has stay, in their order."""
    known = read_table(path)
    merged = {**known, **{row["file"]: dict(row) for row in rows if row["file"] not in known}}
    if path.is_file() and len(merged) == len(known):
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(merged.values())
    write_file(path, text.getvalue().encode())


def _helper(text: str) -> None:
    fields = json.loads(text)
    mislabel = fields.pop("mislabel")
    wrong = Mislabel(frozenset(mislabel["lots"]), mislabel["material"], mislabel["share"]) if mislabel else None
    job = _Job(**{**fields, "lots": tuple(fields["lots"])}, mislabel=wrong)
    _render(job, job.lots)


if __name__ == "__main__":
    _helper(sys.stdin.read())
