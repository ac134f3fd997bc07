"""The digest of the library code that a step depends on: its module and everything of ours that it imports, directly or not."""

import ast
import functools
import importlib.metadata
import importlib.util
from pathlib import Path

from sightline.store.digest import sha256_bytes, sha256_value

_PACKAGE = "sightline"
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

    Imports are read from the syntax tree, those inside functions too; nothing is imported. Cost: one parse of each file that is reached.
    """
    reached: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if path is None or name in reached:
            continue
        digest, imported = _read(path)
        reached[name] = digest
        waiting.extend(imported)
        waiting.extend(".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1))
    return sha256_value({"modules": reached, "libraries": _versions()})


@functools.cache
def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def _source(name: str) -> Path | None:
    root = importlib.util.find_spec(_PACKAGE)
    if root is None or root.origin is None or name.split(".", maxsplit=1)[0] != _PACKAGE:
        return None
    base = Path(root.origin).parent.joinpath(*name.split(".")[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file() and name != _PACKAGE), None)


def _read(path: Path) -> tuple[str, tuple[str, ...]]:
    data = path.read_bytes()
    imported: list[str] = []
    for node in ast.walk(ast.parse(data, filename=str(path))):
        if isinstance(node, ast.Import):
            imported.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.append(node.module)
            imported.extend(f"{node.module}.{alias.name}" for alias in node.names)
    data_files = sorted(p for p in path.parent.glob("*") if p.suffix in {".j2", ".css", ".json"}) if path.name == "__init__.py" else []
    content = data + b"".join(p.name.encode() + p.read_bytes() for p in data_files)
    return sha256_bytes(content), tuple(module for module in imported if module.startswith(f"{_PACKAGE}."))
