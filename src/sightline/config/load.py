"""Reads `sightline.yaml`, applies `--set` overrides, explains every mistake at once."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from sightline.config.run import RunConfig
from sightline.errors import UsageError


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration in a YAML file with overrides applied.

    Args:
        path: a YAML file; None means all defaults.
        overrides: ``section.key=value`` texts; the value is read as YAML.

    Raises:
        UsageError: the file is missing or not YAML, or any key or value is wrong; all problems are listed, with near matches for names.
    """
    values = _parse(_read(path), str(path)) if path else {}
    return _validated(values, overrides, str(path) if path else "--set")


def parse_config(text: str, overrides: Sequence[str] = (), *, origin: str) -> RunConfig:
    """The configuration in a YAML text, which may name only some keys, with overrides applied.

    Args:
        text: YAML; empty means all defaults.
        overrides: ``section.key=value`` texts, as for ``load_config``.
        origin: where the text comes from, for messages.

    Raises:
        UsageError: as ``load_config``.
    """
    return _validated(_parse(text, origin), overrides, origin)


def _validated(values: dict[str, Any], overrides: Sequence[str], origin: str) -> RunConfig:
    for override in overrides:
        _apply(values, override)
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        problems = [_explain(detail["loc"], detail["type"], detail["msg"]) for detail in error.errors()]
        raise UsageError(
            "\n  - ".join([f"{origin}: {len(problems)} problem(s)", *problems]), remedy="`sightline config show` lists every key"
        ) from None


def dump_config(config: BaseModel) -> str:
    """The configuration as YAML in the order of its fields."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}", remedy="make one: sightline init --data DIR > sightline.yaml") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise UsageError(f"{path} is not YAML: {error}") from None


def _parse(text: str, origin: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"{origin} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{origin}: expected sections such as `ingest:` and `train:`, found a {type(values).__name__}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    name, separator, text = override.partition("=")
    keys = name.strip().split(".")
    if not separator or len(keys) < 2:
        raise UsageError(f"--set {override}: expected section.key=value", remedy="for example: --set train.epochs=5")
    try:
        value = yaml.safe_load(text)  # 1e-3 stays text in YAML 1.1; the section's field makes it a number
    except yaml.YAMLError:
        raise UsageError(f"--set {override}: the value is not YAML") from None
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise UsageError(f"--set {override}: `{key}` is not a section")
    values[keys[-1]] = value


def _explain(location: Sequence[int | str], kind: str, message: str) -> str:
    path = ".".join(str(part) for part in location)
    if kind != "extra_forbidden":
        return f"{path}: {message[0].lower()}{message[1:]}"
    near = difflib.get_close_matches(str(location[-1]), _names(location[:-1]), n=1, cutoff=0.5)
    return f"{path}: unknown key" + (f", did you mean `{'.'.join([*(str(part) for part in location[:-1]), near[0]])}`?" if near else "")


def _names(section: Iterable[int | str]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for part in section:
        field: Mapping[str, Any] = model.model_fields
        annotation = field[str(part)].annotation if str(part) in field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
