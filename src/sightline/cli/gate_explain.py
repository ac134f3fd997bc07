"""`sightline gate explain`: why a model may or may not ship."""

import shutil
import sys
import tempfile
from pathlib import Path

from sightline.cli.display import emit


def explain_command(verdict: str | Path, *, as_json: bool = False) -> int:
    """Prints the explanation of a verdict; 0 whatever the verdict says, since the question was answered.

    Args:
        verdict: a committed verdict, a folder or ``s3://…``, or a verdict.json.
        as_json: print every field as JSON.

    Raises:
        DataError: it is not a whole, unaltered verdict.
    """
    from sightline.gate.explain import describe, explain
    from sightline.store.cache import fetch_artifact

    with tempfile.TemporaryDirectory(prefix="sightline-verdict-") as scratch:
        explanation = explain(fetch_artifact(str(verdict), Path(scratch)))
    if as_json:
        emit(explanation.model_dump(mode="json"))
    else:
        sys.stdout.write(describe(explanation, shutil.get_terminal_size().columns))
    return 0
