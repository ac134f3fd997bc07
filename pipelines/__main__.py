"""`python -m pipelines {list,compile,run}`: what the `sightline` command calls."""

import argparse
import ast
import importlib
import json
import re
import sys
import warnings
from pathlib import Path

from kfp import compiler
from kfp.dsl.base_component import BaseComponent

PIPELINES = ("retrain", "monitor")
COMPILED = Path(__file__).parent / "compiled"


def load(name: str) -> BaseComponent:
    """The pipeline called ``name``."""
    return getattr(importlib.import_module(f"pipelines.{name}"), name)


def compile_all(folder: Path) -> None:
    """Writes one YAML file per pipeline; the same source gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PIPELINES:
        path = folder / f"{name}.yaml"
        compiler.Compiler().compile(load(name), str(path))
        path.write_text(re.sub(r"(?m)^(# .*\[Default: )(\{.*\})\]$", _sorted_default, path.read_text()))


def _sorted_default(comment: re.Match[str]) -> str:
    # kfp writes these defaults from a protobuf map, whose order differs from process to process.
    return f"{comment[1]}{json.dumps(ast.literal_eval(comment[2]), sort_keys=True)}]"


def run_locally(name: str, arguments_file: Path, folder: Path) -> int:
    """Runs a pipeline through kfp.local with the arguments in a JSON file; 1 when a step failed."""
    from pipelines import _local

    # Resources and placement are for the cluster; kfp says so once per task.
    warnings.filterwarnings("ignore", category=UserWarning, module="kfp")
    try:
        _local.run(load(name), json.loads(arguments_file.read_text()), folder=folder)
    except RuntimeError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 1
    return 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="names of the pipelines")
    compiling = commands.add_parser("compile", help="write the YAML files that Kubeflow takes")
    compiling.add_argument("--output", type=Path, default=COMPILED)
    running = commands.add_parser("run", help="run on this machine")
    running.add_argument("name", choices=PIPELINES)
    running.add_argument("--arguments", type=Path, required=True, help="JSON file with the pipeline's parameters")
    running.add_argument("--folder", type=Path, required=True, help="the run's folder")
    options = parser.parse_args()
    if options.command == "run":
        return run_locally(options.name, options.arguments, options.folder)
    if options.command == "compile":
        compile_all(options.output)
    else:
        sys.stdout.write("\n".join(PIPELINES) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
