"""`crosscurrent credential`: what a broker's configuration must say so that a team may listen, and do nothing else."""

from __future__ import annotations

import re
import secrets
from typing import Annotated, Any

from cyclopts import Parameter

from crosscurrent.errors import UsageError
from crosscurrent.options import Clusters, split
from crosscurrent.output import Format, dump, note, say
from schemas import subjects

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


async def credential(
    name: Annotated[str, Parameter(name="NAME", help="User name of the team.")],
    /,
    *,
    cluster: Clusters = (),
    namespace: Annotated[
        tuple[str, ...],
        Parameter(name=["--namespace", "-n"], negative=(), help="Only these namespaces: a,b or several times."),
    ] = (),
) -> int:
    """Print a user for a nats-server's configuration who may listen to some facts, and do nothing else."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a user: letters, digits, - and _, at most 63")
    say(dump(user(name, split(cluster), split(namespace), secrets.token_urlsafe(24)), Format.JSON))
    note("put it among authorization.users of your own nats-server, beside a user for Crosscurrent itself")
    return 0


def user(name: str, clusters: tuple[str, ...], namespaces: tuple[str, ...], password: str) -> dict[str, Any]:
    """Return a user as nats-server's configuration has it.

    Nothing may be published, not even requests: a request names the subject that its answer goes to, which the server
    does not check, so whoever may ask JetStream for a message may have it stored under any subject.

    Args:
        name: of the user.
        clusters: whose facts; empty: all.
        namespaces: of the objects; empty: all, and what has none.
        password: in the clear; nats-server takes a bcrypt hash too.

    """
    spaces = [subjects.escape(space) for space in namespaces] or ["*"]
    heads = [subjects.escape(one) for one in clusters] or ["*"]
    allowed = [f"{subjects.FACTS}.{head}.*.*.{space}.*" for head in heads for space in spaces]
    allowed += [f"{subjects.SYNC}.{head}.*.*" for head in heads]
    return {
        "user": name,
        "password": password,
        "permissions": {"subscribe": {"allow": allowed}, "publish": {"deny": [">"]}},
    }
