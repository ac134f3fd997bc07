"""`sightline champions`, `rollback` and `serve`."""

import datetime
from pathlib import Path
from typing import Any

from sightline.errors import UsageError


def history(registry: Path) -> list[dict[str, Any]]:
    """Every promotion and rollback, oldest first."""
    from sightline.registry.ledger import Ledger

    return [champion.model_dump(mode="json") for champion in Ledger(str(registry.resolve())).history()]


def rollback(registry: Path) -> dict[str, Any]:
    """The champion after the previous one was put back."""
    from sightline.registry.ledger import Ledger

    return Ledger(str(registry.resolve())).rollback().model_dump(mode="json")


def describe(champions: list[dict[str, Any]]) -> str:
    """Champions as lines for a terminal."""
    if not champions:
        return "no champion yet\n"
    lines = [f"  {'generation':>10}  {'since (UTC)':<20} {'model':<14} run"]
    for champion in champions:
        since = datetime.datetime.fromtimestamp(champion["promoted_at"], tz=datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
        lines.append(f"  {champion['generation']:>10}  {since:<20} {champion['digest'][:12]:<14} {champion['run_id']}")
    return "\n".join(lines) + "\n"


def serve(registry: Path, *, host: str, port: int, log: Path) -> int:
    """Serves the champion until SIGINT or SIGTERM; the exit code of the server."""
    from sightline.registry.ledger import Ledger
    from sightline.serve.server import main as run_server

    champion = Ledger(str(registry.resolve())).champion()
    if champion is None:
        raise UsageError(f"{registry} has no champion", remedy="promote a model first: sightline run sightline.yaml")
    return run_server(["--bundle", champion.folder, "--host", host, "--port", str(port), "--log", str(log)])
