"""`python -m sightline.tune --job <file or URI>`: the search in a process of its own, so that Ray and all it starts end with it."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from sightline.learn.child import as_child
from sightline.learn.node import as_node
from sightline.learn.staging import StagedJob
from sightline.tune.job import Job


def main() -> None:
    """Runs the search; reports and errors go to the job's scratch folder, or to the store that it came from."""
    parser = argparse.ArgumentParser(prog="sightline.tune")
    parser.add_argument("--job", required=True, help="job.json on this machine, or of a job that was staged in a store")
    parser.add_argument("--sha256", default="", help="of a staged job.json; without it the file is on this machine")
    arguments = parser.parse_args()
    if arguments.sha256:
        _search_staged(StagedJob(arguments.job, arguments.sha256))
    else:
        _search_here(Path(arguments.job))
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is on disk and Ray is down; taking its modules apart would only cost time.
    os._exit(0)


def _search_here(path: Path) -> None:
    job = Job.model_validate_json(path.read_bytes())
    with as_child(Path(job.scratch), "search") as emit:
        from sightline.tune.search import search

        search(job, emit)


def _search_staged(staged: StagedJob) -> None:
    with as_node(staged, Job, "search") as (job, _folder, emit):
        from sightline.tune.search import make_ray_folder, search

        folder = make_ray_folder()
        try:
            search(job.model_copy(update={"ray_folder": str(folder), "shared": (staged.uri, staged.sha256)}), emit)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
