"""`python -m sightline.train --job <file>`: one training process, started alone or by torchrun."""

import argparse
import os
import sys
from pathlib import Path

from sightline.learn.child import as_child
from sightline.train.job import Job


def main() -> None:
    """Trains the job; events, errors and weights go to its scratch folder."""
    parser = argparse.ArgumentParser(prog="sightline.train")
    parser.add_argument("--job", type=Path, required=True)
    job = Job.model_validate_json(parser.parse_args().job.read_bytes())
    with as_child(Path(job.scratch), os.environ.get("RANK", "0")) as emit:
        from sightline.train.fit import fit

        fit(job, emit)
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is on disk. Taking torch and Lightning apart module by module would cost 1.3 s.
    os._exit(0)


if __name__ == "__main__":
    main()
