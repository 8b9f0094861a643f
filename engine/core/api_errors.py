"""What an API server's refusals mean, as values. Pure.

Rules:
    * Only a Kubernetes Status that names the object says that the object is absent. A 404 of a load balancer, of a proxy or
      of a type that is not served says nothing about objects (DESIGN §2.2).
    * An answer that is no Kubernetes answer is a passing trouble, whatever its code: something stands in between.
    * Values of Secrets never get into a message: the server quotes what it refuses (SEC-16, DESIGN §2.8).
"""

from __future__ import annotations

import msgspec

from schemas.actions import Result

MAX_MESSAGE_CHARACTERS = 1024
"""Messages end up in streams, conditions and tables; a Deployment refused for all it holds says enough in this: which field
it is stands at the beginning, and what is wrong with it at the end."""
FIELD_MANAGER_CONFLICT = "FieldManagerConflict"
_UNKNOWN_PATH = b"404 page not found"
"""The whole body with which an API server answers for a group that it does not serve."""
_UNTYPED = ("failed to create typed patch object", "failed to create typed live object")
"""Server-side apply of a field that the type lacks, or of the wrong JSON type, is answered by a bare 500 (seen in 1.36)."""
_IMMUTABLE = "field is immutable"
"""What API servers say of a change that can never be made; the one detail that is told of a Secret."""
_FAILED_CODES = frozenset({401, 408, 410, 425, 429})
"""Client errors that pass by themselves: credentials are renewed, the server is busy, a version was compacted."""


class Cause(msgspec.Struct, frozen=True):
    """One of the causes that a Status gives."""

    reason: str = ""
    message: str = ""
    field: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal: any answer that is not 2xx."""

    code: int
    """HTTP status, 0 where no answer came."""
    reason: str = ""
    """Kubernetes' CamelCase reason, e.g. `NotFound`; ours where there is none."""
    message: str = ""
    name: str = ""
    """Of the object that it is about, which may be another than the one asked for, e.g. the namespace."""
    kind: str = ""
    """Kind or plural of that object."""
    causes: tuple[Cause, ...] = ()
    retry_after: float = 0.0
    """Seconds that the server asked to wait."""
    authentic: bool = True
    """Whether it is a Kubernetes Status, rather than something that stands in between."""
    sent: bool = False
    """Where no answer came: whether the request may have been carried out all the same."""

    def absent(self, name: str, plural: str) -> bool:
        """Return whether it proves that the object which was asked for does not exist: it, and not its namespace."""
        about = self.authentic and self.name == name and self.kind in (plural, "")
        return about and self.code == 404 and self.reason == "NotFound"

    @property
    def unserved(self) -> bool:
        """Whether it looks as if the type is not served. A hint, not a proof: ask discovery."""
        return self.code == 404 and self.reason in ("NotFound", "NotServed") and not self.name

    @property
    def stale(self) -> bool:
        """Whether a resourceVersion or uid precondition did not hold, so that reading again may help."""
        if self.code == 409:
            return not self.field_conflict
        return self.code == 422 and any(cause.field == "metadata.uid" for cause in self.causes)

    @property
    def field_conflict(self) -> bool:
        """Whether other field managers own fields that were to be applied without force."""
        return self.code == 409 and any(cause.reason == FIELD_MANAGER_CONFLICT for cause in self.causes)


class _Details(msgspec.Struct, frozen=True):
    name: str | None = ""
    kind: str | None = ""
    causes: tuple[Cause, ...] | None = ()
    retry: int | None = msgspec.field(name="retryAfterSeconds", default=0)


class _Body(msgspec.Struct, frozen=True):
    kind: str
    reason: str | None = ""
    message: str | None = ""
    details: _Details | None = None


_decoder = msgspec.json.Decoder(_Body)


def read_status(code: int, body: bytes, retry_after: str | None = None, *, secret: bool = False) -> Status:
    """Return what an answer other than 2xx says.

    Args:
        code: HTTP status.
        body: a Kubernetes Status, or anything else.
        retry_after: the header `Retry-After`: seconds; dates are not read, API servers do not send them.
        secret: the request carried values that no message may hold.

    """
    wait = float(retry_after) if retry_after is not None and retry_after.strip().isdecimal() else 0.0
    try:
        status = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError):
        status = None
    if status is None or status.kind != "Status":
        return _foreign(code, b"(hidden)" if secret else body, wait)
    details = status.details or _Details()
    causes = details.causes or ()
    message = status.message or ""
    reason = status.reason or ("Invalid" if code == 500 and message.startswith(_UNTYPED) else "")
    if secret and not _harmless(code, message):
        fixed = any(_IMMUTABLE in cause.message for cause in causes)
        fields = sorted({cause.field for cause in causes if cause.field})
        told = [*fields, *([_IMMUTABLE] if fixed else [])]
        message = f"{reason or code}{': ' if told else ''}{', '.join(told)} (details hidden: it may hold a Secret)"
        causes = tuple(Cause(cause.reason, "", cause.field) for cause in causes)
    return Status(
        code=code,
        reason=reason,
        message=_clipped(message),
        name=details.name or "",
        kind=details.kind or "",
        causes=causes,
        retry_after=max(wait, float(details.retry or 0)),
    )


def _clipped(message: str) -> str:
    half = MAX_MESSAGE_CHARACTERS // 2
    return message if len(message) <= MAX_MESSAGE_CHARACTERS else f"{message[:half]}…{message[1 - half :]}"


def _harmless(code: int, message: str) -> bool:
    # Validation and admission quote values; these answers come before anything has looked at the body. Policies and webhooks,
    # which may answer with any code, say that they denied it.
    if "denied" in message:
        return False
    return code in (401, 404, 409, 429, 503) or (code == 403 and " is forbidden: User " in message)


def _foreign(code: int, body: bytes, wait: float) -> Status:
    if code == 404 and body.strip() == _UNKNOWN_PATH:
        message = "the server does not serve this API group"
        return Status(code=code, reason="NotServed", message=message, retry_after=wait, authentic=False)
    message = f"HTTP {code}, and not as an API server answers: {body[:120].decode(errors='replace')!r}"
    return Status(code=code, reason="NotKubernetes", message=message, retry_after=wait, authentic=False)


def unreachable(message: str, *, sent: bool = False) -> Status:
    """Return what stands for no answer at all; `sent` if the request may have been carried out."""
    text = message[:MAX_MESSAGE_CHARACTERS]
    return Status(code=0, reason="Unreachable", message=text, authentic=False, sent=sent)


def is_passing(code: int, reason: str) -> bool:
    """Return whether an HTTP status (0: no answer) and its reason are of a trouble that may pass by itself."""
    return code == 0 or code in _FAILED_CODES or (code >= 500 and reason != "Invalid")


def result_of(status: Status) -> Result:
    """Return what a refusal makes of the action that met it."""
    if status.unserved:
        return Result.REFUSED
    if not status.authentic or status.code in _FAILED_CODES:
        return Result.FAILED
    if status.code == 409 or status.stale:
        return Result.CONFLICT
    if status.code == 500 and status.reason == "Invalid":
        return Result.REFUSED
    return Result.REFUSED if 400 <= status.code < 500 else Result.FAILED
