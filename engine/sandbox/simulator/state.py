"""What the parts of one simulated cluster share: store, served types, time, randomness, and who reviews writes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Protocol

from engine.sandbox.simulator.resource_types import ResourceType, TypeKey, TypeRegistry
from engine.sandbox.simulator.store import Store

NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Of generated names: no vowels, so no words, and nothing that looks alike."""

_SUFFIX_LENGTH = 5
_PREFIX_LENGTH = 63 - _SUFFIX_LENGTH


class Admission(Protocol):
    """Says which writes webhooks want to see; `Steps` yields an `AdmissionRequest` for those only."""

    def concerns(self, operation: str, rtype: ResourceType, subresource: str) -> bool:
        """Return whether any webhook may want this operation."""


class ClusterState:
    """The state of one cluster.

    Args:
        types: what is served at first.
        clock: seconds since 1970.
        seed: makes uids and generated names repeatable; None: they are random.
        history_limit: changes kept per type.

    Attributes:
        types: what is served.
        storage_types: the version in which objects are stored, of types that have several.
        store: the objects.
        clock: seconds since 1970.
        random: the only source of randomness.
        admission: None: there are no webhooks.
        root_ca: the cluster's certificate authority, in PEM, for ConfigMaps; set by whoever serves the cluster.
        check_create: refuses creates of custom resources whose definition is on its way out; set by `crds`.

    """

    def __init__(
        self, types: TypeRegistry, *, clock: Callable[[], float], seed: int | None, history_limit: int
    ) -> None:
        self.types = types
        self.storage_types: dict[TypeKey, ResourceType] = {}
        self.store = Store(history_limit=history_limit)
        for one in types:
            self.store.collection(one.key)  # from the start, so that a watch may begin anywhere
        self.clock = clock
        self.random = random.Random(seed)  # noqa: S311 - uids and names of a simulation, repeatable by design
        self.admission: Admission | None = None
        self.root_ca = ""
        self.check_create: Callable[[ResourceType, str], None] = _anything
        self._second = (0, "")

    def now(self) -> str:
        """Return the time as RFC 3339 in whole seconds, as Kubernetes writes it."""
        second = int(self.clock())
        if second != self._second[0]:
            self._second = (second, timestamp(second))
        return self._second[1]

    def new_uid(self) -> str:
        """Return a random UUID, version 4."""
        text = f"{self.random.getrandbits(128):032x}"
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    def generated_name(self, prefix: str) -> str:
        """Return a name for a generateName."""
        return prefix[:_PREFIX_LENGTH] + "".join(self.random.choices(NAME_ALPHABET, k=_SUFFIX_LENGTH))

    def concerns(self, operation: str, rtype: ResourceType, subresource: str) -> bool:
        """Return whether webhooks may want to review a write."""
        return self.admission is not None and self.admission.concerns(operation, rtype, subresource)


def _anything(_: ResourceType, __: str) -> None:
    """Refuse nothing."""


def timestamp(seconds: float) -> str:
    """Return a time as RFC 3339 in whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
