"""Reads a folder of images with one sub-folder per class, and what is known about each image."""

import csv
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.config.ingest import IngestConfig
from sightline.data.trees import Refusal, Tree, open_tree
from sightline.errors import DataError, UsageError

TABLE = "attributes.csv"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class SourceFile:
    """One image file: path relative to the source, class, attributes (``unknown`` where nothing is known)."""

    path: str
    class_name: str
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """Images as they are laid out; none was opened.

    Attributes:
        tree: where they are.
        files: image files in the order of their paths.
        refusals: things named like images that are none (links, pipes, folders), and files that are not named like images.
        attributes: names of the attributes.
        table: the attribute table, or None.
    """

    tree: Tree
    files: tuple[SourceFile, ...]
    refusals: tuple[Refusal, ...]
    attributes: tuple[str, ...]
    table: Path | None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order (sorted)."""
        return tuple(sorted({file.class_name for file in self.files}))


@dataclass(frozen=True)
class _Table:
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]


def read_source(config: IngestConfig, *, notes: str = "") -> Source:
    """The image files below ``config.source``, with class and attributes.

    Sub-folders of a class folder belong to the class. Hidden files, ``attributes.csv`` and folders in ``config.exclude`` are left out.
    Links are not followed.

    Args:
        config: the ingest section.
        notes: a store that remembers the digests of unchanged objects, see ``open_tree``; empty: none.

    Raises:
        UsageError: the folder is missing, or ``attributes_from_name`` is no regular expression with named groups.
        DataError: no images, fewer than two classes, folders that look like masks or splits, or a table that does not fit; all at once.
    """
    tree = open_tree(config.source, notes=notes)
    pattern = name_pattern(config.attributes_from_name)
    paths, refusals = tree.paths(config.exclude)
    problems = layout_problems([path for path, _ in paths])
    table_path = _table(tree, config.attributes)
    table = (
        _read_table(table_path, [*(path for path, _ in paths), *(refusal.path for refusal in refusals)], problems) if table_path else None
    )
    columns = table.columns if table else ()
    names = tuple(dict.fromkeys([*columns, *(pattern.groupindex if pattern else ())]))
    problems += [
        f"attribute '{name}' is both in {table_path} and in attributes_from_name"
        for name in columns
        if pattern and name in pattern.groupindex
    ]
    problems += _unknown_names(config, names)
    if problems:
        raise DataError(
            f"the data in {tree.base} cannot be used as it is",
            problems=problems,
            remedy=f"`sightline data check {config.source}` shows more",
        )
    rows = table.rows if table else {}
    files = tuple(SourceFile(path, class_name, _attributes(path, names, rows, pattern)) for path, class_name in paths)
    return Source(tree, files, tuple(refusals), names, table_path)


def name_pattern(text: str) -> re.Pattern[str] | None:
    """The compiled ``attributes_from_name``; None when it is empty, UsageError when it cannot be used."""
    if not text:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"ingest.attributes_from_name is no regular expression: {error} in {text!r}") from None
    if not pattern.groupindex:
        raise UsageError(f"ingest.attributes_from_name has no named group: {text!r}", remedy=r"name what to keep, as in 'lot(?P<lot>\d+)_'")
    return pattern


def layout_problems(paths: Sequence[str]) -> list[str]:
    """What is wrong with the folders, in words; empty when they are one folder per class."""
    if not paths:
        return ["there are no images; expected one sub-folder of images per class"]
    tops = sorted({path.split("/")[0] for path in paths})
    if len(tops) == 1:
        return [f"there is one class only ('{tops[0]}'); expected one sub-folder of images for each of two or more classes"]
    problems = [
        f"folder '{name}' holds sub-folders named like the classes, as masks do; set ingest.exclude to [{name}]"
        for name in mirrored_folders(paths)
    ]
    if _look_like_splits(paths):
        problems.append(
            f"the folders {', '.join(tops)} look like splits, not classes; splits are made here: put the class folders side by side"
        )
    return problems


def _look_like_splits(paths: Sequence[str]) -> bool:
    """Whether all images are in sub-folders, the same two or more of them in each top folder."""
    inner: dict[str, set[str]] = {}
    for path in paths:
        top, _, rest = path.partition("/")
        inner.setdefault(top, set()).add(rest.split("/")[0] if "/" in rest else "")
    shared = set.intersection(*inner.values())
    return "" not in set.union(*inner.values()) and len(shared) > 1


def mirrored_folders(paths: Sequence[str]) -> list[str]:
    """Top folders without images of their own whose sub-folders are named like other top folders."""
    tops = {path.split("/")[0] for path in paths}
    found = []
    for top in sorted(tops):
        inner = {path.split("/")[1] if path.count("/") > 1 else "" for path in paths if path.split("/")[0] == top}
        if inner <= tops - {top}:
            found.append(top)
    return found


def _table(tree: Tree, name: str) -> Path | None:
    path = tree.table(name or TABLE)
    if path is None and name:
        raise UsageError(
            f"the attribute table {tree.base}/{name} does not exist",
            remedy="set ingest.attributes to a CSV file in the data folder, or to nothing",
        )
    return path


def _read_table(path: Path, known: Sequence[str], problems: list[str]) -> _Table:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problems.append(f"{path.name} is not UTF-8: {error.reason} at byte {error.start}")
        return _Table((), {})
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        lines = [line for line in reader if line]
    except csv.Error as error:
        problems.append(f"{path.name} is not CSV: {error} in line {reader.line_num}")
        return _Table((), {})
    header = [cell.strip() for cell in lines[0]] if lines else []
    if "file" not in header:
        problems.append(f"{path.name} has no column 'file'; its columns: {', '.join(header) or 'none'}")
        return _Table((), {})
    repeated = sorted({name for name in header if header.count(name) > 1 or not name})
    if repeated:
        problems.append(f"{path.name} has columns without a name or with the same one: {', '.join(repr(name) for name in repeated)}")
        return _Table((), {})
    return _Table(tuple(name for name in header if name != "file"), _rows(path.name, header, lines[1:], known, problems))


def _rows(table: str, header: list[str], lines: list[list[str]], known: Sequence[str], problems: list[str]) -> dict[str, dict[str, str]]:
    exact, by_name = set(known), _unique_names(known)
    rows: dict[str, dict[str, str]] = {}
    for number, line in enumerate(lines, start=1):
        if len(line) != len(header):
            problems.append(f"{table}, row {number}: {len(line)} values, expected {len(header)}")
            continue
        row = {name: cell.strip() for name, cell in zip(header, line, strict=True)}
        given = row.pop("file").replace("\\", "/").removeprefix("./")
        file = given if given in exact else by_name.get(given, "")
        if not file:
            problems.append(f"{table}, row {number}: there is no file '{given}'")
        elif file in rows:
            problems.append(f"{table}, row {number}: a second row for '{given}'")
        else:
            rows[file] = row
    return rows


def _unique_names(paths: Sequence[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for path in paths:
        name = path.rpartition("/")[2]
        names[name] = "" if name in names else path
    return names


def _unknown_names(config: IngestConfig, names: Sequence[str]) -> list[str]:
    problems = []
    for key, wanted in (("group_by", config.group_by), ("slices", config.slices)):
        for name in wanted:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                problems.append(f"ingest.{key}: there is no attribute '{name}'; attributes: {', '.join(names) or 'none'}{hint}")
    return problems


def _attributes(path: str, names: Sequence[str], rows: Mapping[str, Mapping[str, str]], pattern: re.Pattern[str] | None) -> dict[str, str]:
    found = pattern.search(path.rpartition("/")[2]) if pattern else None
    values = {**rows.get(path, {}), **({name: value for name, value in found.groupdict().items() if value} if found else {})}
    return {name: values.get(name) or UNKNOWN for name in names}
