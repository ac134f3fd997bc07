"""Brings a cluster to what the ledger says, outside a deployment: after a rollback of the registry, or when it was changed by hand."""

from sightline.config.deploy import DeployConfig
from sightline.errors import UsageError
from sightline.registry.ledger import Champion, Ledger


def serve_champion(registry: str, config: DeployConfig, *, namespace: str) -> Champion:
    """The champion, once the InferenceService serves it and no canary has clients; safe to repeat.

    What is served until then goes on until the champion is ready.

    Args:
        registry: ``s3://bucket/prefix``.
        config: how the service is called and what it runs on.
        namespace: of the InferenceService.

    Raises:
        UsageError: the registry has no champion, or is not on S3.
        EnvironmentFault: the champion does not become ready, or the cluster refuses.
        TemporaryError: the cluster does not answer.
    """
    from sightline.cluster.api import connect
    from sightline.deploy.targets.inference_service import Served
    from sightline.deploy.targets.kserve import Service, require_reachable

    ledger = Ledger(registry)
    require_reachable(ledger)
    champion = ledger.champion()
    if champion is None:
        raise UsageError(f"{registry} has no champion", remedy="promote a model first")
    service = Service(connect(namespace), config.model)
    served = Served(champion.digest, ledger.address(champion.digest), config.runtime)
    service.serve(served, replicas=config.replicas, timeout_s=config.ready_timeout_s)
    return champion
