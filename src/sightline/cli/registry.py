"""`sightline champions`, `rollback` and `serve`."""

import datetime
from pathlib import Path
from typing import Any

from sightline.config.deploy import DeployConfig
from sightline.errors import UsageError


def located(place: str) -> str:
    """The place as every process finds it: ``s3://…`` as it is, a folder absolute."""
    return place if "://" in place else str(Path(place).resolve())


def history(registry: str) -> list[dict[str, Any]]:
    """Every promotion and rollback, oldest first."""
    from sightline.registry.ledger import Ledger

    return [champion.model_dump(mode="json") for champion in Ledger(located(registry)).history()]


def rollback(registry: str) -> dict[str, Any]:
    """The champion after the previous one was put back."""
    from sightline.registry.ledger import Ledger

    return Ledger(located(registry)).rollback().model_dump(mode="json")


def serve_champion(registry: str, config: DeployConfig, *, namespace: str) -> dict[str, Any]:
    """The champion, once the cluster serves it and nothing else."""
    from sightline.deploy.rollback import serve_champion as serve_on_cluster

    return serve_on_cluster(located(registry), config, namespace=namespace).model_dump(mode="json")


def describe(champions: list[dict[str, Any]]) -> str:
    """Champions as lines for a terminal."""
    if not champions:
        return "no champion yet\n"
    lines = [f"  {'generation':>10}  {'since (UTC)':<20} {'model':<14} run"]
    for champion in champions:
        since = datetime.datetime.fromtimestamp(champion["promoted_at"], tz=datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
        lines.append(f"  {champion['generation']:>10}  {since:<20} {champion['digest'][:12]:<14} {champion['run_id']}")
    return "\n".join(lines) + "\n"


def serve(registry: str, *, host: str, port: int, log: Path) -> int:
    """Serves the champion until SIGINT or SIGTERM; the exit code of the server."""
    from sightline.registry.ledger import Ledger
    from sightline.serve.server import main as run_server

    champion = Ledger(located(registry)).champion()
    if champion is None:
        raise UsageError(f"{registry} has no champion", remedy="promote a model first: sightline run sightline.yaml")
    return run_server(["--bundle", champion.folder, "--host", host, "--port", str(port), "--log", str(log)])
