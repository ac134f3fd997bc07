"""The ingest step: from a folder of images to a verified, leak-free dataset version.

A file is refused, with one of these reasons, and listed in ``quarantine.parquet``:

* by its name or kind: ``link``, ``not-a-file``, ``bad-name``, ``not-an-image``, ``unreadable``
* by its content: ``empty``, ``unknown-format``, ``too-large``, ``truncated``, ``undecodable``, ``changed``, ``vanished``
* by the other files: ``duplicate``, ``conflicting-label``, ``no-group``, ``leaks-golden``, ``leaks-val``
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.config.ingest import IngestConfig
from sightline.config.store import StoreConfig
from sightline.data.readers import UNKNOWN, Source, SourceFile, read_source
from sightline.data.scan import Contents, Decoded, decode_all, digest_of, read_contents
from sightline.data.splits import Sample, assign, check_splits
from sightline.data.trees import Refusal
from sightline.data.version import KIND, DatasetInfo, DatasetVersion, SplitName
from sightline.data.write import Row, count_reasons, write_version
from sightline.errors import DataError, SightlineError
from sightline.ingest.memory import Memory, recall, remember, resolved_key
from sightline.store.digest import sha256_value
from sightline.store.steps import Progress, Step, StepOutput, StepResult, run_name, run_step

_MODULE = "sightline.ingest.step"
# Reasons that are no sign of damage: an extra copy is harmless, and files of other kinds are not meant as images.
_HARMLESS = frozenset({"duplicate", "not-an-image"})
_MAX_SLICE_VALUES = 12


@dataclass(frozen=True)
class _Look:
    """What is known before anything is decoded."""

    config: IngestConfig
    source: Source
    contents: Contents
    memory: Memory


def run(*, config: IngestConfig, store: StoreConfig, run_id: str, output: str) -> StepOutput:
    """The dataset version of the images in ``config.source``, committed at ``output``; outcome ``done``.

    The images of its golden split are frozen in the registry: later versions must hold them unaltered, in golden.

    Raises:
        UsageError: the folder is missing or the configuration cannot be used.
        DataError: the data cannot be used; every problem is listed.
    """
    run_id = run_name(run_id)
    try:
        look = _look(config, store)
    except SightlineError as error:
        return _recorded(error, config, store=store, run_id=run_id, output=output)
    files = digest_of(look.source, look.contents)
    key = resolved_key(look.memory, files, look.config, store)
    step = Step(
        name="ingest",
        kind=KIND,
        module=_MODULE,
        inputs={"files": files, "refused": _digest_of(look.source.refusals + look.contents.refusals), "memory": key.memory},
        config=look.config.model_dump(mode="json"),
    )
    result = run_step(step, store=store, run_id=run_id, output=Path(output), work=lambda folder, progress: _work(look, folder, progress))
    dataset = DatasetVersion(result.artifact)
    samples = dataset.samples
    names = [location.removeprefix(f"{look.source.tree.base}/") for location in samples["location"]]
    remember(key, look.memory, list(zip(samples["sample_id"], samples["split"], names, strict=True)), store)
    return result


def _recorded(error: SightlineError, config: IngestConfig, *, store: StoreConfig, run_id: str, output: str) -> StepOutput:
    # A problem found before the step has a key belongs into the run's records like any other.
    def fail(_folder: Path, _progress: Progress) -> StepResult:
        raise error

    step = Step("ingest", KIND, _MODULE, {"problem": sha256_value(str(error))}, config.model_dump(mode="json"), reusable=False)
    return run_step(step, store=store, run_id=run_id, output=Path(output), work=fail)


def _digest_of(refusals: Sequence[Refusal]) -> str:
    return sha256_value([[refusal.path, refusal.reason] for refusal in refusals])


def _look(config: IngestConfig, store: StoreConfig) -> _Look:
    source = read_source(config, notes=store.cache)
    contents = read_contents(source.tree, [file.path for file in source.files], max_pixels=config.max_pixels)
    _check_pin(config.pin, digest_of(source, contents))
    # The whole address is part of the key, because the locations in the version are; what the images are pinned to is not.
    resolved = config.model_copy(update={"source": source.tree.base, "pin": ""})
    return _Look(resolved, source, contents, recall(store.registry, resolved))


def _check_pin(wanted: str, found: str) -> None:
    if wanted and wanted != found:
        raise DataError(
            f"the images are not the pinned ones: their digest is {found}, ingest.pin is {wanted}",
            remedy="restore the images, or set ingest.pin to the new digest once the new images are meant (sightline data check prints it)",
        )


def _work(look: _Look, folder: Path, progress: Progress) -> StepResult:
    config, started = look.config, time.monotonic()
    files = _originals(look)
    refusals = [*look.source.refusals, *look.contents.refusals]
    scratch = folder / "pixels-all.npy"
    progress(f"0/{len(files)} images")
    decoded = decode_all(
        look.contents,
        [file.path for file in files],
        size_px=config.image_size_px,
        max_pixels=config.max_pixels,
        scratch=scratch,
        report=progress,
    )
    progress(f"{len(decoded.paths)} images decoded · looking for near copies")
    copies = _refused_copies(look, decoded)
    refused = {refusal.path for refusal in copies}
    grouped, ungrouped = _with_groups(decoded, {file.path: file for file in files if file.path not in refused}, config)
    refusals += [*decoded.refusals, *copies, *ungrouped]
    num_files = len(look.source.files) + len(look.source.refusals)
    # Damage is told before what follows from it: a missing golden image, a class without images.
    _check_refusals(refusals, num_files, config)
    rows, leaks = _split_rows(look, grouped, decoded)
    refusals += leaks
    _check_refusals(refusals, num_files, config)
    slices = _slices(look, rows)
    info = write_version(folder, rows, decoded.pixels_NHWC, slices=slices, refusals=refusals, source=look.source.tree.base)
    scratch.unlink()
    return StepResult(headline=_headline(info), metrics=_metrics(info, len(decoded.paths) / max(time.monotonic() - started, 1e-6)))


def _by_content(look: _Look) -> dict[str, list[SourceFile]]:
    """The files of each content; the one to use, which is the one that was used before or else the first, leads."""
    contents: dict[str, list[SourceFile]] = defaultdict(list)
    for file in look.source.files:
        if file.path in look.contents.digests:
            contents[look.contents.digests[file.path]].append(file)
    return {digest: sorted(files, key=lambda file: file.path != look.memory.paths.get(digest)) for digest, files in contents.items()}


def _originals(look: _Look) -> list[SourceFile]:
    return sorted((files[0] for files in _by_content(look).values()), key=lambda file: file.path)


def _refused_copies(look: _Look, decoded: Decoded) -> list[Refusal]:
    """What becomes of exact copies: damaged like their original, all refused where their labels differ, else the later ones refused."""
    damaged = {refusal.path: refusal for refusal in decoded.refusals}
    refusals: list[Refusal] = []
    for original, *copies in _by_content(look).values():
        if not copies:
            continue
        if original.path in damaged:
            told = damaged[original.path]
            refusals += [Refusal(file.path, told.reason, told.detail) for file in copies]
        elif len({file.class_name for file in (original, *copies)}) > 1:
            paths = ", ".join(sorted(file.path for file in (original, *copies)))
            detail = f"the same bytes have different labels: {paths}"
            refusals += [Refusal(file.path, "conflicting-label", detail) for file in (original, *copies)]
        else:
            refusals += [Refusal(file.path, "duplicate", f"the same bytes as {original.path}") for file in copies]
    return refusals


def _with_groups(
    decoded: Decoded, files: Mapping[str, SourceFile], config: IngestConfig
) -> tuple[list[tuple[int, SourceFile]], list[Refusal]]:
    """The decoded images whose group is known, with their numbers in ``decoded``; the others are refused."""
    grouped: list[tuple[int, SourceFile]] = []
    refusals: list[Refusal] = []
    for index, path in enumerate(decoded.paths):
        if path not in files:
            continue
        missing = [name for name in config.group_by if files[path].attributes[name] == UNKNOWN]
        if missing:
            refusals.append(Refusal(path, "no-group", f"no value for {', '.join(missing)}, which ingest.group_by needs"))
        else:
            grouped.append((index, files[path]))
    return grouped, refusals


def _split_rows(look: _Look, grouped: Sequence[tuple[int, SourceFile]], decoded: Decoded) -> tuple[list[Row], list[Refusal]]:
    config, digests = look.config, look.contents.digests
    samples = [Sample(digests[file.path], file.class_name, tuple(file.attributes[name] for name in config.group_by)) for _, file in grouped]
    _check_golden(look, {sample.sample_id for sample in samples})
    assignment = assign(samples, decoded.hashes[[index for index, _ in grouped]], config, look.memory.splits)
    check_splits(samples, assignment, config)
    rows: list[Row] = []
    leaks: list[Refusal] = []
    for (index, file), split, group_id, reason in zip(grouped, assignment.splits, assignment.group_ids, assignment.reasons, strict=True):
        if split:
            rows.append(_row(look, file, decoded, index, (split, group_id)))
        else:
            leaks.append(Refusal(file.path, reason, "a near copy of an image in another split, or of a group there"))
    return rows, leaks


def _row(look: _Look, file: SourceFile, decoded: Decoded, index: int, home: tuple[SplitName, str]) -> Row:
    width, height = decoded.sizes[index]
    split, group_id = home
    return Row(
        sample_id=look.contents.digests[file.path],
        location=f"{look.source.tree.base}/{file.path}",
        size_bytes=decoded.num_bytes[index],
        format=decoded.formats[index],
        width=width,
        height=height,
        split=split,
        group_id=group_id,
        class_name=file.class_name,
        attributes=file.attributes,
        pixels=index,
    )


def _check_golden(look: _Look, usable: set[str]) -> None:
    """Refuses data in which a frozen golden image is missing, altered or no longer usable."""
    lost = sorted(look.memory.golden - usable, key=lambda sample_id: look.memory.paths.get(sample_id, sample_id))
    if not lost:
        return
    present = {file.path for file in look.source.files}
    contents = set(look.contents.digests.values())
    problems = []
    for sample_id in lost:
        path = look.memory.paths.get(sample_id, f"image {sample_id[:12]}…")
        what = "refused" if sample_id in contents else "altered" if path in present else "missing"
        problems.append(f"{path}: {what}")
    raise DataError(
        f"the golden set changed: {len(lost)} of {len(look.memory.golden)} frozen images cannot be found as they were",
        problems=problems,
        remedy="put these files back; a model is only comparable with its predecessor on the same golden images (a new golden set needs a "
        "new store.registry)",
    )


def _check_refusals(refusals: Sequence[Refusal], num_files: int, config: IngestConfig) -> None:
    counted = [refusal for refusal in refusals if refusal.reason not in _HARMLESS]
    if len(counted) <= config.max_quarantine_share * num_files:
        return
    examples = {refusal.reason: refusal for refusal in reversed(counted)}
    problems = [
        f"{reason}: {count} (first: {examples[reason].path}, {examples[reason].detail})" for reason, count in count_reasons(counted).items()
    ]
    raise DataError(
        f"{len(counted)} of {num_files} files are refused, more than ingest.max_quarantine_share ({config.max_quarantine_share:g}) allows",
        problems=problems,
        remedy="repair or remove these files, or raise ingest.max_quarantine_share",
    )


def _slices(look: _Look, rows: Sequence[Row]) -> tuple[str, ...]:
    if look.config.slices:
        return look.config.slices
    values = {name: {row.attributes[name] for row in rows} for name in look.source.attributes}
    return tuple(name for name, found in values.items() if 2 <= len(found) <= _MAX_SLICE_VALUES)


def _headline(info: DatasetInfo) -> str:
    total = f"{sum(info.counts.values()):,}".replace(",", " ")
    return f"{total} images · {len(info.classes)} classes · {info.counts['golden']} golden · {sum(info.quarantined.values())} quarantined"


def _metrics(info: DatasetInfo, images_per_s: float) -> dict[str, float]:
    counts = {f"images/{split}": float(count) for split, count in info.counts.items()}
    return {
        **counts,
        "groups": float(info.num_groups),
        "quarantined": float(sum(info.quarantined.values())),
        "images_per_s": round(images_per_s, 1),
    }
