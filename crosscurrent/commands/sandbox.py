"""`crosscurrent sandbox`: simulated clusters alone, for kubectl and anything else that speaks to API servers."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from crosscurrent import health
from crosscurrent.errors import PortTaken, UsageError, UserError
from crosscurrent.health import LOOPBACK
from crosscurrent.options import ProbePort
from crosscurrent.output import note, say

if TYPE_CHECKING:
    from engine.sandbox.simulator.fleet import SimulatedFleet

MAX_CLUSTERS = 100
"""Each takes a port and some 5 MB before it holds anything."""
DEFAULT_KUBECONFIG = "sandbox.kubeconfig"
CONTROL_KUBECONFIG = "sandbox-control.kubeconfig"
"""Beside the kubeconfig: how to break the clusters."""
_MARK = "# Written by `crosscurrent sandbox`, which replaces it.\n"


async def sandbox(
    *,
    clusters: Annotated[int, Parameter(help="How many: sim1, sim2, …")] = 3,
    name: Annotated[tuple[str, ...], Parameter(help="Name of a cluster, instead of sim1, …; may be repeated.")] = (),
    kubeconfig: Annotated[Path, Parameter(help="File to write, readable by you alone; one context a cluster.")] = Path(
        DEFAULT_KUBECONFIG
    ),
    data: Annotated[Path | None, Parameter(help="Directory that keeps everything for the next time.")] = None,
    port: Annotated[int, Parameter(help="Of the first cluster, the others follow; 0: any that are free.")] = 0,
    bind: Annotated[str, Parameter(help="Address to listen at; 0.0.0.0 in a container.")] = LOOPBACK,
    host: Annotated[
        tuple[str, ...],
        Parameter(help="Name under which clients reach the clusters; goes into certificates and kubeconfig."),
    ] = (),
    seed: Annotated[int | None, Parameter(help="Makes uids and generated names the same each time.")] = None,
    workloads: Annotated[bool, Parameter(help="Deployments make pods, pods become ready, Jobs end.")] = True,
    control_port: Annotated[int, Parameter(help="Of the control endpoint; 0: any that is free.")] = 0,
    probe_port: ProbePort = 0,
) -> int:
    """Run simulated clusters until interrupted."""
    names = name or tuple(f"sim{number}" for number in range(1, clusters + 1))
    _check(names, port, kubeconfig)
    from engine.sandbox.processes import SandboxError  # noqa: PLC0415 - after the arguments are known to be right
    from engine.sandbox.simulator.controllers import Controllers  # noqa: PLC0415
    from engine.sandbox.simulator.fleet import collect_garbage_rarely, simulated_clusters  # noqa: PLC0415

    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    collect_garbage_rarely()
    started = time.monotonic()
    with ExitStack() as stack:
        directory = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crosscurrent-sandbox-")))
        running = simulated_clusters(
            directory,
            names=names,
            persist=data is not None,
            port=port,
            bind=bind,
            hosts=host,
            seed=seed,
            controllers=Controllers(workloads=workloads, service_accounts=True),
        )
        probe_socket, _ = health.take_ports(probe_port, 0, host=bind)
        try:
            async with running as fleet:
                kubeconfig.parent.mkdir(parents=True, exist_ok=True)
                control_file = kubeconfig.with_name(CONTROL_KUBECONFIG)
                control = await asyncio.to_thread(fleet.control, control_port)
                control.write_kubeconfig(control_file)
                stack.callback(control_file.unlink, missing_ok=True)
                _write(kubeconfig, fleet)  # last: whoever waits for it finds everything there
                if data is None:
                    stack.callback(kubeconfig.unlink, missing_ok=True)
                async with health.probes(probe_socket, live={}, ready={}):
                    _announce(fleet, kubeconfig.absolute(), time.monotonic() - started)
                    await stopping.wait()
        except SandboxError as error:
            raise PortTaken(str(error), "give another --port, or none for any that are free") from error
        finally:
            if probe_socket is not None:
                probe_socket.close()
    note("stopped")
    return 0


def _check(names: tuple[str, ...], port: int, kubeconfig: Path) -> None:
    if not 1 <= len(names) <= MAX_CLUSTERS:
        raise UsageError(f"{len(names)} clusters are not between 1 and {MAX_CLUSTERS}")
    if len(set(names)) != len(names):
        raise UsageError("two clusters have the same name")
    if not 0 <= port <= 65536 - len(names):
        raise UsageError(f"--port {port}: there are no {len(names)} ports from there on")
    if kubeconfig.exists() and not kubeconfig.read_text(encoding="utf-8").startswith(_MARK):
        raise UserError(f"{kubeconfig} is not ours to replace", "name another file: --kubeconfig FILE")


def _write(path: Path, fleet: SimulatedFleet) -> None:
    """Write the kubeconfig, whole or not at all."""
    import yaml  # noqa: PLC0415

    from engine.sandbox.private_file import write_private  # noqa: PLC0415

    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    write_private(temporary, (_MARK + yaml.safe_dump(fleet.kubeconfig)).encode())
    temporary.replace(path)


def _announce(fleet: SimulatedFleet, kubeconfig: Path, seconds: float) -> None:
    first = next(iter(fleet)).name
    many = "cluster is" if len(fleet) == 1 else "clusters are"
    say(f"{len(fleet)} simulated {many} ready after {seconds:.1f} s: {', '.join(fleet.clusters)}")
    say()
    say("Try:")
    say(f"  export KUBECONFIG={kubeconfig}")
    say("  kubectl config get-contexts")
    say(f"  kubectl --context {first} create deployment web --image=nginx --replicas=3")
    say(f"  kubectl --context {first} get deployments,pods")
    say()
    say("Break one, and mend it:")
    control = kubeconfig.with_name(CONTROL_KUBECONFIG)
    say(f"  kubectl --kubeconfig {control} create --raw /clusters/{first}/kill -f /dev/null")
    say(f"  kubectl --kubeconfig {control} create --raw /clusters/{first}/start -f /dev/null")
    say()
    say("Ctrl-C ends them.")
    sys.stdout.flush()  # into a file or a pipe it would come at the end only
