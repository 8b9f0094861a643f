"""Foreseen facts: our own writes in the view before the watch shows them. Pure.

A write comes back as a fact a few milliseconds later. What a reconciler would make of that fact it can make of the server's
answer at once: both are the object at one resourceVersion. So the answer becomes the object's row, the reconciler is asked
again under the same lock, and the key's entry names the fact that is still to come: that one need not wake the key again.

Rules:
    * A fact is named by its id: identity and epoch of the cluster, type, uid, resourceVersion. Whatever anyone else wrote
      before or after, a restored cluster or a healing pass has another id and wakes the key as ever.
    * Only for types that the reconciler names, in that version: what the watch shows has that form.
    * Not for what may hold values of Secrets, which facts hold redacted, nor for what is being deleted: it may be gone with
      this very write.
    * An open entry counts like a closed one: its request is acknowledged only after everything that was decided is done, so
      a worker that dies meanwhile leaves a request behind, which starts from the streams.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from engine.core.objects import ObjectRefused, strip
from engine.core.secrecy import may_hold_secrets
from engine.core.view import Row, View
from schemas.decisions import Foresight
from schemas.facts import Fact, FactId, FactType
from schemas.names import ObjectRef, Resource, ResourceVersion, Uid


class _Metadata(msgspec.Struct, rename="camel"):
    uid: Uid
    resource_version: ResourceVersion
    deletion_timestamp: str | None = None


class _Object(msgspec.Struct, rename="camel"):
    api_version: str
    metadata: _Metadata


def foresee(view: View, answers: Mapping[ObjectRef, bytes], types: Collection[Resource]) -> tuple[str, ...]:
    """Take written objects into a view; return the ids of the facts that will say so.

    Args:
        view: of the key that wrote them; changed.
        answers: the servers' answers, whole objects.
        types: that the reconciler watches or owns.

    """
    versions = {(kind.group, kind.plural): kind.api_version for kind in types}
    found = []
    for ref, answer in answers.items():
        if may_hold_secrets(ref.group, ref.resource):
            continue
        fact = _fact(view, ref, answer, versions.get((ref.group, ref.resource), ""))
        if fact is not None:
            known = view.rows.get(ref)
            view.show(ref, Row(known.seq if known else 0, fact))
            found.append(fact.id)
    return tuple(found)


def is_foreseen(entry: Foresight, fact_id: str, code: str) -> bool:
    """Return whether a key's last decision was made with this very fact in view, by this very code."""
    return entry.code == code and fact_id in entry.foreseen


def _fact(view: View, ref: ObjectRef, answer: bytes, api_version: str) -> Fact | None:
    cluster = view.clusters.get(ref.cluster)
    if cluster is None or not cluster.identity:
        return None
    try:
        written = _object.decode(answer)
        if written.api_version != api_version or written.metadata.deletion_timestamp is not None:
            return None
        stripped = strip(answer)
    except (msgspec.DecodeError, ObjectRefused):
        return None
    uid, version = written.metadata.uid, written.metadata.resource_version
    return Fact(
        id=str(FactId(cluster.identity, cluster.epoch, ref.group, ref.resource, uid, version)),
        type=FactType.UPDATED,
        subject=f"{ref.namespace}/{ref.name}" if ref.namespace else ref.name,
        time="",
        cluster=ref.cluster,
        identity=cluster.identity,
        epoch=cluster.epoch,
        uid=uid,
        resourceversion=version,
        managers=stripped.managers,
        data=msgspec.Raw(stripped.data),
    )


_object = msgspec.json.Decoder(_Object)
