"""What the steps of an image import, directly or through our library: read from the syntax trees, nothing is imported."""

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.oci.catalogue import ROOT

_PACKAGE = "sightline"
# What runs in every image.
_COMMAND = ("sightline.cli", "sightline.cli.app", "sightline.cli.step")
# What else runs in an image besides its steps.
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "base": (),
    "train": ("sightline.train.__main__", "sightline.tune.__main__"),
    "compile": (),
    "serve": ("sightline.serve.__main__",),
}
# What an image leaves out on purpose although code that it holds would import it.
WITHOUT: Mapping[str, Mapping[str, str]] = {
    "base": {},
    "train": {"timm": "an extra of the library; a team that wants it adds it to requirements.in"},
    "compile": {
        "timm": "an extra of the library; a team that wants it adds it to requirements.in",
        "tensorrt": "only in the variant gpu, from NVIDIA's index",
        "cuda": "only in the variant gpu, from NVIDIA's index",
    },
    "serve": {
        "timm": "only PyTorch's runtime needs it",
        "torch": "PyTorch is the reference that variants are compared with; it is never what ships",
        "safetensors": "only PyTorch's runtime reads weights",
        "tensorrt": "only in the variant gpu, from NVIDIA's index",
        "cuda": "only in the variant gpu, from NVIDIA's index",
    },
}


@dataclass(frozen=True, order=True)
class Import:
    """One import statement: ``import module``, or ``from module import name``."""

    module: str
    name: str = ""

    @property
    def top(self) -> str:
        """The first part of the module's name."""
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"from {self.module} import {self.name}" if self.name else f"import {self.module}"


def steps_of(image: str, root: Path = ROOT) -> list[str]:
    """The components whose ``base_image`` is this image."""
    return [path.parent.name for path in sorted((root / "components").glob("*/component.py")) if _base_image(path) == image]


def _base_image(component: Path) -> str:
    for node in ast.walk(ast.parse(component.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "base_image" and isinstance(node.value, ast.Name):
            return node.value.id.lower()
    return ""


def imports_of(image: str, root: Path = ROOT) -> dict[Import, str]:
    """Every import that the image's steps and programs can reach outside of the standard library, and a file that has it.

    Imports inside functions count, those for type checkers do not. A string that is a dotted name of ours counts as an import
    (``python -m``), one that ends with a dot as an import of all modules of that package.
    """
    steps = [root / "components" / step / "component.py" for step in steps_of(image, root)]
    waiting = [*steps, *(path for module in (*_COMMAND, *PROGRAMS[image]) if (path := _source(module, root)) is not None)]
    seen: set[Path] = set()
    found: dict[Import, str] = {}
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for statement in _statements(path, root, top_only=path not in steps and _only_its_top_runs(path, root)):
            if statement.top not in sys.stdlib_module_names:
                found.setdefault(statement, str(path.relative_to(root)))
            waiting += [source for module in _modules(statement) if (source := _source(module, root)) is not None]
    left_out = WITHOUT[image]
    return {statement: where for statement, where in sorted(found.items()) if statement.top not in left_out}


def _only_its_top_runs(path: Path, root: Path) -> bool:
    """Whether importing a file is all that happens: a component's body runs in its own image, a command's body when it is asked for."""
    return path.is_relative_to(root / "components") or path.is_relative_to(root / "src" / _PACKAGE / "cli")


def _modules(statement: Import) -> Iterator[str]:
    """The modules that a statement runs: the packages above it too, and the name where that is a module itself."""
    parts = statement.module.split(".")
    yield from (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    if statement.name:
        yield f"{statement.module}.{statement.name}"


def _source(module: str, root: Path) -> Path | None:
    base = root.joinpath("src" if module.partition(".")[0] == _PACKAGE else "", *module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _statements(path: Path, root: Path, *, top_only: bool) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    for node in tree.body if top_only else _reached(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (Import(node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(f"{_PACKAGE}."):
            yield from _named(node.value, root)


def _reached(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below, without blocks that only a type checker reads."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING"):
            yield from _reached(child)


def _named(text: str, root: Path) -> Iterator[Import]:
    if text.endswith("."):
        folder = root.joinpath("src", *text.rstrip(".").split("."))
        yield from (Import(text + path.stem) for path in sorted(folder.glob("[a-z]*.py")))
    elif _source(text, root) is not None:
        yield Import(text)
