"""The Kubernetes API in the few verbs that are used here, with its answers translated into the platform's errors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from clinical_assets.rollout.routing import RouteConflict, RouteRejected, RoutingUnavailable
from clinical_assets.serving.kubernetes.names import MANAGER

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Document = dict[str, Any]
TIMEOUT_S = (2.0, 5.0)
"""To connect, and to answer: shorter than a tick's lease."""

JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"


class LostRace(RouteConflict):
    """Another writer was first (409, or 422 from a failed `test` of a JSON patch): read again, compute again."""


class KubernetesApi:
    """One connection with one identity. Paths are those of the REST API, documents its JSON."""

    def __init__(self, client: ApiClient, manager: str = MANAGER) -> None:
        self._client = client
        self._manager = manager

    @classmethod
    def connect(cls) -> KubernetesApi:
        """With the pod's service account, or outside a cluster with the current context of `$KUBECONFIG`.

        Raises:
            RoutingUnavailable: neither is there.
        """
        from kubernetes import client, config

        configuration = client.Configuration()
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config(configuration)
            else:
                file = os.environ.get("KUBECONFIG")  # given, as the library reads it only once, when it is imported
                config.load_kube_config(file, client_configuration=configuration)
        except (config.ConfigException, OSError) as error:
            raise RoutingUnavailable(
                f"no Kubernetes cluster is configured ({error}); run in a pod with a service account or set KUBECONFIG"
            ) from error
        configuration.retries = False
        return cls(client.ApiClient(configuration))

    def get(self, path: str) -> Document | None:
        """
        Raises:
            RoutingUnavailable: no answer, or no right to read.
        """
        return self._call("GET", path)

    def select(self, collection: str, label: str) -> list[Document]:
        """The objects of a collection with `label` (key=value).

        Raises:
            RoutingUnavailable: no answer, or no right to list.
        """
        found = self._call("GET", collection, query=[("labelSelector", label)])
        return found["items"] if found else []

    def create(self, path: str, body: Document) -> Document:
        """Create the object at `path` (with its name at the end).

        Raises:
            LostRace: it exists already. RouteRejected, RoutingUnavailable.
        """
        return self._call("POST", path.rpartition("/")[0], body) or {}

    def patch(self, path: str, body: list[Document] | Document) -> Document:
        """A list is a JSON patch, a mapping a merge patch.

        Raises:
            LostRace: changed or deleted by another writer. RouteRejected, RoutingUnavailable.
        """
        answer = self._call("PATCH", path, body)
        if answer is None:
            raise LostRace(f"{path} was deleted by another writer")
        return answer

    def delete(self, path: str, uid: str = "") -> None:
        """Without effect if it is gone. Dependants (pods) go first. With `uid` only that very object is deleted.

        Raises:
            LostRace: the object of that name has another `uid`.
        """
        preconditions = {"preconditions": {"uid": uid}} if uid else {}
        self._call("DELETE", path, {"propagationPolicy": "Foreground", **preconditions})

    def log(self, pod: str, container: str, lines: int) -> str:
        """The last lines that a container of the pod at path `pod` has written; "" if there is no such pod.

        Raises:
            RoutingUnavailable: no answer, or no right to read it. RouteRejected: the container has not started.
        """
        query = [("container", container), ("tailLines", str(lines))]
        response = self._send("GET", f"{pod}/log", query=query, timeout=TIMEOUT_S)
        return "" if response is None else response.data.decode(errors="replace")

    def watch(self, path: str, version: str, seconds: int) -> Iterator[Document]:
        """Later states of one object, `{}` after its deletion; ends after `seconds`, or when `version` has expired.

        Raises:
            RoutingUnavailable: no answer.
        """
        collection, _, name = path.rpartition("/")
        query = [("watch", "true"), ("resourceVersion", version), ("timeoutSeconds", str(seconds))]
        query.append(("fieldSelector", f"metadata.name={name}"))
        response = self._send("GET", collection, query=query, timeout=(TIMEOUT_S[0], seconds + TIMEOUT_S[1]))
        try:
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":  # 410 inside the stream: the version is too old, read again
                    return
                yield {} if event["type"] == "DELETED" else event["object"]
        finally:
            response.close()

    def _call(
        self, method: str, path: str, body: Any = None, query: list[tuple[str, str]] | None = None
    ) -> Document | None:
        """The decoded answer, `None` for 404."""
        headers = {"Content-Type": "application/json"}
        if method == "PATCH":
            headers["Content-Type"] = JSON_PATCH if isinstance(body, list) else MERGE_PATCH
        if method in ("POST", "PATCH"):
            query = [("fieldManager", self._manager)]
        response = self._send(method, path, body, headers, query, TIMEOUT_S)
        return None if response is None else json.loads(response.data)

    def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        query: list[tuple[str, str]] | None = None,
        timeout: tuple[float, float] = TIMEOUT_S,
        again: bool = True,
    ) -> Any:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError, ProtocolError

        try:
            return self._client.call_api(
                path,
                method,
                query_params=query or [],
                header_params=headers or {},
                body=body,
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _preload_content=False,
                _request_timeout=timeout,
            )
        except ProtocolError as error:
            if method == "GET" and again:  # an idle connection that the server has closed meanwhile
                return self._send(method, path, body, headers, query, timeout, again=False)
            raise RoutingUnavailable("the Kubernetes API broke the connection off") from error
        except (HTTPError, OSError) as error:
            raise RoutingUnavailable(f"the Kubernetes API does not answer ({type(error).__name__})") from error
        except ApiException as error:
            if error.status == 404:
                return None
            raise _translated(error, method, path) from error


def _translated(error: Any, method: str, path: str) -> Exception:
    said = f"{method} {path}: {error.status} {_message(error)}"
    if error.status == 409 or (error.status == 422 and method == "PATCH"):
        return LostRace(said)
    if error.status == 429 or error.status >= 500 or (method == "GET" and error.status in (401, 403)):
        return RoutingUnavailable(f"the Kubernetes API cannot be used: {said}")
    if error.status in (401, 403):
        said += "; does the Role in deploy/kubernetes/base/rbac.yaml bind this service account?"
    return RouteRejected(said)


def _message(error: Any) -> str:
    try:
        return json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def _lines(response: Any) -> Iterator[bytes]:
    """Whole lines of a stream; a stream that breaks off simply ends."""
    from urllib3.exceptions import HTTPError

    rest = b""
    try:
        for chunk in response.stream(amt=None, decode_content=False):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line for line in whole if line.strip())
    except (HTTPError, OSError):
        return
