"""The part of the EKS API that moto does not have: add-ons, access entries, Pod Identity associations. Kept in memory."""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

ACCOUNT = "123456789012"
REGION = "us-east-1"

Answer = tuple[int, dict[str, str], str]


@dataclass
class EksAccess:
    """What was created; three collections by the key that AWS uses."""

    addons: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    entries: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    policies: dict[tuple[str, str], dict[str, dict[str, Any]]] = field(default_factory=dict)
    associations: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def url_paths(self) -> dict[str, Callable[..., Answer]]:
        """Routes in the form of moto's url_paths."""
        one, rest = "{0}/clusters/(?P<name>[^/]+)", "(?P<rest>.+)"
        collections = {"addons": self.addon, "access-entries": self.access_entry, "pod-identity-associations": self.association}
        routes: dict[str, Callable[..., Answer]] = {}
        for collection, handler in collections.items():
            routes[f"{one}/{collection}$"] = handler
            routes[f"{one}/{collection}/{rest}$"] = handler
        return routes

    def addon(self, request: Any, full_url: str, headers: Any) -> Answer:
        """CreateAddon, DescribeAddon, DeleteAddon; Pod Identity associations of an add-on are made with it."""
        cluster, name = _parts(full_url, "addons")
        if request.method != "POST":
            return _one(self.addons, (cluster, name), request.method, "addon")
        body = _body(request)
        name = body["addonName"]
        made = [
            self._associate(cluster, {"namespace": "kube-system", **one})["associationArn"]
            for one in body.get("podIdentityAssociations", [])
        ]
        self.addons[cluster, name] = _stamped(body) | {
            "clusterName": cluster,
            "addonArn": f"arn:aws:eks:{REGION}:{ACCOUNT}:addon/{cluster}/{name}/{uuid.uuid4()}",
            "addonVersion": body.get("addonVersion", "v1.0.0-eksbuild.1"),
            "status": "ACTIVE",
            "health": {"issues": []},
            "podIdentityAssociations": made,
        }
        return _json({"addon": self.addons[cluster, name]})

    def access_entry(self, request: Any, full_url: str, headers: Any) -> Answer:
        """Access entries, and the policies that are associated with them."""
        cluster, rest = _parts(full_url, "access-entries")
        principal, policies, policy = rest.partition("/access-policies")
        key = (cluster, principal)
        if policies:
            return self._access_policy(request, key, policy.removeprefix("/"))
        if request.method == "POST" and not principal:
            body = _body(request)
            key = (cluster, body["principalArn"])
            self.entries[key] = (
                {"type": "STANDARD", "kubernetesGroups": [], "username": body["principalArn"]}
                | _stamped(body)
                | {
                    "clusterName": cluster,
                    "accessEntryArn": f"arn:aws:eks:{REGION}:{ACCOUNT}:access-entry/{cluster}/{uuid.uuid4()}",
                }
            )
            return _json({"accessEntry": self.entries[key]})
        return _one(self.entries, key, request.method, "accessEntry")

    def _access_policy(self, request: Any, key: tuple[str, str], policy: str) -> Answer:
        held = self.policies.setdefault(key, {})
        about = {"clusterName": key[0], "principalArn": key[1]}
        if request.method == "GET":
            return _json(about | {"associatedAccessPolicies": list(held.values())})
        if request.method == "DELETE":
            held.pop(policy, None)
            return _json({})
        body = _body(request)
        held[body["policyArn"]] = _stamped(body, associatedAt=time.time())
        return _json(about | {"associatedAccessPolicy": held[body["policyArn"]]})

    def association(self, request: Any, full_url: str, headers: Any) -> Answer:
        """Pod Identity associations; one account of a namespace has at most one."""
        cluster, identifier = _parts(full_url, "pod-identity-associations")
        if request.method == "POST":
            body = _body(request)
            wanted = (cluster, body["namespace"], body["serviceAccount"])
            if wanted in {(one["clusterName"], one["namespace"], one["serviceAccount"]) for one in self.associations.values()}:
                return _json({"__type": "ResourceInUseException", "message": "association already exists"}, status=409)
            return _json({"association": self._associate(cluster, body)})
        if not identifier:
            return _json({"associations": [one for (owner, _), one in self.associations.items() if owner == cluster]})
        return _one(self.associations, (cluster, identifier), request.method, "association")

    def _associate(self, cluster: str, body: dict[str, Any]) -> dict[str, Any]:
        identifier = f"a-{uuid.uuid4().hex[:17]}"
        made = _stamped(body) | {
            "clusterName": cluster,
            "associationId": identifier,
            "associationArn": f"arn:aws:eks:{REGION}:{ACCOUNT}:podidentityassociation/{cluster}/{identifier}",
        }
        self.associations[cluster, identifier] = made
        return made


def _parts(full_url: str, collection: str) -> tuple[str, str]:
    cluster, _, rest = urlsplit(full_url).path.partition("/clusters/")[2].partition(f"/{collection}")
    return unquote(cluster), unquote(rest.removeprefix("/"))


def _body(request: Any) -> dict[str, Any]:
    return dict(json.loads(request.data))


def _stamped(body: dict[str, Any], **times: float) -> dict[str, Any]:
    kept = {key: value for key, value in body.items() if key not in {"clientRequestToken", "resolveConflicts"}}
    return {"tags": {}} | kept | {"createdAt": time.time(), "modifiedAt": time.time()} | times


def _one(collection: dict[tuple[str, str], dict[str, Any]], key: tuple[str, str], method: str, name: str) -> Answer:
    if key not in collection:
        return _json({"message": f"no {name} {key[1]}"}, status=404, fault="ResourceNotFoundException")
    return _json({name: collection.pop(key) if method == "DELETE" else collection[key]})


def _json(body: dict[str, Any], *, status: int = 200, fault: str = "") -> Answer:
    headers = {"Content-Type": "application/json"} | ({"x-amzn-errortype": fault} if fault else {})
    return status, headers, json.dumps(body)
