"""Rules of the library as a whole."""

import ast
import subprocess
import sys
from pathlib import Path

import sightline

SOURCES = sorted(Path(sightline.__file__).parent.rglob("*.py"))


def imports_of(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_the_library_never_imports_kfp():
    assert [str(path) for path in SOURCES if "kfp" in imports_of(path.read_text())] == []


def test_control_an_import_of_kfp_inside_a_function_is_seen():
    assert "kfp" in imports_of("def f():\n    from kfp import dsl\n")


def test_the_command_and_all_step_modules_import_nothing_heavy():
    steps = ", ".join(f"sightline.{name}.step" for name in ("ingest", "tune", "train", "gate", "compile", "deploy", "monitor"))
    heavy = "('torch','ray','mlflow','openvino','onnxruntime','evidently','nncf','pytorch_lightning')"
    code = f"import sys, sightline.cli.app, {steps}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_pickle_is_read_and_no_shell_is_started():
    banned = ("torch.load", "pickle.load", "shell=True", "LOAD_TRUNCATED_IMAGES", "yaml.load(", "extractall")
    assert [(str(path), word) for path in SOURCES for word in banned if word in path.read_text()] == []
