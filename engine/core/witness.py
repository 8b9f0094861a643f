"""Whether a server that is back still has the history in which a watch stopped, told by one object: the witness (W-17).

An etcd that was restored answers with an older state, and its resourceVersions go back. But a restarted API server
writes hundreds of objects of its own (leases, endpoints, roles) within seconds, and every cluster goes on working: the
versions soon pass the ones that were lost, and from then on comparing them shows nothing. What stands at a
resourceVersion still does. The witness is the newest object known of a type:

    the server shows it as it is known        nothing of this type has been lost
    the server shows it older than it is known    restored
    it has changed since, or is gone          the state at its own resourceVersion is asked for (`Exact`); there it must be

Where that state is compacted away (five minutes later) or the server does not keep to the request, nothing is told and
the watch resumes; a comparison with STATE follows each outage (`watchers/anti_entropy.py`, W-28).
"""

from __future__ import annotations

import msgspec

from engine.core.known import Known
from engine.core.watch_states import Course, GetList, Outputs, Resuming, State, Stopped, Vouching, WentBack
from engine.core.watch_wire import Page
from schemas.names import ResourceVersion, comparable, newer


def call_witness(course: Course, known: Known) -> Vouching | Resuming:
    """Return the state that asks for the newest known object, or that resumes where no object can be compared."""
    newest = None
    for key, seen in known.items():
        if not seen.old and comparable(seen.version) and (newest is None or newer(seen.version, newest[1].version)):
            newest = key, seen
    return Vouching(course, *newest) if newest else Resuming(course)


def question(state: Vouching) -> GetList:
    """Return the request for the witness: a list, because a watcher may not be allowed to get."""
    namespace, name = state.key
    params = {"fieldSelector": f"metadata.name={name}", "limit": "1"}
    if state.exact:
        params = {
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": state.seen.version,
            "resourceVersionMatch": "Exact",
        }
    return GetList(params, metadata_only=True, namespace=namespace)


def hear(state: Vouching, page: Page) -> tuple[State, Outputs]:
    """Return what follows from the answer: resume, ask once more, or stop because the history is another."""
    last = ResourceVersion(state.seen.version)
    if any((item.namespace, item.name) != state.key for item in page.items) or len(page.items) > 1:
        return Resuming(state.course), []  # the server does not know the selector
    shown = page.items[0] if page.items else None
    same = shown is not None and shown.uid == state.seen.uid
    if shown is not None and same and shown.version == last:
        return Resuming(state.course), []
    if shown is not None and same and newer(last, shown.version):
        return Stopped(state.course, "Restored"), [WentBack(last, shown.version)]
    if not state.exact:
        return msgspec.structs.replace(state, exact=True), []
    if page.version != last:
        return Resuming(state.course), []  # the server answered for another version than it was asked for
    return Stopped(state.course, "Restored"), [WentBack(last, ResourceVersion(""))]
