"""`python -m sightline.tune --job <file>`: the search in a process of its own, so that Ray and all it starts can be ended with it."""

import argparse
import os
import sys
from pathlib import Path

from sightline.learn.child import as_child
from sightline.tune.job import Job


def main() -> None:
    """Runs the search; reports and errors go to the job's scratch folder."""
    parser = argparse.ArgumentParser(prog="sightline.tune")
    parser.add_argument("--job", type=Path, required=True)
    job = Job.model_validate_json(parser.parse_args().job.read_bytes())
    with as_child(Path(job.scratch), "search") as emit:
        from sightline.tune.search import search

        search(job, emit)
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is on disk and Ray is down; taking its modules apart would only cost time.
    os._exit(0)


if __name__ == "__main__":
    main()
