"""Requests that no server takes, and what each is answered: status, reason and message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.api_session import APPLY, JSON, MERGE_PATCH
from tests.contracts.api_server.servers import config_map

NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
KEY_TWICE = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"1","a":"2"}}'
UNRECOGNISED = "the object provided is unrecognized (must be of type ConfigMap): "


@dataclass(frozen=True)
class Bad:
    """A request about ConfigMaps (`path` is relative to their collection) and what it is answered."""

    method: str
    path: str
    body: Any
    status: int
    reason: str
    message: str
    content_type: str = JSON
    query: dict[str, Any] = field(default_factory=dict)
    accept: str = JSON


BAD = {
    "no JSON": Bad(
        "POST", "", b"{bad", 400, "BadRequest",
        UNRECOGNISED + "couldn't get version/kind; json parse error: invalid character 'b' looking for beginning of object "
        "key string ({bad)",
    ),
    "no body": Bad(
        "POST", "", b"", 400, "BadRequest",
        UNRECOGNISED + "couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)",
    ),
    "a list for an object": Bad(
        "POST", "", b"[]", 400, "BadRequest",
        UNRECOGNISED + "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type "
        'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" } (5b5d)',
    ),
    "no YAML": Bad(
        "POST", "", b"a: [", 400, "BadRequest", UNRECOGNISED + "yaml: line 1: did not find expected node content (613a205b)",
        content_type="application/yaml",
    ),
    "a content type that is not served": Bad(
        "POST", "", config_map(), 415, "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: application/json, "
        "application/yaml, application/vnd.kubernetes.protobuf",
        content_type="text/plain",
    ),
    "an answer that cannot be given": Bad(
        "GET", "", None, 406, "NotAcceptable",
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
        "application/vnd.kubernetes.protobuf, application/json;stream=watch, "
        "application/vnd.kubernetes.protobuf;stream=watch",
        accept="text/html",
    ),
    "another kind": Bad(
        "POST", "", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}, 400, "BadRequest",
        'Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): '
        "unknown conversion",
    ),
    "a kind that is not served": Bad(
        "POST", "", {**config_map(), "kind": "Nope"}, 400, "BadRequest",
        'Nope in version "v1" cannot be handled as a ConfigMap: no kind "Nope" is registered for version "v1" in scheme '
        '"pkg/runtime/scheme.go:111"',
    ),
    "a number for a string": Bad(
        "POST", "", config_map(data={"a": 1}), 400, "BadRequest",
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field '
        "ConfigMap.data of type string",
    ),
    "a string for an object": Bad(
        "POST", "", {**config_map(), "data": "text"}, 400, "BadRequest",
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal string into Go struct field '
        "ConfigMap.data of type map[string]string",
    ),
    "no name": Bad(
        "POST", "", {"apiVersion": "v1", "kind": "ConfigMap"}, 422, "Invalid",
        'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required',
    ),
    "a bad name": Bad(
        "POST", "", config_map("A_b"), 422, "Invalid",
        f'ConfigMap "A_b" is invalid: metadata.name: Invalid value: "A_b": {NAME_RULE}',
    ),
    "an unknown field": Bad(
        "POST", "", {**config_map(), "dat": {}}, 400, "BadRequest",
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dat"',
        query={"fieldValidation": "Strict"},
    ),
    "a key twice": Bad(
        "POST", "", KEY_TWICE, 400, "BadRequest",
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: duplicate field "data.a"',
        query={"fieldValidation": "Strict"},
    ),
    "options that do not exist": Bad(
        "POST", "", config_map(), 422, "Invalid",
        'CreateOptions.meta.k8s.io "" is invalid: [dryRun: Unsupported value: ["Al"]: supported values: "All", '
        'fieldValidation: Unsupported value: "Bad": supported values: "", "Ignore", "Strict", "Warn"]',
        query={"fieldValidation": "Bad", "dryRun": "Al"},
    ),
    "a resourceVersion on creation": Bad(
        "POST", "", config_map(resourceVersion="1"), 500, "",  # no status of its own, but it is not the server's fault
        "resourceVersion should not be set on objects to be created",
    ),
    "another namespace": Bad(
        "POST", "", config_map(namespace="elsewhere"), 400, "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    ),
    "a name that is not the URL's": Bad(
        "PUT", "/a", config_map("b"), 400, "BadRequest",
        "the name of the object (b) does not match the name on the URL (a)",
    ),
    "what is not there": Bad("GET", "/nothing", None, 404, "NotFound", 'configmaps "nothing" not found'),
    "replacing what is not there": Bad(
        "PUT", "/nothing", config_map("nothing"), 404, "NotFound", 'configmaps "nothing" not found'
    ),
    "patching what is not there": Bad(
        "PATCH", "/nothing", {}, 404, "NotFound", 'configmaps "nothing" not found', content_type=MERGE_PATCH
    ),
    "deleting what is not there": Bad("DELETE", "/nothing", None, 404, "NotFound", 'configmaps "nothing" not found'),
    "a subresource that is not served": Bad(
        "GET", "/a/nothing", None, 404, "NotFound", "the server could not find the requested resource"
    ),
    "a verb that is not served": Bad(
        "PUT", "", config_map(), 405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
    ),
    "a patch of no type": Bad(
        "PATCH", "/a", {}, 415, "UnsupportedMediaType", "415: Unsupported Media Type", content_type=JSON
    ),
    "applying as nobody": Bad(
        "PATCH", "/a", config_map(), 422, "Invalid",
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
        content_type=APPLY,
    ),
    "forcing what is no apply": Bad(
        "PATCH", "/a", {}, 422, "Invalid",
        'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch',
        content_type=MERGE_PATCH, query={"force": True},
    ),
    "a label selector that does not parse": Bad(
        "GET", "", None, 400, "BadRequest", "unable to parse requirement: found '', expected: ',', ')' or identifier",
        query={"labelSelector": "a in ("},
    ),
    "a field selector that does not parse": Bad(
        "GET", "", None, 400, "BadRequest", "invalid selector: 'a'; can't understand 'a'", query={"fieldSelector": "a"}
    ),
    "a field that cannot be selected": Bad(
        "GET", "", None, 400, "BadRequest",
        '"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"',
        query={"fieldSelector": "spec.x=1"},
    ),
    "a resourceVersion that is none": Bad(
        "GET", "", None, 400, "BadRequest",
        'invalid resource version: resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax',
        query={"resourceVersion": "abc"},
    ),
    "a match without a version": Bad(
        "GET", "", None, 422, "Invalid",
        'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless '
        "resourceVersion is provided",
        query={"resourceVersionMatch": "Exact"},
    ),
    "a limit that is none": Bad(
        "GET", "", None, 400, "BadRequest", 'strconv.ParseInt: parsing "x": invalid syntax', query={"limit": "x"}
    ),
    "initial events of a list that is no watch": Bad(
        "GET", "", None, 422, "Invalid",
        'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list',
        query={"sendInitialEvents": True},
    ),
}  # fmt: skip
