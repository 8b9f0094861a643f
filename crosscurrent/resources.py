"""Which resource type a user means by `deploy`, `deployment`, `deployments.apps` or `apps/v1/deployments`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from crosscurrent.errors import UserError
from crosscurrent.fleet import TypeSync
from schemas.clusters import CLUSTERS

SHORT_NAMES = {
    "cj": "cronjobs",
    "cm": "configmaps",
    "crd": "customresourcedefinitions",
    "crds": "customresourcedefinitions",
    "csr": "certificatesigningrequests",
    "deploy": "deployments",
    "ds": "daemonsets",
    "ep": "endpoints",
    "ev": "events",
    "hpa": "horizontalpodautoscalers",
    "ing": "ingresses",
    "limits": "limitranges",
    "netpol": "networkpolicies",
    "no": "nodes",
    "ns": "namespaces",
    "pc": "priorityclasses",
    "pdb": "poddisruptionbudgets",
    "po": "pods",
    "pv": "persistentvolumes",
    "pvc": "persistentvolumeclaims",
    "quota": "resourcequotas",
    "rc": "replicationcontrollers",
    "rs": "replicasets",
    "sa": "serviceaccounts",
    "sc": "storageclasses",
    "sts": "statefulsets",
    "svc": "services",
}
"""kubectl's short names of built-in types. Those of custom types come from discovery, which STATE does not hold."""

_PREFERRED = ("", "apps", "batch", "networking.k8s.io")
"""Where one plural is served by several groups, the one that kubectl would take comes first."""


def resolve(text: str, types: Iterable[TypeSync]) -> tuple[str, str]:
    """Return (group, plural) of the type that the user means, among those that some cluster's watcher reports.

    Raises:
        UserError: when there is none, naming near matches, or when several groups serve it.

    """
    known = sorted({(item.group, item.plural) for item in types} | {(CLUSTERS.group, CLUSTERS.plural)})
    wanted, group = _split(text)
    candidates = [
        (its_group, plural)
        for its_group, plural in known
        if plural in _plurals(wanted) and (group is None or its_group == group or its_group.startswith(f"{group}."))
    ]
    if not candidates:
        raise _unknown(text, wanted, known)
    if len(candidates) == 1:
        return candidates[0]
    for preferred in _PREFERRED:
        if match := next((item for item in candidates if item[0] == preferred), None):
            return match
    names = ", ".join(_shown(*item) for item in candidates)
    raise UserError(f"{text!r} may be any of {names}", "name the group too")


def _split(text: str) -> tuple[str, str | None]:
    """Return (plural or like it, group or None) of the forms that kubectl and our configuration use."""
    lowered = text.lower().strip()
    if "/" in lowered:  # apps/v1/deployments, v1/configmaps
        parts = lowered.split("/")
        return parts[-1], parts[0] if len(parts) == 3 else ""
    plural, dot, group = lowered.partition(".")
    version, more, rest = group.partition(".")
    if more and version[:1] == "v" and version[1:2].isdigit():  # deployments.v1.apps
        group = rest
    return plural, group if dot else None


def _plurals(word: str) -> set[str]:
    """Return what plural a word may stand for."""
    guesses = {word, SHORT_NAMES.get(word, word), f"{word}s", f"{word}es"}
    if word.endswith("y"):
        guesses.add(f"{word[:-1]}ies")
    return guesses


def _shown(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def _unknown(text: str, wanted: str, known: list[tuple[str, str]]) -> UserError:
    names = {_shown(*item): item[1] for item in known}
    near = difflib.get_close_matches(wanted, [*names, *names.values()], n=5, cutoff=0.6)
    matches = list(dict.fromkeys(name for name, plural in names.items() if name in near or plural in near))
    listed = f"did you mean {', '.join(matches)}?" if matches else f"watched types: {', '.join(names)}"
    return UserError(
        f"no watched resource type {text!r}; {listed}",
        "a type is watched when a reconciler needs it or `resources` in the configuration names it",
    )
