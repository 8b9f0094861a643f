"""Which types may hold values of Secrets: one answer for all who publish, write or report on objects. Pure.

* Secrets, and kubefed's FederatedSecrets, in whatever group somebody's `kubefedctl enable` put them: every one does.
* The generic federated objects: some do, and which ones only their content tells (`engine/core/federated_secrets.py`).
"""

from __future__ import annotations

from schemas.federation_forms import FEDERATED_SECRETS, GENERIC, GENERIC_GROUP
from schemas.names import Resource

SECRETS = Resource("", "v1", "secrets")


def is_secret(group: str, plural: str) -> bool:
    """Return whether a type is that of Secrets."""
    return (group, plural) == (SECRETS.group, SECRETS.plural)


def always_holds_secrets(group: str, plural: str) -> bool:
    """Return whether a type is there for nothing else: it is watched only where it is named, and with a key (SEC-13)."""
    return is_secret(group, plural) or plural == FEDERATED_SECRETS


def may_hold_secrets(group: str, plural: str) -> bool:
    """Return whether objects of a type may hold values: no message quotes from them, no answer is kept."""
    return always_holds_secrets(group, plural) or (group == GENERIC_GROUP and plural in GENERIC)
