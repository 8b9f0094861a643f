"""The last look before a finalizer goes: a live LIST of dependents in every declared cluster (DESIGN §8).

Only a list that was answered and is empty counts, or discovery's word that the type is not served at all in any version.
A cluster that does not answer, refuses, or answers like something that is no API server may hold dependents (DESIGN §2.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from engine.core.api_errors import Status
from engine.core.ownership import OWNER_LABEL
from engine.runtime.api_calls import list_page, serves
from engine.runtime.ports import ClusterApi
from schemas.actions import Result
from schemas.names import ClusterName, Resource, Uid

MAX_PAGES = 50
"""A filtered list may give empty pages that go on; a server that does so this often is not answering."""


class Finding(msgspec.Struct, frozen=True):
    """Why a barrier does not open."""

    result: Result
    """CONFLICT: there are dependents. FAILED: it cannot be told."""
    reason: str
    message: str


async def find_dependents(
    apis: Mapping[ClusterName, ClusterApi | None], types: Sequence[str], owner: Uid, *, timeout: float
) -> Finding | None:
    """Look for objects that carry the owner's label.

    Args:
        apis: every declared cluster; None where there is no connection to one.
        types: `apps/v1/deployments`, ...; other served versions are looked at if that one is not served.
        owner: uid of the owner.
        timeout: seconds for each request.

    Returns:
        None if there are provably none; dependents that were found are named before clusters that did not answer.

    """
    if not owner:  # the label's selector would match whatever has an empty label, and prove nothing
        return Finding(Result.FAILED, "Unknown", "the owner has no uid")
    looks = [
        _look(name, api, Resource.parse(text), owner, timeout)
        for text in dict.fromkeys(types)
        for name, api in apis.items()
    ]
    findings = [finding for finding in await asyncio.gather(*looks) if finding is not None]
    return min(findings, key=lambda finding: finding.result is not Result.CONFLICT, default=None)


async def _look(
    cluster: ClusterName, api: ClusterApi | None, resource: Resource, owner: Uid, timeout: float
) -> Finding | None:
    if api is None:
        return _unknown(cluster, "there is no connection to it")
    answer = await _first(api, resource, owner, timeout)
    if isinstance(answer, Status) and answer.unserved:
        # The version may have gone while the objects stay, under another one.
        versions = await serves(api, resource, timeout=timeout)
        if isinstance(versions, Status):
            return _unknown(cluster, versions.message)
        if not versions:
            return None
        answer = await _first(api, versions[0], owner, timeout)
    if isinstance(answer, Status):
        return _unknown(cluster, answer.message or f"HTTP {answer.code}")
    if not answer:
        return None
    return Finding(Result.CONFLICT, "DependentsRemain", f"dependents remain in {cluster}: {resource.plural} {answer}")


async def _first(api: ClusterApi, resource: Resource, owner: Uid, timeout: float) -> str | Status:
    """Return the name of one object that carries the owner's label, empty if there is none."""
    resume = ""
    for _ in range(MAX_PAGES):
        page = await list_page(
            api, resource, timeout=timeout, label_selector=f"{OWNER_LABEL}={owner}", limit=1, resume=resume
        )
        if isinstance(page, Status):
            return page
        if not page.kind.endswith("List") or not page.metadata.resource_version:
            return Status(code=200, reason="NotKubernetes", message="the answer is no list", authentic=False)
        if page.objects:
            metadata = page.objects[0].metadata
            return f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name
        resume = page.metadata.continue_
        if not resume:
            return ""
    return Status(code=200, reason="NotKubernetes", message="the list does not end", authentic=False)


def _unknown(cluster: ClusterName, message: str) -> Finding:
    return Finding(Result.FAILED, "ClusterUnknown", f"{cluster} may hold dependents: {message}")
