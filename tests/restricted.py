"""What Pod Security `restricted`, and a read-only root file system, ask of a pod."""

from collections.abc import Mapping
from typing import Any


def violations(pod: Mapping[str, Any]) -> list[str]:
    """Everything in the pod's ``spec`` that goes beyond what is allowed; empty when nothing does."""
    found = []
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
        found.append("the pod may run as root")
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        found.append("the pod has no seccomp profile")
    if pod.get("hostNetwork") or any("hostPath" in volume for volume in pod.get("volumes", ())):
        found.append("the pod reaches into its host")
    for container in pod["containers"]:
        found += [f"{container['name']}: {problem}" for problem in _problems(container.get("securityContext", {}))]
    return found


def _problems(context: Mapping[str, Any]) -> list[str]:
    found = []
    if context.get("allowPrivilegeEscalation") is not False:
        found.append("it may gain privileges")
    if context.get("capabilities") != {"drop": ["ALL"]}:
        found.append("it keeps capabilities")
    if context.get("readOnlyRootFilesystem") is not True:
        found.append("its root file system can be written")
    return found
