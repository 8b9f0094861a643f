"""One request under way and the answers it may get: bodies read within limits, headers as the real server sends them.

In: aiohttp's request, what it asks for and who asks. Out: aiohttp's responses. Nothing here knows a cluster.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import yaml
from aiohttp import web

from engine.sandbox.simulator import errors
from engine.sandbox.simulator.bodies import BODY_LIMIT
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.negotiation import JSON, YAML, Wanted, wanted, wanted_of_watch, wants_pretty
from engine.sandbox.simulator.options import User
from engine.sandbox.simulator.request_info import RequestInfo, is_true

TEXT: Final = "text/plain; charset=utf-8"
_GZIP_FROM: Final = 128 * 1024
"""Bytes of a body that is worth compressing: the real server's threshold."""
_GZIP_LEVEL: Final = 1
_GZIP_FORMAT: Final = zlib.MAX_WBITS | 16

_encode = msgspec.json.Encoder().encode


class Exchange:
    """A request and the making of its answer.

    Args:
        request: as aiohttp gives it.
        info: what it asks for.
        user: who asks.

    Attributes:
        is_custom: whether this is about custom resources, whose paths no library of the server knows; set once the type is.
        deprecation: what every answer warns of, set then too; empty: nothing.

    """

    __slots__ = ("_headers", "deprecation", "info", "is_custom", "request", "user")

    def __init__(self, request: web.BaseRequest, info: RequestInfo, user: User) -> None:
        self.request = request
        self.info = info
        self.user = user
        self.is_custom = False
        self.deprecation = ""
        self._headers = request.headers

    @property
    def user_agent(self) -> str:
        """The User-Agent header."""
        return self._headers.get("User-Agent", "")

    @property
    def content_type(self) -> str:
        """The Content-Type header, with its parameters."""
        return self._headers.get("Content-Type", "")

    @property
    def accept(self) -> str:
        """The Accept header."""
        return self._headers.get("Accept", "")

    def wanted(self) -> Wanted:
        """Return the form in which the answer is wanted.

        Raises:
            ApiError: 406.

        """
        return wanted(self.accept, streams=self.info.verb == "list", routed=not self.is_custom)

    def wanted_of_watch(self) -> Wanted:
        """Return the form in which a watch's events are wanted.

        Raises:
            ApiError: 406.

        """
        return wanted_of_watch(self.accept)

    async def body(self) -> bytes:
        """Return the body.

        Raises:
            ApiError: 413 when it is too large.

        """
        if (self.request.content_length or 0) > BODY_LIMIT:
            raise errors.too_large(f"limit is {BODY_LIMIT}")
        try:
            data = await self.request.read()
        except web.HTTPRequestEntityTooLarge:
            raise errors.too_large(f"limit is {BODY_LIMIT}") from None
        return data

    def respond(self, body: bytes, *, code: int = 200, warnings: Sequence[str] = ()) -> web.Response:
        """Return the response with an encoded JSON document, in the form that the client wants JSON-like documents in."""
        media = self._media_type()
        if media == YAML:
            body = str(yaml.dump(msgspec.json.decode(body), Dumper=yaml.CSafeDumper, allow_unicode=True)).encode()
        elif self._pretty():
            body = msgspec.json.format(body, indent=2) + b"\n"
        return self.respond_raw(body, media, code=code, warnings=warnings)

    def respond_json(self, document: Any, *, code: int = 200, warnings: Sequence[str] = ()) -> web.Response:
        """Return the response with a document."""
        return self.respond(_encode(document), code=code, warnings=warnings)

    def respond_text(self, text: str, *, code: int = 200) -> web.Response:
        """Return the response with plain text."""
        return self.respond_raw(text.encode(), TEXT, code=code)

    def respond_raw(
        self, body: bytes, media_type: str, *, code: int = 200, warnings: Sequence[str] = ()
    ) -> web.Response:
        """Return the response with these very bytes, compressed if they are many and the client likes that."""
        response = web.Response(body=body, status=code, headers=self.headers(media_type))
        self.warn(response, warnings)
        if len(body) > _GZIP_FROM and "gzip" in self._headers.get("Accept-Encoding", ""):
            packer = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
            response.body = packer.compress(body) + packer.flush()
            response.headers["Content-Encoding"] = "gzip"
            response.headers["Vary"] = "Accept-Encoding"
        return response

    def respond_error(self, error: ApiError) -> web.Response:
        """Return the response with a failure."""
        response = self.respond_json(error.status(), code=error.code, warnings=error.warnings)
        if error.retry_after_seconds:
            response.headers["Retry-After"] = str(error.retry_after_seconds)
        return response

    def warn(self, response: web.StreamResponse, warnings: Sequence[str] = ()) -> None:
        """Add warnings to an answer's header, after that of the deprecation."""
        for warning in (self.deprecation, *warnings):
            if warning:
                response.headers.add("Warning", f"299 - {_quoted_string(warning)}")

    def headers(self, media_type: str) -> dict[str, str]:
        """Return what every answer's header says."""
        return {
            "Audit-Id": self._headers.get("Audit-Id") or str(uuid.uuid4()),
            "Cache-Control": "no-cache, private",
            "Content-Type": media_type,
        }

    def _media_type(self) -> str:
        try:
            return wanted(self.accept).media_type
        except ApiError:
            return JSON  # a refusal has to be said somehow

    def _pretty(self) -> bool:
        if "pretty" in self.info.query:
            return is_true(self.info.query, "pretty")
        return wants_pretty(self.user_agent)


def _quoted_string(text: str) -> str:
    """Return an HTTP quoted-string; a header holds no line breaks."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(one if one.isprintable() else " " for one in escaped) + '"'
