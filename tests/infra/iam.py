"""A small evaluator of IAM policies, for tests: what identity policies and a bucket policy together allow one principal to do.

It knows the elements and condition operators that our policies use, and refuses what it does not know instead of guessing. It is about one
account: a resource policy can deny, and its allows are not needed, because every identity has its own.
"""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """One call: who does what to which resource, and what the service knows about the call (condition keys)."""

    principal: str
    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def is_allowed(request: Request, *, identity: Iterable[Policy], resource: Iterable[Policy] = ()) -> bool:
    """Whether an identity policy allows the request and no policy denies it."""
    identity, resource = list(identity), list(resource)
    every = [(statement, False) for policy in identity for statement in _statements(policy)]
    every += [(statement, True) for policy in resource for statement in _statements(policy)]
    matching = [(statement, shared) for statement, shared in every if _matches(statement, request, has_principal=shared)]
    if any(statement["Effect"] == "Deny" for statement, _ in matching):
        return False
    return any(statement["Effect"] == "Allow" for statement, shared in matching if not shared)


def _statements(policy: Policy) -> list[Mapping[str, Any]]:
    return _listed(policy["Statement"])


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _matches(statement: Mapping[str, Any], request: Request, *, has_principal: bool) -> bool:
    unknown = set(statement) - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    if unknown or has_principal != ("Principal" in statement):
        raise ValueError(f"this evaluator does not know a statement with {sorted(unknown) or 'such a principal'}: {statement}")
    if has_principal and not _names(statement["Principal"], request.principal):
        return False
    if not any(_like(action.lower(), request.action.lower()) for action in _listed(statement["Action"])):
        return False
    if not any(_like(resource, request.resource) for resource in _listed(statement["Resource"])):
        return False
    conditions = statement.get("Condition", {})
    return all(
        _holds(operator, _listed(wanted), _value(request, key)) for operator, keys in conditions.items() for key, wanted in keys.items()
    )


def _names(principal: Any, who: str) -> bool:
    if principal == "*":
        return True
    return any(name in {"*", who} for name in _listed(principal.get("AWS", [])))


def _value(request: Request, key: str) -> str | None:
    known = {"aws:principalarn": request.principal, "aws:securetransport": "true"}
    known |= {name.lower(): value for name, value in request.context.items()}
    return known.get(key.lower())


def _holds(operator: str, wanted: list[str], value: str | None) -> bool:
    if operator == "Null":
        return (value is None) == (wanted == ["true"])
    name, _, lenient = operator.partition("IfExists")
    if operator.endswith("IfExists") and lenient == "" and value is None:
        return True
    tests = {
        "StringEquals": lambda: value in wanted,
        "StringNotEquals": lambda: value not in wanted,
        "StringLike": lambda: value is not None and any(_like(pattern, value) for pattern in wanted),
        "ArnEquals": lambda: value is not None and any(_like(pattern, value) for pattern in wanted),
        "ArnNotEquals": lambda: value is None or not any(_like(pattern, value) for pattern in wanted),
        "Bool": lambda: value in wanted,
    }
    if name not in tests:
        raise ValueError(f"this evaluator does not know the operator {operator}")
    return tests[name]()


def _like(pattern: str, text: str) -> bool:
    # IAM knows only * and ?; fnmatch would also read [ as a set.
    return re.fullmatch(fnmatch.translate(pattern.replace("[", "[[]")), text) is not None
