"""What the engine must be allowed to do in each cluster, as RBAC objects, from the configuration and nothing else (SEC-04).

Rules:
    * Every rule names its verbs, groups and resources; there is no `*`, no `escalate`, `bind` or `impersonate`.
    * Secrets and tokens only in the namespaces that the configuration names, tokens only of the accounts that it names;
      Secrets everywhere only for a reconciler that copies them.
    * What every authenticated client may do (discovery, `/version`) is left to Kubernetes' own `system:discovery`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.core.authoring import Reconciler
from engine.core.importing import IMPORTS, SERVICE_ACCOUNT_GRANTS, SERVICE_ACCOUNTS
from engine.core.joining import CLUSTER_JOINS
from engine.core.secrecy import SECRETS
from schemas.actions import Json
from schemas.config import HubNamespace, ImportsConfig, RegistryConfig
from schemas.names import ClusterName, Resource

RBAC = "rbac.authorization.k8s.io"
READ = ("get", "list", "watch")
NAMESPACES = Resource("", "v1", "namespaces")
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")
PROFILES = Resource("multicluster.x-k8s.io", "v1alpha1", "clusterprofiles")
IDENTITY = "kube-system"


class NoRoles(ValueError):
    """Raised when a configuration's needs cannot be told as exact rules; the message says which part of it is why."""


def roles(
    cluster: ClusterName,
    reconcilers: Sequence[Reconciler],
    imports: ImportsConfig,
    *,
    registry: RegistryConfig | None = None,
    resources: Iterable[Resource] = (),
    account: tuple[str, str],
) -> list[Json]:
    """Return the objects to apply in a cluster: a ClusterRole, Roles for tokens, Secrets and profiles, and their bindings.

    Args:
        cluster: its configured name.
        reconcilers: the configured ones.
        imports: which accounts and namespaces imports may use.
        registry: where clusters are read from.
        resources: types that are watched besides.
        account: namespace and name of the engine's ServiceAccount there.

    Raises:
        NoRoles: for a reconciler of all types.

    """
    for one in reconcilers:
        if any(kind.plural == "*" for kind in one.types):
            message = f"the reconciler {one.name} works on every type there is; no exact rules can be told"
            raise NoRoles(message)
    importing = any(IMPORTS in one.watches for one in reconcilers)
    rules = [*_cluster_rules(reconcilers, resources, importing=importing)]
    if registry is not None and registry.joins == cluster:
        rules += [rule(CLUSTER_JOINS, READ), rule(CLUSTER_JOINS, ("patch",), subresource="status")]
    found = _bound("ClusterRole", "crosscurrent", "", rules, account)
    if importing:
        for namespace, namespaced in sorted(_namespaced(cluster, imports).items()):
            found += _bound("Role", "crosscurrent-imports", namespace, namespaced, account)
    for namespace, namespaced in sorted(_of_registry(cluster, registry or RegistryConfig()).items()):
        found += _bound("Role", "crosscurrent-registry", namespace, namespaced, account)
    return found


def _cluster_rules(
    reconcilers: Sequence[Reconciler], resources: Iterable[Resource], *, importing: bool
) -> Iterable[Json]:
    yield rule(NAMESPACES, ("get",), names=(IDENTITY,))
    yield rule(NAMESPACES, ("list",))  # one of them at a time: how far the cluster's versions have come
    yield rule(DEFINITIONS, ("list", "watch"))  # a type that is installed is watched at once, not at the next discovery
    watched = {kind: None for one in reconcilers for kind in one.types}
    watched |= dict.fromkeys([*resources, *([SERVICE_ACCOUNT_GRANTS] if importing else [])])
    for kind in sorted(watched):
        yield rule(kind, READ)
    for one in reconcilers:
        for kind in one.watches:
            if kind != IMPORTS:
                yield rule(kind, ("patch",))  # its finalizer
            yield rule(kind, ("patch",), subresource="status")
        for kind in one.owns:
            yield rule(kind, ("create", "patch", "delete"))


def _namespaced(cluster: ClusterName, imports: ImportsConfig) -> dict[str, list[Json]]:
    """Return the rules of each namespace: accounts that may be imported from it, Secrets that imports get in it."""
    accounts: dict[str, list[str]] = {}
    for text in imports.accounts:
        place, namespace, name = text.split("/")
        if place == cluster:
            accounts.setdefault(namespace, []).append(name)
    found: dict[str, list[Json]] = {}
    for namespace, names in accounts.items():
        found[namespace] = [
            rule(SERVICE_ACCOUNTS, ("get",), names=sorted(names)),
            rule(SERVICE_ACCOUNTS, ("create",), subresource="token", names=sorted(names)),
        ]
    for text in imports.namespaces:
        place, namespace = text.split("/")
        if place == cluster:
            found.setdefault(namespace, []).append(rule(SECRETS, ("get", "create", "patch", "delete")))
    return found


def _of_registry(cluster: ClusterName, registry: RegistryConfig) -> dict[str, list[Json]]:
    """Return the rules of each namespace that clusters are read from. A Secret that is listed cannot be chosen by label."""
    found: dict[str, list[Json]] = {}
    places: tuple[HubNamespace, ...] = (*registry.secrets, *registry.imports)
    for namespace in dict.fromkeys(one.namespace for one in places if one.cluster == cluster):
        found[namespace] = [rule(SECRETS, ("list", "watch"))]
    for namespace in dict.fromkeys(one.namespace for one in registry.profiles if one.cluster == cluster):
        found.setdefault(namespace, []).append(rule(PROFILES, ("list", "watch")))
    return found


def rule(kind: Resource, verbs: Sequence[str], *, subresource: str = "", names: Sequence[str] = ()) -> Json:
    """Return one PolicyRule."""
    resource = f"{kind.plural}/{subresource}" if subresource else kind.plural
    found: Json = {"apiGroups": [kind.group], "resources": [resource], "verbs": [*verbs]}
    return found | ({"resourceNames": [*names]} if names else {})


def _bound(kind: str, name: str, namespace: str, rules: Sequence[Json], account: tuple[str, str]) -> list[Json]:
    """Return a role and its binding to the engine's account."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    subject = {"kind": "ServiceAccount", "namespace": account[0], "name": account[1]}
    common = {"apiVersion": f"{RBAC}/v1", "metadata": metadata}
    binding = {**common, "kind": f"{kind}Binding", "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name}}
    return [{**common, "kind": kind, "rules": [*rules]}, {**binding, "subjects": [subject]}]
