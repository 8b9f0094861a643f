"""What the watchers of one process are told."""

from __future__ import annotations

import msgspec

from engine.core.backoff import CAP_SECONDS

DAY_SECONDS = 86_400.0


class WatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Frozen settings of a cluster's watcher."""

    resources: tuple[str, ...] = ()
    """Types to watch, as `apps/v1/deployments` or `v1/configmaps`; `*/*` for all that can be watched but Secrets and
    FederatedSecrets."""
    run: str
    """Distinguishes this run from every other; part of message ids."""
    seed: int = 0
    """Of all jitter."""
    labels: dict[str, str] = {}
    """Labels of the cluster's record."""
    redaction_key: bytes = b""
    """Key of the hashes that replace Secret values, at least 16 bytes; empty: Secrets and FederatedSecrets are not watched at
    all, and of generic federated objects only those that are certainly no Secrets are published with their bodies."""
    seal_secrets: bool = False
    """Whether Secret values are sealed instead of hashed, because a reconciler is to copy them."""
    tombstone_ttl_seconds: float = 7 * DAY_SECONDS + 3600.0
    """How long STATE keeps tombstones: FACTS' age and an hour, so that no reader of FACTS outlives them."""
    discovery_seconds: float = 60.0
    """Between two looks at the served types, at least; half as much again is random. Two small requests."""
    sentinel_seconds: float = 60.0
    """Between two looks at the cluster's identity and resourceVersion (W-17)."""
    anti_entropy_seconds: float = 1800.0
    """Between two comparisons of a type with STATE, at least; half as much again is random (W-28)."""
    log_check_seconds: float = 5.0
    """Between two looks at whether a stream was re-created."""
    retry_cap_seconds: float = CAP_SECONDS
    """Longest wait before what failed is tried again, unless the server asked for a longer one."""
    rejoin_grace_seconds: float = 5.0
    """A restarted watcher that has resumed all types within this leaves the cluster's record as it is."""
    queue_messages: int = 20_000
    """Facts waiting to be published, per cluster: half a second of the broker's rate."""
    queue_bytes: int = 64 * 1024 * 1024
    """The same in bytes of objects. A single list may exceed it once, by `FLUSH_BYTES`."""
    batch_messages: int = 1000
    """Facts per publish: the broker's limit of an atomic batch."""
    patience_seconds: float = 2.0
    """How long an open watch may wait for the broker before it is closed and later resumed (W-23)."""
    stale_seconds: float = 100.0
    """Facts that no acknowledgement came for in this time are dropped and read anew: the broker's duplicate window is
    120 s, and beyond it a late publish could set an object's last fact back."""
