"""The bodies of requests about objects: read, decoded and refused as the real server does.

In: an `Exchange`. Out: objects, patches and DeleteOptions. What an object must look like is the schema's affair.
"""

from __future__ import annotations

import json
from typing import Final

from engine.sandbox.simulator import bodies, errors, protobuf
from engine.sandbox.simulator.bodies import Body, Undecodable, decode_json, decode_yaml
from engine.sandbox.simulator.exchange import Exchange
from engine.sandbox.simulator.negotiation import (
    APPLY_PATCH,
    JSON,
    JSON_PATCH,
    MERGE_PATCH,
    PROTOBUF,
    STRATEGIC_MERGE_PATCH,
    YAML,
    body_media_type,
)
from engine.sandbox.simulator.options import DeleteOptions
from engine.sandbox.simulator.query_options import delete_options_of_body, delete_options_of_query

_HEADER_TYPE: Final = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
)
"""How Go prints the type into which it first decodes any object."""


async def read_object(exchange: Exchange, kind: str) -> Body:
    """Return the object of a create or update; a body that is null is an empty object.

    Args:
        exchange: the request.
        kind: what the object should be, for messages.

    Raises:
        ApiError: 400 unreadable, 413 too large, 415 an unknown media type.

    """
    media = body_media_type(exchange.content_type)
    data = await exchange.body()
    is_yaml = media == YAML
    find_duplicates = exchange.info.query.get("fieldValidation") != ["Ignore"]
    try:
        if media == PROTOBUF:
            return Body(protobuf.decode(data))
        body = decode_yaml(data) if is_yaml else decode_json(data, find_duplicates=find_duplicates)
    except protobuf.UnknownMessage as why:
        raise errors.unsupported_media_type((JSON, YAML)) from why
    except Undecodable as why:
        raise bodies.unrecognized(data, kind, why, is_yaml=is_yaml) from why
    if body.value is None:
        return Body({}, raw=data)
    if not isinstance(body.value, dict):
        what = f"json: cannot unmarshal {bodies.go_type(body.value)} into Go value of type {_HEADER_TYPE}"
        raise bodies.unrecognized(data, kind, Undecodable(what), is_yaml=is_yaml)
    return Body(body.value, body.duplicates, data)


async def read_delete_options(exchange: Exchange) -> DeleteOptions:
    """Return the options of a delete: those of its body, or without one those of its query.

    Raises:
        ApiError: 400 or 422 for options that are none, 413 too large, 415 an unknown media type.

    """
    data = await exchange.body() if exchange.request.can_read_body else b""
    if not data:
        return delete_options_of_query(exchange.info.query, user=exchange.user)
    media = body_media_type(exchange.content_type)
    try:
        if media == PROTOBUF:
            return delete_options_of_body(protobuf.decode(data), user=exchange.user)
        body = decode_yaml(data) if media == YAML else decode_json(data, find_duplicates=False)
    except (Undecodable, protobuf.UnknownMessage) as why:
        raise errors.bad_request(f"couldn't get version/kind; json parse error: {why}") from why
    return delete_options_of_body(body.value, user=exchange.user)


def decode_patch(patch_type: str, data: bytes) -> Body:
    """Return a patch of one of the four types.

    Raises:
        ApiError: 400 unreadable.

    """
    if patch_type == APPLY_PATCH:
        return _decode_configuration(data)
    prefix = "" if patch_type == STRATEGIC_MERGE_PATCH else "error decoding patch: "
    try:
        body = decode_json(data, find_duplicates=True)
    except Undecodable as why:
        raise errors.bad_request(f"{prefix}{why}") from why
    if body.value is None and patch_type == JSON_PATCH:
        return Body([])  # for Go, null is a list of nothing
    if body.value is None and patch_type == MERGE_PATCH:
        raise errors.bad_request("Invalid JSON Patch")
    expected, go_name = (
        (list, "[]handlers.jsonPatchOp") if patch_type == JSON_PATCH else (dict, "map[string]interface {}")
    )
    if not isinstance(body.value, expected):
        what = bodies.go_type(body.value)
        raise errors.bad_request(f"{prefix}json: cannot unmarshal {what} into Go value of type {go_name}")
    return body


def _decode_configuration(data: bytes) -> Body:
    """Decode a configuration to apply: YAML, of which the JSON that most clients send is the quick case."""
    try:
        body = _decode_either(data)
    except Undecodable as why:
        raise errors.bad_request(f"error decoding YAML: error converting YAML to JSON: {why}") from why
    if body.value is None:
        return Body({})
    if not isinstance(body.value, dict):
        what = bodies.go_type(body.value)
        text = (
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: "
            f"json: cannot unmarshal {what} into Go value of type map[string]interface {{}}"
        )
        raise errors.bad_request(text)
    return body


def _decode_either(data: bytes) -> Body:
    if data[:1] == b"{":
        try:
            return decode_json(data, find_duplicates=True)
        except Undecodable:
            pass  # braces may also be YAML, of which the first document counts
        first = _first_document(data)
        if first:
            return decode_json(first, find_duplicates=True)
    return decode_yaml(data)


def _first_document(data: bytes) -> bytes:
    """Return the first of several JSON objects; empty: there is not one and then another."""
    text = data.decode(errors="replace")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return b""
    return text[:end].encode() if text[end:].lstrip().startswith("{") else b""
