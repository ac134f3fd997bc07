"""`python -m sightline.train --job <file or URI>`: one training process, started alone or by torchrun."""

import argparse
import os
import sys
from pathlib import Path

from sightline.learn.child import as_child
from sightline.learn.node import as_node
from sightline.learn.staging import StagedJob
from sightline.train.job import Job


def main() -> None:
    """Trains the job; events, errors and weights go to its scratch folder, or to the store that it came from."""
    parser = argparse.ArgumentParser(prog="sightline.train")
    parser.add_argument("--job", required=True, help="job.json on this machine, or of a job that was staged in a store")
    parser.add_argument("--sha256", default="", help="of a staged job.json; without it the file is on this machine")
    arguments = parser.parse_args()
    if arguments.sha256:
        _train_staged(StagedJob(arguments.job, arguments.sha256))
    else:
        _train_here(Path(arguments.job))
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is on disk. Taking torch and Lightning apart module by module would cost 1.3 s.
    os._exit(0)


def _train_here(path: Path) -> None:
    job = Job.model_validate_json(path.read_bytes())
    with as_child(Path(job.scratch), _rank()) as emit:
        from sightline.train.fit import fit

        fit(job, emit)


def _train_staged(staged: StagedJob) -> None:
    with as_node(staged, Job, f"rank-{_rank()}") as (job, folder, emit):
        from sightline.train.fit import fit
        from sightline.train.result import put_result

        epochs = fit(job.model_copy(update={"scratch": str(folder)}), emit)
        if _rank() == "0":
            put_result(job.place, folder, epochs)


def _rank() -> str:
    return os.environ.get("RANK", "0")


if __name__ == "__main__":
    main()
