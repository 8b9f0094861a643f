"""In which form a body came and an answer is wanted: Content-Type, Accept, User-Agent.

In: header values. Out: media types, and whether objects are to be rendered as tables or as their metadata alone. The
rules are those of `k8s.io/apiserver/pkg/endpoints/handlers/negotiation`. Encoding is in `exchange`, rendering in
`http_objects`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import Final

import msgspec

from engine.sandbox.simulator import errors

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
ACCEPTED: Final = (JSON, YAML, PROTOBUF)
"""What the server takes in bodies and names in refusals. It answers in JSON and YAML only."""
_STREAMED: Final = (f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")
_META: Final = "meta.k8s.io"
_TABLE_VERSIONS: Final = {"v1", "v1beta1"}

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
_CACHED_HEADERS: Final = 256
"""Different Accept headers that are remembered: each client library sends a handful."""


class Target(Enum):
    """What an answer's objects are turned into."""

    OBJECT = "the object itself"
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"


class Wanted(msgspec.Struct, frozen=True):
    """The form of an answer.

    Attributes:
        media_type: JSON or YAML.
        target: what to turn objects into.
        version: apiVersion of a target that is not the object itself.

    """

    media_type: str = JSON
    target: Target = Target.OBJECT
    version: str = ""


PLAIN: Final = Wanted()


@lru_cache(maxsize=_CACHED_HEADERS)
def wanted(accept: str, *, streams: bool = False, routed: bool = True) -> Wanted:
    """Return the form that an Accept header asks for.

    Args:
        accept: the header.
        streams: whether the path can also be watched, which a refusal tells.
        routed: whether a media type that the path never has is refused by whoever looks for the path.

    Raises:
        ApiError: 406 when the server has none of it.

    """
    return _choose(
        accept,
        (JSON, YAML),
        errors.not_acceptable(ACCEPTED),
        (*ACCEPTED, *(_STREAMED if streams else ())) if routed else (),
    )


@lru_cache(maxsize=_CACHED_HEADERS)
def wanted_of_watch(accept: str) -> Wanted:
    """Return the form that an Accept header asks for in a watch, which is never YAML.

    Raises:
        ApiError: 406 when the server has none of it.

    """
    return _choose(accept, (JSON,), errors.not_acceptable(_STREAMED), (*ACCEPTED, *_STREAMED))


@lru_cache(maxsize=_CACHED_HEADERS)
def parameters_of(accept: str) -> tuple[dict[str, str], ...]:
    """Return the parameters of every clause of an Accept header that takes JSON, best first, as discovery wants them."""
    return tuple(parameters for media, parameters in _clauses(accept) if _matches(media, JSON))


def body_media_type(content_type: str) -> str:
    """Return the media type of a body; JSON when the header is missing.

    Raises:
        ApiError: 415 when the server does not take it.

    """
    media = content_type.partition(";")[0].strip().lower() or JSON
    if media not in ACCEPTED:
        raise errors.unsupported_media_type(ACCEPTED)
    return media


def wants_pretty(user_agent: str) -> bool:
    """Return whether somebody seems to read answers with their own eyes."""
    return user_agent.startswith(("curl", "Wget", "Mozilla/5.0"))


def _choose(accept: str, offered: Sequence[str], refusal: errors.ApiError, routed: Sequence[str]) -> Wanted:
    """Choose a form.

    Args:
        accept: the header.
        offered: media types, the preferred one first.
        refusal: what to answer when media types fit, but not their parameters.
        routed: media types, of which one must be named for the path to be there at all.

    """
    if not accept.strip():
        return PLAIN
    clauses = _clauses(accept)
    if routed and not any(media in {"*/*", *routed} for media, _ in clauses):
        text = f"406: Not Acceptable\n\nAvailable representations: {', '.join(routed)}"
        raise errors.ApiError(406, "NotAcceptable", text, {})
    for media, parameters in clauses:
        for candidate in offered:
            if _matches(media, candidate) and (target := _target(parameters)) is not None:
                version = f"{parameters['g']}/{parameters['v']}" if target is not Target.OBJECT else ""
                return Wanted(candidate, target, version)
    raise refusal


def _target(parameters: dict[str, str]) -> Target | None:
    kind = parameters.get("as", "")
    if not kind:
        return Target.OBJECT
    if parameters.get("g") != _META or parameters.get("v") not in _TABLE_VERSIONS:
        return None
    return {one.value: one for one in Target if one is not Target.OBJECT}.get(kind)


def _matches(wanted_media: str, offered: str) -> bool:
    if wanted_media in {offered, "*/*"}:
        return True
    return wanted_media.endswith("/*") and offered.startswith(wanted_media[:-1])


def _clauses(accept: str) -> list[tuple[str, dict[str, str]]]:
    """Return media types with their parameters, the most wanted first, else in the header's order."""
    found = []
    for clause in accept.split(","):
        media, *rest = (part.strip() for part in clause.split(";"))
        parameters = dict(_pair(part) for part in rest if part)
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        found.append((-quality, media.lower(), parameters))
    return [(media, parameters) for _, media, parameters in sorted(found, key=lambda one: one[0])]


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip()
