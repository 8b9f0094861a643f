"""What an API server answers when it refuses: a Status with a code, a reason, a message and details.

Every function here builds an `ApiError` to raise. The texts are those of `k8s.io/apimachinery/pkg/api/errors`; clients match
on them. The causes of an Invalid come from `field_errors`. Sending the answer is the HTTP layer's work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from engine.sandbox.simulator.go_text import quoted

Json = dict[str, Any]

REGISTRY_CONFLICT = "the object has been modified; please apply your changes to the latest version and try again"
"""Why an update with an old resourceVersion is refused."""


class GroupResource(Protocol):
    """What names a resource in a message: a `ResourceType` does."""

    @property
    def group(self) -> str:
        """API group; empty: core."""

    @property
    def resource(self) -> str:
        """Plural name."""


class GroupKind(Protocol):
    """What names a kind in a message: a `ResourceType` does."""

    @property
    def group(self) -> str:
        """API group; empty: core."""

    @property
    def kind(self) -> str:
        """Kind in CamelCase."""


@dataclass(frozen=True)
class Cause:
    """One cause of a refusal.

    Attributes:
        reason: such as FieldValueInvalid; empty: none.
        message: what is wrong.
        field: path of the field; empty: none.

    """

    reason: str = ""
    message: str = ""
    field: str = ""

    def as_json(self) -> Json:
        """Return the StatusCause."""
        pairs = {"reason": self.reason, "message": self.message, "field": self.field}
        return {key: value for key, value in pairs.items() if value}


class ApiError(Exception):
    """Raised to answer a request with a failure.

    Attributes:
        code: HTTP status.
        reason: machine-readable, such as NotFound; empty: none.
        message: for humans.
        details: StatusDetails without its empty fields; None: the answer has no details.
        warnings: what the answer warns of besides.

    """

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.warnings: tuple[str, ...] = ()

    @property
    def retry_after_seconds(self) -> int:
        """What the Retry-After header says; 0: no such header."""
        return int((self.details or {}).get("retryAfterSeconds", 0))

    def status(self) -> Json:
        """Return the Status object, its keys in the server's order."""
        status: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        if self.message:
            status["message"] = self.message
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


def qualified(group: str, name: str) -> str:
    """Return `name.group`, or `name` in the core group."""
    return f"{name}.{group}" if group else name


def not_found(rtype: GroupResource, name: str) -> ApiError:
    """Return the 404 for an object that is not there."""
    return ApiError(404, "NotFound", f"{_resource(rtype)} {quoted(name)} not found", _details(rtype, name))


def unknown_path() -> ApiError:
    """Return the 404 for a resource or version that is not served."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(rtype: GroupResource, name: str) -> ApiError:
    """Return the 409 for a create of a name that is taken."""
    return ApiError(409, "AlreadyExists", f"{_resource(rtype)} {quoted(name)} already exists", _details(rtype, name))


def generate_name_conflict(rtype: GroupResource, name: str) -> ApiError:
    """Return the 409 for a generateName whose tries were all taken."""
    message = f"{_resource(rtype)} {quoted(name)} already exists, "
    message += "the server was not able to generate a unique name for the object"
    return ApiError(409, "AlreadyExists", message, {**_details(rtype, name), "retryAfterSeconds": 1})


def conflict(rtype: GroupResource, name: str, why: str = REGISTRY_CONFLICT) -> ApiError:
    """Return the 409 for an object that is not as the writer believed."""
    message = f"Operation cannot be fulfilled on {_resource(rtype)} {quoted(name)}: {why}"
    return ApiError(409, "Conflict", message, _details(rtype, name))


def apply_conflict(causes: Sequence[Cause], message: str) -> ApiError:
    """Return the 409 of a server-side apply that would take fields from others."""
    return ApiError(409, "Conflict", message, {"causes": [cause.as_json() for cause in causes]})


def invalid(rtype: GroupKind, name: str, causes: Sequence[Cause]) -> ApiError:
    """Return the 422 for an object that fails validation; the message repeats each different cause once."""
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    details = {"name": name, "group": rtype.group, "kind": rtype.kind, "causes": [cause.as_json() for cause in causes]}
    message = f"{qualified(rtype.group, rtype.kind)} {quoted(name)} is invalid"
    if texts:
        message += f": {texts[0] if len(texts) == 1 else '[' + ', '.join(texts) + ']'}"
    return ApiError(422, "Invalid", message, _without_empty(details))


def rejected_request() -> ApiError:
    """Return the 422 of a JSON patch that does not fit, which says nothing of why."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def bad_request(message: str) -> ApiError:
    """Return the 400."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """Return the 401, which tells nothing of why."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(rtype: GroupResource, name: str, why: str) -> ApiError:
    """Return the 403 for something about a resource; `name` may be empty."""
    target = f"{_resource(rtype)} {quoted(name)}" if name else _resource(rtype)
    return ApiError(403, "Forbidden", f"{target} is forbidden: {why}", _details(rtype, name))


def forbidden_path(why: str) -> ApiError:
    """Return the 403 for a path that is no resource."""
    return ApiError(403, "Forbidden", f"forbidden: {why}", {})


def not_acceptable(accepted: Sequence[str]) -> ApiError:
    """Return the 406 for an Accept header that nothing fits."""
    return ApiError(406, "NotAcceptable", f"only the following media types are accepted: {', '.join(accepted)}")


def gone(message: str) -> ApiError:
    """Return the 410 with reason Gone."""
    return ApiError(410, "Gone", message)


def expired(message: str) -> ApiError:
    """Return the 410 for a resourceVersion or continue token that is too old."""
    return ApiError(410, "Expired", message)


def too_large(message: str) -> ApiError:
    """Return the 413."""
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: {message}")


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """Return the 415 for a body of an unknown type."""
    text = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return ApiError(415, "UnsupportedMediaType", text)


def too_many_requests(message: str, retry_after_seconds: int) -> ApiError:
    """Return the 429."""
    return ApiError(429, "TooManyRequests", message, _without_empty({"retryAfterSeconds": retry_after_seconds}))


def internal_error(message: str) -> ApiError:
    """Return the 500 with the cause's text."""
    text = f"Internal error occurred: {message}"
    return ApiError(500, "InternalError", text, {"causes": [{"message": message}]})


def service_unavailable(message: str) -> ApiError:
    """Return the 503."""
    return ApiError(503, "ServiceUnavailable", message)


def request_timeout(message: str) -> ApiError:
    """Return the 504."""
    return ApiError(504, "Timeout", f"Timeout: {message}", {})


def _resource(rtype: GroupResource) -> str:
    return qualified(rtype.group, rtype.resource)


def _details(rtype: GroupResource, name: str) -> Json:
    return _without_empty({"name": name, "group": rtype.group, "kind": rtype.resource})


def _without_empty(details: Json) -> Json:
    return {key: value for key, value in details.items() if value}
