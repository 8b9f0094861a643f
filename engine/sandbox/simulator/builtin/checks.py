"""Small checks that the validation of several built-in types shares, with the real server's words.

In: a value and the path of its field. Out: causes, none if it is right. All of them come from
`k8s.io/apimachinery/pkg/util/validation` and `k8s.io/kubernetes/pkg/apis/core/validation`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from engine.sandbox.simulator import quantities
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import (
    GoStruct,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from engine.sandbox.simulator.names import (
    dns_label_problems,
    dns_subdomain_problems,
    label_key_problems,
    label_value_problems,
)
from engine.sandbox.simulator.selectors import label_selector

Json = dict[str, Any]

PROTOCOLS = ("SCTP", "TCP", "UDP")

LARGEST_INT32 = 2**31 - 1

_PORT_NAME = re.compile(r"[a-z0-9-]+", re.ASCII)
_CONFIG_MAP_KEY = re.compile(r"[-._a-zA-Z0-9]+", re.ASCII)
_PERCENT = re.compile(r"[0-9]+%", re.ASCII)
_WILDCARD = re.compile(r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?", re.ASCII)


def named(value: Any, path: str, problems: Callable[[str], Iterable[str]]) -> list[Cause]:
    """Return a cause for each problem that a rule for names finds."""
    return [invalid(path, value, problem) for problem in problems(value)]


def dns_label(value: str, path: str) -> list[Cause]:
    """Check an RFC 1123 label."""
    return named(value, path, dns_label_problems)


def dns_subdomain(value: str, path: str) -> list[Cause]:
    """Check an RFC 1123 subdomain."""
    return named(value, path, dns_subdomain_problems)


def qualified_name(value: str, path: str) -> list[Cause]:
    """Check a name that may have a domain before a slash."""
    return named(value, path, label_key_problems)


def labels(found: Json | None, path: str) -> list[Cause]:
    """Check a map of labels."""
    causes = []
    for key, value in (found or {}).items():
        causes += named(key, path, label_key_problems)
        causes += named(value, path, label_value_problems)
    return causes


def annotation_keys(found: Json | None, path: str) -> list[Cause]:
    """Check a map of annotations, its size aside."""
    return [cause for key in found or () for cause in named(key, path, lambda text: label_key_problems(text.lower()))]


def selector(found: Json | None, path: str) -> list[Cause]:
    """Check a LabelSelector."""
    if found is None:
        return []
    causes = labels(found.get("matchLabels"), f"{path}.matchLabels")
    for index, one in enumerate(found.get("matchExpressions") or ()):
        causes += _requirement(one, f"{path}.matchExpressions[{index}]")
    return causes


def _requirement(requirement: Json, path: str) -> list[Cause]:
    operator, values = requirement.get("operator", ""), requirement.get("values") or ()
    causes = []
    if operator in {"In", "NotIn"}:
        if not values:
            causes.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in {"Exists", "DoesNotExist"}:
        if values:
            why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            causes.append(forbidden(f"{path}.values", why))
    else:
        causes.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
    causes += qualified_name(requirement.get("key", ""), f"{path}.key")
    for index, value in enumerate(values):
        causes += named(value, f"{path}.values[{index}]", label_value_problems)
    return causes


def selector_matches(found: Json | None, wanted: Json) -> bool:
    """Return whether a LabelSelector that is right selects labels; None selects nothing."""
    compiled = label_selector(found)
    return compiled is not None and compiled.matches(wanted)


def non_negative(value: int | None, path: str) -> list[Cause]:
    """Check a number that may be missing."""
    return [invalid(path, value, "must be greater than or equal to 0")] if value is not None and value < 0 else []


def positive(value: int, path: str) -> list[Cause]:
    """Check a number."""
    return [] if value > 0 else [invalid(path, value, "must be greater than zero")]


def in_range(value: int, least: int, most: int, path: str) -> list[Cause]:
    """Check a number that has both limits."""
    if least <= value <= most:
        return []
    return [invalid(path, value, f"must be between {least} and {most}, inclusive")]


def port_number(value: int, path: str) -> list[Cause]:
    """Check a port's number."""
    return in_range(value, 1, 65535, path)


def port_name_problems(name: str) -> list[str]:
    """Return what is wrong with a port's name."""
    problems = []
    if len(name) > 15:
        problems.append("must be no more than 15 characters")
    if not _PORT_NAME.fullmatch(name):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", name):
        problems.append("must contain at least one letter (a-z)")
    if "--" in name:
        problems.append("must not contain consecutive hyphens")
    if name and (name[0] == "-" or name[-1] == "-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def port(value: Any, path: str) -> list[Cause]:
    """Check a port given by number or by name."""
    return named(value, path, port_name_problems) if isinstance(value, str) else port_number(value, path)


def config_map_key_problems(key: str) -> list[str]:
    """Return what is wrong with a key of a ConfigMap or Secret."""
    problems = []
    if len(key) > 253:
        problems.append("must be no more than 253 characters")
    if not _CONFIG_MAP_KEY.fullmatch(key):
        problems.append(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
            "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        )
    if key in {".", ".."}:
        problems.append(f"must not be '{key}'")
    elif key.startswith(".."):
        problems.append("must not start with '..'")
    return problems


def dns_1035_problems(name: str) -> list[str]:
    """Return what is wrong with an RFC 1035 label."""
    problems = ["must be no more than 63 bytes"] if len(name) > 63 else []
    if not _DNS_1035.fullmatch(name):
        problems.append(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
            "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
            "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        )
    return problems


def wildcard_problems(name: str) -> list[str]:
    """Return what is wrong with a host name that has a wildcard."""
    problems = ["must be no more than 253 bytes"] if len(name) > 253 else []
    if not _WILDCARD.fullmatch(name):
        problems.append(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist "
            "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. "
            "'*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]"
            "([-a-z0-9]*[a-z0-9])?)*')"
        )
    return problems


def choice(value: str | None, choices: Sequence[str], path: str) -> list[Cause]:
    """Check a text that must be one of several; an empty one is missing."""
    if not value:
        return [required(path)]
    return [] if value in choices else [not_supported(path, value, choices)]


def immutable(new: Any, old: Any, path: str) -> list[Cause]:
    """Check a field that may not change."""
    return [] if new == old else [invalid(path, new, "field is immutable")]


def go_struct(value: Json | None, /, **fields: Any) -> GoStruct | None:
    """Return what a message shows of a struct of the server's own: its Go names, in its order.

    Args:
        value: the struct; None: there is none.
        fields: names in its order, with what stands for a missing value.

    """
    if value is None:
        return None
    return GoStruct({name[0].upper() + name[1:]: value.get(name, missing) for name, missing in fields.items()})


def shown_selector(found: Json | None) -> GoStruct | None:
    """Return what a message shows of a LabelSelector."""
    names = ("matchLabels", "matchExpressions")
    return None if found is None else GoStruct({name: found[name] for name in names if name in found})


def number_or_percent(value: Any) -> int:
    """Return a number of pods or a percentage, whichever it is; other texts are 0."""
    share = percentage(value)
    if share is not None:
        return share
    return value if isinstance(value, int) else 0


def count_or_percent(value: Any, path: str) -> list[Cause]:
    """Check a number of pods, or a part of them in percent."""
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            why = "a valid percent string must be a numeric string followed by an ending '%' "
            why += "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
            return [invalid(path, value, why)]
        return []
    return non_negative(value, path)


def at_most_everything(value: Any, path: str) -> list[Cause]:
    """Check that a percentage is at most 100."""
    share = percentage(value)
    return [invalid(path, value, "must not be greater than 100%")] if share is not None and share > 100 else []


def percentage(value: Any) -> int | None:
    """Return a percentage; None: the value is none."""
    return int(value[:-1]) if isinstance(value, str) and _PERCENT.fullmatch(value) else None


def resource_quantity(name: str, text: str, path: str) -> list[Cause]:
    """Check the quantity of a resource such as cpu."""
    value = quantities.parse(text).value
    causes = [invalid(path, text, "must be greater than or equal to 0")] if value < 0 else []
    if is_whole(name) and value != value.to_integral_value():
        causes.append(invalid(path, text, "must be an integer"))
    return causes


_WHOLE = {
    "pods",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "resourcequotas",
}
_WHOLE |= {"services.nodeports", "services.loadbalancers"}
STANDARD_RESOURCES = _WHOLE | {"cpu", "memory", "ephemeral-storage", "storage"}
STANDARD_RESOURCES |= {
    f"{kind}.{name}" for kind in ("requests", "limits") for name in ("cpu", "memory", "ephemeral-storage")
}
STANDARD_RESOURCES |= {"requests.storage"}
CONTAINER_RESOURCES = {"cpu", "memory", "ephemeral-storage"}


def is_native(name: str) -> bool:
    """Return whether Kubernetes itself knows a resource."""
    return "/" not in name or "kubernetes.io/" in name


def is_whole(name: str) -> bool:
    """Return whether there are only whole numbers of a resource."""
    extended = not is_native(name) and not name.startswith("requests.")
    return name in _WHOLE or extended


def is_huge_page(name: str) -> bool:
    """Return whether a resource is huge pages of some size."""
    return name.startswith("hugepages-")


def resource_name(name: str, path: str) -> list[Cause]:
    """Check the name of a resource."""
    causes = named(name, path, label_key_problems)
    if not causes and "/" not in name and name not in STANDARD_RESOURCES and not is_huge_page(name):
        causes.append(invalid(path, name, "must be a standard resource type or fully qualified"))
    return causes


def container_resource_name(name: str, path: str) -> list[Cause]:
    """Check the name of a resource of a container."""
    causes = resource_name(name, path)
    if "/" not in name:
        if name not in CONTAINER_RESOURCES and not is_huge_page(name):
            causes.append(invalid(path, name, "must be a standard resource for containers"))
    elif not is_native(name) and (name.startswith("requests.") or label_key_problems(f"requests.{name}")):
        causes.append(invalid(path, name, "doesn't follow extended resource name standard"))
    return causes


_HTTP_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", re.ASCII)


def domain_prefixed_path(value: str, path: str) -> list[Cause]:
    """Check a name such as `acme.io/foo`."""
    host, _, rest = value.partition("/")
    if not value:
        return [required(path)]
    if not host or not rest:
        return [invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    causes = dns_subdomain(host, path)
    if not _HTTP_PATH.fullmatch(rest):
        causes.append(invalid(path, rest, f"Invalid path (regex used for validation is '{_HTTP_PATH.pattern}')"))
    return causes


_REASON = re.compile("[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_REASON_PROBLEM = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters "
    "or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or "
    f"'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '{_REASON.pattern}')"
)
_REASON_LENGTH, _MESSAGE_LENGTH = 1024, 32 * 1024


def conditions(found: Sequence[Json], path: str) -> list[Cause]:
    """Check a list of metav1.Condition."""
    causes: list[Cause] = []
    for index, one in enumerate(found):
        here, kind, reason = f"{path}[{index}]", one.get("type", ""), one.get("reason", "")
        if any(kind == other.get("type", "") for other in found[:index]):
            causes.append(duplicate(f"{here}.type", kind))
        causes += qualified_name(kind, f"{here}.type")
        status, statuses = one.get("status", ""), ("False", "True", "Unknown")
        if status not in statuses:
            causes.append(not_supported(f"{here}.status", status, statuses))
        if one.get("observedGeneration", 0) < 0:
            why = "must be greater than or equal to zero"
            causes.append(invalid(f"{here}.observedGeneration", one["observedGeneration"], why))
        if not one.get("lastTransitionTime"):
            causes.append(required(f"{here}.lastTransitionTime"))
        if not reason:
            causes.append(required(f"{here}.reason"))
        elif not _REASON.fullmatch(reason):
            causes.append(invalid(f"{here}.reason", reason, _REASON_PROBLEM))
        if len(reason) > _REASON_LENGTH:
            causes.append(too_long(f"{here}.reason", _REASON_LENGTH))
        if len(one.get("message", "")) > _MESSAGE_LENGTH:
            causes.append(too_long(f"{here}.message", _MESSAGE_LENGTH))
    return causes
