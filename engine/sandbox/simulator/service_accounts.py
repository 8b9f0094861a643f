"""What every namespace has: the ServiceAccount `default`, and the ConfigMap with the cluster's certificate authority.

In: namespaces that come, and objects of these names that go. Out: creates through the API, as kube-controller-manager's
`serviceaccount` and `root-ca-certificate-publisher` controllers make them.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.sandbox.simulator.api import ClusterApi
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.options import User, WriteOptions
from engine.sandbox.simulator.resource_types import TypeKey
from engine.sandbox.simulator.store import Change, Json, object_key
from engine.sandbox.simulator.strategies import NAMESPACES

DEFAULT = "default"
ROOT_CA = "kube-root-ca.crt"

_WRITE = WriteOptions(
    user_agent="kube-controller-manager", user=User("system:kube-controller-manager", groups=("system:masters",))
)
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal "
    "service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)


class ServiceAccounts:
    """Keeps these objects in one cluster.

    Args:
        api: of the cluster.
        later: asks for a reconcile of a namespace.

    """

    def __init__(self, api: ClusterApi, later: Callable[[str], None]) -> None:
        self._api = api
        self._later = later

    def observe(self, key: TypeKey, change: Change) -> None:
        """Note a write."""
        if key == NAMESPACES and change.type == "ADDED":
            self._later(change.current.name)
        elif change.type == "DELETED" and (key[1], change.current.name) in {
            ("serviceaccounts", DEFAULT),
            ("configmaps", ROOT_CA),
        }:
            self._later(change.current.namespace)

    def restart(self) -> None:
        """Start from what is stored, as after a restore."""
        for one in self._api.objects(*NAMESPACES):
            self._later(one.name)

    def reconcile(self, namespace: str) -> float | None:
        """Make what a namespace lacks."""
        found = self._api.state.store.get(NAMESPACES, namespace)
        if found is None or found.object["metadata"].get("deletionTimestamp"):
            return None
        self._ensure("serviceaccounts", namespace, {"metadata": {"name": DEFAULT}})
        annotations = {"kubernetes.io/description": _DESCRIPTION}
        data = {"ca.crt": self._api.state.root_ca}
        self._ensure("configmaps", namespace, {"metadata": {"name": ROOT_CA, "annotations": annotations}, "data": data})
        return None

    def _ensure(self, resource: str, namespace: str, body: Json) -> None:
        if self._api.state.store.get(("", resource), object_key(namespace, body["metadata"]["name"])) is None:
            try:
                self._api.create(self._api.rtype("", resource), namespace, "", body, _WRITE)
            except ApiError as error:
                if error.code != 403:  # the namespace is on its way out
                    raise
