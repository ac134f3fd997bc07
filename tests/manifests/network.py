"""What NetworkPolicies allow, as the Kubernetes documentation defines it (named ports and IPv6 are not used here)."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Pod:
    """A pod by the namespace it is in and the labels it has."""

    namespace: str
    labels: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"{self.namespace}/{next(iter(self.labels.values()))}"


@dataclass(frozen=True)
class Outside:
    """An address that is no pod's."""

    address: str

    @property
    def name(self) -> str:
        return self.address


class Network:
    """A cluster with these policies and no others."""

    def __init__(self, policies: Sequence[Body]) -> None:
        self._policies = policies

    def allows(self, source: Pod, target: Pod | Outside, port: int) -> bool:
        """Whether a TCP connection is possible: the source may leave and the target may be entered."""
        leaves = self._permits(source, target, port, "Egress")
        return leaves and (isinstance(target, Outside) or self._permits(target, source, port, "Ingress"))

    def _permits(self, pod: Pod, peer: Pod | Outside, port: int, direction: str) -> bool:
        policies = [p["spec"] for p in self._policies if _selects(p, pod) and direction in p["spec"]["policyTypes"]]
        # A pod that no policy selects is open; otherwise the rules of all policies add up.
        return not policies or any(
            _matches(rule, peer, port, pod.namespace, direction) for spec in policies for rule in spec.get(direction.lower(), [])
        )


def _selects(policy: Body, pod: Pod) -> bool:
    return policy["metadata"]["namespace"] == pod.namespace and _labels_match(policy["spec"]["podSelector"], pod.labels)


def _matches(rule: Body, peer: Pod | Outside, port: int, namespace: str, direction: str) -> bool:
    ports = [entry["port"] for entry in rule.get("ports", []) if entry.get("protocol", "TCP") == "TCP"]
    if rule.get("ports") and port not in ports:
        return False
    peers = rule.get("to" if direction == "Egress" else "from")
    return not peers or any(_is(entry, peer, namespace) for entry in peers)


def _is(entry: Body, peer: Pod | Outside, namespace: str) -> bool:
    if "ipBlock" in entry:
        if isinstance(peer, Pod):
            return False
        address = ipaddress.ip_address(peer.address)
        block = entry["ipBlock"]
        outside = any(address in ipaddress.ip_network(cidr) for cidr in block.get("except", []))
        return address in ipaddress.ip_network(block["cidr"]) and not outside
    if isinstance(peer, Outside):
        return False
    if "namespaceSelector" in entry:
        if not _labels_match(entry["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace}):
            return False
    elif peer.namespace != namespace:
        return False
    return _labels_match(entry.get("podSelector", {}), peer.labels)


def _labels_match(selector: Body, labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_expression_holds(expression, labels) for expression in selector.get("matchExpressions", []))


def _expression_holds(expression: Body, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values", [])
    match expression["operator"]:
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "In":
            return value in values
        case _:
            return value not in values
