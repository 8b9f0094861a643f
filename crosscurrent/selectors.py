"""`-l` and `--field-selector`: the labels and fields that an object must have, as kubectl takes them and in its words.

They are read by the simulator's API server, which reads them as the real one does. Fields are compared here, because STATE
holds whole objects: any field will do, where an API server knows a few of each type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crosscurrent.errors import UsageError

if TYPE_CHECKING:
    from engine.sandbox.simulator.selectors import LabelSelector

Json = Mapping[str, Any]


class Selector:
    """Conditions on an object; none select everything.

    Args:
        labels: as `app=web,tier!=db`, `env in (a,b)`, `app` or `!app`.
        fields: as `metadata.name=web,spec.replicas!=3`; a field that is not there is the empty text.

    Raises:
        UsageError: when one of them means nothing.

    """

    def __init__(self, labels: str = "", fields: str = "") -> None:
        self._labels: LabelSelector | None = None
        self._fields: tuple[tuple[str, str, bool], ...] = ()
        if not labels and not fields:
            return
        from engine.sandbox.simulator.errors import ApiError  # noqa: PLC0415 - 20 ms that only selections pay
        from engine.sandbox.simulator.selectors import field_terms, parse_label_selector  # noqa: PLC0415

        try:
            self._labels = parse_label_selector(labels)
            self._fields = field_terms(fields)
        except ApiError as error:
            raise UsageError(error.message) from error

    @property
    def everything(self) -> bool:
        """Whether there are no conditions."""
        return self._labels is None

    def selects(self, body: Json) -> bool:
        """Return whether an object satisfies them all."""
        if self._labels is None:
            return True
        labels = (body.get("metadata") or {}).get("labels")
        return self._labels.matches(labels) and all(
            (field_text(body, path) == value) is not negated for path, value, negated in self._fields
        )


EVERYTHING = Selector()


def field_text(body: Json, path: str) -> str:
    """Return the text of a field, `spec.replicas`; empty where it is not there, or is no single value."""
    value: Any = body
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    if value is None or isinstance(value, Mapping | list):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
