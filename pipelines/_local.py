"""Runs a pipeline on this machine through kfp.local: each step is a process of its own, no container, no network."""

import os
import shutil
import tempfile
from pathlib import Path

from kfp import local
from kfp.dsl.base_component import BaseComponent


def run(pipeline: BaseComponent, arguments: dict[str, object], *, folder: Path) -> None:
    """Runs the pipeline to its end.

    Args:
        pipeline: a compiled-in-memory pipeline function.
        arguments: its parameters.
        folder: the run's folder; Kubeflow's own files go into a sub-folder that is removed at the end.

    Raises:
        RuntimeError: a step failed, after the exit handler ran.
    """
    scratch = folder / "kfp"
    scratch.mkdir(parents=True, exist_ok=True)
    # kfp leaves each component's source in a temporary folder; this one goes away with the run.
    os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="sl-")
    try:
        # Our steps cache by content, which kfp's cache cannot see. workspace_root stays unset: kfp deletes that folder after each run.
        local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(scratch), enable_caching=False)
        _without_placement(pipeline)
        pipeline(**arguments)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(os.environ.pop("TMPDIR"), ignore_errors=True)


def _without_placement(pipeline: BaseComponent) -> None:
    """Takes away what is for containers and pods, and what kfp.local would follow all the same.

    Variables of the tasks name folders of an image (HOME, TMPDIR). A failed step would be tried again after half a minute, where a person
    waits for the reason.
    """
    spec = pipeline.component_spec.implementation.graph
    for executor in spec.deployment_spec["executors"].values():
        executor["container"].fields.pop("env", None)
    for group in (spec.root, *spec.components.values()):
        for task in group.dag.tasks.values():
            task.ClearField("retry_policy")
