"""The YAML files that Kubeflow takes: the pipeline's specification and, as a second document, its placement."""

import ast
import functools
import hashlib
import importlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler
from kfp.dsl.base_component import BaseComponent

from pipelines._parameters import CHOICES, DEFAULT, parameters
from sightline.config.run import RunConfig

PIPELINES = ("retrain", "monitor")


def load(name: str) -> BaseComponent:
    """The pipeline called ``name``."""
    return getattr(importlib.import_module(f"pipelines.{name}"), name)


def compile_all(folder: Path, config: RunConfig = DEFAULT) -> None:
    """Writes one YAML file per pipeline; the same source and configuration give the same bytes.

    Args:
        folder: where; made when needed.
        config: its values are what a run starts with when nobody types anything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in PIPELINES:
        compile_pipeline(name, folder / f"{name}.yaml", config)


def compile_pipeline(name: str, path: Path, config: RunConfig = DEFAULT) -> str:
    """Writes one pipeline's YAML file; returns the digest of its content."""
    compiler.Compiler().compile(load(name), str(path), pipeline_parameters=parameters(name, config))
    text = re.sub(r"(?m)^(# .*\[Default: )([\[{].*[\]}])\]$", _sorted_default, path.read_text(encoding="utf-8"))
    path.write_text(_with_choices(text), encoding="utf-8")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def compiled(name: str) -> tuple[bytes, str]:
    """The pipeline's YAML with the library's defaults, and the digest of it; the sources of a process do not change."""
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        path = Path(folder) / f"{name}.yaml"
        digest = compile_pipeline(name, path)
        return path.read_bytes(), digest


def _sorted_default(comment: re.Match[str]) -> str:
    # kfp writes these defaults from a protobuf map, whose order differs from process to process.
    return f"{comment[1]}{json.dumps(ast.literal_eval(comment[2]), sort_keys=True)}]"


def _with_choices(text: str) -> str:
    # The specification has had `literals` since 2.17; kfp 2.17.0 cannot write them from a Literal annotation yet.
    head = "".join(f"{line}\n" for line in text.splitlines() if line.startswith("#"))
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(text))
    for name, parameter in documents[0]["root"]["inputDefinitions"]["parameters"].items():
        if name in CHOICES:
            parameter["literals"] = list(CHOICES[name])
    return head + yaml.safe_dump_all(documents, sort_keys=True)
