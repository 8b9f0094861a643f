"""Federated objects as they are written, in every form, read into one. Pure.

* `types.kubefed.io/v1beta1` `Federated<Kind>`: kubefed's last form.
* `types.kubefed.k8s.io/v1alpha1` `Federated<Kind>`: its first, with dotted override paths; the talk's example.
* `crosscurrent.dev/v1alpha1` `FederatedObject`, and `ClusterFederatedObject` for what is in no namespace: any kind.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.core.authoring import Removal, name_problem
from engine.core.view import KubeObject
from reconcilers.federation.overrides import Override, read_overrides
from reconcilers.federation.secret_data import DROPPED, check_overrides, check_template
from reconcilers.federation.selection import Malformed, Placement, mapping, text
from schemas.actions import Json, Propagation
from schemas.federation import Adoption, FederationConfig
from schemas.federation_forms import FEDERATED_SECRETS, GENERIC, GENERIC_GROUP, is_elsewhere
from schemas.names import ClusterName, ObjectRef, Resource

OLD_GROUP, GROUP = "types.kubefed.k8s.io", "types.kubefed.io"
VERSIONS = {GROUP: "v1beta1", OLD_GROUP: "v1alpha1"}
NAMESPACES, SECRETS = Resource("", "v1", "namespaces"), Resource("", "v1", "secrets")

TARGET_NAME = "crosscurrent.dev/target-name"
ADOPT = "crosscurrent.dev/adopt"
CONFLICTS = "crosscurrent.dev/conflicts"
RECREATE = "crosscurrent.dev/recreate"
REMOVE_WHEN = "crosscurrent.dev/remove-when"
ORPHAN = "kubefed.io/orphan"
DELETE_OPTION = "kubefed.io/deleteoption"
CHOICES = {
    ADOPT: ("adopt", "refuse", "report"),
    CONFLICTS: ("take", "report"),
    RECREATE: ("true", "false"),
    REMOVE_WHEN: ("applied", "ready"),
    ORPHAN: ("true", "false"),
}
"""Annotations of a federated object, and what they may say: the schemas of kubefed's own CRDs have no room for fields."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a federated object's annotations ask for."""

    target_name: str = ""
    adopt: Adoption = "refuse"
    take: bool = True
    """Whether fields are taken over from other managers; else a conflict is shown."""
    recreate: bool = False
    """Whether what cannot be changed is deleted and made anew."""
    remove_when_ready: bool = False
    """Whether a deselected cluster's object stays until the others are ready, not just applied."""


class Federated(msgspec.Struct, frozen=True, kw_only=True):
    """A federated object that was understood."""

    target: Resource
    kind: str
    template: Json
    placement: Placement
    overrides: tuple[Override, ...]
    options: Options

    @property
    def secret(self) -> bool:
        """Whether its copies are Secrets."""
        return self.target.group_resource == SECRETS.group_resource

    def ref(self, parent: KubeObject, cluster: ClusterName) -> ObjectRef:
        """Return where its object is in a cluster."""
        namespace = "" if is_cluster_scoped(parent) else parent.namespace
        name = self.options.target_name or parent.name
        return ObjectRef(cluster, self.target.group, self.target.plural, namespace, name)

    def body(self, parent: KubeObject) -> Json:
        """Return the template as a whole object."""
        ref = self.ref(parent, parent.cluster)
        metadata = dict(mapping(self.template.get("metadata"), "spec.template.metadata"))
        for field in DROPPED:
            metadata.pop(field, None)
        metadata["name"] = ref.name
        metadata.pop("namespace", None)
        if ref.namespace:
            metadata["namespace"] = ref.namespace
        rest = {key: value for key, value in self.template.items() if key != "status"}
        return {**rest, "apiVersion": self.target.api_version, "kind": self.kind, "metadata": metadata}


def is_cluster_scoped(parent: KubeObject) -> bool:
    """Return whether the targets are in no namespace; a FederatedNamespace is in the namespace that it is about."""
    return not parent.namespace or parent.ref.resource == f"federated{NAMESPACES.plural}"


def owned(config: FederationConfig) -> dict[str, list[str]]:
    """Return the types of federated objects, and of what each becomes: one, or any in the generic form."""
    every = targets(config)
    found = {f"{GENERIC_GROUP}/v1alpha1/{plural}": list(map(str, every)) for plural in GENERIC}
    for target in every:
        found |= {f"{group}/{version}/federated{target.plural}": [str(target)] for group, version in VERSIONS.items()}
    return found


def targets(config: FederationConfig) -> tuple[Resource, ...]:
    """Return the types that are federated.

    Raises:
        ValueError: for what is no type, for two of one plural name, whose federated types would be one, and for another
            group's `secrets`: in objects of that federated type all is hidden that a Secret's values might be.

    """
    found = tuple(dict.fromkeys(Resource.parse(one) for one in config.types))
    plurals: dict[str, Resource] = {}
    for one in found:
        if f"federated{one.plural}" == FEDERATED_SECRETS and one.group_resource != SECRETS.group_resource:
            message = f"federation.types: {one}: federatedsecrets are about v1/secrets"
            raise ValueError(message)
        if (other := plurals.setdefault(one.plural, one)) is not one:
            message = f"federation.types: {one} and {other} are both federated{one.plural}"
            raise ValueError(message)
    return found


def read(parent: KubeObject, config: FederationConfig) -> Federated:
    """Read a federated object.

    Raises:
        Malformed: naming the place and what is wrong there.

    """
    options = read_options(parent, config)
    spec = mapping(parent.body.get("spec"), "spec")
    template = mapping(spec.get("template"), "spec.template")
    target, kind = _target(parent, template, config)
    placement = Placement.read(spec.get("placement"), "spec.placement")
    overrides = read_overrides(spec.get("overrides"), "spec.overrides", dotted=parent.ref.group == OLD_GROUP)
    if spec.get("retainReplicas") is True:
        template = _without_replicas(template)
    form = Federated(
        target=target, kind=kind, template=template, placement=placement, overrides=overrides, options=options
    )
    if form.secret:
        check_template(template)
        check_overrides(overrides)
    elif parent.ref.group == GENERIC_GROUP and not is_elsewhere(spec):
        raise Malformed("spec.template.kind", f"{kind!r} might be meant for Secret, so all values are hidden")
    return form


def read_options(parent: KubeObject, config: FederationConfig) -> Options:
    """Read the annotations that are ours.

    Raises:
        Malformed: for a value that an annotation cannot have.

    """
    notes = parent.metadata.get("annotations") or {}
    for key, choices in CHOICES.items():
        if key in notes and notes[key] not in choices:
            raise Malformed(f"metadata.annotations[{key}]", f"{notes[key]!r} is none of {', '.join(choices)}")
    name = notes.get(TARGET_NAME, "")
    if name and (problem := name_problem(name)):
        raise Malformed(f"metadata.annotations[{TARGET_NAME}]", problem)
    removal(parent)
    return Options(
        target_name=name,
        adopt=notes.get(ADOPT, config.adopt),
        take=notes.get(CONFLICTS) != "report",
        recreate=notes.get(RECREATE) == "true",
        remove_when_ready=notes.get(REMOVE_WHEN) == "ready",
    )


def removal(parent: KubeObject) -> Removal:
    """Read kubefed's annotations on deletion.

    Raises:
        Malformed: when they cannot be understood.

    """
    notes = parent.metadata.get("annotations") or {}
    where = f"metadata.annotations[{DELETE_OPTION}]"
    written = notes.get(DELETE_OPTION)
    try:
        given = mapping(msgspec.json.decode(written), where) if written else {}
        options = msgspec.convert(given, _DeleteOptions)
    except msgspec.MsgspecError as problem:
        raise Malformed(where, f"not the JSON of DeleteOptions: {problem}") from None
    return Removal(
        orphan=notes.get(ORPHAN) == "true",
        propagation=options.propagation_policy,
        grace_seconds=options.grace_period_seconds,
    )


class _DeleteOptions(msgspec.Struct, frozen=True, rename="camel"):
    propagation_policy: Propagation = Propagation.BACKGROUND
    grace_period_seconds: int | None = None


def _target(parent: KubeObject, template: Json, config: FederationConfig) -> tuple[Resource, str]:
    known = targets(config)
    version = template.get("apiVersion")
    if parent.ref.group == GENERIC_GROUP:
        version = text(version, "spec.template.apiVersion")
        kind = text(template.get("kind"), "spec.template.kind")
        named = parent.spec.get("resource")
        plurals = (named,) if named else _plurals(kind)
        found = [one for one in known if one.plural in plurals and one.group == _group(version)]
    else:
        kind = parent.kind.removeprefix("Federated")
        if template.get("kind", kind) != kind:
            raise Malformed("spec.template.kind", f"{template['kind']!r}: a {parent.kind} is about {kind}")
        plural = parent.ref.resource.removeprefix("federated")
        found = [one for one in known if one.plural == plural]
    if not found:
        what = f"{kind} ({version})" if version else kind
        raise Malformed(
            "spec.template", f"{what} is not federated: add its type to federation.types in the configuration"
        )
    target = found[0]
    if version is None:
        return target, kind
    if _group(text(version, "spec.template.apiVersion")) != target.group:
        raise Malformed("spec.template.apiVersion", f"{version!r} is not of the group of {target}")
    return Resource(target.group, version.rpartition("/")[2], target.plural), kind


def _group(version: str) -> str:
    return version.rpartition("/")[0]


def _plurals(kind: str) -> tuple[str, ...]:
    """Return what the plural of a kind may be; `spec.resource` names it where it is another."""
    lower = kind.lower()
    return (f"{lower}s", f"{lower}es", f"{lower[:-1]}ies", lower)


def _without_replicas(template: Json) -> Json:
    """Leave `replicas` to whoever else manages them: kubefed's `retainReplicas`, for autoscalers."""
    spec: Any = template.get("spec")
    if not isinstance(spec, dict):
        return template
    return {**template, "spec": {key: value for key, value in spec.items() if key != "replicas"}}
