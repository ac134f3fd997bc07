"""Each lock holds what its image's steps import, at the versions that everything else is tested with."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.oci.catalogue import NAMES, ROOT, Image
from scripts.oci.closure import PROGRAMS, WITHOUT, Import, imports_of, steps_of
from scripts.oci.verify import import_program, missing
from tests.contract.test_components import ALL

OURS = ("sightline", "components", "pipelines")
# The other two take gigabytes.
INSTALLED = ("base", "serve")


def locked(path: Path) -> dict[str, str]:
    """The distributions of a lock and their versions, names in their normal form."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {normal(name): version for name, version in found}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def not_locked(imports: dict[Import, str], lock: set[str]) -> list[str]:
    """The imports that no distribution of the lock provides."""
    providers = importlib.metadata.packages_distributions()
    foreign = {statement: where for statement, where in imports.items() if statement.top not in OURS}
    return [
        f"{where}: {statement}"
        for statement, where in foreign.items()
        if not {normal(name) for name in providers.get(statement.top, ())} & lock
    ]


def test_every_step_has_an_image_and_no_step_has_two():
    assert sorted(step for name in NAMES for step in steps_of(name)) == sorted(ALL)


@pytest.mark.parametrize("name", NAMES)
def test_the_lock_holds_every_library_that_the_steps_of_the_image_can_reach(name):
    imports = imports_of(name)
    assert len(imports) > 50
    assert not_locked(imports, set(locked(ROOT / Image(name).lock))) == []


@pytest.mark.parametrize(("name", "library"), [("base", "scipy"), ("train", "torch"), ("compile", "nncf"), ("serve", "uvicorn")])
def test_control_a_library_that_is_missing_in_the_lock_is_found(name, library):
    assert any(library in found for found in not_locked(imports_of(name), set(locked(ROOT / Image(name).lock)) - {library}))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_left_out_on_purpose_would_be_imported_and_is_not_in_the_lock(name, monkeypatch):
    lock = locked(ROOT / Image(name).lock)
    left_out = WITHOUT[name]
    monkeypatch.setitem(WITHOUT, name, {})
    assert set(left_out) <= {statement.top for statement in imports_of(name)}
    assert not set(left_out) & set(lock)


def test_what_a_step_of_another_image_imports_does_not_count():
    assert not {"torch", "ray", "nncf"} & {statement.top for statement in imports_of("base")}


@pytest.mark.parametrize("name", NAMES)
def test_a_version_in_an_image_is_the_version_in_the_tests(name):
    tested = locked(ROOT / "requirements/dev.lock")
    image = locked(ROOT / Image(name).lock)
    assert {key: version for key, version in image.items() if version != tested.get(key, version)} == {}
    assert "sightline" not in image


@pytest.mark.parametrize("name", NAMES)
def test_every_package_of_a_lock_has_hashes(name):
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", (ROOT / Image(name).lock).read_text(encoding="utf-8"))
    assert [entry.splitlines()[0] for entry in entries if entry.strip() and "--hash=sha256:" not in entry] == []


def test_programs_are_modules_that_exist():
    assert all((ROOT / "src" / (module.replace(".", "/") + ".py")).is_file() for modules in PROGRAMS.values() for module in modules)


@pytest.fixture(scope="module", params=[INSTALLED[0], *(pytest.param(name, marks=pytest.mark.slow) for name in INSTALLED[1:])])
def installed(request, tmp_path_factory) -> tuple[str, Path]:
    """The name of an image, and the Python of a fresh environment from its lock with the library itself, as in the image."""
    uv = Path(sys.executable).with_name("uv")
    folder = tmp_path_factory.mktemp(request.param)
    python = folder / "venv/bin/python"
    tools = ROOT / "requirements/image-tools.lock"
    packages = [
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--no-binary",
        "kfp",
        "--no-binary",
        "kfp-server-api",
        "--build-constraints",
        tools,
    ]
    run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"])
    run([uv, "pip", "install", "-q", "--python", python, *packages, "-r", ROOT / Image(request.param).lock])
    run([uv, "pip", "check", "-q", "--python", python])
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "wheel"])
    run([uv, "pip", "install", "-q", "--python", python, "--offline", "--no-deps", *(folder / "wheel").glob("*.whl")])
    return request.param, python


def run(command: list[object]) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_in_a_fresh_environment_from_the_lock_every_import_of_the_steps_works(installed):
    name, python = installed
    done = subprocess.run([python, "-"], input=import_program(imports_of(name)), capture_output=True, text=True, cwd=ROOT, check=False)
    assert missing(done.stdout) == []
    assert done.returncode == 0, done.stderr
    assert run([python.with_name("sightline"), "step", "--help"])
    assert run([python, "-m", "kfp.dsl.executor_main", "--help"])


@pytest.mark.parametrize("installed", ["serve"], indirect=True)
def test_mlflow_works_with_a_file_too_which_is_the_default_of_store_tracking(installed, tmp_path):
    run([installed[1], "-c", f"from sightline.registry import mirror; mirror.connect('sqlite:///{tmp_path}/mlflow.db')"])
    assert (tmp_path / "mlflow.db").is_file()


def test_control_in_that_environment_an_import_that_it_does_not_have_is_reported(installed):
    program = import_program([Import("torch", "nn")])
    done = subprocess.run([installed[1], "-"], input=program, capture_output=True, text=True, cwd=ROOT, check=False)
    assert missing(done.stdout) == ["from torch import nn: ModuleNotFoundError: No module named 'torch'"]
