"""Guesses how a folder of images should be read: what is no class, what file names say, what must stay together."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from sightline.config.ingest import IngestConfig
from sightline.data.readers import Source, mirrored_folders, read_source
from sightline.data.trees import open_tree

# Folders with these names hold answers or drawings, not a class of images.
_NOT_CLASSES = frozenset({"annotation", "annotations", "ground_truth", "groundtruth", "mask", "masks"})
# Attributes with these names say that images belong together.
_GROUPS = frozenset(
    {
        "batch",
        "board",
        "clip",
        "group",
        "lot",
        "part",
        "patient",
        "scene",
        "sequence",
        "serial",
        "session",
        "site",
        "subject",
        "video",
        "wafer",
    }
)
_SEPARATORS = r"[_\-. ]"
_FIELD = re.compile(r"([A-Za-z]+)(\d+)")
_MIN_SHARE = 0.95
_MAX_VALUES = 12
_MIN_GROUPS = 6


def suggest(config: IngestConfig) -> IngestConfig:
    """The configuration with guesses where it says nothing: ``exclude``, ``attributes_from_name``, ``group_by``.

    Args:
        config: ``source`` is set; what else is set stays as it is.

    Raises:
        UsageError: the folder is missing.
        DataError: the folder cannot be read even with these guesses.
    """
    if not config.exclude:
        found_paths, _ = open_tree(config.source).paths()
        config = config.model_copy(update={"exclude": _not_classes([path for path, _ in found_paths])})
    source = read_source(config)
    if not config.attributes_from_name:
        found = _name_pattern([PurePosixPath(file.path).stem for file in source.files], taken=source.attributes)
        if found:
            config = config.model_copy(update={"attributes_from_name": found})
            source = read_source(config)
    if not config.group_by:
        config = config.model_copy(update={"group_by": _groups(source)})
    return config


def _not_classes(paths: Sequence[str]) -> tuple[str, ...]:
    tops = {path.split("/")[0] for path in paths}
    found = sorted({*mirrored_folders(paths), *(name for name in tops if name.lower() in _NOT_CLASSES)})
    return tuple(found) if len(tops) - len(found) >= 2 else ()


def _name_pattern(stems: Sequence[str], *, taken: Sequence[str]) -> str:
    """An expression for fields like ``lot12`` that nearly every name has at the same place; empty when there are none.

    A field counts when it has 2 to 12 values, or is named like a group and has fewer values than half of the images.
    """
    fields: dict[tuple[int, str], Counter[str]] = {}
    for stem in stems:
        for place, part in enumerate(re.split(_SEPARATORS, stem)):
            match = _FIELD.fullmatch(part)
            if match:
                fields.setdefault((place, match[1]), Counter())[match[2]] += 1
    chosen: list[str] = []
    for (_, word), values in sorted(fields.items()):
        name = word.lower()
        is_group = name in _GROUPS and _MIN_GROUPS <= len(values) <= len(stems) / 2
        is_common = values.total() >= _MIN_SHARE * len(stems) and (2 <= len(values) <= _MAX_VALUES or is_group)
        if is_common and name not in taken and not any(f"<{name}>" in part for part in chosen):
            chosen.append(rf"(?:^|{_SEPARATORS}){word}(?P<{name}>\d+)")
    return ".*?".join(chosen)


def _groups(source: Source) -> tuple[str, ...]:
    found = []
    for name in source.attributes:
        values = {file.attributes[name] for file in source.files}
        if name.lower() in _GROUPS and _MIN_GROUPS <= len(values) <= len(source.files) / 2:
            found.append(name)
    return tuple(found)
