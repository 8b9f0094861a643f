"""ClusterJoins on the hub's own cluster: read live, written with preconditions."""

from __future__ import annotations

import msgspec
import structlog

from engine.core.api_errors import Status
from engine.core.joining import CLUSTER_JOINS, ClusterJoin, read_join
from engine.core.member_rights import MemberIdentity
from engine.runtime import api_calls
from engine.runtime.ports import Clock, ClusterApi
from engine.runtime.shared_reads import SharedReads
from schemas.actions import Json
from schemas.names import ClusterName, ResourceVersion, Uid

MANAGER = "crosscurrent/join"
REQUEST_SECONDS = 5.0
REMEMBERED_SECONDS = 1.0
"""A member that is thrown out may publish for so long."""

_log = structlog.get_logger(__name__)


class Stored(msgspec.Struct, frozen=True):
    """A ClusterJoin as it was read."""

    join: ClusterJoin
    uid: Uid
    version: ResourceVersion


class StoreFailed(Exception):
    """Raised when the hub's API server does not answer, or refuses us; names verb, resource and cluster."""


class JoinStore:
    """Reads and writes ClusterJoins.

    Args:
        api: the cluster that holds them.
        clock: time.

    """

    def __init__(self, api: ClusterApi, clock: Clock) -> None:
        self._api = api
        self._reads: SharedReads[ClusterName, MemberIdentity | None] = SharedReads(clock, REMEMBERED_SECONDS)
        self._known: dict[ClusterName, MemberIdentity] = {}

    async def read(self, name: ClusterName) -> Stored | None:
        """Return a ClusterJoin, live; None where there is none that can be used.

        Raises:
            StoreFailed: when that cannot be told.

        """
        found = await api_calls.get_object(self._api, CLUSTER_JOINS, "", name, timeout=REQUEST_SECONDS)
        if isinstance(found, Status):
            if found.absent(name, CLUSTER_JOINS.plural):
                return None
            raise StoreFailed(f"get clusterjoins {name} in {self._api.name}: {found.message}")
        join = read_join(found)
        if isinstance(join, str):
            _log.error("ClusterJoin not understood", name=name, problem=join)
            return None
        return Stored(join, Uid(found["metadata"]["uid"]), ResourceVersion(found["metadata"]["resourceVersion"]))

    async def write(self, name: ClusterName, stored: Stored, status: Json) -> bool:
        """Write the status; False where somebody else has written the object since it was read.

        Raises:
            StoreFailed: when it may not have been written.

        """
        body = {
            "apiVersion": CLUSTER_JOINS.api_version,
            "kind": "ClusterJoin",
            "metadata": {"name": name, "uid": stored.uid, "resourceVersion": stored.version},
            "status": status,
        }
        answer = await api_calls.apply(
            self._api,
            CLUSTER_JOINS,
            body,
            manager=MANAGER,
            force=True,
            timeout=REQUEST_SECONDS,
            subresource="status",
        )
        if not isinstance(answer, Status):
            self._reads.forget(name)
            return True
        if answer.code == 409:
            return False
        raise StoreFailed(f"patch clusterjoins/status {name} in {self._api.name}: {answer.message}")

    async def member(self, name: ClusterName) -> MemberIdentity | None:
        """Return who a member is, None for one that is none (any more).

        While the hub's API server does not answer, those who are known stay members: their credentials end by themselves.
        """
        return await self._reads.read(name, lambda: self._ask(name))

    async def _ask(self, name: ClusterName) -> MemberIdentity | None:
        try:
            stored = await self.read(name)
        except StoreFailed as problem:
            _log.warning("membership cannot be looked up", cluster=name, problem=str(problem))
            return self._known.get(name)
        if stored is None or not stored.join.status.key:
            self._known.pop(name, None)
            return None
        self._known[name] = MemberIdentity(name, stored.join.status.identity)
        return self._known[name]
