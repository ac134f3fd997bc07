"""A look at a folder of images before anything is trained: counts, damage, copies, leaks, and a configuration for it."""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from sightline.config.ingest import IngestConfig
from sightline.data.readers import Source, read_source
from sightline.data.suggest import suggest
from sightline.data.trees import Refusal
from sightline.data.write import count_reasons

__all__ = ("CheckReport", "check", "describe", "suggest")

_MAX_SHOWN = 12
_LARGE_GROUP = 0.1


class CheckReport(BaseModel):
    """What was found.

    Attributes:
        source: the folder or bucket.
        digest: of all names and bytes and the attribute table; ``ingest.pin`` takes it.
        num_files: files named like images.
        class_counts: images that can be decoded, per class.
        formats: these images per format.
        sizes_px: smallest, median and largest width × height.
        refused: files that cannot be used, per reason.
        refused_files: the first of them, with the detail.
        num_copies: exact copies beyond the first of each image.
        num_conflicts: files whose exact copy has another label.
        num_near_pairs: pairs of near copies.
        num_groups: groups after near copies were joined.
        largest_group: images in the largest of them.
        num_leaks: pairs of near copies that a random split would put on two sides.
        attributes: per attribute the number of images per value (the twelve most frequent).
        warnings: what to look at before training.
        suggested: the configuration that was used for this look, with guesses where none was given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    source: str
    digest: str
    num_files: int
    class_counts: dict[str, int]
    formats: dict[str, int]
    sizes_px: tuple[str, str, str]
    refused: dict[str, int]
    refused_files: tuple[str, ...]
    num_copies: int
    num_conflicts: int
    num_near_pairs: int
    num_groups: int
    largest_group: int
    num_leaks: int
    attributes: dict[str, dict[str, int]]
    warnings: tuple[str, ...]
    suggested: IngestConfig


def check(config: IngestConfig) -> CheckReport:
    """A report about the images in ``config.source``; nothing is changed, every file is decoded once.

    Raises:
        UsageError: the folder is missing.
        DataError: the folder cannot be read, or holds no image that can be decoded.
    """
    from sightline.data.scan import decode_all, digest_of, read_contents

    chosen = suggest(config)
    source = read_source(chosen)
    contents = read_contents(source.tree, [file.path for file in source.files], max_pixels=chosen.max_pixels)
    copies = _copies(source, contents.digests)
    first = [paths[0] for paths in copies]
    with tempfile.TemporaryDirectory() as scratch:
        decoded = decode_all(
            contents, first, size_px=16, max_pixels=chosen.max_pixels, scratch=Path(scratch) / "pixels.npy", report=lambda _: None
        )
    classes = {file.path: file.class_name for file in source.files}
    refusals = [*source.refusals, *contents.refusals, *decoded.refusals]
    near = _near(decoded.hashes, [contents.digests[path] for path in decoded.paths], chosen)
    sizes = sorted(decoded.sizes, key=lambda size: size[0] * size[1])
    report = CheckReport(
        source=source.tree.base,
        digest=digest_of(source, contents),
        num_files=len(source.files),
        class_counts=dict(sorted(Counter(classes[path] for path in decoded.paths).items())),
        formats=dict(Counter(decoded.formats).most_common()),
        sizes_px=(_size(sizes[0]), _size(sizes[len(sizes) // 2]), _size(sizes[-1])),
        refused=count_reasons(refusals),
        refused_files=tuple(_shown(refusal) for refusal in refusals[:_MAX_SHOWN]),
        num_copies=sum(len(paths) - 1 for paths in copies),
        num_conflicts=sum(len(paths) for paths in copies if len({classes[path] for path in paths}) > 1),
        attributes=_attributes(source),
        warnings=(),
        suggested=chosen,
        **near,
    )
    return report.model_copy(update={"warnings": tuple(_warnings(report, config))})


def _copies(source: Source, digests: Mapping[str, str]) -> list[list[str]]:
    """The paths of each content, in path order."""
    by_content: dict[str, list[str]] = {}
    for file in source.files:
        if file.path in digests:
            by_content.setdefault(digests[file.path], []).append(file.path)
    return list(by_content.values())


def _near(hashes: "np.typing.NDArray[np.uint64]", sample_ids: Sequence[str], config: IngestConfig) -> dict[str, int]:
    from sightline.data.duplicates import near_groups, near_pairs
    from sightline.data.splits import split_of

    # Hashing each image on its own is a random split that gives the same answer every time.
    random_split = np.asarray([split_of(sample_id, config) for sample_id in sample_ids])
    num_pairs = num_leaks = 0
    for first, second in near_pairs(hashes, config.near_duplicate_bits):
        num_pairs += len(first)
        num_leaks += int((random_split[first] != random_split[second]).sum())
    groups = Counter(near_groups(hashes, config.near_duplicate_bits).tolist())
    return {"num_near_pairs": num_pairs, "num_leaks": num_leaks, "num_groups": len(groups), "largest_group": max(groups.values())}


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def _shown(refusal: Refusal) -> str:
    return f"{refusal.path}: {refusal.reason}, {refusal.detail}"


def _attributes(source: Source) -> dict[str, dict[str, int]]:
    counts = {name: Counter(file.attributes[name] for file in source.files) for name in source.attributes}
    return {name: dict(counter.most_common(_MAX_SHOWN)) for name, counter in counts.items()}


def _warnings(report: CheckReport, given: IngestConfig) -> list[str]:
    total = sum(report.class_counts.values())
    few = [name for name, count in report.class_counts.items() if count < given.min_images_per_class]
    found = [f"class '{name}' has fewer than ingest.min_images_per_class ({given.min_images_per_class}) images" for name in few]
    if report.num_conflicts:
        found.append(f"{report.num_conflicts} files have an exact copy with another label; ingest refuses all of them")
    if report.num_leaks:
        found.append(f"a random split would put {report.num_leaks} pairs of near copies on two sides; ingest keeps them together")
    if report.largest_group > _LARGE_GROUP * total and not report.suggested.group_by:
        found.append(
            f"near copies chain {report.largest_group} of {total} images into one group; lower ingest.near_duplicate_bits "
            f"({given.near_duplicate_bits}) or name the real groups in ingest.group_by"
        )
    damaged = sum(count for reason, count in report.refused.items() if reason != "not-an-image")
    if damaged > given.max_quarantine_share * report.num_files:
        found.append(f"{damaged} files cannot be used, more than ingest.max_quarantine_share ({given.max_quarantine_share:g}) allows")
    return found


def describe(report: CheckReport) -> str:
    """The report as lines for a terminal."""
    lines = [
        report.source,
        f"  digest      {report.digest}  (ingest.pin)",
        f"  images      {report.num_files}, of which {sum(report.class_counts.values())} different ones can be used",
        f"  classes     {_listed(report.class_counts)}",
        f"  formats     {_listed(report.formats)}",
        f"  sizes       {report.sizes_px[0]} to {report.sizes_px[2]} pixels, median {report.sizes_px[1]}",
        f"  copies      {report.num_copies} exact, {report.num_near_pairs} pairs of near copies, {report.num_conflicts} with other labels",
        f"  groups      {report.num_groups}, the largest with {report.largest_group} images",
        f"  leaks       {report.num_leaks} pairs would be torn apart by a random split",
        f"  refused     {_listed(report.refused) or 'none'}",
        *(f"              {line}" for line in report.refused_files),
        *(f"  attribute   {name}: {_listed(values)}" for name, values in report.attributes.items()),
        *(f"  warning     {warning}" for warning in report.warnings),
        *(f"  suggested   ingest.{key}: {value}" for key, value in _suggestions(report.suggested).items()),
    ]
    return "\n".join(lines) + "\n"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())


def _suggestions(config: IngestConfig) -> dict[str, str]:
    values = {"exclude": list(config.exclude), "attributes_from_name": config.attributes_from_name, "group_by": list(config.group_by)}
    return {key: str(value) for key, value in values.items() if value}
