"""What an API server makes in a new cluster by itself: the roles that users lean on.

In: a cluster that has just begun. Out: ClusterRoles and their bindings in it. The admin, edit and view roles hold their
rules themselves, because no controller aggregates them here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from engine.sandbox.simulator.access import RBAC_GROUP
from engine.sandbox.simulator.cluster import SimulatedCluster
from engine.sandbox.simulator.options import WriteOptions

_FILE: Final = Path(__file__).parent / "builtin" / "rbac.yaml"
_METADATA: Final = {
    "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
    "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
}
_OPTIONS: Final = WriteOptions(field_manager="kube-apiserver")

Json = dict[str, Any]


def make_roles(cluster: SimulatedCluster) -> None:
    """Make the roles and bindings that are not there yet."""
    content = _content()
    for name, rules in content["roles"].items():
        _make(cluster, "clusterroles", "ClusterRole", name, {"rules": rules})
    for name, groups in content["bindings"].items():
        subjects = [{"apiGroup": RBAC_GROUP, "kind": "Group", "name": group} for group in groups]
        reference = {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": name}
        _make(cluster, "clusterrolebindings", "ClusterRoleBinding", name, {"subjects": subjects, "roleRef": reference})


@cache
def _content() -> Json:
    found: Json = yaml.load(_FILE.read_bytes(), Loader=yaml.CSafeLoader)
    return found


def _make(cluster: SimulatedCluster, resource: str, kind: str, name: str, fields: Json) -> None:
    rtype = cluster.types.find(RBAC_GROUP, "v1", resource)
    if rtype is None or cluster.store.get(rtype.key, name) is not None:
        return
    body = {
        "kind": kind,
        "apiVersion": f"{RBAC_GROUP}/v1",
        "metadata": {"name": name, **_METADATA},
        **fields,
    }
    cluster.create(rtype, "", "", body, _OPTIONS)
