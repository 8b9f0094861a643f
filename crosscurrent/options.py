"""Options that commands share, so that one letter means one thing everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from crosscurrent import completers
from crosscurrent.output import Format

ConfigFile = Annotated[
    Path | None,
    Parameter(name=["--config", "-f"], help="Configuration file; else $CROSSCURRENT_CONFIG, else ./crosscurrent.yaml."),
]
Namespace = Annotated[
    str | None,
    Parameter(name=["--namespace", "-n"], help="Namespace; `default` unless given.", completer=completers.namespaces),
]
AllNamespaces = Annotated[bool, Parameter(name=["--all-namespaces", "-A"], negative=(), help="Every namespace.")]
Clusters = Annotated[
    tuple[str, ...],
    Parameter(
        name="--cluster",
        negative=(),
        help="Only these clusters: a,b or given several times.",
        completer=completers.clusters,
    ),
]
Labels = Annotated[
    str, Parameter(name=["--selector", "-l"], help="Label selector, as app=web,tier!=db or env in (a,b).")
]
Fields = Annotated[str, Parameter(help="Field selector, as metadata.name=web or spec.replicas!=3; any field will do.")]
At = Annotated[
    str,
    Parameter(help="As it was then: 10m (ago), 2026-11-23T10:00:00Z, or a sequence.", allow_leading_hyphen=True),
]
Output = Annotated[Format, Parameter(name=["--output", "-o"], help="Form of the listing.")]
Watch = Annotated[bool, Parameter(name=["--watch", "-w"], negative=(), help="Go on, showing what changes.")]
NoHeadings = Annotated[bool, Parameter(name="--no-headers", negative=(), help="Leave the headings of a table out.")]
Bind = Annotated[str, Parameter(help="Address for probes and metrics; 0.0.0.0 in a container.")]
ProbePort = Annotated[int, Parameter(help="Port of /livez and /readyz; 0: none.")]
MetricsPort = Annotated[int, Parameter(help="Port of /metrics; 0: none.")]


def split(values: Iterable[str]) -> tuple[str, ...]:
    """Return the parts of values that may be lists, `a,b`."""
    return tuple(dict.fromkeys(part for value in values for part in value.split(",") if part))
