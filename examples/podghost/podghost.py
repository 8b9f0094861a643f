"""multicluster-controller's podghost: for each pod of one cluster a PodGhost in another, gone when the pod is gone.

Nothing is put on the pods, so that they end as fast as ever: the built-in `garbage` collects the ghosts of pods that are
proven to be gone. The original put all ghosts into one namespace, where `a-b/c` and `a/b-c` had the same name.
"""

from crosscurrent import Decision, Request, View, dependent, reconciler

GHOSTS = "multicluster.admiralty.io/v1alpha1/podghosts"


@reconciler("podghost", watches="v1/pods", owns=[GHOSTS])
def podghost(view: View, request: Request) -> Decision:
    """Haunt the clusters with the label `ghosts: here` with the pods of all others."""
    pod = view.get(request.object)
    if pod is None or pod.deleting or view.clusters[pod.cluster].labels.get("ghosts") == "here":
        return Decision.wait()
    body = {
        "apiVersion": "multicluster.admiralty.io/v1alpha1",
        "kind": "PodGhost",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
    }
    haunted = [cluster for cluster in view.others(pod.cluster) if cluster.labels.get("ghosts") == "here"]
    return Decision.do(*(dependent(view, pod, cluster, GHOSTS, body) for cluster in haunted))
