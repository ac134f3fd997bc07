"""One container template per step: its command, its outputs, and everything that a cluster needs to know."""

import json
from typing import Any

from pipelines._placement import (
    CONFIG_MAP,
    CREDENTIALS,
    ENVIRONMENT,
    PRICES,
    PRICES_MAP,
    PROFILES,
    SCRATCH,
    SECRET,
    SHARED_MEMORY,
    USER,
    Resources,
)
from pipelines.argo.models import core, workflows
from pipelines.argo.steps import RETRY_EXIT_CODES, SCRATCH_OUTPUTS, ArgoStep, image_of

QUEUE = "sightline"
OUTPUTS = f"{SCRATCH}/{SCRATCH_OUTPUTS}"
RETRY_EXPRESSION = f"lastRetry.status == 'Error' or asInt(lastRetry.exitCode) in {list(RETRY_EXIT_CODES)}"

# Two minutes are what a spot node has left when it is taken away.
_GRACE_S = 110


def step_template(step: ArgoStep) -> Any:
    """The template that runs ``sightline step NAME`` and hands on the URI of what it made and the word it ended with."""
    resources = PROFILES[step.profile]
    return workflows.Template(
        name=step.name,
        metadata=_metadata(step, resources),
        inputs=workflows.Inputs(parameters=[workflows.Parameter(name=name) for name in (*step.inputs, *step.parameters)]),
        outputs=workflows.Outputs(parameters=[_output("artifact"), _output("outcome")]),
        container=_container(step, resources),
        volumes=_volumes(resources),
        service_account_name=step.service_account,
        # Argo's executor has an account of its own; a step sees a token only where it starts jobs or servers.
        automount_service_account_token=step.calls_kubernetes,
        security_context=pod_security(),
        active_deadline_seconds=str(resources.timeout_s),
        retry_strategy=_retries(resources),
        pod_spec_patch=_patch(step),
    )


def pod_security() -> Any:
    """What every pod of ours has in common under the restricted Pod Security Standard."""
    return core.PodSecurityContext(
        run_as_non_root=True,
        run_as_user=USER,
        run_as_group=USER,
        fs_group=USER,
        seccomp_profile=core.SeccompProfile(type="RuntimeDefault"),
    )


def container_security() -> Any:
    """The same for every container."""
    return core.SecurityContext(
        allow_privilege_escalation=False,
        capabilities=core.Capabilities(drop=["ALL"]),
        privileged=False,
        read_only_root_filesystem=True,
        run_as_non_root=True,
    )


def _command(step: ArgoStep) -> list[str]:
    inputs = [word for name in step.inputs for word in ("--input", f"{name}={{{{inputs.parameters.{name}}}}}")]
    options = [word for flag, value in step.options.items() for word in (flag, value)]
    place = ["--run-id", "{{workflow.name}}", "--config-text", "{{workflow.parameters.config}}"]
    return [*place, *inputs, *options, "--outputs", OUTPUTS]


def _container(step: ArgoStep, resources: Resources) -> Any:
    mounts = [
        core.VolumeMount(name="scratch", mount_path=SCRATCH),
        core.VolumeMount(name="credentials", mount_path=CREDENTIALS, read_only=True),
        core.VolumeMount(name="prices", mount_path=PRICES, read_only=True),
    ]
    if resources.shm:
        mounts.append(core.VolumeMount(name="shm", mount_path=SHARED_MEMORY))
    return core.Container(
        # Named, because Argo cannot read an image's own entry point without the right to pull it.
        command=["sightline", "step", step.name],
        args=_command(step),
        image=image_of(step),
        image_pull_policy="IfNotPresent",
        env=_environment(step),
        env_from=[core.EnvFromSource(config_map_ref=core.ConfigMapEnvSource(name=CONFIG_MAP, optional=True))],
        resources=core.ResourceRequirements(
            requests={"cpu": resources.cpu, "memory": resources.memory}, limits={"memory": resources.memory}
        ),
        security_context=container_security(),
        volume_mounts=mounts,
    )


def _environment(step: ArgoStep) -> list[Any]:
    gpus = "workflow.parameters.gpus"
    # For the cost of the step: a pod without GPUs belongs to the other pool, whatever node it is on.
    placed = {"SIGHTLINE_NUM_GPUS": f"{{{{{gpus}}}}}", "SIGHTLINE_POOL": f"{{{{={gpus} == '0' ? 'cpu' : 'gpu'}}}}"} if step.pool else {}
    return [core.EnvVar(name=name, value=value) for name, value in {**ENVIRONMENT, **placed}.items()]


def _volumes(resources: Resources) -> list[Any]:
    volumes = [
        core.Volume(name="scratch", empty_dir=core.EmptyDirVolumeSource(size_limit=resources.scratch)),
        # Credentials are a mounted file, and only where the cluster gives pods no identity of their own.
        core.Volume(name="credentials", secret=core.SecretVolumeSource(secret_name=SECRET, optional=True)),
        core.Volume(name="prices", config_map=core.ConfigMapVolumeSource(name=PRICES_MAP, optional=True)),
    ]
    if resources.shm:
        volumes.append(core.Volume(name="shm", empty_dir=core.EmptyDirVolumeSource(medium="Memory", size_limit=resources.shm)))
    return volumes


def _output(name: str) -> Any:
    # Without the default, a reference to a step that was skipped is an error since Argo 4.0.7 and 3.7.16.
    return workflows.Parameter(name=name, value_from=workflows.ValueFrom(path=f"{OUTPUTS}/{name}", default=""))


def _retries(resources: Resources) -> Any:
    # No maxDuration: Argo would stop the pod itself when it is over, however well the training goes.
    return workflows.RetryStrategy(
        limit=str(resources.retries), expression=RETRY_EXPRESSION, backoff=workflows.Backoff(duration="30s", factor="2")
    )


def _metadata(step: ArgoStep, resources: Resources) -> Any:
    labels = {"sightline.dev/step": step.name} | ({"kueue.x-k8s.io/queue-name": QUEUE} if step.pool else {})
    return workflows.Metadata(labels=labels, **({"annotations": {"karpenter.sh/do-not-disrupt": "true"}} if resources.steady else {}))


def _patch(step: ArgoStep) -> str:
    """What is chosen when a run starts: a patch is text, and so the only place where a parameter may be a number or an object."""
    if not step.pool:
        return json.dumps({"terminationGracePeriodSeconds": _GRACE_S})
    amount = '{"{{workflow.parameters.gpu_resource}}": "{{workflow.parameters.gpus}}"}'
    return (
        f'{{"terminationGracePeriodSeconds": {_GRACE_S}, '
        '"nodeSelector": {{workflow.parameters.node_selector}}, '
        '"tolerations": {{workflow.parameters.tolerations}}, '
        '"affinity": {"nodeAffinity": {{workflow.parameters.affinity}} }, '
        f'"containers": [{{"name": "main", "resources": {{"requests": {amount}, "limits": {amount} }} }}]}}'
    )
