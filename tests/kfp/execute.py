"""`python -m tests.kfp.execute PIPELINE.yaml ARGUMENTS.json FOLDER`: what the double runs for one run, from the uploaded YAML alone."""

import json
import os
import sys
import warnings
from pathlib import Path

from kfp.components import load_component_from_file

from pipelines import _local
from sightline.cli.launch import QUIET


def main(pipeline: str, arguments: str, folder: str) -> int:
    """Executes the pipeline; 1 when a step failed."""
    os.environ.update(QUIET)
    warnings.filterwarnings("ignore", category=UserWarning, module="kfp")
    try:
        _local.run(load_component_from_file(pipeline), json.loads(Path(arguments).read_text()), folder=Path(folder))
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
