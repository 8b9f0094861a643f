"""The talk's Foo: one Deployment in every other cluster, owned across clusters by the Foo."""

from __future__ import annotations

from engine.core.authoring import dependent, hold, name_problem, prune, reconciler, release, report
from engine.core.view import KubeObject, View
from schemas.actions import Decision, Json, Request

DEPLOYMENTS = "apps/v1/deployments"


@reconciler("foo", watches="samplecontroller.k8s.io/v1alpha1/foos", owns=[DEPLOYMENTS])
def foo(view: View, request: Request) -> Decision:
    """Keep the Deployments as the Foo says; when it is deleted, delete them first and then let it go."""
    parent = view.get(request.object)
    if parent is None:
        return Decision.wait()
    if parent.deleting:
        return release(view, parent, [DEPLOYMENTS])
    if problem := name_problem(parent.spec.get("deploymentName")):
        return Decision.do(report(view, parent, problem=("InvalidSpec", f"spec.deploymentName: {problem}")))
    children = [
        dependent(view, parent, cluster, DEPLOYMENTS, deployment(parent)) for cluster in view.others(parent.cluster)
    ]
    return Decision.do(
        hold(parent), *children, *prune(view, parent, children), report(view, parent, children, observe=replicas)
    )


def deployment(parent: KubeObject) -> Json:
    """Return the Deployment of a Foo, in the talk's shape."""
    labels = {"app": "nginx", "controller": parent.name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": parent.spec["deploymentName"], "namespace": parent.namespace},
        "spec": {
            "replicas": parent.spec.get("replicas", 1),
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "nginx", "image": "nginx:latest"}]},
            },
        },
    }


def replicas(child: KubeObject) -> Json:
    """Return what a cluster's status entry says of its Deployment."""
    available = int(child.status.get("availableReplicas", 0))
    return {"availableReplicas": available} if available else {}
