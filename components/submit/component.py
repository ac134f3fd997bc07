"""The retraining that drift asked for."""

from kfp import dsl
from kfp.dsl import Artifact, Input

from components.images import BASE


@dsl.component(base_image=BASE, install_kfp_package=False)
def submit(drift: Input[Artifact], retrain: dict, store: dict, run_id: str) -> str:
    """Starts one retrain run for one decision to retrain; the same decision never starts a second one.

    The only component whose body imports `pipelines` instead of the library: creating a run needs the Kubeflow client, which the library
    never imports. The image's working directory is the checkout that holds it.

    Args:
        drift: The decision; it is read again.
        retrain: The sections of the retrain run's configuration.
        store: Where the run keeps its things; the decision's key is claimed there.
        run_id: The run that this belongs to.

    Returns:
        "submitted", or "already-submitted" when an earlier attempt started the run.
    """
    from pipelines import retraining

    return retraining.start(drift=drift.path, retrain=retrain, store=store, run_id=run_id)
