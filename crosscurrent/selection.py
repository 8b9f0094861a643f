"""The FILTER of `crosscurrent events`: `cluster/resource/namespace/name` globs, or a NATS subject.

Whatever a subject filter can say is left to the broker; the rest of a glob is decided here, record by record.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection

import msgspec

from crosscurrent.errors import UsageError
from crosscurrent.place import check_cluster
from crosscurrent.resources import SHORT_NAMES
from schemas import subjects
from schemas.names import ObjectRef

_EVERYTHING = (f"{subjects.FACTS}.>", f"{subjects.SYNC}.>")
_GLOB = set("*?[")
_MAX_PARTS = 4


class Filter(msgspec.Struct, frozen=True):
    """Which records to show."""

    subjects: tuple[str, ...] = _EVERYTHING
    """What the broker is asked for."""
    cluster: str = "*"
    resource: str = "*"
    namespace: str = "*"
    name: str = "*"

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Read a filter; the empty text is everything.

        Raises:
            UsageError: when it cannot select any record.

        """
        if not text:
            return cls()
        if "/" not in text and text.partition(".")[0] in (subjects.FACTS, subjects.SYNC):
            return cls((_checked(text),))
        parts = text.strip("/").split("/")
        if len(parts) > _MAX_PARTS:
            raise UsageError(f"{text!r} has more than cluster/resource/namespace/name")
        cluster, resource, namespace, name = (*(part or "*" for part in parts), *("*",) * (_MAX_PARTS - len(parts)))
        resource = SHORT_NAMES.get(resource, resource)
        facts = f"{subjects.FACTS}.{_token(cluster)}.*.{_plural(resource)}.{_namespace(namespace)}.{_token(name)}"
        wanted = [facts]
        if (
            namespace == name == "*"
        ):  # how a whole type or cluster stands is worth knowing; of one object it says little
            wanted.append(f"{subjects.SYNC}.{_token(cluster)}.*.{_plural(resource)}")
        return cls(tuple(wanted), cluster, resource, namespace, name)

    def must_be_among(self, known: Collection[str]) -> None:
        """Check that the cluster, if one is named rather than described, is there.

        Raises:
            UserError: when it is not; lists those that are.

        """
        if not _GLOB & set(self.cluster):
            check_cluster(self.cluster, known)

    def shows_cluster(self, cluster: str) -> bool:
        """Return whether a cluster is meant."""
        return fnmatch.fnmatchcase(cluster, self.cluster)

    def shows_fact(self, ref: ObjectRef) -> bool:
        """Return whether an object is meant."""
        return (
            self.shows_cluster(ref.cluster)
            and self._shows_type(ref.group, ref.resource)
            and fnmatch.fnmatchcase(ref.namespace or "_", self.namespace)
            and fnmatch.fnmatchcase(ref.name, self.name)
        )

    def shows_sync(self, cluster: str, group: str, plural: str) -> bool:
        """Return whether a type's sync record is meant."""
        return self.shows_cluster(cluster) and self._shows_type(group, plural)

    def _shows_type(self, group: str, plural: str) -> bool:
        full = f"{plural}.{group}" if group else plural
        return any(fnmatch.fnmatchcase(form, self.resource) for form in (plural, full, f"{plural}."))


def _checked(subject: str) -> str:
    """Return a subject filter that the broker will accept."""
    tokens = subject.split(".")
    if not all(tokens) or ">" in tokens[:-1] or any(len(token) > 1 and _GLOB & set(token) for token in tokens):
        raise UsageError(
            f"{subject!r} is not a subject filter",
            "each token is a name, or *, and the last may be >; or use globs: c1/foos",
        )
    return subject


def _token(part: str) -> str:
    return "*" if _GLOB & set(part) else subjects.escape(part)


def _namespace(part: str) -> str:
    return "_" if part == "_" else _token(part)


def _plural(part: str) -> str:
    """Return the token of a resource's plural: its group, after the dot, is compared here."""
    return _token(part.partition(".")[0])
