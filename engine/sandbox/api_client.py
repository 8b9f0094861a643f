"""The sandbox's own small client of an API server, for preparing and checking clusters from outside the engine.

It is blocking, because the fixtures that start clusters hold no event loop; `ApiServer` wraps it for tests that do. It shares
nothing with the engine's client, so that a fault there cannot hide itself.
"""

from __future__ import annotations

import http.client
import json
import select
import ssl
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from engine.sandbox.processes import SandboxError

APPLY = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"

FIELD_MANAGER = "sandbox"

REQUEST_TIMEOUT_SECONDS = 30.0
"""A busy two-core machine answers in milliseconds to a second; a paused server never does."""

_CRD_POLL_SECONDS = 0.05

Json = dict[str, Any]


class Unanswered(SandboxError):
    """Raised when no HTTP answer came: refused, timed out, cut off."""


class ApplyFailed(SandboxError):
    """Raised when a document cannot be applied; names the document and says what the API server said."""


class ApiClient:
    """One identity at one API server. Keeps connections; safe to use from several threads.

    Args:
        port: of the server.
        context: trusts the cluster's authority and holds the client certificate, if there is one.
        token: bearer token; empty: none.
        host: of the server, one of the names in its certificate.

    """

    def __init__(self, port: int, context: ssl.SSLContext, *, token: str = "", host: str = "127.0.0.1") -> None:
        self._host = host
        self._port = port
        self._context = context
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._idle: list[http.client.HTTPSConnection] = []
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        timeout: float = REQUEST_TIMEOUT_SECONDS,
    ) -> tuple[int, Json]:
        """Send one request and return (status, parsed JSON; {} if the answer is not JSON).

        Args:
            method: HTTP method.
            path: absolute path with its query.
            body: anything that JSON can say (JSON is YAML, so it fits APPLY too); None: no body.
            content_type: of the body.
            timeout: seconds for each step of the exchange.

        Raises:
            Unanswered: when no answer came.

        """
        headers = {**self._headers, "Accept": "application/json"}
        payload = None if body is None else json.dumps(body).encode()
        if payload is not None:
            headers["Content-Type"] = content_type
        connection = self._connection(timeout)
        try:
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unanswered(f"{method} {path} at {self._host}:{self._port}: no answer: {error!r}") from error
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, json.loads(content) if is_json else {}

    def apply_yaml(self, source: str | Path) -> list[Json]:
        """Apply every document of some YAML by server-side apply, and return what the server made of them.

        Custom resource definitions are waited for, so that objects of theirs may follow in the same text.

        Args:
            source: YAML text, or the Path of a file of it.

        Raises:
            ApplyFailed: at the first document that the server refuses.
            Unanswered: when no answer came.

        """
        text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
        return [self.apply(document) for document in yaml.safe_load_all(text) if document]

    def apply(self, document: Json) -> Json:
        """Apply one document, as `apply_yaml` does."""
        name = document["metadata"]["name"]
        path = f"{self._path_of(document)}/{quote(name)}?fieldManager={FIELD_MANAGER}&force=true"
        status, answer = self.request("PATCH", path, document, content_type=APPLY)
        if status >= 300:
            raise ApplyFailed(f"{document['kind']} {name}: {status} {answer.get('message', '')}")
        if document["kind"] == "CustomResourceDefinition":
            self.wait_for_crd(name)
        return answer

    def wait_for_crd(self, name: str, timeout: float = REQUEST_TIMEOUT_SECONDS) -> None:
        """Return once a custom resource definition is established, discovered, and its objects can be listed.

        Args:
            name: `<plural>.<group>`.
            timeout: seconds until giving up.

        Raises:
            ApplyFailed: when that does not happen in time; says what the API server says of it.

        """
        deadline = time.monotonic() + timeout
        while True:
            status, crd = self.request("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{quote(name)}")
            if status == 200 and self._is_served(crd):
                return
            if time.monotonic() > deadline:
                conditions = crd.get("status", {}).get("conditions", crd.get("message", ""))
                raise ApplyFailed(f"{name} is not served after {timeout:g} s: {conditions}")
            time.sleep(_CRD_POLL_SECONDS)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPSConnection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._context)
            if connection.sock is not None and not _has_ended(connection.sock):
                connection.sock.settimeout(timeout)
                return connection
            connection.close()

    def _is_served(self, crd: Json) -> bool:
        """Return whether every served version of a definition can be used; each of these steps follows some later."""
        conditions = crd.get("status", {}).get("conditions") or ()  # the status starts as null
        if not any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
            return False
        spec = crd["spec"]
        plural = spec["names"]["plural"]
        for version in spec["versions"]:
            root = f"/apis/{spec['group']}/{version['name']}"
            if version["served"] and (
                self.request("GET", f"{root}/{plural}?limit=1")[0] != 200
                or plural not in [resource["name"] for resource in self.request("GET", root)[1].get("resources", ())]
            ):
                return False
        return True

    def _path_of(self, document: Json) -> str:
        """Return the path of a document's collection, from discovery."""
        version, kind = document["apiVersion"], document["kind"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        status, found = self.request("GET", root)
        for resource in found.get("resources", ()):
            if resource["kind"] == kind and "/" not in resource["name"]:
                namespace = document["metadata"].get("namespace", "default")
                scope = f"/namespaces/{quote(namespace)}" if resource["namespaced"] else ""
                return f"{root}{scope}/{resource['name']}"
        raise ApplyFailed(
            f"{kind} {document['metadata']['name']}: the server does not serve {version} {kind} ({status})"
        )


def _has_ended(connection: ssl.SSLSocket | Any) -> bool:
    """Return whether the server closed an idle connection: only then is there something to read."""
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    return bool(poller.poll(0))
