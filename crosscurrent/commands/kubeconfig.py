"""`crosscurrent kubeconfig`: every cluster that this process was given, as one plain kubeconfig for any program."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from crosscurrent.errors import UserError
from crosscurrent.output import note


async def kubeconfig(
    *,
    output: Annotated[Path | None, Parameter(help="File to write, mode 0600, instead of standard output.")] = None,
    context: Annotated[str, Parameter(help="The current context; without it, the first.")] = "",
    mounts: Annotated[Path | None, Parameter(help="Directory of the mounted imports.")] = None,
) -> int:
    """Print one kubeconfig of all imports and contexts that are found here."""
    import yaml  # noqa: PLC0415 - not for --help

    from engine.runtime.imported import MOUNTS, all_cluster_access, merged_kubeconfig  # noqa: PLC0415

    found, broken = all_cluster_access(mounts=mounts or MOUNTS)
    for name, why in broken.items():
        note(f"{name}: {why}")
    if not found:
        raise UserError(
            "no usable configuration is found here", f"looked in {mounts or MOUNTS}, KUBECONFIG, the pod's own"
        )
    if context and context not in found:
        raise UserError(f"no configuration called {context!r}", f"there are {', '.join(found)}")
    text = yaml.safe_dump(merged_kubeconfig(found, context), sort_keys=False)
    if output is None:
        sys.stdout.write(text)
        return 0
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(output)
    return 0
