"""What reaches an engine: the sources of the images and nothing else."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.oci.catalogue import CATALOGUE, NAMES, ROOT, Image, sources

RULES = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def pattern(rule: str) -> re.Pattern[str]:
    """A rule of .dockerignore as an expression: it matches a path and everything below."""
    parts = re.split(r"(\*\*/|\*|\?|\[[^\]]*\])", rule)
    known = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(known.get(part, part if part.startswith("[") else re.escape(part)) for part in parts) + "(?:/.*)?")


def sent(path: str, rules: list[str]) -> bool:
    """Whether the last rule that matches a path lets it through."""
    kept = True
    for rule in rules:
        if pattern(rule.removeprefix("!")).fullmatch(path):
            kept = rule.startswith("!")
    return kept


def files() -> Iterator[str]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in {".git", ".venv", "node_modules"}]
        yield from (Path(folder, name).relative_to(ROOT).as_posix() for name in names)


def test_the_context_is_exactly_what_the_tags_are_computed_from():
    tagged = {path.as_posix() for name in NAMES for path in sources(Image(name))}
    dockerfiles = {Image(name).dockerfile.as_posix() for name in NAMES}
    variants = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("requirements/image-*-*.lock")}
    assert {path for path in files() if sent(path, RULES)} - variants == tagged - dockerfiles - {".dockerignore"} | {CATALOGUE.as_posix()}


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        "runs/cache/x",
        "dist/images/base",
        "tests/images/test_images_context.py",
        "docs/README.md",
        "infra/terraform/terraform.tfstate",
        "sightline.yaml",
        ".env",
        "src/sightline/.env",
        "src/sightline/cli/__pycache__/app.cpython-311.pyc",
        "components/.aws/credentials",
        "pipelines/compiled/retrain.yaml",
        "requirements/dev.lock",
        "images.lock.json",
        "src/another/module.py",
    ],
)
def test_this_never_reaches_an_engine(path):
    assert not sent(path, RULES)


def test_control_rules_that_name_what_to_leave_out_would_let_a_new_file_through():
    assert sent("sightline.yaml", [".git", "runs", ".venv", "tests"])
