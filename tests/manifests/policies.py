"""What every object of ours must have; each rule says what is wrong and where."""

import re
from collections.abc import Callable, Iterator, Sequence

from tests.manifests.objects import Body, PodTemplate, pod_templates

Rule = Callable[[Body], Iterator[str]]

# The device plugin has a host folder and runs as root in a namespace of its own; why is written beside it.
PRIVILEGED_NAMESPACE = "sightline-gpu"
_MOVING_TAGS = ("latest", "main", "master", "stable", "edge", "nightly")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_SECRET_NAMES = re.compile(r"(PASSWORD|SECRET|TOKEN|CREDENTIAL|ACCESS_KEY|PRIVATE)(?!.*FILE)", re.IGNORECASE)


def problems(objects: Sequence[Body]) -> list[str]:
    """Everything that is wrong with the objects, one line each."""
    return [f"{rule.__name__}: {problem}" for body in objects for rule in RULES for problem in rule(body)]


def _ours(body: Body) -> list[PodTemplate]:
    return [pod for pod in pod_templates(body) if pod.namespace != PRIVILEGED_NAMESPACE]


def containers_are_restricted(body: Body) -> Iterator[str]:
    for pod in pod_templates(body):
        for container in pod.containers:
            security = container.get("securityContext", {})
            where = f"{pod.owner}/{container['name']}"
            if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
                yield f"{where} may gain privileges"
            if security.get("capabilities", {}).get("drop") != ["ALL"] or security.get("capabilities", {}).get("add"):
                yield f"{where} keeps capabilities"
            if security.get("readOnlyRootFilesystem") is not True:
                yield f"{where} can write to its root file system"


def pods_are_not_root(body: Body) -> Iterator[str]:
    for pod in _ours(body):
        context = pod.spec.get("securityContext", {})
        for container in pod.containers:
            own = container.get("securityContext", {})
            if own.get("runAsNonRoot", context.get("runAsNonRoot")) is not True:
                yield f"{pod.owner}/{container['name']} may be root"
            if own.get("runAsUser", context.get("runAsUser", 65532)) < 10000:
                yield f"{pod.owner}/{container['name']} has a user id that a host may use"


def system_calls_are_filtered(body: Body) -> Iterator[str]:
    wanted = {"type": "RuntimeDefault"}
    for pod in pod_templates(body):
        context = pod.spec.get("securityContext", {})
        for container in pod.containers:
            if container.get("securityContext", {}).get("seccompProfile", context.get("seccompProfile")) != wanted:
                yield f"{pod.owner}/{container['name']} has no seccomp profile"


def memory_is_bounded(body: Body) -> Iterator[str]:
    for pod in pod_templates(body):
        for container in pod.containers:
            resources = container.get("resources", {})
            requests, limits = resources.get("requests", {}), resources.get("limits", {})
            if not requests.get("cpu") or not requests.get("memory") or limits.get("memory") != requests.get("memory"):
                yield f"{pod.owner}/{container['name']} needs CPU, and memory as request and limit"


def scratch_is_bounded(body: Body) -> Iterator[str]:
    for pod in pod_templates(body):
        for volume in pod.spec.get("volumes", []):
            if "emptyDir" in volume and not volume["emptyDir"].get("sizeLimit"):
                yield f"{pod.owner}: volume {volume['name']} has no size limit"


def the_host_is_out_of_reach(body: Body) -> Iterator[str]:
    for pod in _ours(body):
        for name in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(name):
                yield f"{pod.owner} shares {name}"
        for volume in pod.spec.get("volumes", []):
            if "hostPath" in volume:
                yield f"{pod.owner} mounts the host's {volume['hostPath']['path']}"


def accounts_are_named(body: Body) -> Iterator[str]:
    for pod in pod_templates(body):
        if not pod.is_fragment and pod.spec.get("serviceAccountName", "default") in ("", None, "default"):
            yield f"{pod.owner} uses the namespace's default account"


def tokens_are_not_mounted_without_use(body: Body) -> Iterator[str]:
    callers = ("train", "tune", "deploy")
    for pod in pod_templates(body):
        if pod.is_fragment or body["kind"] in ("EventBus", "EventSource", "Sensor"):
            continue
        expected = body["kind"] == "WorkflowTemplate" and pod.owner.rsplit("/", 1)[-1] in callers
        if pod.spec.get("automountServiceAccountToken") is not expected:
            yield f"{pod.owner}: automountServiceAccountToken must be {expected}"


def images_do_not_move(body: Body) -> Iterator[str]:
    for pod in pod_templates(body):
        for image in filter(None, (container.get("image") for container in pod.containers)):
            tag = image.rsplit("/", 1)[-1].partition(":")[2]
            if not _DIGEST.search(image) and (not tag or tag.split("-")[0] in _MOVING_TAGS or not re.search(r"\d", tag)):
                yield f"{pod.owner}: {image} may be another image tomorrow"


def secrets_are_files(body: Body) -> Iterator[str]:
    for pod in pod_templates(body):
        for container in pod.containers:
            for variable in container.get("env", []):
                if "secretKeyRef" in variable.get("valueFrom", {}):
                    yield f"{pod.owner}: {variable['name']} puts a secret into the environment"
                if _SECRET_NAMES.search(variable["name"]) and variable.get("value") and "FILE" not in variable["name"]:
                    yield f"{pod.owner}: {variable['name']} looks like a secret in clear text"
            if any("secretRef" in source for source in container.get("envFrom", [])):
                yield f"{pod.owner}: a whole Secret becomes the environment"


def servers_are_probed(body: Body) -> Iterator[str]:
    for pod in _ours(body):
        if not pod.is_server:
            continue
        for container in pod.containers:
            missing = [name for name in ("startupProbe", "readinessProbe", "livenessProbe") if name not in container]
            if missing:
                yield f"{pod.owner}/{container['name']} has no {', '.join(missing)}"


def everything_has_a_priority(body: Body) -> Iterator[str]:
    for pod in pod_templates(body):
        if not pod.is_fragment and body["kind"] not in ("EventSource", "Sensor") and not pod.spec.get("priorityClassName"):
            yield f"{pod.owner} has no priority class"


def servers_stop_gently(body: Body) -> Iterator[str]:
    if body["kind"] not in ("Deployment", "StatefulSet"):
        return
    spec = body["spec"]["template"]["spec"]
    drain = max([c.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0) for c in spec["containers"]])
    if spec.get("terminationGracePeriodSeconds", 0) <= drain + 15:
        yield f"{body['kind']}/{body['metadata']['name']}: too little time to stop after {drain} s of draining"


def replicas_are_spread(body: Body) -> Iterator[str]:
    if body["kind"] == "Deployment" and not body["spec"]["template"]["spec"].get("topologySpreadConstraints"):
        yield f"Deployment/{body['metadata']['name']}: all replicas may be on one node"


def namespaces_are_restricted(body: Body) -> Iterator[str]:
    if body["kind"] != "Namespace":
        return
    labels, name = body["metadata"].get("labels", {}), body["metadata"]["name"]
    modes = ("audit", "warn") if name == PRIVILEGED_NAMESPACE else ("enforce", "audit", "warn")
    for mode in modes:
        if labels.get(f"pod-security.kubernetes.io/{mode}") != "restricted":
            yield f"{name}: {mode} is not restricted"
    for mode in ("enforce", "audit", "warn"):
        if not re.fullmatch(r"v1\.\d+", labels.get(f"pod-security.kubernetes.io/{mode}-version", "")):
            yield f"{name}: the version of {mode} is not pinned"


def roles_are_small(body: Body) -> Iterator[str]:
    name = f"{body['kind']}/{body['metadata']['name']}"
    if body["kind"] in ("ClusterRole", "ClusterRoleBinding"):
        yield f"{name}: ours are Roles"
    for rule in body.get("rules", []) if body["kind"] == "Role" else []:
        if "*" in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]:
            yield f"{name} has a wildcard"
        if {"secrets", "pods/exec", "roles", "rolebindings"} & set(rule["resources"]) and not rule.get("resourceNames"):
            yield f"{name} may use {rule['resources']}"
        if {"escalate", "bind", "impersonate"} & set(rule["verbs"]):
            yield f"{name} may {rule['verbs']}"


RULES: tuple[Rule, ...] = (
    containers_are_restricted,
    pods_are_not_root,
    system_calls_are_filtered,
    memory_is_bounded,
    scratch_is_bounded,
    the_host_is_out_of_reach,
    accounts_are_named,
    tokens_are_not_mounted_without_use,
    images_do_not_move,
    secrets_are_files,
    servers_are_probed,
    everything_has_a_priority,
    servers_stop_gently,
    replicas_are_spread,
    namespaces_are_restricted,
    roles_are_small,
)
