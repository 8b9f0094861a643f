"""Answers AdmissionReviews of pods that name imports: reads the imports, waits for Secrets that are about to exist, decides.

In: the review's bytes. Out: the answer's bytes. Whatever goes wrong is a denial that says what to do; only pods that ask for
imports are ever denied.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

import msgspec
import structlog

from engine.core.api_errors import Status
from engine.core.automount import BadAnnotation, imports_of, mounted, patch_of
from engine.core.importing import IMPORTS
from engine.runtime import api_calls
from engine.runtime.ports import Clock, ClusterApi
from schemas.actions import Json

WAIT_SECONDS = 7.0
"""For Secrets that are not there yet: an import takes well under a second; the webhook's own limit is 10 s."""
POLL_SECONDS = 0.25
REQUEST_SECONDS = 2.0
MAX_BYTES = 8 * 1024 * 1024
"""Of a review: it holds at most an object and its former state, 3 MiB each."""

_log = structlog.get_logger(__name__)


class _Request(msgspec.Struct):
    uid: str
    namespace: str = ""
    object: dict[str, Any] | None = None


class _Review(msgspec.Struct, tag_field="kind", tag="AdmissionReview"):
    request: _Request


_reviews = msgspec.json.Decoder(_Review)


class NotReady(Exception):
    """Raised when an import cannot be mounted; the message is for the pod's author."""


class Automount:
    """Decides on the pods of one cluster."""

    def __init__(self, api: ClusterApi, clock: Clock, *, wait: float = WAIT_SECONDS) -> None:
        """Read imports through `api`; wait at most this many seconds for a pod's Secrets."""
        self._api, self._clock, self._wait = api, clock, wait

    async def review(self, body: bytes) -> bytes:
        """Return the answer to an AdmissionReview.

        Raises:
            msgspec.DecodeError: when it is none.

        """
        request = _reviews.decode(body).request
        answer: Json = {"uid": request.uid, "allowed": True}
        try:
            operations = await self._patch(request.object or {}, request.namespace)
        except (BadAnnotation, NotReady) as error:
            _log.info("pod denied", namespace=request.namespace, reason=str(error))
            answer |= {"allowed": False, "status": {"code": 422, "reason": "Invalid", "message": str(error)}}
        else:
            if operations:
                patch = b64encode(msgspec.json.encode(operations)).decode()
                answer |= {"patchType": "JSONPatch", "patch": patch}
        return msgspec.json.encode({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer})

    async def _patch(self, pod: Json, namespace: str) -> list[Json]:
        names = imports_of(pod)
        if not names:
            return []
        deadline = self._clock.monotonic() + self._wait
        found = await asyncio.gather(*(self._secret(namespace, name, deadline) for name in names))
        return patch_of(pod, mounted(pod, dict(zip(names, found, strict=True))))

    async def _secret(self, namespace: str, name: str, deadline: float) -> str:
        """Return the Secret of an import, once it says which."""
        while True:
            found = await api_calls.get_object(self._api, IMPORTS, namespace, name, timeout=REQUEST_SECONDS)
            if not isinstance(found, Status):
                status = found.get("status") or {}
                secrets = status.get("secrets") or []
                if secrets and secrets[0].get("name"):
                    return str(secrets[0]["name"])
                why = next(
                    (one.get("message") for one in status.get("conditions") or []), "nobody has looked at it yet"
                )
            elif found.absent(name, IMPORTS.plural):
                why = "there is no such import"
            else:
                why = f"get serviceaccountimports: {found.message}"
            if self._clock.monotonic() + POLL_SECONDS > deadline:
                message = f"ServiceAccountImport {namespace}/{name} has no Secret to mount: {why}"
                raise NotReady(message)
            await self._clock.sleep(POLL_SECONDS)
