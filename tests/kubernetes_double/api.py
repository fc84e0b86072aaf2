"""The rules of the Kubernetes API: optimistic concurrency, patches, field managers, RBAC, admission, watches."""

from __future__ import annotations

import copy
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .documents import Document, PatchFailed, fields_v1, json_patch, merge_patch, owned_part, paths_of, without

PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)/namespaces/(?P<ns>[^/]+)/(?P<kind>[^/]+)(?:/(?P<name>[^/]+))?"
)
ISTIO = "networking.istio.io"
ADMIN = "admin"


class Refusal(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        self.status = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
        super().__init__(message)

    @property
    def code(self) -> int:
        return self.status["code"]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    body: Any = None
    token: str = ADMIN


@dataclass
class ApiDouble:
    """All objects of one cluster.

    Attributes:
        rules: RBAC rules by bearer token; `ADMIN` may do everything.
        outage: "" or how the server fails: "refuse" (connection closed), "503", "hang", or "lost_answer" (the write
            happens and its answer does not arrive).
        before_write: called before each write is judged; tests put a concurrent writer here.
        after_write: called with the request, the object before and the object after each write.
        pods_ready: whether Deployments get ready pods.
        logs: of pods, by path.
    """

    objects: dict[str, Document] = field(default_factory=dict)
    rules: dict[str, list[Document]] = field(default_factory=dict)
    outage: str = ""
    latency: float = 0.0
    before_write: Callable[[Request], None] | None = None
    after_write: Callable[[Request, Document | None, Document], None] | None = None
    pods_ready: bool = True
    logs: dict[str, str] = field(default_factory=dict)
    version: int = 100
    events: list[tuple[int, str, str, Document]] = field(default_factory=list)
    oldest: int = 0
    changed: threading.Condition = field(default_factory=lambda: threading.Condition(threading.RLock()))

    def handle(self, request: Request) -> tuple[int, Document]:
        """HTTP status and body."""
        try:
            if request.method in ("POST", "PUT", "PATCH") and self.before_write is not None:
                self.before_write(request)
            with self.changed:
                return self._handle(request)
        except Refusal as refusal:
            return refusal.code, refusal.status

    def _handle(self, request: Request) -> tuple[int, Document]:
        found = PATH.fullmatch(request.path)
        if found is None:
            raise Refusal(404, "NotFound", f"the server could not find the requested resource {request.path}")
        name = found["name"] or ""
        self._authorise(request, found["group"] or "", found["kind"], name)
        if request.method == "GET":
            return (200, self._named(request.path)) if name else (200, self._list(request))
        if request.method == "DELETE":
            held = self._named(request.path)
            wanted = ((request.body or {}).get("preconditions") or {}).get("uid")
            if wanted is not None and wanted != held["metadata"]["uid"]:
                raise Refusal(409, "Conflict", f"the UID in the precondition ({wanted}) is not that of the object")
            del self.objects[request.path]
            self._publish("DELETED", request.path, held)
            return 200, {"kind": "Status", "status": "Success"}
        if request.method == "POST":
            path = f"{request.path}/{request.body['metadata']['name']}"
            if path in self.objects:
                raise Refusal(409, "AlreadyExists", f"{found['kind']} {path!r} already exists")
            return 201, self._store(path, None, copy.deepcopy(request.body), request, "Update")
        if request.method == "PUT":
            held = self._named(request.path)
            self._same_version(request.body, held, required=True)
            return 200, self._store(request.path, held, copy.deepcopy(request.body), request, "Update")
        return self._patch(request, found["group"] or "")

    def _patch(self, request: Request, group: str) -> tuple[int, Document]:
        if request.content_type == "application/apply-patch+yaml":
            return self._server_side_apply(request)
        held = self._named(request.path)
        if request.content_type == "application/json-patch+json":
            try:
                after = json_patch(held, request.body)
            except PatchFailed as error:
                raise Refusal(422, "Invalid", str(error)) from error
        elif request.content_type == "application/merge-patch+json":
            self._same_version(request.body, held)
            after = merge_patch(held, request.body)
        elif group == ISTIO:
            raise Refusal(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
        else:
            raise Refusal(415, "UnsupportedMediaType", f"{request.content_type} is not supported by this double")
        return 200, self._store(request.path, held, after, request, "Update")

    def _server_side_apply(self, request: Request) -> tuple[int, Document]:
        held, manager = self.objects.get(request.path), request.query["fieldManager"]
        wanted = owned_part(request.body)
        if held is None:
            return 201, self._store(request.path, None, copy.deepcopy(request.body), request, "Apply")
        self._same_version(request.body, held)
        present = owned_part(held)
        taken: list[str] = []
        before: set[tuple[str, ...]] = set()
        for entry in held["metadata"].get("managedFields", []):
            owned = paths_of(entry["fieldsV1"])
            if (entry["manager"], entry["operation"]) == (manager, "Apply"):
                before = owned
            elif any(path in wanted and wanted[path] != present.get(path) for path in owned):
                taken.append(entry["manager"])
        if taken and request.query.get("force") != "true":
            raise Refusal(409, "Conflict", f"Apply failed with {len(taken)} conflicts: conflicts with {taken}")
        after = merge_patch(held, {k: v for k, v in request.body.items() if k != "metadata"})
        after["metadata"] = merge_patch(held["metadata"], {
            key: request.body["metadata"][key] for key in ("labels", "annotations") if key in request.body["metadata"]
        })  # fmt: skip
        for path in before - set(wanted):
            without(after, path)
        return 200, self._store(request.path, held, after, request, "Apply", set(wanted))

    def _store(
        self, path: str, held: Document | None, after: Document, request: Request, operation: str,
        applied: set[tuple[str, ...]] | None = None,
    ) -> Document:  # fmt: skip
        _admit(path, after)
        metadata = after.setdefault("metadata", {})
        if held is not None:
            for key in ("resourceVersion", "generation", "managedFields", "uid", "creationTimestamp"):
                metadata[key] = held["metadata"][key]
            new, old = owned_part(after), owned_part(held)
            touched = {path for path in new.keys() | old.keys() if new.get(path) != old.get(path)}
            if not touched and applied is None and after.get("status") == held.get("status"):
                return copy.deepcopy(held)
            metadata["generation"] += {k: v for k, v in after.items() if k not in ("metadata", "status")} != {
                k: v for k, v in held.items() if k not in ("metadata", "status")
            }
        else:
            touched = set(owned_part(after))
            metadata |= {"generation": 1, "uid": str(self.version), "managedFields": []}
            metadata["creationTimestamp"] = _timestamp(self.version)
        self._own(metadata, request.query.get("fieldManager", "unknown"), operation, applied or touched, after)
        self._write(path, after, "MODIFIED" if held else "ADDED")
        if self.after_write is not None:
            self.after_write(request, held, after)
        if path.rpartition("/")[0].endswith("/deployments"):
            self._run_pods(path)
        return copy.deepcopy(self.objects[path])

    def _own(self, metadata: Document, manager: str, operation: str, paths: set[Any], after: Document) -> None:
        """What was written belongs to its writer, and to nobody else unless both applied the same value."""
        existing = set(owned_part(after))
        entries: dict[tuple[str, str], Document] = {}
        for entry in metadata["managedFields"]:
            left = (paths_of(entry["fieldsV1"]) - paths) & existing
            if left:
                entries[entry["manager"], entry["operation"]] = {**entry, "fieldsV1": fields_v1(left)}
        mine = entries.get((manager, operation), {}).get("fieldsV1")
        owned = ((paths_of(mine) if mine and operation == "Update" else set()) | paths) & existing
        if owned:
            entries[manager, operation] = {
                "manager": manager, "operation": operation, "time": _timestamp(self.version + 1),
                "fieldsType": "FieldsV1", "fieldsV1": fields_v1(owned),
            }  # fmt: skip
        metadata["managedFields"] = list(entries.values())

    def _write(self, path: str, document: Document, event: str) -> None:
        self.version += 1
        document["metadata"]["resourceVersion"] = str(self.version)
        self.objects[path] = document
        self.events.append((self.version, event, path, copy.deepcopy(document)))
        self.changed.notify_all()

    def _publish(self, event: str, path: str, document: Document) -> None:
        self.version += 1
        self.events.append((self.version, event, path, document))
        self.changed.notify_all()

    def _run_pods(self, path: str) -> None:
        """What the cluster does with a Deployment, at once: its pods get ready or do not."""
        document = copy.deepcopy(self.objects[path])
        replicas = document["spec"].get("replicas", 1)
        ready = replicas if self.pods_ready else 0
        status = {"observedGeneration": document["metadata"]["generation"], "replicas": replicas}
        if ready:
            status["readyReplicas"] = ready
        else:
            message = {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"}
            status["conditions"] = [{**message, "message": "Deployment does not have minimum availability."}]
        if document.get("status") != status:
            self._write(path, {**document, "status": status}, "MODIFIED")

    def set_status(self, path: str, status: Document) -> None:
        """What a controller does; without effect on an object that is gone."""
        with self.changed:
            if path in self.objects:
                self._write(path, {**copy.deepcopy(self.objects[path]), "status": status}, "MODIFIED")

    def log(self, request: Request) -> str:
        """What the pod of a path `…/pods/<name>/log` has written.

        Raises:
            Refusal: no such pod, or no right to `pods/log`.
        """
        pod = request.path.removesuffix("/log")
        self._authorise(request, "", "pods/log", pod.rpartition("/")[2])
        self._named(pod)
        return self.logs.get(pod, "")

    def set_pods_ready(self, ready: bool) -> None:
        with self.changed:
            self.pods_ready = ready
            for path in [path for path in self.objects if "/deployments/" in path]:
                self._run_pods(path)

    def forget_events(self) -> None:
        """Compaction: a watch from before now gets 410."""
        with self.changed:
            self.oldest, self.events = self.version, []

    def _named(self, path: str) -> Document:
        if path not in self.objects:
            raise Refusal(404, "NotFound", f"{path.rpartition('/')[2]!r} not found")
        return copy.deepcopy(self.objects[path])

    def _list(self, request: Request) -> Document:
        key, _, value = request.query.get("labelSelector", "").partition("=")
        items = [
            copy.deepcopy(document)
            for path, document in self.objects.items()
            if path.rpartition("/")[0] == request.path
            and (not key or document["metadata"].get("labels", {}).get(key) == value)
        ]
        return {"kind": "List", "metadata": {"resourceVersion": str(self.version)}, "items": items}

    def _same_version(self, body: Document, held: Document, required: bool = False) -> None:
        stated = body.get("metadata", {}).get("resourceVersion")
        if stated is None and required:
            raise Refusal(422, "Invalid", "metadata.resourceVersion: Invalid value: 0x0: must be specified")
        if stated is not None and stated != held["metadata"]["resourceVersion"]:
            raise Refusal(409, "Conflict", "the object has been modified; please apply your changes to the latest")

    def _authorise(self, request: Request, group: str, kind: str, name: str) -> None:
        if request.token == ADMIN:
            return
        if request.token not in self.rules:
            raise Refusal(401, "Unauthorized", "Unauthorized")
        verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(request.method, "get")
        if verb == "get" and not name:
            verb = "watch" if request.query.get("watch") else "list"
        named = name or request.query.get("fieldSelector", "").removeprefix("metadata.name=")
        for rule in self.rules[request.token]:
            allowed = verb in rule["verbs"] and group in rule["apiGroups"] and kind in rule["resources"]
            if allowed and ("resourceNames" not in rule or (named in rule["resourceNames"] and verb != "create")):
                return
        raise Refusal(403, "Forbidden", f'{kind} "{name}" is forbidden: cannot {verb} in API group "{group}"')


def _admit(path: str, document: Document) -> None:
    """istiod's webhook: no sum of 100 is asked for, and no subset need exist."""
    if "/virtualservices/" not in path:
        return
    denied = 'admission webhook "validation.istio.io" denied the request: configuration is invalid: '
    http = document.get("spec", {}).get("http") or []
    if not http:
        raise Refusal(400, "BadRequest", f"{denied}http, tcp or tls must be provided in virtual service")
    for entry in http:
        weights = [destination.get("weight", 0) for destination in entry.get("route", [])]
        if any(weight < 0 for weight in weights) or (len(weights) > 1 and sum(weights) == 0):
            raise Refusal(400, "BadRequest", f"{denied}weight of {entry.get('name')} must be >= 0 and not all zero")
        shares = [mirror.get("percentage", {}).get("value", 100) for mirror in entry.get("mirrors", [])]
        if any(share > 100 for share in shares):
            raise Refusal(400, "BadRequest", f"{denied}mirror percentage must be in range 0..100")


def _timestamp(version: int) -> str:
    """Rises with every write; the real one has a resolution of one second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_700_000_000 + version))
