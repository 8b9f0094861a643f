"""Options that commands share, so that one letter means one thing everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from crosscurrent.output import Format

ConfigFile = Annotated[
    Path | None,
    Parameter(name=["--config", "-f"], help="Configuration file; else $CROSSCURRENT_CONFIG, else ./crosscurrent.yaml."),
]
Namespace = Annotated[str | None, Parameter(name=["--namespace", "-n"], help="Namespace; `default` unless given.")]
AllNamespaces = Annotated[bool, Parameter(name=["--all-namespaces", "-A"], negative=(), help="Every namespace.")]
Cluster = Annotated[str | None, Parameter(name=["--cluster"], help="Only this cluster.")]
Output = Annotated[Format, Parameter(name=["--output", "-o"], help="Form of the listing.")]
Bind = Annotated[str, Parameter(help="Address for probes and metrics; 0.0.0.0 in a container.")]
ProbePort = Annotated[int, Parameter(help="Port of /livez and /readyz; 0: none.")]
MetricsPort = Annotated[int, Parameter(help="Port of /metrics; 0: none.")]
