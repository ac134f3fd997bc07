"""The digest of the library code that a step depends on: its module and everything of ours that it imports, directly or not."""

import ast
import functools
import importlib.metadata
import importlib.util
import re
from pathlib import Path

from sightline.store.digest import sha256_bytes, sha256_value

_PACKAGE = "sightline"
_DOTTED = re.compile(rf"{_PACKAGE}(\.\w+)+\.?")
# Libraries whose version changes results; a new release of one is a cache miss.
_LIBRARIES = (
    "evidently",
    "nncf",
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
    "pandas",
    "pillow",
    "pytorch-lightning",
    "ray",
    "scipy",
    "simplejpeg",
    "torch",
)


def code_digest(*modules: str) -> str:
    """The digest of the sources behind ``modules`` (dotted names in ``sightline``) and of the libraries' versions.

    Imports are read from the syntax tree, those inside functions too; nothing is imported. A string that is a dotted name counts as an
    import (``python -m``), one that ends with a dot as an import of all modules of that package (``import_module(f"….{name}")``).
    Cost: one parse of each file that is reached.

    Raises:
        ModuleNotFoundError: one of ``modules`` does not exist; its digest would be that of nothing.
    """
    for name in modules:
        if _source(name) is None:
            raise ModuleNotFoundError(f"no module '{name}' to compute a code digest of")
    reached: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if path is None or name in reached:
            continue
        digest, imported = _read(name, path)
        reached[name] = digest
        waiting.extend(imported)
        waiting.extend(".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1))
    return sha256_value({"modules": reached, "libraries": _versions()})


@functools.cache
def _versions() -> dict[str, str]:
    return {name: _version(name) for name in _LIBRARIES}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"  # an image holds only what its steps need


def _root() -> Path | None:
    spec = importlib.util.find_spec(_PACKAGE)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def _source(name: str) -> Path | None:
    root = _root()
    if root is None or name.split(".", maxsplit=1)[0] != _PACKAGE:
        return None
    base = root.joinpath(*name.split(".")[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file() and name != _PACKAGE), None)


def _read(name: str, path: Path) -> tuple[str, tuple[str, ...]]:
    data = path.read_bytes()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imported = [module for node in ast.walk(ast.parse(data, filename=str(path))) for module in _imported(node, package)]
    data_files = sorted(p for p in path.parent.glob("*") if p.suffix in {".j2", ".css", ".json"}) if path.name == "__init__.py" else []
    content = data + b"".join(p.name.encode() + p.read_bytes() for p in data_files)
    return sha256_bytes(content), tuple(module for module in imported if module.startswith(f"{_PACKAGE}."))


def _imported(node: ast.AST, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        module = ".".join([*parts, *([node.module] if node.module else [])])
        return [module, *(f"{module}.{alias.name}" for alias in node.names)]
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and _DOTTED.fullmatch(node.value):
        return _members(node.value.rstrip(".")) if node.value.endswith(".") else [node.value]
    return []


def _members(package: str) -> list[str]:
    root = _root()
    folder = root.joinpath(*package.split(".")[1:]) if root is not None else None
    return [package, *(f"{package}.{path.stem}" for path in folder.glob("*.py"))] if folder is not None else []
