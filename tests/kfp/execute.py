"""`python -m tests.kfp.execute PIPELINE.yaml ARGUMENTS.json FOLDER`: what the double runs for one run, from the uploaded YAML alone."""

import json
import os
import sys
import warnings
from pathlib import Path

import yaml
from kfp.components import load_component_from_text
from kfp.dsl.base_component import BaseComponent

from pipelines import _local
from sightline.cli.launch import QUIET


def main(pipeline: str, arguments: str, folder: str) -> int:
    """Executes the pipeline; 1 when a step failed."""
    os.environ.update(QUIET)
    warnings.filterwarnings("ignore", category=UserWarning, module="kfp")
    try:
        _local.run(load(Path(pipeline)), json.loads(Path(arguments).read_text()), folder=Path(folder))
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def load(path: Path) -> BaseComponent:
    """The pipeline in a compiled file.

    kfp's loader takes the component of the pipeline's name instead of the pipeline where there is one, as in monitor; a server does not.
    """
    documents = list(yaml.safe_load_all(path.read_text()))
    documents[0]["pipelineInfo"]["name"] += "-pipeline"
    return load_component_from_text(yaml.safe_dump_all(documents))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
