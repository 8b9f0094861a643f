"""What `--help` says, in one place: a summary, an explanation and examples of every command."""

from __future__ import annotations

from typing import Final, NamedTuple


class Page(NamedTuple):
    """The help of one command."""

    group: str
    summary: str
    about: str
    examples: tuple[str, ...]

    def epilogue(self, program: str) -> str:
        """Return what stands below the options.

        Args:
            program: as the user calls it.

        """
        lines = "\n".join(f"  $ {program} {example}" for example in self.examples)
        return f"{self.about}\n\nExamples:\n{lines}\n" if self.about else f"Examples:\n{lines}\n"


RUN: Final = "Run"
LOOK: Final = "Look"
SETUP: Final = "Set up"

PAGES: Final[dict[str, Page]] = {
    "demo": Page(
        RUN,
        "The talk, end to end, on clusters of its own.",
        "Starts real API servers, the broker, a watcher per cluster and two workers; applies the talk's Foo; then "
        "changes, breaks and repairs things, and checks each step by reading the clusters directly. Exits with 1 when a "
        "check fails. Nothing outside a temporary directory is touched.",
        ("demo --real", "demo --real --clusters 4", "demo --real --keep"),
    ),
    "sandbox": Page(
        RUN,
        "Simulated clusters alone, for kubectl and your own programs.",
        "API servers in one process, without etcd, nodes or containers: what kubectl, client-go and this engine send is "
        "answered as a real kube-apiserver would. Nothing runs in their pods. With --data they come back as they were.",
        (
            "sandbox",
            "sandbox --clusters 5 --data ./clusters",
            "sandbox --name cluster1 --port 6443 --bind 0.0.0.0 --host cluster1 --probe-port 8081",
        ),
    ),
    "up": Page(
        RUN,
        "Start everything: broker, a watcher per cluster, workers.",
        "Each watcher and worker is a process of its own and is started again when it dies. Ctrl-C stops them all. "
        "Other commands find this fleet through the state directory that the configuration names.",
        ("up", "up -f crosscurrent.yaml", "up --workers 4"),
    ),
    "watch": Page(
        RUN,
        "Run the watcher of one cluster.",
        "For compose files and Helm charts; `up` runs these by itself.",
        ("watch cluster1", "watch cluster1 --metrics-port 8080 --probe-port 8081"),
    ),
    "reconcile": Page(
        RUN,
        "Run one reconciler worker.",
        "Any number may run at once, and come and go; they share the work through the broker.",
        ("reconcile", "reconcile -f crosscurrent.yaml --metrics-port 8080 --probe-port 8081"),
    ),
    "webhook": Page(
        RUN,
        "Mount imports into pods that ask for them, in one cluster.",
        "The admission webhook behind deploy/automount.yaml. It makes its certificates itself, publishes their authority in "
        "its MutatingWebhookConfiguration and renews both. Pods that name no import are never asked about.",
        ("webhook cluster1", "webhook cluster1 --bind 0.0.0.0 --port 9876 --probe-port 8081"),
    ),
    "clusters": Page(
        LOOK,
        "Health, identity, epoch and lag of every cluster.",
        "SYNCED is how many of the watched resource types are known; of the others, what is missing proves nothing. "
        "LAG is for how long changes of that cluster may be missing here.",
        ("clusters", "clusters -w", "clusters cluster2 -o wide", "clusters -o json"),
    ),
    "get": Page(
        LOOK,
        "List, show or watch objects across clusters.",
        "Shows what the watchers last saw, and says so where a type is not synced. TYPE is deployments, deployment, "
        "deploy, deployments.apps or apps/v1/deployments. -o name prints cluster/type/namespace/name, which get and "
        "events take as an argument too.",
        (
            "get deployments -A",
            "get deploy,foos",
            "get foo/example-foo --cluster cluster1 -o yaml",
            "get deploy -l app=nginx --field-selector spec.replicas!=1 -w",
        ),
    ),
    "events": Page(
        LOOK,
        "Follow what the watchers see, as it happens.",
        "FILTER is cluster/resource/namespace/name, each a glob, the rest left out at will, or a NATS subject such as "
        "facts.cluster1.apps.deployments.>. -o json prints one CloudEvents document a line.",
        (
            "events",
            "events cluster1/foos",
            "events '*/deployments/default/web-*' --since 10m",
            "events --since 1h --no-watch -l app=nginx",
            "events --snapshot -o json | jq .subject",
        ),
    ),
    "orphans": Page(
        LOOK,
        "Dependents whose owners are gone, and why they are still there.",
        "An owner in another cluster is gone, or cannot be asked for. What waits for a proof, for a brake to be approved or "
        "for a cluster to come back says so; what was abandoned stays until somebody deletes it.",
        ("orphans", "orphans -o wide", "orphans -o json"),
    ),
    "doctor": Page(
        LOOK,
        "Say what is wrong, and what to do about it.",
        "Looks at the broker, the streams, the clusters, and keys that are parked, failing or held. Exits with 1 when it "
        "found something wrong. It changes nothing.",
        ("doctor", "doctor -o json"),
    ),
    "broker": Page(
        LOOK,
        "Print the broker's address, for NATS clients of your own.",
        "The token is in the address: whoever has it may read and write the streams. An external broker that asks for "
        "credentials is printed without them.",
        ("broker", "broker -f crosscurrent.yaml"),
    ),
    "roles": Page(
        SETUP,
        "Print the rights that this configuration needs in a cluster.",
        "RBAC objects for our ServiceAccount there, to be looked at and applied: exact verbs, types and names, Secrets and "
        "tokens only where `imports` says so. Not for the reconciler `garbage`, which works on every type.",
        ("roles cluster1", "roles cluster1 --account crosscurrent/engine | kubectl --context c1 apply -f -"),
    ),
    "kubeconfig": Page(
        SETUP,
        "Print one kubeconfig of all clusters that are found here.",
        "Mounted imports first, then the contexts of KUBECONFIG, then the pod's own cluster; one that is broken is named and "
        "left out. Tokens of imports are named by file: kubectl and client-go read rotated ones.",
        ("kubeconfig", "kubeconfig --output /tmp/kubeconfig --context foo-controller-remote-cluster1"),
    ),
    "completion": Page(
        SETUP,
        "Print the script that lets a shell complete what you type.",
        "For bash: source <(crosscurrent completion bash). For zsh: source <(crosscurrent completion zsh), after compinit. "
        "For fish: crosscurrent completion fish | source. `kubectl crosscurrent` completes by kubectl's own completion.",
        ("completion bash", "completion zsh", "completion fish"),
    ),
}

_OVERVIEW: Final = (
    "demo",
    "up -f crosscurrent.yaml",
    "get deployments -A",
    "events cluster1/foos",
)


def overview(program: str) -> str:
    """Return what stands below the list of commands."""
    lines = "\n".join(f"  $ {program} {example}" for example in _OVERVIEW)
    return f"Examples:\n{lines}\n\nEvery command has examples of its own: {program} COMMAND --help.\n"
