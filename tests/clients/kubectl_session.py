"""A session with kubectl, as the commands of nine topics: what a person does, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.clients.kubectl import Kubectl, Said

NAMESPACE = "session"

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: main, image: "nginx:1"}]
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: web}}
data: {level: info, file: "one\\ntwo\\n"}
"""

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.session.example.com}
spec:
  group: session.example.com
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets, singular: gadget, shortNames: [gd]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What is wanted.
            required: [size]
            properties:
              size: {type: integer, minimum: 1, description: How big it is.}
              color: {type: string, default: red, enum: [red, green]}
"""

GADGET = """
apiVersion: session.example.com/v1
kind: Gadget
metadata: {name: one}
spec: {size: %s}
"""


def step_apply(kubectl: Kubectl) -> Iterator[Said]:
    yield kubectl("apply", "-f", "-", text=WEB)
    yield kubectl("apply", "-f", "-", text=WEB)
    yield kubectl("diff", "-f", "-", text=WEB)
    changed = WEB.replace("replicas: 2", "replicas: 3").replace("level: info", "level: debug")
    yield kubectl("diff", "-f", "-", text=changed)
    yield kubectl("apply", "--dry-run=server", "-f", "-", text=changed)
    yield kubectl("apply", "-f", "-", text=changed)
    yield kubectl("apply", "-f", "-", "--prune", "-l", "app=web", "--dry-run=client", text=changed)


def step_get(kubectl: Kubectl) -> Iterator[Said]:
    yield kubectl("get", "deployments,services,configmaps", "-l", "app=web")
    yield kubectl("get", "deployments", "-o", "wide")
    yield kubectl("get", "deployment", "web", "-o", "yaml")
    yield kubectl("get", "configmap", "settings", "-o", "jsonpath={.data.level}")
    yield kubectl("get", "all", "-o", "name")
    yield kubectl("get", "deployment", "web", "-o", "custom-columns=N:.metadata.name,R:.spec.replicas")
    yield kubectl("get", "deployments", "--show-labels", "--field-selector", "metadata.name=web")
    yield kubectl("get", "configmap", "nothing")
    yield kubectl("get", "nothings")
    yield kubectl("get", "namespace", NAMESPACE)


def step_describe(kubectl: Kubectl) -> Iterator[Said]:
    for what in ("deployment", "service", "configmap/settings"):
        yield kubectl("describe", *([what] if "/" in what else [what, "web"]))


def step_change(kubectl: Kubectl) -> Iterator[Said]:
    yield kubectl("scale", "deployment/web", "--replicas=5")
    yield kubectl("scale", "deployment/web", "--current-replicas=4", "--replicas=6")
    yield kubectl("label", "configmap", "settings", "tier=back")
    yield kubectl("label", "configmap", "settings", "tier=front")
    yield kubectl("label", "configmap", "settings", "tier=front", "--overwrite")
    yield kubectl("annotate", "configmap", "settings", "note=hello")
    yield kubectl("set", "image", "deployment/web", "main=nginx:2")
    yield kubectl("set", "env", "deployment/web", "A=1")
    yield kubectl(
        "patch",
        "deployment",
        "web",
        "-p",
        '{"spec":{"template":{"spec":{"containers":[{"name":"main","args":["x"]}]}}}}',
    )
    yield kubectl("patch", "configmap", "settings", "--type=merge", "-p", '{"data":{"more":"1"}}')
    yield kubectl("patch", "configmap", "settings", "--type=json", "-p", '[{"op":"remove","path":"/data/more"}]')
    yield kubectl(
        "patch", "deployment", "web", "--subresource=status", "--type=merge", "-p", '{"status":{"replicas":5}}'
    )
    yield kubectl("get", "deployment", "web", "-o", "yaml")
    yield kubectl("get", "deployment", "web", "-o", "yaml", "--show-managed-fields").in_any_order
    yield kubectl("edit", "configmap", "settings", KUBE_EDITOR=kubectl.editor("level: debug", "level: error"))
    yield kubectl("get", "configmap", "settings", "-o", "jsonpath={.data}")
    yield kubectl("wait", "configmap/settings", "--for=jsonpath={.data.level}=error", "--timeout=5s")
    yield kubectl("wait", "deployment/web", "--for=condition=Available", "--timeout=1s")


def step_server_side(kubectl: Kubectl) -> Iterator[Said]:
    mine = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {a: '1'}\n"
    theirs = mine.replace("'1'", "'2'")
    yield kubectl("apply", "--server-side", "-f", "-", text=mine)
    yield kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", text=theirs)
    yield kubectl("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", text=theirs)
    yield kubectl("diff", "--server-side", "-f", "-", text=mine)
    yield kubectl("apply", "-f", "-", text=mine)
    yield kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=mine)
    yield kubectl("get", "configmap", "applied", "-o", "yaml", "--show-managed-fields").in_any_order


def step_create(kubectl: Kubectl) -> Iterator[Said]:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: made}\ndata: {a: '1'}\n"
    yield kubectl("create", "-f", "-", text=text)
    yield kubectl("create", "-f", "-", text=text)
    yield kubectl("replace", "-f", "-", text=text.replace("'1'", "'2'"))
    yield kubectl("create", "-f", "-", text=text.replace("\ndata:", "\ndta:"))
    yield kubectl("create", "-f", "-", text=text.replace("name: made", "name: Made"))
    yield kubectl("create", "-f", "-", text="apiVersion: v1\nkind: Nothing\nmetadata: {name: a}\n")
    yield kubectl("apply", "-f", "-", text=WEB.replace("replicas: 2", "replicas: many"))
    yield kubectl("create", "configmap", "literal", "--from-literal=a=1")
    yield kubectl("create", "secret", "generic", "hidden", "--from-literal=a=1")
    yield kubectl("create", "serviceaccount", "robot")
    yield kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    yield kubectl("create", "rolebinding", "reads", "--role=reader", f"--serviceaccount={NAMESPACE}:robot")
    yield kubectl("create", "deployment", "quick", "--image=nginx", "--replicas=2")
    yield kubectl("run", "single", "--image=busybox", "--restart=Never")
    yield kubectl("get", "deployments,pods,secrets,serviceaccounts,roles,rolebindings", "-o", "name")
    yield kubectl("auth", "can-i", "list", "pods", f"--as=system:serviceaccount:{NAMESPACE}:robot")
    yield kubectl("auth", "can-i", "delete", "pods", f"--as=system:serviceaccount:{NAMESPACE}:robot")
    yield kubectl("get", "pods", "-o", "wide")
    yield kubectl("describe", "pod", "single")


def step_custom(kubectl: Kubectl) -> Iterator[Said]:
    yield kubectl("apply", "-f", "-", text=CRD)
    yield kubectl("wait", "crd/gadgets.session.example.com", "--for=condition=Established", "--timeout=20s")
    yield kubectl("apply", "-f", "-", text=GADGET % 3)
    yield kubectl("apply", "-f", "-", text=GADGET % 0)
    yield kubectl("apply", "-f", "-", text=GADGET.replace("size", "sise") % 3)
    yield kubectl("get", "gd")
    yield kubectl("get", "gadget", "one", "-o", "yaml")
    yield kubectl("patch", "gadget", "one", "--type=merge", "-p", '{"spec":{"size":4}}')
    yield kubectl("patch", "gadget", "one", "-p", '{"spec":{"size":4}}')
    yield kubectl("edit", "gadget", "one", KUBE_EDITOR=kubectl.editor("size: 4", "size: 5"))
    yield kubectl("explain", "gadget.spec")
    yield kubectl("explain", "gadget.spec.size")
    yield kubectl("get", "gadgets", "-o", "wide")
    yield kubectl("delete", "gadget", "one")
    yield kubectl("delete", "crd", "gadgets.session.example.com")
    yield kubectl("get", "gadgets")


def step_explain(kubectl: Kubectl) -> Iterator[Said]:
    yield kubectl("explain", "deployment.spec.replicas").until("DESCRIPTION:")
    yield kubectl("explain", "configmap.nothing")


def step_delete(kubectl: Kubectl) -> Iterator[Said]:
    yield kubectl("delete", "configmap", "made")
    yield kubectl("delete", "configmap", "made")
    yield kubectl("delete", "configmap", "made", "--ignore-not-found")
    yield kubectl("delete", "deployment", "quick", "--cascade=orphan", "--wait=false")
    yield kubectl("delete", "deployment", "web", "--cascade=foreground", "--wait=false")
    yield kubectl("delete", "-f", "-", "--cascade=background", "--ignore-not-found", text=WEB.split("---", 1)[1])
    yield kubectl("delete", "pod", "single", "--now")
    yield kubectl("delete", "configmaps", "-l", "nothing=here")
    yield kubectl("delete", "secrets", "--all", "--dry-run=server")


STEPS: tuple[Callable[[Kubectl], Iterator[Said]], ...] = (
    step_apply,
    step_get,
    step_describe,
    step_change,
    step_server_side,
    step_create,
    step_custom,
    step_explain,
    step_delete,
)
