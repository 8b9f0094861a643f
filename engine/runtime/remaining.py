"""Which dependents of a deleted owner remain, asked of every configured cluster: live LISTs by label.

Only lists that were answered to the end count. They are many, two for every type in every cluster, and they only read: so
they need no lease, outlast that of the decision that asked first, and the next decision of the owner's key finds them done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from engine.core.api_errors import Status
from engine.core.grants import Verb
from engine.core.live_object import Metadata
from engine.core.ownership import ADMIRALTY_FINALIZER, ADMIRALTY_LABEL, OWNER_LABEL, can_be_label, owner_label
from engine.runtime import api_calls
from engine.runtime.fleet_directory import FleetDirectory
from engine.runtime.ports import Clock, ClusterApi
from engine.runtime.references import References
from schemas.actions import RemoveFinalizer
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource, Uid

AT_ONCE = 4
"""Owners whose dependents are looked for at once: the more, the longer it takes until the first is known."""
LOOK_SECONDS = 10.0
"""How long a look may take, and after how long what it found is too old: what a dependent made meanwhile meets is what it
would meet if it were made a moment after the owner is gone."""
MAX_PAGES = 50
"""Of 500: an owner with more labelled dependents than that is not about to be let go."""

ApisUntil = Callable[[float], Mapping[ClusterName, ClusterApi | None]]
Finding = str | Status | None
"""The dependents that remain in a cluster, in words; a Status if that cannot be told; None if there are none."""
Findings = dict[ClusterName, Finding]


class Remaining:
    """Looks for dependents; one per process."""

    def __init__(self, directory: FleetDirectory, references: References, clock: Clock, *, timeout: float) -> None:
        """Take whom to ask.

        Args:
            directory: identities of the clusters.
            references: judges what may block.
            clock: time.
            timeout: seconds for each request.

        """
        self._directory, self._references, self._clock, self._timeout = directory, references, clock, timeout
        self._room = asyncio.Semaphore(AT_ONCE)
        self._looks: dict[Uid, _Look] = {}
        """Those under way, and those whose answer may be wanted once more: the lease of who asked may have run out."""

    async def ask(self, action: RemoveFinalizer, apis: ApisUntil, deadline: float) -> Findings:
        """Return what remains in each cluster; the same again, if it is asked again soon, until it is forgotten.

        Args:
            action: the removal of the finalizer, which says which dependents count.
            apis: returns every configured cluster, for use until a monotonic time.
            deadline: monotonic time by which it must be known.

        Raises:
            EventLogError: when it cannot be told which cluster is which.
            LeaseOver: when the clusters did not answer within `LOOK_SECONDS`.
            TimeoutError: when it was not known in time.

        """
        question = msgspec.structs.replace(action, remaining=0)
        begun_before = self._of(question)
        if begun_before is not None:
            findings = await self._result(begun_before, deadline)
            if not any(isinstance(found, str) for found in findings.values()):
                return findings
            # They may have gone since.
        look = self._looks[action.uid] = _Look(question)
        look.task = asyncio.create_task(self._look(look, apis), name=f"look for dependents of {action.ref}")
        look.task.add_done_callback(_retrieve)
        return await self._result(look, deadline)

    def forget(self, action: RemoveFinalizer) -> None:
        """Look anew the next time."""
        self._looks.pop(action.uid, None)

    def _of(self, question: RemoveFinalizer) -> _Look | None:
        """Return a look at the same question that has not failed and is not too old; forget those that are."""
        now = self._clock.monotonic()
        for uid in [uid for uid, look in self._looks.items() if look.task.done() and now - look.began > LOOK_SECONDS]:
            del self._looks[uid]
        look = self._looks.get(question.uid)
        return look if look is not None and look.question == question and not look.failed else None

    async def _result(self, look: _Look, deadline: float) -> Findings:
        done, _ = await asyncio.wait([look.task], timeout=max(0.0, deadline - self._clock.monotonic()))
        if not done:
            raise TimeoutError
        return look.task.result()

    async def _look(self, look: _Look, apis: ApisUntil) -> Findings:
        async with self._room:
            look.began = self._clock.monotonic()
            clusters = apis(look.began + LOOK_SECONDS)
            found = await asyncio.gather(
                *(self._in_cluster(name, api, look.question) for name, api in clusters.items())
            )
            return dict(zip(clusters, found, strict=True))

    async def _in_cluster(self, cluster: ClusterName, api: ClusterApi | None, action: RemoveFinalizer) -> Finding:
        if api is None:
            return Status(code=0, reason="Unreachable", message="there is no connection to it")
        status = (await self._directory.clusters()).get(cluster)
        live = await api_calls.identity(api, timeout=self._timeout)
        if isinstance(live, Status):
            return live
        if status is None or live != status.identity:
            return Status(code=0, reason="IdentityMismatch", message=f"it answers as {live}")
        found = await asyncio.gather(
            *(self._of_type(cluster, status.identity, api, Resource.parse(text), action) for text in action.dependents)
        )
        remaining = [f"{cluster} holds {one}" for one in found if isinstance(one, str)]
        if remaining:
            return "; ".join(remaining)
        return next((one for one in found if isinstance(one, Status)), None)

    async def _of_type(
        self, cluster: ClusterName, identity: ClusterId, api: ClusterApi, resource: Resource, action: RemoveFinalizer
    ) -> Finding:
        answer = await self._labelled_by_any(api, resource, action)
        if isinstance(answer, Status) and answer.unserved:
            # The version may have gone while the objects stay, under another one.
            served = await api_calls.serves(api, resource, timeout=self._timeout)
            if isinstance(served, Status):
                return served
            if not served:
                return None
            resource = served[0]
            answer = await self._labelled_by_any(api, resource, action)
        if isinstance(answer, Status):
            return answer
        for found in answer:
            ref = ObjectRef(cluster, resource.group, resource.plural, found.namespace, found.name)
            counts = await self._counts(found, ref, identity, action)
            if isinstance(counts, Status):
                return counts
            if counts:
                place = f"{found.namespace}/{found.name}" if found.namespace else found.name
                return f"{resource.plural} {place}"
        return None

    async def _labelled_by_any(
        self, api: ClusterApi, resource: Resource, action: RemoveFinalizer
    ) -> list[Metadata] | Status:
        answers = await asyncio.gather(*(self._labelled(api, resource, one) for one in _selectors(action)))
        found: list[Metadata] = []
        for answer in answers:
            if isinstance(answer, Status):
                return answer
            found += answer
        return found

    async def _labelled(self, api: ClusterApi, resource: Resource, selector: str) -> list[Metadata] | Status:
        found: list[Metadata] = []
        resume = ""
        for _ in range(MAX_PAGES):
            page = await api_calls.list_page(
                api, resource, timeout=self._timeout, label_selector=selector, resume=resume
            )
            if isinstance(page, Status):
                return page
            if not page.kind.endswith("List") or not page.metadata.resource_version:
                return Status(code=200, reason="NotKubernetes", message="the answer is no list", authentic=False)
            found += [one.metadata for one in page.objects]
            resume = page.metadata.continue_
            if not resume:
                return found
        return Status(code=200, reason="TooMany", message="too many dependents to look at")

    async def _counts(
        self, live: Metadata, ref: ObjectRef, identity: ClusterId, action: RemoveFinalizer
    ) -> bool | Status:
        """Return whether a labelled object keeps the owner: it refers to it and, if only those count, may block it."""
        named = await self._directory.named()
        for reference in await self._references.references(live):
            home = named.get(reference.cluster_id)
            if reference.uid != action.uid or home != action.ref.cluster:
                continue
            verbs = await self._references.verbs(reference, home, live, ref, identity)
            if isinstance(verbs, Status):
                return verbs
            wanted = Verb.BLOCK if action.blocking_only else Verb.REFERENCE
            if wanted in verbs and (reference.block_owner_deletion or not action.blocking_only):
                return True
        return False


class _Look:
    """A look, under way or done."""

    task: asyncio.Task[Findings]

    def __init__(self, question: RemoveFinalizer) -> None:
        self.question, self.began = question, 0.0

    @property
    def failed(self) -> bool:
        return self.task.done() and (self.task.cancelled() or self.task.exception() is not None)


def _retrieve(task: asyncio.Task[Findings]) -> None:
    """Take note of an exception that nobody may wait for."""
    if not task.cancelled():
        task.exception()


def _selectors(action: RemoveFinalizer) -> list[str]:
    if not can_be_label(action.uid):
        return []
    found = [f"{OWNER_LABEL}={action.uid}", owner_label(action.uid)]
    return [*found, f"{ADMIRALTY_LABEL}={action.uid}"] if action.finalizer == ADMIRALTY_FINALIZER else found
