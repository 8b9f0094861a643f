"""Make the data file of the built-in types from a real kube-apiserver: what it serves, and its schemas.

    python -m engine.sandbox.simulator.builtin.generate      # needs the assets of `make envtest`, and Go

In: the server's discovery and OpenAPI v3 documents, and the Go structs behind them. Out: `schemas.json` beside this module.
In it a definition is as in OpenAPI, with three differences: `$ref` holds the definition's name without `io.k8s.` and stands
for an `allOf` around it; descriptions keep their first sentence; and `x-go` says what `go_source` found of a struct's field.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.assets import MODULE, ensure_assets
from engine.sandbox.go_toolchain import find_go
from engine.sandbox.simulator.builtin.data import DATA_FILE
from engine.sandbox.simulator.builtin.go_source import GoSource

Json = dict[str, Any]

SERVED = {
    "v1": (
        "bindings configmaps endpoints events limitranges namespaces nodes persistentvolumeclaims persistentvolumes pods "
        "podtemplates replicationcontrollers resourcequotas secrets serviceaccounts services"
    ),
    "admissionregistration.k8s.io/v1": "mutatingwebhookconfigurations validatingwebhookconfigurations",
    "apiextensions.k8s.io/v1": "customresourcedefinitions",
    "apps/v1": "controllerrevisions daemonsets deployments replicasets statefulsets",
    "authentication.k8s.io/v1": "selfsubjectreviews tokenreviews",
    "authorization.k8s.io/v1": (
        "localsubjectaccessreviews selfsubjectaccessreviews selfsubjectrulesreviews subjectaccessreviews"
    ),
    "autoscaling/v2": "horizontalpodautoscalers",
    "batch/v1": "cronjobs jobs",
    "coordination.k8s.io/v1": "leases",
    "discovery.k8s.io/v1": "endpointslices",
    "events.k8s.io/v1": "events",
    "networking.k8s.io/v1": "ingressclasses ingresses networkpolicies",
    "policy/v1": "poddisruptionbudgets",
    "rbac.authorization.k8s.io/v1": "clusterrolebindings clusterroles rolebindings roles",
    "scheduling.k8s.io/v1": "priorityclasses",
    "storage.k8s.io/v1": "csidrivers storageclasses volumeattachments",
}
"""What the simulator serves, of what the real server does."""

ALSO = (
    "api.autoscaling.v1.Scale",
    "api.policy.v1.Eviction",
    "api.authentication.v1.TokenRequest",
    "api.core.v1.Binding",
)
ALSO_META = tuple(
    f"apimachinery.pkg.apis.meta.v1.{name}" for name in ("DeleteOptions", "Status", "APIResourceList", "Patch")
)
"""Definitions that no stored object has: bodies and answers of subresources."""

_PREFIX = "io.k8s."
_REFERENCE = f"#/components/schemas/{_PREFIX}"
_GO_WANTED = (1, 24)
_SENTENCE_LIMIT = 160


def main() -> None:
    """Start a server, read it, write the file."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    report = print_progress
    assets = ensure_assets(report)
    go = find_go(_GO_WANTED, assets, report)
    with tempfile.TemporaryDirectory() as directory, ApiServer("source", Path(directory), assets=assets) as server:
        data = collect(server, GoSource(go, MODULE))
    text = json.dumps(data, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    # One definition or type a line, so that a new Kubernetes version makes a readable difference
    for start in ('"definitions":{', '"types":['):
        text = text.replace(start, f"\n{start}\n", 1)
    lines = text.replace('},"api', '},\n"api').replace('},{"categories', '},\n{"categories')
    DATA_FILE.write_text(lines.replace('},{"group"', '},\n{"group"') + "\n", encoding="utf-8")
    counts = f"{len(data['definitions'])} definitions, {len(data['types'])} types"
    report(f"{DATA_FILE}: {DATA_FILE.stat().st_size} bytes, {counts}")


def print_progress(line: str) -> None:
    """Tell the user what is being done."""
    sys.stderr.write(f"{line}\n")


def collect(server: ApiServer, source: GoSource) -> Json:
    """Return the contents of the data file."""
    definitions: Json = {}
    types = []
    for group_version, names in SERVED.items():
        root = f"apis/{group_version}" if "/" in group_version else f"api/{group_version}"
        document = _read(server, f"/openapi/v3/{root}")
        schemas = document["components"]["schemas"]
        by_kind = _by_kind(schemas)
        resources = _read(server, f"/{root}")["resources"]
        for name in names.split():
            found = _type(group_version, name, resources, by_kind)
            types.append(found)
            _reach(found["schema"], schemas, definitions, source)
        for name in ALSO + ALSO_META:
            if _PREFIX + name in schemas:
                _reach(name, schemas, definitions, source)
    return {"version": _read(server, "/version")["gitVersion"], "types": types, "definitions": definitions}


def _read(server: ApiServer, path: str) -> Json:
    status, answer = server.client.request("GET", path)
    if status != 200:
        raise SystemExit(f"GET {path}: {status}")
    return answer


def _by_kind(schemas: Json) -> dict[tuple[str, str, str], str]:
    """Return the definition's name of each kind."""
    found: dict[tuple[str, str, str], str] = {}
    for name, schema in schemas.items():
        for one in schema.get("x-kubernetes-group-version-kind", ()):
            found.setdefault((one["group"], one["version"], one["kind"]), name)
    return found


def _type(group_version: str, name: str, resources: list[Json], by_kind: dict[tuple[str, str, str], str]) -> Json:
    """Return what discovery says of a resource and its subresources."""
    group, _, version = group_version.rpartition("/")
    main = next(one for one in resources if one["name"] == name)
    schema = by_kind[group, version, main["kind"]]
    found: Json = {
        "group": group,
        "version": version,
        "resource": name,
        "singular": main["singularName"],
        "kind": main["kind"],
        "namespaced": main["namespaced"],
        "shortNames": main.get("shortNames", []),
        "categories": main.get("categories", []),
        "verbs": main["verbs"],
        "schema": schema.removeprefix(_PREFIX),
        "subresources": [
            {
                "name": one["name"].partition("/")[2],
                "group": one.get("group", group),
                "version": one.get("version", version),
                "kind": one["kind"],
                "verbs": one["verbs"],
            }
            for one in resources
            if one["name"].startswith(f"{name}/")
        ],
    }
    return {key: value for key, value in found.items() if value not in ([], "")} | {"group": group}


def _reach(name: str, schemas: Json, definitions: Json, source: GoSource) -> None:
    """Add a definition and all that it refers to."""
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one in definitions:
            continue
        raw = schemas[_PREFIX + one]
        go = source.fields(_PREFIX + one)
        definitions[one] = _compact(raw)
        definitions[one].pop("x-kubernetes-group-version-kind", None)
        for field, schema in definitions[one].get("properties", {}).items():
            if field in go:
                schema["x-go"] = go[field].tag()
            elif go:
                raise SystemExit(f"{one}: the Go struct has no field {field}")
        waiting += _references(definitions[one])


def _compact(schema: Json) -> Json:
    """Return a schema in the data file's form."""
    result: Json = {}
    for key, value in schema.items():
        if key == "description":
            result[key] = _first_sentence(value)
        elif key == "properties":
            result[key] = {name: _compact(one) for name, one in value.items()}
        elif key in {"items", "additionalProperties"} and isinstance(value, dict):
            result[key] = _compact(value)
        elif key == "allOf" and len(value) == 1 and set(value[0]) == {"$ref"}:
            result["$ref"] = value[0]["$ref"].removeprefix(_REFERENCE)
        elif key == "$ref":
            result["$ref"] = value.removeprefix(_REFERENCE)
        else:
            result[key] = value
    return result


def _first_sentence(text: str) -> str:
    sentence = text.replace("\n", " ").partition(". ")[0].rstrip(".")
    return sentence if len(sentence) <= _SENTENCE_LIMIT else sentence[: _SENTENCE_LIMIT - 1].rpartition(" ")[0] + "…"


def _references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
        return own + [name for value in schema.values() for name in _references(value)]
    if isinstance(schema, list):
        return [name for value in schema for name in _references(value)]
    return []


if __name__ == "__main__":
    main()
