"""multicluster-controller's "hello, world": every pod, in whichever cluster it is, is greeted by a Kubernetes Event."""

from crosscurrent import Decision, Request, View, note, reconciler


@reconciler("helloworld", watches="v1/pods")
def helloworld(view: View, request: Request) -> Decision:
    """Say where a pod is; the engine sends each Event once."""
    pod = view.get(request.object)
    if pod is None or pod.deleting:
        return Decision.wait()
    return Decision.do(note(pod, "Normal", "Hello", f"{pod.cluster} / {pod.namespace} / {pod.name}"))
