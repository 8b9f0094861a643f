"""A reconciler of one's own: every Settings object becomes a ConfigMap in all other clusters."""

from crosscurrent import Decision, Request, View, dependent, hold, prune, reconciler, release, report

CONFIGMAPS = "v1/configmaps"


@reconciler("settings", watches="example.dev/v1/settings", owns=[CONFIGMAPS])
def settings(view: View, request: Request) -> Decision:
    """Say what should be: the engine finds out what is missing, writes it, and repeats that whenever anything changes."""
    parent = view.get(request.object)
    if parent is None:
        return Decision.wait()
    if parent.deleting:
        return release(view, parent, [CONFIGMAPS])  # children first, then the parent
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": parent.name, "namespace": parent.namespace},
        "data": parent.spec,
    }
    children = [dependent(view, parent, cluster, CONFIGMAPS, body) for cluster in view.others(parent.cluster)]
    return Decision.do(hold(parent), *children, *prune(view, parent, children), report(view, parent, children))
