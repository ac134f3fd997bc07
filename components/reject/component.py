"""The end of a candidate that the gate refused."""

from kfp import dsl
from kfp.dsl import Artifact, Input

from components.images import BASE


@dsl.component(base_image=BASE, install_kfp_package=False)
def reject(verdict: Input[Artifact], store: dict, run_id: str) -> str:
    """Records that the candidate does not ship and why; the champion stays.

    Args:
        verdict: The verdict that refused it; it is verified again.
        store: Where the run keeps its things.
        run_id: The run that this belongs to.

    Returns:
        Always "rejected".
    """
    from sightline.config.store import StoreConfig
    from sightline.deploy import refuse

    return refuse.run(verdict=verdict.path, store=StoreConfig(**store), run_id=run_id)
