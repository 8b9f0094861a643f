"""Validation of webhook configurations, and of what they share with the definitions of custom resources.

In: an object as decoded and defaulted, and in an update the one before. Out: causes in the order of the real server. The
rules are those of `k8s.io/kubernetes/pkg/apis/admissionregistration/validation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from engine.sandbox.simulator.builtin.checks import dns_1035_problems, qualified_name, selector
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import duplicate, invalid, not_supported, required, too_many
from engine.sandbox.simulator.names import dns_subdomain_problems

Json = dict[str, Any]

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_HARMLESS = ("None", "NoneOnDryRun")
_REVIEW_VERSIONS = ("v1", "v1beta1")
_LONGEST_TIMEOUT = 30
_MOST_CONDITIONS = 64
_CHOICES = {
    "failurePolicy": ("Fail", "Ignore"),
    "matchPolicy": ("Equivalent", "Exact"),
}
_FORM = "; desired format: https://host[/path]"


def webhook_configuration_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a MutatingWebhookConfiguration or a ValidatingWebhookConfiguration."""
    causes: list[Cause] = []
    names: set[str] = set()
    hooks: Sequence[Json] = new.get("webhooks") or ()
    if old is not None and hooks is old.get("webhooks"):
        return []
    for index, hook in enumerate(hooks):
        here, name = f"webhooks[{index}]", hook.get("name", "")
        causes += _webhook_causes(hook, here)
        causes += review_version_causes(hook.get("admissionReviewVersions") or (), f"{here}.admissionReviewVersions")
        if name in names:
            causes.append(duplicate(f"{here}.name", name))
        if name:
            names.add(name)
    return causes


def _webhook_causes(hook: Json, path: str) -> list[Cause]:
    causes = _full_name_causes(hook.get("name", ""), f"{path}.name")
    for index, rule in enumerate(hook.get("rules") or ()):
        causes += _rule_causes(rule, f"{path}.rules[{index}]")
    for name, choices in _CHOICES.items():
        if name in hook and hook[name] not in choices:
            causes.append(not_supported(f"{path}.{name}", hook[name], choices))
    effects = hook.get("sideEffects")
    if effects is None:
        causes.append(required(f"{path}.sideEffects", f"must specify one of {', '.join(_HARMLESS)}"))
    elif effects not in _HARMLESS:
        causes.append(not_supported(f"{path}.sideEffects", effects, _HARMLESS))
    timeout = hook.get("timeoutSeconds")
    if timeout is not None and not 1 <= timeout <= _LONGEST_TIMEOUT:
        why = f"the timeout value must be between 1 and {_LONGEST_TIMEOUT} seconds"
        causes.append(invalid(f"{path}.timeoutSeconds", timeout, why))
    for name in ("namespaceSelector", "objectSelector"):
        causes += selector(hook.get(name), f"{path}.{name}")
    again, choices = hook.get("reinvocationPolicy"), ("IfNeeded", "Never")
    if again is not None and again not in choices:
        causes.append(not_supported(f"{path}.reinvocationPolicy", again, choices))
    causes += client_causes(hook.get("clientConfig") or {}, f"{path}.clientConfig")
    return causes + _condition_causes(hook.get("matchConditions") or (), f"{path}.matchConditions")


def _full_name_causes(name: str, path: str) -> list[Cause]:
    if not name:
        return [required(path)]
    if problems := dns_subdomain_problems(name):
        return [invalid(path, name, ",".join(problems))]
    if name.count(".") < 2:
        return [invalid(path, name, "should be a domain with at least three segments separated by dots")]
    return []


def _condition_causes(conditions: Sequence[Json], path: str) -> list[Cause]:
    causes: list[Cause] = []
    names: set[str] = set()
    if len(conditions) > _MOST_CONDITIONS:
        causes.append(too_many(path, len(conditions), _MOST_CONDITIONS))
    for index, one in enumerate(conditions):
        here, name = f"{path}[{index}]", one.get("name", "")
        if not one.get("expression", "").strip():
            causes.append(required(f"{here}.expression"))
        causes += qualified_name(name, f"{here}.name") if name else [required(f"{here}.name")]
        if name in names:
            causes.append(duplicate(f"{here}.name", name))
        if name:
            names.add(name)
    return causes


# Rules


def _rule_causes(rule: Json, path: str) -> list[Cause]:
    operations = rule.get("operations") or ()
    causes = _wildcard_causes(operations, f"{path}.operations", "operations")
    for index, one in enumerate(operations):
        if one not in _OPERATIONS:
            causes.append(not_supported(f"{path}.operations[{index}]", one, _OPERATIONS))
    causes += _wildcard_causes(rule.get("apiGroups") or (), f"{path}.apiGroups", "API groups")
    versions = rule.get("apiVersions") or ()
    causes += _wildcard_causes(versions, f"{path}.apiVersions", "API versions")
    causes += [required(f"{path}.apiVersions[{index}]") for index, one in enumerate(versions) if not one]
    causes += _resource_causes(rule.get("resources") or (), f"{path}.resources")
    scope, scopes = rule.get("scope"), ("*", "Cluster", "Namespaced")
    if scope is not None and scope not in scopes:
        causes.append(not_supported(f"{path}.scope", scope, scopes))
    return causes


def _wildcard_causes(values: Sequence[str], path: str, what: str) -> list[Cause]:
    if not values:
        return [required(path)]
    if len(values) > 1 and "*" in values:
        return [invalid(path, values, f"if '*' is present, must not specify other {what}")]
    return []


def _resource_causes(resources: Sequence[str], path: str) -> list[Cause]:
    causes = [] if resources else [required(path)]
    whole: set[str] = set()
    everywhere: set[str] = set()
    plain = False
    for index, one in enumerate(resources):
        here = f"{path}[{index}]"
        if not one:
            causes.append(required(here))
            continue
        resource, slash, subresource = one.partition("/")
        if not slash:
            plain = one != "*"
            continue
        if resource in whole:
            causes.append(invalid(here, one, f"if '{resource}/*' is present, must not specify {one}"))
        if subresource in everywhere:
            causes.append(invalid(here, one, f"if '*/{subresource}' is present, must not specify {one}"))
        if subresource == "*":
            whole.add(resource)
        if resource == "*":
            everywhere.add(subresource)
    if len(resources) > 1 and "*/*" in resources:
        causes.append(invalid(path, resources, "if '*/*' is present, must not specify other resources"))
    if "*" in resources and plain:
        why = "if '*' is present, must not specify other resources without subresources"
        causes.append(invalid(path, resources, why))
    return causes


# What is called, and how


def review_version_causes(versions: Sequence[str], path: str, *, named: bool = True) -> list[Cause]:
    """Return what is wrong with the versions of reviews that a webhook understands.

    Args:
        versions: in order of preference.
        path: of the list.
        named: whether the message for a missing list names the versions that the server speaks.

    """
    known = ", ".join(_REVIEW_VERSIONS)
    if not versions:
        return [required(path, f"must specify one of {known}" if named else "")]
    causes = []
    for index, one in enumerate(versions):
        if one in versions[:index]:
            causes.append(invalid(f"{path}[{index}]", one, "duplicate version"))
        else:
            causes += [invalid(f"{path}[{index}]", one, problem) for problem in dns_1035_problems(one)]
    if not any(one in _REVIEW_VERSIONS for one in versions):
        causes.append(invalid(path, versions, f"must include at least one of {known}"))
    return causes


def client_causes(client: Json, path: str) -> list[Cause]:
    """Return what is wrong with how a webhook is called."""
    url, service = client.get("url"), client.get("service")
    if service is not None and url is None:
        return _service_causes(service, f"{path}.service")
    if url is None or service is not None:
        return [required(path, "exactly one of url or service is required")]
    return _url_causes(url, f"{path}.url")


def _url_causes(url: str, path: str) -> list[Cause]:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        return [required(path, f"url must be a valid URL: {error}{_FORM}")]
    user, _, host = parts.netloc.rpartition("@")
    causes = []
    if parts.scheme != "https":
        causes.append(invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{_FORM}"))
    if not host:
        causes.append(invalid(path, host, f"host must be specified{_FORM}"))
    if user:
        causes.append(invalid(path, user, "user information is not permitted in the URL"))
    if parts.fragment:
        causes.append(invalid(path, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        causes.append(invalid(path, parts.query, "query parameters are not permitted in the URL"))
    return causes


def _service_causes(service: Json, path: str) -> list[Cause]:
    causes = [required(f"{path}.{name}") for name in ("name", "namespace") if not service.get(name)]
    port, place = service.get("port", 443), service.get("path")
    if not 1 <= port <= 65535:
        why = "port is not valid: must be between 1 and 65535, inclusive"
        causes.append(invalid(f"{path}.port", port, why))
    if place in {None, "", "/"}:
        return causes
    where = f"{path}.path"
    if place == "//":
        return [*causes, invalid(where, place, "segment[0] may not be empty")]
    if not place.startswith("/"):
        causes.append(invalid(where, place, "must start with a '/'"))
    for index, step in enumerate(place[1:].removesuffix("/").split("/")):
        if not step:
            causes.append(invalid(where, place, f"segment[{index}] may not be empty"))
            continue
        causes += [invalid(where, place, f"segment[{index}]: {problem}") for problem in dns_subdomain_problems(step)]
    return causes
