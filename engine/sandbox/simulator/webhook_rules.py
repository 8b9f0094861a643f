"""Which admission webhooks want to see a request: rules, selectors and order, as the configurations say.

In: ValidatingWebhookConfigurations and MutatingWebhookConfigurations, and what is about to be written. Out: the
webhooks to call, in order. Calling them is in `webhooks`. The variable `authorizer` of match conditions is not there:
a condition that uses it cannot be evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

import msgspec

from engine.sandbox.simulator.cel import CelError, CelSyntaxError, Program, compiled
from engine.sandbox.simulator.options import AdmissionRequest
from engine.sandbox.simulator.resource_types import ResourceType, TypeKey
from engine.sandbox.simulator.selectors import label_selector
from engine.sandbox.simulator.store import Json, Revision

GROUP: Final = "admissionregistration.k8s.io"
CONFIGURATIONS: Final[dict[str, TypeKey]] = {
    "mutating": (GROUP, "mutatingwebhookconfigurations"),
    "validating": (GROUP, "validatingwebhookconfigurations"),
}
_DEFAULT_SECONDS: Final = 10

LabelsOfNamespace = Callable[[str], dict[str, str]]


class Rule(msgspec.Struct, frozen=True, rename="camel"):
    """Which operations on which resources."""

    operations: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    api_versions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scope: str = "*"

    def names(self, operation: str, rtype: ResourceType, subresource: str) -> bool:
        """Return whether the rule means this, whatever the version."""
        return (
            _has(self.operations, operation)
            and _has(self.api_groups, rtype.group)
            and self.scope in {"*", "Namespaced" if rtype.namespaced else "Cluster"}
            and any(_is_resource(pattern, rtype.resource, subresource) for pattern in self.resources)
        )

    def has_version(self, version: str) -> bool:
        """Return whether the rule means this version."""
        return _has(self.api_versions, version)


class Webhook(msgspec.Struct, frozen=True):
    """One webhook of a configuration.

    Attributes:
        name: for messages.
        configuration: name of the configuration.
        client: its clientConfig.
        rules: what it wants to see.
        equivalent: whether a rule for one version means all versions of a resource.
        fails_closed: whether a webhook that cannot be asked refuses.
        seconds: for how long it may take.
        has_side_effects: whether it must not be called in a dry run.
        reinvoked: whether it is asked again when a later one changes the object.
        selects_namespace: its namespaceSelector.
        selects_object: its objectSelector.
        conditions: its matchConditions, as texts in CEL.

    """

    name: str
    configuration: str
    client: dict[str, Any]
    rules: tuple[Rule, ...]
    equivalent: bool
    fails_closed: bool
    seconds: int
    has_side_effects: bool
    reinvoked: bool
    selects_namespace: Callable[[dict[str, str]], bool]
    selects_object: Callable[[dict[str, str]], bool]
    conditions: tuple[str, ...]

    def version_for(self, operation: str, rtype: ResourceType, subresource: str, served: Iterable[str]) -> str | None:
        """Return in which version it wants to see an object, None if it does not want to."""
        rules = [rule for rule in self.rules if rule.names(operation, rtype, subresource)]
        if any(rule.has_version(rtype.version) for rule in rules):
            return rtype.version
        if self.equivalent:
            return next((version for version in served if any(rule.has_version(version) for rule in rules)), None)
        return None

    def selects(self, request: AdmissionRequest, labels_of_namespace: LabelsOfNamespace) -> bool:
        """Return whether its selectors let a request through."""
        if request.resource == "namespaces" and not request.group:
            own = request.object if request.object is not None else request.old_object
            if not self.selects_namespace(_labels(own)):
                return False
        elif request.namespace and not self.selects_namespace(labels_of_namespace(request.namespace)):
            return False
        objects = [one for one in (request.object, request.old_object) if one is not None]
        return any(self.selects_object(_labels(one)) for one in objects)

    def meets_conditions(self, question: Json) -> bool:
        """Return whether every match condition holds for an AdmissionRequest.

        Raises:
            CelError: when none is false, and one cannot be evaluated.
            CelSyntaxError: when none is false, and one is no expression.

        """
        failure: CelError | CelSyntaxError | None = None
        variables = {"object": question["object"], "oldObject": question["oldObject"], "request": question}
        for text in self.conditions:
            try:
                if not _program(text)(variables):
                    return False
            except (CelError, CelSyntaxError) as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return True


def webhooks_of(configurations: Iterable[Revision]) -> tuple[Webhook, ...]:
    """Return the webhooks of some configurations, in the order in which they are called."""
    ordered = sorted(configurations, key=lambda one: one.key)
    return tuple(_webhook(one.name, raw) for one in ordered for raw in one.object.get("webhooks") or ())


def _webhook(configuration: str, raw: Json) -> Webhook:
    return Webhook(
        name=raw.get("name", ""),
        configuration=configuration,
        client=raw.get("clientConfig") or {},
        rules=msgspec.convert(raw.get("rules") or (), tuple[Rule, ...]),
        equivalent=raw.get("matchPolicy", "Equivalent") == "Equivalent",
        fails_closed=raw.get("failurePolicy", "Fail") == "Fail",
        seconds=raw.get("timeoutSeconds") or _DEFAULT_SECONDS,
        has_side_effects=raw.get("sideEffects") not in {"None", "NoneOnDryRun"},
        reinvoked=raw.get("reinvocationPolicy") == "IfNeeded",
        selects_namespace=_selector(raw.get("namespaceSelector")),
        selects_object=_selector(raw.get("objectSelector")),
        conditions=tuple(one["expression"] for one in raw.get("matchConditions") or ()),
    )


@lru_cache(maxsize=200)
def _program(text: str) -> Program:
    return compiled(text, ("object", "oldObject", "request"))


def _selector(raw: Json | None) -> Callable[[dict[str, str]], bool]:
    if not raw or not (raw.get("matchLabels") or raw.get("matchExpressions")):
        return lambda _: True
    selector = label_selector(raw)
    return (lambda _: True) if selector is None else selector.matches


def _labels(obj: Json | None) -> dict[str, str]:
    return ((obj or {}).get("metadata") or {}).get("labels") or {}


def _has(patterns: tuple[str, ...], value: str) -> bool:
    return "*" in patterns or value in patterns


def _is_resource(pattern: str, resource: str, subresource: str) -> bool:
    wanted, _, wanted_subresource = pattern.partition("/")
    return wanted in {"*", resource} and wanted_subresource in {"*", subresource}
