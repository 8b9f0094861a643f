"""One Secret for the whole fleet: what is labelled `mirror: everywhere` is copied into every other cluster.

The values of Secrets are sealed before they leave the process that reads them, and opened in the request that writes the
copy: streams, decisions and logs never hold them in the clear. A reconciler sees the sealed form and hands it on.
"""

import msgspec

from crosscurrent import Decision, Request, View, dependent, hold, note, prune, reconciler, release

SECRETS = "v1/secrets"


@reconciler("mirror", watches=SECRETS, owns=[SECRETS], copies_secrets=True)
def mirror(view: View, request: Request) -> Decision:
    """Copy a Secret, follow its changes, and take the copies away with it, or with its label."""
    source = view.get(request.object)
    if source is None or source.owners:
        return Decision.wait()
    if source.deleting or source.labels.get("mirror") != "everywhere":
        return release(view, source, [SECRETS], silent=True)
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": source.name, "namespace": source.namespace},
        "type": source.body.get("type", "Opaque"),
        "data": source.body.get("data") or {},
    }
    copies = [
        msgspec.structs.replace(dependent(view, source, cluster, SECRETS, body), secret_from=source.ref)
        for cluster in view.others(source.cluster)
    ]
    failures = [(copy.ref, failure) for copy in copies if (failure := view.failure(copy.ref))]
    told = [note(source, "Warning", "NotMirrored", f"{ref}: {failure.message}") for ref, failure in failures[:1]]
    return Decision.do(hold(source), *copies, *prune(view, source, copies), *told)
