"""What `--help` says, in one place: a summary, an explanation and examples of every command."""

from __future__ import annotations

from typing import Final, NamedTuple


class Page(NamedTuple):
    """The help of one command."""

    group: str
    summary: str
    about: str
    examples: tuple[str, ...]

    def epilogue(self) -> str:
        """Return what stands below the options."""
        lines = "\n".join(f"  $ crosscurrent {example}" for example in self.examples)
        return f"{self.about}\n\nExamples:\n{lines}\n" if self.about else f"Examples:\n{lines}\n"


RUN: Final = "Run"
LOOK: Final = "Look"

PAGES: Final[dict[str, Page]] = {
    "demo": Page(
        RUN,
        "The talk, end to end, on clusters of its own.",
        "Starts real API servers, the broker, a watcher per cluster and two workers; applies the talk's Foo; then "
        "changes, breaks and repairs things, and checks each step by reading the clusters directly. Exits with 1 when a "
        "check fails. Nothing outside a temporary directory is touched.",
        ("demo --real", "demo --real --clusters 4", "demo --real --keep"),
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
    "clusters": Page(
        LOOK,
        "Health, identity, epoch and lag of every cluster.",
        "SYNCED of TYPES are the resource types whose contents are known; of the others, what is missing proves nothing. "
        "LAG is for how long changes of that cluster may be missing here.",
        ("clusters", "clusters -w", "clusters -o json"),
    ),
    "get": Page(
        LOOK,
        "List or show objects across clusters.",
        "Shows what the watchers last saw, and says so where a type is not synced. RESOURCE is deployments, deployment, "
        "deploy, deployments.apps or apps/v1/deployments; -o name prints cluster/resource/namespace/name.",
        (
            "get deployments -A",
            "get foos example-foo --cluster cluster1 -o yaml",
            "get deploy -n default -o name",
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
}

OVERVIEW: Final = """\
Examples:
  $ crosscurrent demo --real
  $ crosscurrent up -f crosscurrent.yaml
  $ crosscurrent get deployments -A
  $ crosscurrent events cluster1/foos

Every command has examples of its own: crosscurrent COMMAND --help.
"""
