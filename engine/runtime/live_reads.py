"""What dependents are just now: one labelled LIST for the many that an owner's key looks at, a GET for any other.

A server looks through a whole namespace for the few that have a label. So where many owners' dependents are wanted from one
namespace, all of it is listed, once for all of them.

A LIST without a resourceVersion is read from a quorum as a GET is, and gives the same uid, resourceVersion and owners for
five hundred at the price of two or three. Why it may stand for the live read that comes before every delete:

    * It only ever says what an object *was* at a resourceVersion, and the DELETE carries that resourceVersion and the uid:
      if anything has changed since, the server refuses, and the object is read again by itself (`engine.runtime.collector`).
      So its age costs a conflict at worst, never an object; `LISTED_SECONDS` and `WHOLE_SECONDS` bound how many conflicts.
    * It never says that something is gone. What it lacks (a label taken away, created since, more than `PAGES` hold) is
      asked for by name.
    * Who judges again, because something changed, reads by name.
    * Evidence for owners, grants and brakes has nothing to do with it, and is as fresh as ever.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

from engine.core.api_errors import Status
from engine.core.live_object import Metadata
from engine.core.ownership import OWNER_LABEL, can_be_label, owner_label
from engine.runtime import api_calls
from engine.runtime.api_calls import resource_of
from engine.runtime.ports import Clock, ClusterApi
from schemas.actions import Collect
from schemas.names import ClusterName, Resource, Uid

LISTED_FROM = 4
"""Dependents from which a LIST is cheaper: a server looks through a thousand objects for it in the time of one GET."""
LISTED_SECONDS = 10.0
"""For so long a LIST is used: a few batches' worth, so that ten thousand dependents are not listed anew for each thousand."""
RENEWED_SECONDS = 5.0
"""A LIST older than that is made anew before a batch, or it would be too old in the middle of it, and each be asked for."""
WHOLE_FROM = 16
"""LISTs of one namespace within `LISTED_SECONDS`, for an owner each; the next one is of all that is in it."""
WHOLE_SECONDS = 30.0
"""For so long it is used: what has changed since costs a conflict, and what has not is as good as new."""
APART_SECONDS = 600.0
"""Until a namespace that was too large for that, or could not be listed, is tried again."""
WHOLE_MOST = 10_000
"""Objects of a namespace that is listed as a whole: half a second's work of a server, and 12 MB here."""
PAGES = 20
"""Of 500: some 10 MB in memory. What is beyond is asked for by name."""
LISTED_KEPT = 25_000
"""Objects of finished LISTs in memory, some 30 MB; the oldest LIST goes first."""

_Group = tuple[ClusterName, Resource, str, Uid]
"""Cluster, type, namespace and owner of dependents that one LIST finds; without an owner it is all that is there."""
_Listing = tuple[float, asyncio.Task[dict[str, Metadata]]]


class LiveReads:
    """Reads dependents; one per process."""

    def __init__(self, apis: Mapping[ClusterName, ClusterApi | None], clock: Clock, *, timeout: float) -> None:
        """Take whom to ask.

        Args:
            apis: the clusters, for LISTs.
            clock: time.
            timeout: seconds for each request.

        """
        self._apis, self._clock, self._timeout = apis, clock, timeout
        self._listings: dict[_Group, _Listing] = {}
        self._renewing: dict[_Group, asyncio.Task[dict[str, Metadata]]] = {}
        """LISTs that are made anew just now, while there is one that serves."""
        self._apart: dict[_Group, float] = {}
        """Namespaces that are not listed as a whole, and until when: they are too large, or it failed."""

    def expect(self, actions: Iterable[Collect]) -> None:
        """Begin to list what is about to be read together."""
        now = self._clock.monotonic()
        for group, count in Counter(_group(action) for action in actions if action.owner).items():
            known = self._listings.get(group)
            if count < LISTED_FROM or (known is not None and now - known[0] <= RENEWED_SECONDS):
                continue
            api = self._apis.get(group[0])
            if api is None or self._is_listed_whole(group, now):
                continue
            self._make_room(now)
            wanted = _whole(group) if self._pays(group, now) else group
            if wanted not in self._renewing:
                self._begin(api, wanted, now)

    def _begin(self, api: ClusterApi, group: _Group, now: float) -> None:
        """Begin a LIST. One that there is serves until then, or until it is too old."""
        task = asyncio.create_task(self._list(api, group), name=f"list dependents of {group[3] or 'everybody'}")
        if self._is_usable(group, now):
            self._renewing[group] = task
            task.add_done_callback(lambda done: self._renewed(group, now, done))
        else:
            self._put(group, now, task)

    def _renewed(self, group: _Group, at: float, listing: asyncio.Task[dict[str, Metadata]]) -> None:
        self._renewing.pop(group, None)
        self._put(group, at, listing)

    def _put(self, group: _Group, at: float, listing: asyncio.Task[dict[str, Metadata]]) -> None:
        self._listings.pop(group, None)  # the newest come last
        self._listings[group] = (at, listing)

    def _is_usable(self, group: _Group, now: float) -> bool:
        listed_at, _ = self._listings.get(group, (float("-inf"), None))
        return now - listed_at <= (LISTED_SECONDS if group[3] else WHOLE_SECONDS)

    async def read(self, action: Collect, api: ClusterApi, *, anew: bool) -> Metadata | Status:
        """Return a dependent's metadata; `api` is asked if no LIST that is fresh enough has it, or `anew` says so."""
        mine = _group(action)
        for group in (mine, _whole(mine)) if action.owner else ():
            if self._is_usable(group, self._clock.monotonic()):
                listing = self._listings[group][1]
                listed = await asyncio.shield(listing)
                if anew:
                    listed.pop(action.ref.name, None)
                elif (found := listed.get(action.ref.name)) is not None:
                    return found
        ref = action.ref
        return await api_calls.get(
            api, resource_of(ref, action.api_version), ref.namespace, ref.name, timeout=self._timeout
        )

    def _is_listed_whole(self, group: _Group, now: float) -> bool:
        listed_at, listing = self._listings.get(_whole(group), (float("-inf"), None))
        fresh = listing is not None and now - listed_at <= WHOLE_SECONDS - RENEWED_SECONDS
        return fresh and not self._is_apart(group, now)

    def _pays(self, group: _Group, now: float) -> bool:
        """Return whether a namespace is better listed as a whole: many owners' dependents are wanted from it just now."""
        listed = sum(one[:3] == group[:3] for one in self._listings)
        return listed >= WHOLE_FROM and not self._is_apart(group, now)

    def _is_apart(self, group: _Group, now: float) -> bool:
        return now < self._apart.get(_whole(group), now)

    def _make_room(self, now: float) -> None:
        for group in list(self._listings):
            if not self._is_usable(group, now):
                del self._listings[group]
        for group in [one for one, until in self._apart.items() if now >= until]:
            del self._apart[group]
        sizes = {one: _size(task) for one, (_, task) in self._listings.items() if task.done()}
        kept = sum(sizes.values())
        for group, size in sizes.items():
            if kept <= LISTED_KEPT:
                break
            del self._listings[group]
            kept -= size

    async def _list(self, api: ClusterApi, group: _Group) -> dict[str, Metadata]:
        """Return what a LIST finds, by name: by the collector's label, and by the engine's own where there are none."""
        owner = group[3]
        if not owner:
            return await self._listed(api, group)
        for selector in (owner_label(owner), f"{OWNER_LABEL}={owner}") if can_be_label(owner) else ():
            if found := await self._listed(api, group, selector):
                return found
        return {}

    async def _listed(self, api: ClusterApi, group: _Group, selector: str = "") -> dict[str, Metadata]:
        """Return what a LIST finds, or has found until it failed; nothing of a namespace that is too large."""
        _, resource, namespace, _ = group
        found: dict[str, Metadata] = {}
        resume = ""
        for _ in range(PAGES):
            page = await api_calls.list_page(
                api, resource, namespace, timeout=self._timeout, label_selector=selector, resume=resume
            )
            if isinstance(page, Status) or page.metadata.remaining_item_count > WHOLE_MOST:
                if not selector:
                    self._apart[group] = self._clock.monotonic() + APART_SECONDS
                break
            found |= {one.metadata.name: one.metadata for one in page.objects}
            resume = page.metadata.continue_
            if not resume:
                break
        return found


def _group(action: Collect) -> _Group:
    ref = action.ref
    return ref.cluster, resource_of(ref, action.api_version), ref.namespace, action.owner


def _whole(group: _Group) -> _Group:
    return (*group[:3], Uid(""))


def _size(task: asyncio.Task[dict[str, Metadata]]) -> int:
    return 0 if task.cancelled() or task.exception() else len(task.result())
