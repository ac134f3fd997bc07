"""`python -m pipelines {list,compile,run,submit,schedule,runs}`: what the `sightline` command calls."""

import argparse
import json
import sys
import warnings
from pathlib import Path

from pipelines import _commands
from pipelines._parameters import DEFAULT, for_cluster, from_sections
from pipelines.compilation import PIPELINES, compile_all, load
from sightline.config.load import load_config
from sightline.errors import SightlineError

COMPILED = Path(__file__).parent / "compiled"


def run_locally(options: argparse.Namespace) -> int:
    """Runs a pipeline through kfp.local with the sections in a JSON file; 1 when a step failed."""
    from pipelines import _local

    # Resources and placement are for the cluster; kfp says so once per task.
    warnings.filterwarnings("ignore", category=UserWarning, module="kfp")
    arguments = from_sections(options.name, json.loads(options.arguments.read_text()))
    try:
        _local.run(load(options.name), arguments, folder=options.folder)
    except RuntimeError as error:
        sys.stderr.write(f"{options.name}: {error}\n")
        return 1
    return 0


def compile_command(options: argparse.Namespace) -> int:
    """Writes the YAML files, with a configuration's values as the defaults."""
    compile_all(options.output, for_cluster(load_config(options.config)) if options.config else DEFAULT)
    return 0


def list_command(options: argparse.Namespace) -> int:
    """Writes the names of the pipelines."""
    del options
    sys.stdout.write("\n".join(PIPELINES) + "\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    top = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="names of the pipelines").set_defaults(call=list_command)
    compiling = commands.add_parser("compile", help="write the YAML files that Kubeflow takes")
    compiling.add_argument("--output", type=Path, default=COMPILED)
    compiling.add_argument("--config", type=Path, default=None, help="a sightline.yaml whose values become the defaults of the form")
    compiling.set_defaults(call=compile_command)
    running = commands.add_parser("run", help="run on this machine")
    running.add_argument("name", choices=PIPELINES)
    running.add_argument("--arguments", type=Path, required=True, help="JSON file with the configuration's sections, run_id and store")
    running.add_argument("--folder", type=Path, required=True, help="the run's folder")
    running.set_defaults(call=run_locally)
    _commands.add_to(commands)
    return top


def main() -> int:
    """Runs the command line; a problem that a person can mend is one message and an exit code."""
    options = parser().parse_args()
    try:
        return int(options.call(options))
    except SightlineError as error:
        sys.stderr.write(f"sightline: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
