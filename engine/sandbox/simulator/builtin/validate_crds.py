"""Validation of custom resource definitions, their schemas aside (see `validate_crd_schemas`).

In: a definition as decoded and defaulted, and in an update the one before. Out: causes in the order of the real server. The
rules are those of `apiextensions-apiserver/pkg/apis/apiextensions/validation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from engine.sandbox.simulator.builtin.checks import choice, dns_1035_problems, immutable
from engine.sandbox.simulator.builtin.validate_crd_schemas import schema_causes
from engine.sandbox.simulator.builtin.validate_webhooks import client_causes, review_version_causes
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import duplicate, forbidden, invalid, required, too_many
from engine.sandbox.simulator.names import dns_subdomain_problems

Json = dict[str, Any]

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_SELECTABLE = {"string", "boolean", "integer"}
_MOST_SELECTABLE = 8
_WARNING_LENGTH = 256
_APPROVAL = "api-approved.kubernetes.io"
_PER_VERSION = {
    "schema": "validation",
    "subresources": "subresources",
    "additionalPrinterColumns": "additionalPrinterColumns",
    "selectableFields": "selectableFields",
}
"""What versions can have, and where causes say it is when all versions have the same."""


def definition_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a CustomResourceDefinition."""
    spec = new.get("spec") or {}
    if old is not None and spec is old.get("spec"):
        return []
    causes = [] if old is not None else _name_causes(new["metadata"].get("name", ""), spec)
    causes += _spec_causes(spec)
    if old is not None:
        causes += _change_causes(spec, old)
    else:
        causes += _names_causes((new.get("status") or {}).get("acceptedNames") or {}, "status.acceptedNames")
    stored = (new.get("status") or {}).get("storedVersions") or []
    causes += _stored_causes(stored, spec.get("versions") or ())
    causes += _approval_causes(new, old)
    if spec.get("preserveUnknownFields"):
        why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        causes.append(invalid("spec.preserveUnknownFields", spec["preserveUnknownFields"], why))
    return causes


def definition_status_causes(new: Json, _: Json) -> list[Cause]:
    """Return what is wrong with a CustomResourceDefinition's status."""
    return _names_causes((new.get("status") or {}).get("acceptedNames") or {}, "status.acceptedNames")


def _name_causes(name: str, spec: Json) -> list[Cause]:
    wanted = f"{(spec.get('names') or {}).get('plural', '')}.{spec.get('group', '')}"
    return [] if name == wanted else [invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')]


def _spec_causes(spec: Json) -> list[Cause]:
    group, versions = spec.get("group", ""), spec.get("versions") or []
    causes = _group_causes(group)
    causes += choice(spec.get("scope"), ("Cluster", "Namespaced"), "spec.scope")
    for index, version in enumerate(versions):
        if "openAPIV3Schema" not in (version.get("schema") or {}):
            causes.append(required(f"spec.versions[{index}].schema.openAPIV3Schema"))
    shared = _shared(versions)
    for index, version in enumerate(versions):
        here = f"spec.versions[{index}]"
        name = version.get("name", "")
        if problems := dns_1035_problems(name):
            causes.append(invalid(f"{here}.name", name, ",".join(problems)))
        causes += _version_causes(version, here, shared)
    names = [version.get("name", "") for version in versions]
    if len(set(names)) < len(names):
        causes.append(invalid("spec.versions", versions, "must contain unique version names"))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        why = "must have exactly one version marked as storage version"
        causes.append(invalid("spec.versions", versions, why))
    if versions and (problems := dns_1035_problems(names[0])):
        causes.append(invalid("spec.version", names[0], ",".join(problems)))
    kinds = spec.get("names") or {}
    causes += [
        required(f"spec.names.{name}") for name in ("plural", "singular", "kind", "listKind") if not kinds.get(name)
    ]
    causes += _names_causes(kinds, "spec.names")
    if versions:
        causes += _part_causes(versions[0], "spec", shared)
    return causes + _conversion_causes(spec.get("conversion"), "spec.conversion")


def _group_causes(group: str) -> list[Cause]:
    if not group:
        return [required("spec.group")]
    if problems := dns_subdomain_problems(group):
        return [invalid("spec.group", group, ",".join(problems))]
    return [] if "." in group else [invalid("spec.group", group, "should be a domain with at least one dot")]


def _shared(versions: Sequence[Json]) -> frozenset[str]:
    """Return what all versions have alike: the server looks at it once, as at a part of the definition."""
    return frozenset(
        name for name in _PER_VERSION if versions and all(one.get(name) == versions[0].get(name) for one in versions)
    )


def _version_causes(version: Json, path: str, shared: frozenset[str]) -> list[Cause]:
    warning = version.get("deprecationWarning")
    causes = []
    if warning is not None:
        where = f"{path}.deprecationWarning"
        if not version.get("deprecated"):
            causes.append(invalid(where, warning, "can only be set for deprecated versions"))
        else:
            causes += [invalid(where, warning, problem) for problem in _warning_problems(warning)]
    return causes + _part_causes(version, path, frozenset(_PER_VERSION) - shared)


def _warning_problems(warning: str) -> list[str]:
    problems = []
    if len(warning.encode()) > _WARNING_LENGTH:
        problems.append(f"must be <= {_WARNING_LENGTH} characters long")
    if not warning:
        problems.append("must not be an empty string")
    for index, one in enumerate(warning):
        if not one.isprintable():
            at = len(warning[:index].encode())
            why = "must only contain printable UTF-8 characters; non-printable character found at index"
            problems.append(f"{why} {at}")
            break
    return problems


def _part_causes(version: Json, path: str, parts: frozenset[str]) -> list[Cause]:
    """Return what is wrong with some parts of a version, named as parts of the version or of the whole definition."""
    whole = path == "spec"
    subresources = version.get("subresources") or {}
    causes = []
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if "schema" in parts and schema is not None:
        where = f"{path}.{_PER_VERSION['schema'] if whole else 'schema'}"
        causes += schema_causes(schema, f"{where}.openAPIV3Schema", has_status="status" in subresources)
    if "subresources" in parts:
        causes += _scale_causes(subresources.get("scale"), f"{path}.subresources.scale")
    if "additionalPrinterColumns" in parts:
        for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
            causes += _column_causes(column, f"{path}.additionalPrinterColumns[{index}]")
    if "selectableFields" in parts:
        causes += _selectable_causes(version.get("selectableFields") or (), schema or {}, f"{path}.selectableFields")
    return causes


def _scale_causes(scale: Json | None, path: str) -> list[Cause]:
    if scale is None:
        return []
    causes = []
    for name, start in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        where, place = f"{path}.{name}", scale.get(name, "")
        if not place:
            causes.append(required(where))
        elif problem := _path_problem(place):
            causes.append(invalid(where, place, problem))
        elif not place.startswith(start):
            causes.append(invalid(where, place, f"should be a json path under {start[:-1]}"))
    where, place = f"{path}.labelSelectorPath", scale.get("labelSelectorPath")
    if place and (problem := _path_problem(place)):
        causes.append(invalid(where, place, problem))
    elif place and not place.startswith((".spec.", ".status.")):
        causes.append(invalid(where, place, "should be a json path under either .spec or .status"))
    return causes


def _path_problem(path: str) -> str:
    return "" if path.startswith(".") else "must be a simple json path starting with ."


def _column_causes(column: Json, path: str) -> list[Cause]:
    kind, form, place = column.get("type", ""), column.get("format", ""), column.get("jsonPath", "")
    causes = [] if column.get("name") else [required(f"{path}.name")]
    if not kind:
        causes.append(required(f"{path}.type", f"must be one of {','.join(_COLUMN_TYPES)}"))
    elif kind not in _COLUMN_TYPES:
        causes.append(invalid(f"{path}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}"))
    if form and form not in _COLUMN_FORMATS:
        causes.append(invalid(f"{path}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}"))
    if not place:
        causes.append(required(f"{path}.JSONPath"))
    elif problem := _path_problem(place):
        causes.append(invalid(f"{path}.JSONPath", place, problem))
    return causes


def _selectable_causes(fields: Sequence[Json], schema: Json, path: str) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, one in enumerate(fields):
        where, place = f"{path}[{index}].jsonPath", one.get("jsonPath", "")
        if not place:
            causes.append(required(where))
            continue
        steps = place.removeprefix(".").split(".")
        found: Json | None = schema
        for step in steps:
            found = ((found or {}).get("properties") or {}).get(step)
        if found is None:
            causes.append(invalid(where, place, "is an invalid path: does not refer to a valid field"))
            continue
        causes += _selected_causes(steps, found, place, where)
        if place in seen:
            causes.append(duplicate(where, place))
        seen.add(place)
    if len(seen) > _MOST_SELECTABLE:
        causes.append(too_many(path, len(seen), _MOST_SELECTABLE))
    return causes


def _selected_causes(steps: Sequence[str], schema: Json, place: str, where: str) -> list[Cause]:
    causes = []
    if steps[0] == "metadata":
        causes.append(invalid(where, place, "must not point to fields in metadata"))
    if schema.get("type") not in _SELECTABLE:
        why = "must point to a field of type string, boolean or integer. "
        causes.append(invalid(where, place, f"{why}Enum string fields and strings with formats are allowed."))
    return causes


# Names


def _names_causes(names: Json, path: str) -> list[Cause]:
    causes = []
    for name in ("plural", "singular", "kind", "listKind"):
        value = names.get(name, "")
        mixed = name in {"kind", "listKind"}
        problems = dns_1035_problems(value.lower() if mixed else value) if value else []
        if problems:
            start = "may have mixed case, but should otherwise match: " if mixed else ""
            causes.append(invalid(f"{path}.{name}", value, start + ",".join(problems)))
    for name in ("shortNames", "categories"):
        for index, one in enumerate(names.get(name) or ()):
            if problems := dns_1035_problems(one):
                causes.append(invalid(f"{path}.{name}[{index}]", one, ",".join(problems)))
    if names.get("kind") and names["kind"] == names.get("listKind"):
        why = "kind and listKind may not be the same"
        causes.append(invalid(f"{path}.listKind", names["listKind"], why))
    return causes


def _change_causes(spec: Json, old: Json) -> list[Cause]:
    before, names, known = old.get("spec") or {}, spec.get("names") or {}, (old.get("spec") or {}).get("names") or {}
    conditions = (old.get("status") or {}).get("conditions") or ()
    causes = []
    if any(one.get("type") == "Established" and one.get("status") == "True" for one in conditions):
        causes += immutable(spec.get("scope"), before.get("scope"), "spec.scope")
        causes += immutable(names.get("kind"), known.get("kind"), "spec.names.kind")
    causes += immutable(spec.get("group"), before.get("group"), "spec.group")
    return causes + immutable(names.get("plural"), known.get("plural"), "spec.names.plural")


def _stored_causes(stored: Sequence[str], versions: Sequence[Json]) -> list[Cause]:
    path = "status.storedVersions"
    if not stored:
        return [invalid(path, stored or None, "must have at least one stored version")]
    names = {version.get("name", "") for version in versions}
    causes = [
        invalid(path, stored, f"must have the storage version {version.get('name', '')}")
        for version in versions
        if version.get("storage") and version.get("name", "") not in stored
    ]
    for index, one in enumerate(stored):
        if one not in names:
            why = (
                f"missing from spec.versions; {one} was previously a storage version, and must remain in spec.versions "
                f"until a storage migration ensures no data remains persisted in {one} and removes {one} from "
                "status.storedVersions"
            )
            causes.append(invalid(f"{path}[{index}]", one, why))
    return causes


# Conversion and approval


def _conversion_causes(conversion: Json | None, path: str) -> list[Cause]:
    if conversion is None:
        return []
    strategy, webhook = conversion.get("strategy", ""), conversion.get("webhook")
    causes = choice(strategy, ("None", "Webhook"), f"{path}.strategy")
    client = (webhook or {}).get("clientConfig")
    versions = (webhook or {}).get("conversionReviewVersions") or ()
    if strategy == "Webhook":
        where = f"{path}.webhookClientConfig"
        if client is None:
            causes.append(required(where, "required when strategy is set to Webhook"))
        else:
            causes += client_causes(client, where)
        return causes + review_version_causes(versions, f"{path}.conversionReviewVersions", named=False)
    why = "should not be set when strategy is not set to Webhook"
    if client is not None:
        causes.append(forbidden(f"{path}.webhookClientConfig", why))
    if versions:
        causes.append(forbidden(f"{path}.conversionReviewVersions", why))
    return causes


def _approval_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is missing to define resources in a group of Kubernetes itself."""
    group = (new.get("spec") or {}).get("group", "")
    if not f".{group}".endswith((".k8s.io", ".kubernetes.io")):
        return []
    given = (new["metadata"].get("annotations") or {}).get(_APPROVAL, "")
    if old is not None and given == (old["metadata"].get("annotations") or {}).get(_APPROVAL, ""):
        return []
    where = f"metadata.annotations[{_APPROVAL}]"
    why = f'protected groups must have approval annotation "{_APPROVAL}"'
    see = "see https://github.com/kubernetes/enhancements/pull/1111"
    if not given:
        return [required(where, f"{why}, {see}")]
    url = urlsplit(given)
    if given.startswith("unapproved") or (url.netloc and url.scheme):
        return []
    return [invalid(where, given, f'{why} with either a URL or a reason starting with "unapproved", {see}')]
