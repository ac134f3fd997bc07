"""The Argo server: the connection, and its errors in words that a person can act on."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sightline.errors import EnvironmentFault, SightlineError, TemporaryError, UsageError

NAMESPACE = "sightline"
TIMEOUT_S = 30.0
_CHANGED, _BUSY = 409, 429


@dataclass(frozen=True)
class Server:
    """One namespace of an Argo server.

    Attributes:
        client: the generated client that every service is reached through.
        namespace: where runs, templates and schedules are.
        host: the server's address.
    """

    client: Any
    namespace: str
    host: str

    # The generated classes know the fields of their own version only; a newer server answers with more.
    options = {"_check_return_type": False, "_request_timeout": TIMEOUT_S}  # noqa: RUF012 - handed on, never changed

    def service(self, name: str) -> Any:
        """The generated API with that name: Workflow, WorkflowTemplate, CronWorkflow, Sensor or EventSource."""
        from argo_workflows import apis

        return getattr(apis, f"{name}ServiceApi")(self.client)


@contextlib.contextmanager
def connect(host: str = "", namespace: str = NAMESPACE) -> Iterator[Server]:
    """The server at an address, with the token of ARGO_TOKEN; closed at the end.

    Args:
        host: http(s)://host:port; empty: SIGHTLINE_ARGO_HOST.
        namespace: of the runs.

    Raises:
        UsageError: there is no address, or it is none.
    """
    address = (host or os.environ.get("SIGHTLINE_ARGO_HOST", "")).rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise UsageError(
            f"'{address}' is not the address of an Argo server" if address else "the Argo server's address is not known",
            remedy="set SIGHTLINE_ARGO_HOST or --host, e.g. https://localhost:2746 after "
            "`kubectl -n argo port-forward service/argo-server 2746:2746`",
        )
    with _client(address) as client:
        yield Server(client, namespace, address)


def _client(address: str) -> Any:
    try:
        from argo_workflows import ApiClient, Configuration
    except ModuleNotFoundError as error:
        raise EnvironmentFault("the argo-workflows package is not installed", remedy="pip install argo-workflows==6.7.18") from error
    configuration = Configuration(host=address, ssl_ca_cert=os.environ.get("SIGHTLINE_ARGO_CA") or None)
    token = os.environ.get("ARGO_TOKEN", "")
    if token:
        # `argo auth token` prints the word Bearer, a file of a service account does not have it.
        configuration.api_key["BearerToken"] = token if token.startswith("Bearer ") else f"Bearer {token}"
    return ApiClient(configuration)


@contextlib.contextmanager
def explained(what: str, server: Server, *, missing: str = "") -> Iterator[None]:
    """Turns the client's exceptions into ours.

    Args:
        what: the attempt, as in "stop run x".
        server: whose address is named.
        missing: what to say when the server knows no such object.

    Raises:
        TemporaryError: nobody answered, or the server is busy.
        EnvironmentFault: the token is refused, or a kind is not served.
        UsageError: the server refused the request.
    """
    from argo_workflows.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except HTTPError as error:
        raise TemporaryError(
            f"could not {what}: no Argo server answers at {server.host}", remedy="check SIGHTLINE_ARGO_HOST and that the server runs"
        ) from error
    except ApiException as error:
        raise _fault(error, what, server, missing) from error


def message_of(error: Any) -> str:
    """The server's own words."""
    with contextlib.suppress(TypeError, ValueError, AttributeError):
        return str(json.loads(error.body)["message"])
    return str(error.reason or f"status {error.status}")


def _fault(error: Any, what: str, server: Server, missing: str) -> SightlineError:
    text = f"could not {what}: {message_of(error)}"
    if error.status in {401, 403}:
        return EnvironmentFault(
            text, remedy=f"set ARGO_TOKEN to what `argo auth token` prints; its account needs rights in namespace {server.namespace}"
        )
    if error.status == 404:
        return UsageError(missing or text, remedy=f"see `python -m pipelines.argo list` (namespace {server.namespace})")
    if error.status in {_CHANGED, _BUSY} or error.status >= 500:
        return TemporaryError(text, remedy="the same command may be repeated")
    return UsageError(text)
