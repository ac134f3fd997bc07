"""Tells another system of a decision; a decision that cannot be delivered is an error, never silence."""

import time
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from sightline.errors import EnvironmentFault, TemporaryError, UsageError
from sightline.monitor.decide import Decision
from sightline.store.digest import sha256_value

_ATTEMPTS = 3
_TIMEOUT_S = 10.0
_PAUSE_S = 0.5
_TOLD = frozenset({"label", "retrain"})


class Message(BaseModel):
    """The body of the POST.

    Attributes:
        key: the same for the same decision of the same run, however often it is delivered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    decision: str
    reason: str
    model: str
    run_id: str
    key: str


def decision_key(model: str, run_id: str) -> str:
    """A name for one decision that is also a valid name in Kubernetes."""
    return f"drift-{sha256_value([model, run_id])[:16]}"


def deliver(url: str, decision: Decision, *, model: str, run_id: str) -> None:
    """POSTs a decision to ``label`` or ``retrain``; does nothing for the others or without an address.

    Args:
        url: http or https, without credentials in it; redirects are not followed.
        decision: as it was admitted.
        model: digest of the model that drifted.
        run_id: the monitor's run.

    Raises:
        UsageError: the address cannot be used.
        TemporaryError: nobody answered, or with 5xx or 429, three times; the same call may be repeated.
        EnvironmentFault: the receiver refused the message.
    """
    if not url or decision.kind not in _TOLD:
        return
    _check(url)
    message = Message(decision=decision.kind, reason=decision.reason, model=model, run_id=run_id, key=decision_key(model, run_id))
    problem = ""
    for attempt in range(_ATTEMPTS):
        time.sleep(_PAUSE_S * (2**attempt - 1))
        problem = _post(url, message.model_dump_json())
        if not problem:
            return
    raise TemporaryError(f"the decision to {decision.kind} was not delivered to {_host(url)}: {problem}", remedy="run the monitor again")


def _post(url: str, body: str) -> str:
    """What went wrong and may go right the next time; empty when it was delivered."""
    import httpx

    try:
        answer = httpx.post(
            url, content=body, headers={"content-type": "application/json"}, timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False
        )
    except httpx.HTTPError as error:
        return f"{type(error).__name__} {error}".strip()
    if answer.is_success:
        return ""
    if answer.status_code >= 500 or answer.status_code == 429:
        return f"status {answer.status_code}"
    raise EnvironmentFault(
        f"{_host(url)} refused the decision with status {answer.status_code}", remedy="check monitor.webhook; redirects are not followed"
    )


def _check(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError("monitor.webhook is not an http(s) address", remedy="write https://host/path")
    if parts.username or parts.password:
        raise UsageError("monitor.webhook holds credentials", remedy="leave them out; addresses are shown in logs and user interfaces")


def _host(url: str) -> str:
    return urlsplit(url).netloc
