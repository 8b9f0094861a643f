"""Small questions to a cluster: who are you, how far are you, which version."""

from __future__ import annotations

import msgspec

from engine.core.watch_wire import decode_status
from engine.runtime.ports import ClusterApi, ClusterUnreachable, CredentialsRejected, Reply
from schemas.names import ClusterId, ResourceVersion

TIMEOUT_SECONDS = 10.0
"""A cluster that takes longer for one small object counts as unreachable."""
KUBE_SYSTEM = "/api/v1/namespaces/kube-system"
NAMESPACES = "/api/v1/namespaces"
LIST_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


class NoAnswer(Exception):
    """Raised when a cluster cannot tell who it is.

    Attributes:
        reason: Unreachable, Unauthorized, Forbidden, or the server's own reason.
        retry_after: seconds that the server asked to wait.

    """

    def __init__(self, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


async def ask_identity(api: ClusterApi) -> ClusterId:
    """Return the UID of the kube-system namespace (DESIGN §2.4).

    Raises:
        NoAnswer: when it cannot be had; a Forbidden's message is the server's and names verb and resource.

    """
    uid = _decode(await _get(api, KUBE_SYSTEM)).metadata.uid
    if not uid:
        reason = "Unintelligible"
        raise NoAnswer(reason, "the kube-system namespace has no uid")
    return ClusterId(uid)


async def ask_progress(api: ClusterApi, path: str = NAMESPACES) -> ResourceVersion:
    """Return the resourceVersion of a quorum list of a small type: it goes back only in a restore (W-17).

    Empty where the type cannot be listed.

    Raises:
        NoAnswer: when no answer came.

    """
    try:
        reply = await _get(api, path, {"limit": "1"}, LIST_METADATA)
    except NoAnswer as error:
        if error.reason == "Forbidden":
            return ResourceVersion("")
        raise
    return ResourceVersion(_decode(reply).metadata.resourceVersion)


async def ask_version(api: ClusterApi) -> str:
    """Return the API server's version, e.g. `v1.36.3`; empty where it does not tell."""
    try:
        return _decode(await _get(api, "/version")).gitVersion
    except NoAnswer:
        return ""


async def _get(
    api: ClusterApi, path: str, params: dict[str, str] | None = None, accept: str = "application/json"
) -> Reply:
    try:
        reply = await api.request("GET", path, params=params, accept=accept, timeout=TIMEOUT_SECONDS)
    except ClusterUnreachable as error:
        reason = "Unreachable"
        raise NoAnswer(reason, str(error)) from error
    except CredentialsRejected as error:
        reason = "Unauthorized"
        raise NoAnswer(reason, str(error)) from error
    if reply.status != 200:
        status = decode_status(reply.body, reply.status)
        reasons = {401: "Unauthorized", 403: "Forbidden"}
        raise NoAnswer(reasons.get(reply.status, status.reason or "ServerError"), status.message, retry_after(reply))
    return reply


def retry_after(reply: Reply) -> float:
    """Return the seconds of a reply's Retry-After, 0 where it has none that is a number (W-13)."""
    for name, value in reply.headers.items():
        if name.lower() == "retry-after" and value.strip().isdigit():
            return float(value)
    return 0.0


class _Metadata(msgspec.Struct):
    uid: str = ""
    resourceVersion: str = ""  # noqa: N815 - Kubernetes' spelling


class _Answer(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    gitVersion: str = ""  # noqa: N815 - Kubernetes' spelling


def _decode(reply: Reply) -> _Answer:
    try:
        return _decoder.decode(reply.body)
    except msgspec.DecodeError as error:
        reason = "Unintelligible"
        raise NoAnswer(reason, str(error)) from error


_decoder = msgspec.json.Decoder(_Answer)
