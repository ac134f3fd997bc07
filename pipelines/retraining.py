"""From a decision to the retrain run: what the submit component calls.

A component's process runs with _KFP_RUNTIME set, in which kfp has neither compiler nor client. The run is therefore created by a process of
its own: `python -m pipelines.retraining`, which reads what it is to do from standard input and says one word.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def start(*, drift: str, retrain: Mapping[str, Any], store: Mapping[str, Any], run_id: str) -> str:
    """Starts the retraining that a decision asks for: "submitted", or "already-submitted" by an earlier attempt.

    Args:
        drift: folder of the decision.
        retrain: sections of the retrain run's configuration.
        store: the store section; the decision's key is claimed in its registry.
        run_id: the monitor run; empty: the environment's.

    Raises:
        SystemExit: it was not started; the reason is on standard error, the exit code is the error's.
    """
    request = json.dumps({"drift": drift, "retrain": dict(retrain), "store": dict(store), "run_id": run_id})
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.retraining"],
        input=request.encode(),
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        env={name: value for name, value in os.environ.items() if name != "_KFP_RUNTIME"},
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout.decode().strip()


def main() -> int:
    """What the process of its own does."""
    from pipelines import client
    from sightline.errors import SightlineError

    try:
        sys.stdout.write(client.retrain_for(**json.load(sys.stdin)) + "\n")
    except SightlineError as error:
        sys.stderr.write(f"sightline: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
