"""Admission webhooks, called for real: what to ask, over https, and what to make of the answers.

In: an `AdmissionRequest` of a write under way. Out: the verdict of every webhook that wants to see it: mutating ones in
turn, validating ones at once. Which webhooks those are is decided in `webhook_rules`.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import aiohttp
import msgspec

from engine.sandbox.simulator import errors
from engine.sandbox.simulator.cel import CelError, CelSyntaxError
from engine.sandbox.simulator.cluster import SimulatedCluster
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.go_text import quoted
from engine.sandbox.simulator.json_patch import json_patch
from engine.sandbox.simulator.options import AdmissionRequest, AdmissionVerdict
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.reviews import user_info
from engine.sandbox.simulator.store import Json
from engine.sandbox.simulator.webhook_rules import CONFIGURATIONS, GROUP, Webhook, webhooks_of

_ANSWER_BYTES: Final = 3 * 1024 * 1024
"""Most that a webhook may answer: what the real server reads."""
_REVIEW: Final = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}

_encode = msgspec.json.Encoder().encode


class _CallFailed(Exception):
    """Raised when a webhook cannot be asked, or does not answer as it must; the text is Go's."""


class Webhooks:
    """Asks the webhooks that a cluster's configurations name.

    Args:
        cluster: holds the configurations.

    """

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._session: aiohttp.ClientSession | None = None
        self._seen: tuple[int, ...] = ()
        self._webhooks: dict[str, tuple[Webhook, ...]] = dict.fromkeys(CONFIGURATIONS, ())

    def concerns(self, operation: str, rtype: ResourceType, subresource: str) -> bool:
        """Return whether any webhook may want this operation."""
        self._refresh()
        return any(self._wanting(phase, operation, rtype, subresource) for phase in CONFIGURATIONS)

    async def review(self, request: AdmissionRequest) -> AdmissionVerdict:
        """Return what the webhooks of a phase say of a request.

        Raises:
            ApiError: when one refuses, or cannot be asked and must be.

        """
        self._refresh()
        rtype = self._cluster.types.find(request.group, request.version, request.resource)
        if rtype is None:
            return AdmissionVerdict()
        wanting = [
            (webhook, version)
            for webhook, version in self._wanting(request.phase, request.operation, rtype, request.subresource)
            if webhook.selects(request, self._labels_of_namespace)
        ]
        if not wanting:
            return AdmissionVerdict()
        for webhook, _ in wanting:
            if request.dry_run and webhook.has_side_effects:
                text = f"admission webhook {quoted(webhook.name)} does not support dry run"
                raise errors.bad_request(text)
        if request.phase == "mutating":
            return await self._mutate(request, wanting)
        asked = (self._ask(webhook, version, request) for webhook, version in wanting)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refusals = [answer for answer in answers if isinstance(answer, BaseException)]
        if refusals:  # the real server takes the quickest; an answer usually comes before a failure to get one
            raise min(refusals, key=lambda one: isinstance(one.__cause__, _CallFailed))
        warnings = [text for one in answers if isinstance(one, AdmissionVerdict) for text in one.warnings]
        return AdmissionVerdict(warnings=tuple(warnings))

    async def close(self) -> None:
        """Close connections to webhooks."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _refresh(self) -> None:
        store = self._cluster.store
        collections = {phase: store.collection(key) for phase, key in CONFIGURATIONS.items()}
        seen = (store.epoch, *(one.last_change for one in collections.values()))
        if seen != self._seen:
            self._webhooks = {phase: webhooks_of(one) for phase, one in collections.items()}
            self._seen = seen

    def _wanting(self, phase: str, operation: str, rtype: ResourceType, subresource: str) -> list[tuple[Webhook, str]]:
        """Return the webhooks of a phase that want an operation, and in which version."""
        webhooks = self._webhooks[phase]
        if not webhooks or rtype.group == GROUP:  # a configuration could otherwise make itself irremovable
            return []
        served = [one.version for one in self._cluster.types.versions(rtype.key)]
        found = []
        for webhook in webhooks:
            version = webhook.version_for(operation, rtype, subresource, served)
            if version is not None:
                found.append((webhook, version))
        return found

    def _labels_of_namespace(self, name: str) -> dict[str, str]:
        found = self._cluster.store.get(("", "namespaces"), name)
        return (found.object["metadata"].get("labels") or {}) if found else {}

    async def _mutate(self, request: AdmissionRequest, wanting: Sequence[tuple[Webhook, str]]) -> AdmissionVerdict:
        obj, warnings = request.object, list[str]()
        changed_after: dict[int, bool] = {}
        for index, (webhook, version) in enumerate(wanting):
            obj, changed = await self._mutated(request, webhook, version, obj, warnings)
            if changed:
                changed_after = dict.fromkeys(changed_after, True)
            changed_after[index] = False
        for index, (webhook, version) in enumerate(wanting):
            if webhook.reinvoked and changed_after[index]:
                obj, _ = await self._mutated(request, webhook, version, obj, warnings)
        return AdmissionVerdict(obj if obj is not request.object else None, tuple(warnings))

    async def _mutated(
        self, request: AdmissionRequest, webhook: Webhook, version: str, obj: Json | None, warnings: list[str]
    ) -> tuple[Json | None, bool]:
        answer = await self._ask(webhook, version, replace(request, object=obj))
        warnings += answer.warnings
        if answer.object is None or answer.object == obj:
            return obj, False
        return answer.object, True

    async def _ask(self, webhook: Webhook, version: str, request: AdmissionRequest) -> AdmissionVerdict:
        """Ask one webhook, and return what it says; a failure counts as its policy says."""
        try:
            return await self._call(webhook, version, request)
        except _CallFailed as failure:
            if webhook.fails_closed:
                raise errors.internal_error(f"failed calling webhook {quoted(webhook.name)}: {failure}") from failure
            return AdmissionVerdict()

    async def _call(self, webhook: Webhook, version: str, request: AdmissionRequest) -> AdmissionVerdict:
        uid = str(uuid.uuid4())
        question = _question(uid, version, request)
        try:
            if not webhook.meets_conditions(question):
                return AdmissionVerdict()
        except (CelError, CelSyntaxError) as error:
            raise _CallFailed(str(error)) from error
        response = await self._post(webhook, _encode({**_REVIEW, "request": question}))
        if response.get("uid") != uid:
            raise _CallFailed(f"received invalid webhook response: expected response.uid={quoted(uid)}")
        warnings = tuple(str(one) for one in response.get("warnings") or ())
        if not response.get("allowed"):
            raise _denied(webhook.name, response.get("status") or {})
        patch = response.get("patch")
        if not patch or request.phase != "mutating" or request.object is None:
            return AdmissionVerdict(None, warnings)
        if response.get("patchType") != "JSONPatch":
            raise _CallFailed("received invalid webhook response: webhook returned response.patch but not patchType")
        try:
            operations = msgspec.json.decode(base64.b64decode(patch, validate=True))
            changed = json_patch(_in_version(request.object, request.group, version) or {}, operations)
        except (ValueError, ApiError) as error:
            raise errors.internal_error(f"webhook {quoted(webhook.name)} returned a bad patch: {error}") from error
        return AdmissionVerdict({**changed, "apiVersion": request.object["apiVersion"]}, warnings)

    async def _post(self, webhook: Webhook, body: bytes) -> Json:
        """Return the response in a webhook's AdmissionReview."""
        url, context = _address(webhook)
        if self._session is None:
            self._session = aiohttp.ClientSession()
        full = f"{url}{'&' if '?' in url else '?'}timeout={webhook.seconds}s"
        prefix = f"failed to call webhook: Post {quoted(full)}"
        try:
            async with self._session.post(
                full,
                data=body,
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                ssl=context,
                timeout=aiohttp.ClientTimeout(total=webhook.seconds),
                allow_redirects=False,
            ) as answer:
                content = await answer.content.read(_ANSWER_BYTES)
                if answer.status != 200:
                    raise _CallFailed(f"failed to call webhook: the server responded with status {answer.status}")
        except TimeoutError as error:
            raise _CallFailed(f"{prefix}: context deadline exceeded") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _CallFailed(f"{prefix}: {error}") from error
        try:
            review = msgspec.json.decode(content, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise _CallFailed(f"failed to call webhook: {error}") from error
        if {key: review.get(key) for key in _REVIEW} != _REVIEW or not isinstance(review.get("response"), dict):
            expected = f"{_REVIEW['apiVersion']}, Kind={_REVIEW['kind']}"
            raise _CallFailed(f"received invalid webhook response: expected webhook response of {expected}")
        response: Json = review["response"]
        return response


def _address(webhook: Webhook) -> tuple[str, ssl.SSLContext]:
    """Return a webhook's URL and whom to trust there."""
    client = webhook.client
    if service := client.get("service"):
        host = f"{service.get('name')}.{service.get('namespace')}.svc"
        url = f"https://{host}:{service.get('port', 443)}{service.get('path', '')}"
        text = f"failed to call webhook: Post {quoted(url)}: dial tcp: lookup {host}: no such host"
        raise _CallFailed(f"{text} (nothing runs in a simulated cluster: use clientConfig.url)")
    try:
        return client.get("url", ""), _trust(client.get("caBundle") or "")
    except (ssl.SSLError, ValueError) as error:
        raise _CallFailed(f"failed to call webhook: unable to load root certificates: {error}") from error


@lru_cache(maxsize=100)
def _trust(bundle: str) -> ssl.SSLContext:
    if not bundle:
        return ssl.create_default_context()
    return ssl.create_default_context(cadata=base64.b64decode(bundle).decode())


def _in_version(obj: Json | None, group: str, version: str) -> Json | None:
    """Return an object in the version that a webhook asked for: another name, the same fields."""
    if obj is None:
        return None
    return {**obj, "apiVersion": f"{group}/{version}" if group else version}


def _question(uid: str, version: str, request: AdmissionRequest) -> Json:
    """Return the request part of an AdmissionReview."""
    kind = {"group": request.group, "version": version, "kind": request.kind}
    resource = {"group": request.group, "version": version, "resource": request.resource}
    question: Json = {"uid": uid, "kind": kind, "resource": resource}
    if request.subresource:
        question["subResource"] = request.subresource
    question["requestKind"] = {**kind, "version": request.version}
    question["requestResource"] = {**resource, "version": request.version}
    if request.subresource:
        question["requestSubResource"] = request.subresource
    if request.name:
        question["name"] = request.name
    if request.namespace:
        question["namespace"] = request.namespace
    return question | {
        "operation": request.operation,
        "userInfo": user_info(request.user),
        "object": _in_version(request.object, request.group, version),
        "oldObject": _in_version(request.old_object, request.group, version),
        "dryRun": request.dry_run,
        "options": request.options,
    }


def _denied(name: str, status: Json) -> ApiError:
    """Return a webhook's refusal as the client sees it."""
    message = f"admission webhook {quoted(name)} denied the request"
    explanation = status.get("message") or status.get("reason")
    message += f": {explanation}" if explanation else " without explanation"
    code = max(int(status.get("code") or 0), 400)
    return ApiError(code, status.get("reason", ""), message, status.get("details"))
