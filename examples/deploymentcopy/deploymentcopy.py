"""multicluster-controller's deploymentcopy: Deployments of one cluster, mirrored in another.

Its original deleted whatever had the same name in the destination. Here a Deployment that is not a copy is neither changed
nor deleted: copies name their source as their owner, and a source says by an Event what is in its way.
"""

from crosscurrent import Decision, Request, View, dependent, hold, note, prune, reconciler, release

DEPLOYMENTS = "apps/v1/deployments"


@reconciler("deploymentcopy", watches=DEPLOYMENTS, owns=[DEPLOYMENTS])
def deploymentcopy(view: View, request: Request) -> Decision:
    """Copy the spec from the cluster with the label `copy: from` to those with `copy: to`."""
    source = view.get(request.object)
    if source is None or source.owners or view.clusters[source.cluster].labels.get("copy") != "from":
        return Decision.wait()
    if source.deleting:
        return release(view, source, [DEPLOYMENTS], silent=True)  # its status is its own controller's
    metadata = {"name": source.name, "namespace": source.namespace}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": source.spec}
    copies = [
        dependent(view, source, cluster, DEPLOYMENTS, body)
        for cluster in view.others(source.cluster)
        if cluster.labels.get("copy") == "to"
    ]
    failures = [(copy.ref, failure) for copy in copies if (failure := view.failure(copy.ref))]
    told = [note(source, "Warning", "NotCopied", f"{ref}: {failure.message}") for ref, failure in failures[:1]]
    return Decision.do(hold(source), *copies, *prune(view, source, copies), *told)
