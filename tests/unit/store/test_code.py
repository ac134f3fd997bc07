import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.store import code
from sightline.store.code import code_digest

Write = Callable[[str, str], None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A package ``sightline`` of its own, so that its sources can be changed."""
    root = tmp_path / "sightline"
    root.mkdir()
    (root / "__init__.py").write_text("")

    def write(name: str, text: str) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for parent in path.relative_to(root).parents:
            (root / parent / "__init__.py").touch()
        path.write_text(text)

    class _Spec:
        origin = str(root / "__init__.py")

    monkeypatch.setattr(code.importlib.util, "find_spec", lambda _: _Spec())
    return write


def changes(package: Write, name: str, before: str, after: str, *, module: str = "sightline.step") -> bool:
    package(name, before)
    digest = code_digest(module)
    package(name, after)
    return digest != code_digest(module)


def test_the_module_itself_counts(package: Write) -> None:
    assert changes(package, "step.py", "x = 1", "x = 2")


@pytest.mark.parametrize(
    "text",
    [
        "import sightline.deep.other",
        "from sightline.deep import other",
        "from sightline.deep.other import thing",
        "def f():\n    from sightline.deep.other import thing",
        "from .deep import other",
        "from .deep.other import thing",
        "from . import deep\nfrom sightline.middle import x",
        "COMMAND = ('-m', 'sightline.deep.other')",
        "import importlib\ndef f(name):\n    return importlib.import_module(f'sightline.deep.{name}')",
    ],
)
def test_whatever_it_imports_counts_however_it_is_imported(package: Write, text: str) -> None:
    package("step.py", text)
    package("middle.py", "from sightline.deep import other")
    assert changes(package, "deep/other.py", "x = 1", "x = 2")


def test_code_that_is_not_reached_does_not_count(package: Write) -> None:
    package("step.py", "from sightline.near import x")
    package("near.py", "x = 1")
    assert not changes(package, "far.py", "x = 1", "x = 2")


def test_imports_in_a_circle_end(package: Write) -> None:
    package("step.py", "from sightline.near import x")
    package("near.py", "from sightline.step import y")
    assert len(code_digest("sightline.step")) == 64


def test_templates_beside_a_package_count(package: Write) -> None:
    package("page/view.py", "x = 1")
    package("step.py", "from sightline.page.view import x")
    assert changes(package, "page/page.css", "a{}", "b{}")


def test_a_module_that_does_not_exist_is_an_error_and_not_an_empty_digest(package: Write) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"sightline\.nowhere"):
        code_digest("sightline.nowhere")


def test_a_library_that_is_not_installed_has_no_version_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "_LIBRARIES", ("numpy", "not-installed-anywhere"))
    code._versions.cache_clear()
    try:
        versions = code._versions()
        assert versions["numpy"]
        assert versions["not-installed-anywhere"] == "absent"
    finally:
        code._versions.cache_clear()


def test_nothing_is_imported_to_compute_it() -> None:
    before = set(sys.modules)
    code_digest("sightline.store.steps")
    assert not {name for name in set(sys.modules) - before if name.startswith("sightline.")}
