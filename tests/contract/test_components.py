"""The rules that each component obeys; a rule is worth something only if a component that breaks it is caught (see the controls below)."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from kfp.dsl.base_component import BaseComponent

import components
from components.images import CATALOGUE
from sightline.config.run import RunConfig

STEPS = ("ingest", "tune", "train", "gate", "compile", "deploy", "monitor")
ALL = (*STEPS, "reject", "report", "submit")
LAUNCHES = ("submit",)  # the one whose body imports pipelines: the library never imports the Kubeflow client
SCALARS = {"STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE", "BOOLEAN"}
FOLDER = Path(components.__file__).parent


def component(name: str) -> BaseComponent:
    return getattr(components, name)


def source_of(name: str) -> str:
    return (FOLDER / name / "component.py").read_text()


def problems(source: str) -> list[str]:
    """What is wrong with a component's source."""
    tree = ast.parse(source)
    found = ["longer than 80 lines"] if source.count("\n") > 80 else []
    found += [
        f"imports {node.module}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("sightline", "__future__"))
    ]
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    body = [node for node in function.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    found += [f"{len(body)} statements"] if len(body) > 6 else []
    banned = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.With, ast.Match)
    found += [f"has a {type(node).__name__}" for node in ast.walk(function) if isinstance(node, banned)]
    found += ["prints" for node in ast.walk(function) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"]
    return found


def test_there_is_a_component_for_each_step_and_nothing_else():
    assert {path.parent.name for path in FOLDER.glob("*/component.py")} == set(ALL)
    assert set(components.__all__) == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_the_body_hands_over_and_does_nothing_else(name):
    assert problems(source_of(name)) == []


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("def f():\n    if True:\n        pass\n", "has a If"),
        ("def f():\n    print(1)\n", "prints"),
        ("from __future__ import annotations\ndef f():\n    pass\n", "imports __future__"),
        ("from sightline.train import step\ndef f():\n    pass\n", "imports sightline.train"),
        ("def f():\n" + "    a = 1\n" * 7, "7 statements"),
    ],
)
def test_control_a_component_that_breaks_a_rule_is_caught(broken, problem):
    assert problem in problems(broken)


@pytest.mark.parametrize("name", ALL)
def test_inputs_and_outputs_are_described_for_the_user_interface(name):
    spec = component(name).component_spec
    text = inspect.getdoc(component(name).python_func) or ""
    for input_name, value in (spec.inputs or {}).items():
        # kfp fills the final status in; it is a parameter of ours all the same.
        assert value.description or f"{input_name}:" in text, input_name
    for output_name, value in (spec.outputs or {}).items():
        if output_name != "Output":
            assert value.description, output_name
    assert spec.description


@pytest.mark.parametrize("name", ALL)
def test_a_component_returns_one_closed_word(name):
    outputs = component(name).component_spec.outputs or {}
    assert [key for key, value in outputs.items() if value.type == "String"] == ["Output"]


@pytest.mark.parametrize("name", ALL)
def test_only_the_component_that_starts_runs_imports_pipelines(name):
    imports = {node.module for node in ast.walk(ast.parse(source_of(name))) if isinstance(node, ast.ImportFrom)}
    assert any((module or "").startswith("pipelines") for module in imports) == (name in LAUNCHES)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_has_one_metrics_artifact_and_at_most_one_page_and_one_summary(name):
    kinds = [value.type for value in (component(name).component_spec.outputs or {}).values()]
    assert kinds.count("system.Metrics@0.0.1") == 1
    assert kinds.count("system.HTML@0.0.1") <= 1
    assert kinds.count("system.Markdown@0.0.1") <= 1


@pytest.mark.parametrize("name", ALL)
def test_the_image_is_in_the_catalogue(name):
    spec = component(name).pipeline_spec.deployment_spec["executors"]
    images = {executor["container"]["image"] for executor in spec.values()}
    assert images <= set(CATALOGUE)
    assert "packages_to_install" not in source_of(name)


@pytest.mark.parametrize("name", ALL)
def test_dict_parameters_are_named_like_their_section_of_the_configuration(name):
    inputs = component(name).component_spec.inputs or {}
    sections = {key for key, value in inputs.items() if value.type == "Dict"}
    whole = {"retrain"} if name in LAUNCHES else set()  # the sections of another pipeline's run
    assert sections <= set(RunConfig.model_fields) | whole
    assert len([value for value in inputs.values() if value.type in {"String", "Integer", "Float", "Boolean"}]) <= 8


def test_compiling_the_pipelines_imports_no_heavy_library():
    heavy = "('torch','ray','mlflow','pandas','numpy','openvino')"
    code = f"import sys, pipelines.retrain, pipelines.monitor; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=FOLDER.parent, check=True)
    assert done.stdout.strip() == "[]"


def test_every_step_has_a_library_package_and_a_section_of_its_own_name():
    for name in STEPS:
        assert importlib.util.find_spec(f"sightline.{name}") is not None
        assert name in RunConfig.model_fields
