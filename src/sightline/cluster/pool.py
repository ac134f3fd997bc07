"""Which machines a step has, where that is chosen when a run starts."""

import os


def held(gpus: str) -> int:
    """Tells the step's record that this pod holds GPUs, and so belongs to the `gpu` pool; returns how many. Without any nothing changes.

    Args:
        gpus: a whole number as text, because Kubeflow's server reads the number of accelerators as text.
    """
    if int(gpus):
        os.environ.update(SIGHTLINE_POOL="gpu", SIGHTLINE_NUM_GPUS=gpus)
    return int(gpus)
