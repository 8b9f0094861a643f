"""Find reconcilers: built-in ones by name, users' own as `module:attribute`. No difference is made between them.

A module's attribute is a reconciler, or a function that makes one of the configuration.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType

from engine.core.authoring import Reconciler
from schemas.config import Config

BUILT_IN = {
    "federation": "reconcilers.federation:configured",
    "foo": "reconcilers.foo:foo",
    "garbage": "reconcilers.garbage:garbage",
    "imports": "reconcilers.imports:imports",
}


class UnknownReconciler(ValueError):
    """Raised when a configured reconciler cannot be found; the message says what to write instead."""


def find(name: str, *, search: Path | None = None, config: Config | None = None) -> Reconciler:
    """Return a reconciler.

    Args:
        name: of a built-in one, or `module:attribute`.
        search: directory in which users' modules are looked for first, usually that of the configuration file.
        config: for those that are made of it; None: the defaults.

    Raises:
        UnknownReconciler: when there is none, or the configuration does not do for it.

    """
    place = BUILT_IN.get(name, name)
    module_name, _, attribute = place.partition(":")
    if not attribute:
        message = (
            f"no built-in reconciler {name!r}; there are {', '.join(sorted(BUILT_IN))}; your own is module:attribute"
        )
        raise UnknownReconciler(message)
    if search is not None and str(search) not in sys.path:
        sys.path.insert(0, str(search))
    try:
        module = importlib.import_module(module_name)
    except ImportError as problem:
        message = f"reconciler {name!r}: {problem}; is the module beside the configuration file or installed?"
        raise UnknownReconciler(message) from problem
    found = getattr(module, attribute, None)
    if isinstance(found, FunctionType):
        try:
            found = found(config or Config(apiVersion="crosscurrent.dev/v1alpha1", kind="Config"))
        except ValueError as problem:
            message = f"reconciler {name!r}: {problem}"
            raise UnknownReconciler(message) from problem
    if not isinstance(found, Reconciler):
        what = "has no such attribute" if found is None else "is not made with @reconciler(...)"
        message = f"reconciler {name!r}: {module_name} {what}: {attribute}"
        raise UnknownReconciler(message)
    return found


def find_all(names: Iterable[str], *, search: Path | None = None, config: Config | None = None) -> list[Reconciler]:
    """Return several reconcilers, each name once.

    Raises:
        UnknownReconciler: when one cannot be found, or two share a name.

    """
    found = [find(name, search=search, config=config) for name in dict.fromkeys(names)]
    taken: dict[str, Reconciler] = {}
    for one in found:
        if taken.setdefault(one.name, one) is not one:
            message = f"two reconcilers are called {one.name!r}: their keys and field managers would be the same"
            raise UnknownReconciler(message)
    return found
