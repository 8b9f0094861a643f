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
TRY: Final = "Try out"
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
    "members": Page(
        RUN,
        "Let clusters join by themselves, and serve those that have.",
        "Answers agents that ask to join as the ClusterJoins of `registry.joins` say, and does for members what they may "
        "ask of the streams. `up` runs it where the configuration has that.",
        ("members", "members -f crosscurrent.yaml --probe-port 8081"),
    ),
    "agent": Page(
        RUN,
        "Join a hub, watch this cluster for it, and act here on its word.",
        "Runs in the member: see deploy/agent.yaml. It makes a key that never leaves the cluster, shows the token of its "
        "join Secret once, and from then on has a credential for its own subjects, renewed each hour. With --keep, facts "
        "wait on its disk while the hub is away.",
        ("agent", "agent --join /etc/crosscurrent/join --probe-port 8081"),
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
            "get deploy -A --at -10m",
            "get foo/example-foo --at 2026-11-23T03:12:00Z -o yaml",
        ),
    ),
    "diff": Page(
        LOOK,
        "Say what changed in the fleet between two moments.",
        "A moment is 10m (ago), 2026-11-23T10:00:00Z or a sequence of FACTS. FILTER is that of events. "
        "Below each object that changed stand its fields, less resourceVersion and generation. What was not certain then, in "
        "which cluster, is said beside the answer.",
        (
            "diff --from -10m",
            "diff cluster2/deployments --from 2026-11-23T03:00:00Z --to 2026-11-23T03:12:00Z",
            "diff '*/*/shop' --from -1h -o json",
            "diff --from -5m --exit-code",
        ),
    ),
    "events": Page(
        LOOK,
        "Follow what the watchers see, as it happens.",
        "FILTER is cluster/resource/namespace/name, each a glob, the rest left out at will, or a NATS subject such as "
        "facts.cluster1.apps.deployments.>. -o json prints one CloudEvents document a line. --snapshot shows "
        "everything as it is, then what changes: nothing is missed in between, and nothing comes twice.",
        (
            "events",
            "events cluster1/foos",
            "events '*/deployments/default/web-*' --since 10m",
            "events --since 1h --no-watch -l app=nginx",
            "events --cause inferred --since 24h --no-watch",
            "events --snapshot -o json | jq .subject",
        ),
    ),
    "why": Page(
        LOOK,
        "Say which facts and decisions made an object what it is.",
        "A tree: the fact that began it, the request that it woke, what the reconciler read and decided, each action, its "
        "outcome, and the fact that came of it, in whichever cluster. DECISIONS keeps the last 16 entries of a key, so this "
        "is the recent past. Changes of a status alone are passed over: ask for those with --field. What others "
        "than this engine wrote has no decision: facts hold no managedFields.",
        (
            "why cluster2 deployments default/example-foo",
            "why cluster2 deploy example-foo --field .spec.replicas",
            "why cluster1 foos default/example-foo -o json",
        ),
    ),
    "why-not": Page(
        LOOK,
        "Say what keeps an object from being acted on.",
        "Looks for requests that wait, a worker that holds the key, a reconciler that fails or is parked, writes in back-off "
        "and clusters that do not answer, types that are not synced, and brakes that wait for approval. Exits with 1 when "
        "something holds it.",
        ("why-not cluster1 foos default/example-foo",),
    ),
    "record": Page(
        TRY,
        "Write decisions and all that they read to a file.",
        "One JSON document a line. What is in it is what is in the streams, where values of Secrets are hashes. With FILTER "
        "it holds the decisions on those objects and the facts that they read; without, everything of their types too.",
        (
            "record history.jsonl.gz",
            "record decision.jsonl cluster1/foos/default/example-foo --from -10m",
        ),
    ),
    "replay": Page(
        TRY,
        "Ask recorded decisions again, and say what changed.",
        "Needs no cluster and no broker. Reconcilers are the built-in ones and those of the configuration. Exits with 1 when "
        "a decision changed. --against asks another version; the report is Markdown, for a pull request. --write-test "
        "makes a test of one decision.",
        (
            "replay history.jsonl.gz",
            "replay history.jsonl.gz --against mine:foo",
            "replay decision.jsonl --write-test test_decision.py",
        ),
    ),
    "what-if": Page(
        TRY,
        "Say what would be done after a change that is never made.",
        "Forks the present state, or a past one with --at, supposes the change, and lets the configured reconcilers "
        "act on the fork until they rest: the same functions as in production. Nothing is touched. What API servers make of "
        "a write is a model, without defaults, admission and other controllers; the collector, which goes by live evidence, "
        "is left out.",
        (
            "what-if -f foo.yaml --cluster cluster1",
            "what-if --delete cluster1/foos/default/example-foo",
            "what-if --lose-cluster cluster3",
            "what-if --reconciler mine:foo --at -1h",
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
    "credential": Page(
        SETUP,
        "Print a NATS user who may listen, and do nothing else.",
        "For a nats-server of your own: the embedded broker has one token for everything. The user hears live facts and sync "
        "records by plain subscriptions; it can publish nothing, and so ask JetStream nothing either.",
        ("credential team-shop -n shop", "credential team-shop -n shop,till --cluster cluster1"),
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
