"""Admission webhooks: really called, over TLS, and what each of their answers does to a request."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from engine.sandbox.certificates import CertificateAuthority
from tests.api_session import Answer, Json, abort
from tests.contracts.api_server.servers import Place, config_map

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"
ALLOWED: Json = {"allowed": True}
DENIED: Json = {"allowed": False, "status": {"code": 418, "message": "not today"}}
numbers = itertools.count(1)


class Hook:
    """A webhook server: what it was asked, and what it answers."""

    def __init__(self) -> None:
        self.asked: list[Json] = []
        self.answer: Callable[[Json], Json] = lambda _: ALLOWED
        self.url = ""
        self.bundle = ""
        self.transports: set[asyncio.Transport] = set()

    async def serve(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        self.transports.add(request.transport)
        review = await request.json()
        asked = review["request"]
        if asked["name"] == PROBE:
            return self._reply(review, DENIED)
        self.asked.append(asked)
        return self._reply(review, self.answer(asked))

    def _reply(self, review: Json, answer: Json) -> web.Response:
        response = {"uid": review["request"]["uid"], **answer}
        return web.json_response({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response})


PROBE = "probe"
"""Name of a ConfigMap that the hook denies: when it does, the configuration is in force."""


@pytest.fixture
async def hook(tmp_path: Path) -> AsyncIterator[Hook]:
    authority = CertificateAuthority("hook-ca")
    authority.issue("hook", hosts=("127.0.0.1", "localhost")).write(tmp_path, "hook")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "hook.crt", tmp_path / "hook.key")
    made = Hook()
    app = web.Application()
    app.router.add_post("/admit", made.serve)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    made.url = f"https://127.0.0.1:{runner.addresses[0][1]}/admit"
    made.bundle = base64.b64encode(authority.pem).decode()
    yield made
    await runner.cleanup()
    await abort(made.transports)


def webhook(hook: Hook, place: Place, **more: Any) -> Json:
    return {
        "name": "hook.contract.example.com",
        "clientConfig": {"url": hook.url, "caBundle": hook.bundle},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place.namespace}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 5,
        **more,
    }


async def register(place: Place, kind: str, *webhooks: Json) -> str:
    """Register webhooks, and return the configuration's path once they are asked (if one of them would deny the probe)."""
    body = {"metadata": {"name": f"contract-{next(numbers)}"}, "webhooks": list(webhooks)}
    collection = f"{CONFIGURATIONS}/{kind.lower()}webhookconfigurations"
    made = await place.session.post(collection, body)
    assert made.status == 201, made
    async with asyncio.timeout(20):
        while (await place.session.post(place.maps, config_map(PROBE), dryRun="All")).status != 418:
            await asyncio.sleep(0.05)
    return f"{collection}/{body['metadata']['name']}"  # type: ignore[index]


def patch(*steps: Json) -> Json:
    text = base64.b64encode(json.dumps(steps).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": text}


async def create(place: Place, name: str = "a", **options: Any) -> Answer:
    return await place.session.post(place.maps, config_map(name, {"k": "1"}, labels={"app": "x"}), **options)


async def test_a_validating_webhook_denies_with_its_own_words(place: Place, hook: Hook) -> None:
    path = await register(place, "Validating", webhook(hook, place))
    hook.answer = lambda _: DENIED
    refused = await create(place)
    assert refused.status == 418
    assert refused.message == 'admission webhook "hook.contract.example.com" denied the request: not today'
    hook.answer = lambda _: {"allowed": False}
    silent = await create(place)
    assert silent.failed() == (400, "")
    assert silent.message == 'admission webhook "hook.contract.example.com" denied the request without explanation'
    hook.answer = lambda _: ALLOWED
    assert (await create(place)).status == 201
    await place.session.delete(path)


async def test_a_webhook_is_told_all_about_the_request(place: Place, hook: Hook) -> None:
    path = await register(place, "Validating", webhook(hook, place))
    await create(place)
    await place.session.patch(f"{place.maps}/a", {"data": {"k": "2"}}, dryRun="All")
    await place.session.delete(f"{place.maps}/a")
    made, changed, deleted = hook.asked
    assert [one["operation"] for one in hook.asked] == ["CREATE", "UPDATE", "DELETE"]
    assert (made["kind"], made["resource"]) == (
        {"group": "", "version": "v1", "kind": "ConfigMap"},
        {"group": "", "version": "v1", "resource": "configmaps"},
    )
    assert (made["name"], made["namespace"], made["oldObject"], made["dryRun"]) == ("a", place.namespace, None, False)
    assert made["object"]["metadata"]["namespace"] == place.namespace
    assert made["object"]["metadata"]["uid"]
    assert made["userInfo"]["username"]
    assert "system:authenticated" in made["userInfo"]["groups"]
    assert made["options"]["kind"] == "CreateOptions"
    assert (changed["object"]["data"], changed["oldObject"]["data"], changed["dryRun"]) == (
        {"k": "2"},
        {"k": "1"},
        True,
    )
    assert (deleted["object"], deleted["oldObject"]["data"]) == (None, {"k": "1"})
    await place.session.delete(path)


async def test_a_mutating_webhook_changes_what_is_written(place: Place, hook: Hook) -> None:
    path = await register(place, "Mutating", webhook(hook, place))
    hook.answer = lambda _: patch(
        {"op": "add", "path": "/data/added", "value": "by hook"},
        {"op": "replace", "path": "/metadata/labels/app", "value": "y"},
    )
    made = await create(place, fieldManager="maker")
    assert made.body["data"] == {"k": "1", "added": "by hook"}
    assert made.metadata["labels"] == {"app": "y"}
    (entry,) = made.metadata["managedFields"]
    assert entry["fieldsV1"]["f:data"] == {".": {}, "f:k": {}}  # what the hook adds belongs to nobody
    hook.answer = lambda _: patch({"op": "add", "path": "/nothing/here", "value": 1})
    broken = await create(place, "b")
    assert broken.failed() == (500, "InternalError")
    await place.session.delete(path)


async def test_what_a_webhook_makes_of_an_object_is_validated(place: Place, hook: Hook) -> None:
    path = await register(place, "Mutating", webhook(hook, place))
    hook.answer = lambda _: patch({"op": "add", "path": "/data/b~1d", "value": "x"})
    refused = await create(place)
    assert refused.failed() == (422, "Invalid")
    await place.session.delete(path)


async def test_warnings_of_a_webhook_reach_the_client(place: Place, hook: Hook) -> None:
    path = await register(place, "Validating", webhook(hook, place))
    hook.answer = lambda _: {"allowed": True, "warnings": ["mind the gap"]}
    assert (await create(place)).warnings == ('299 - "mind the gap"',)
    await place.session.delete(path)


async def test_a_webhook_is_asked_only_of_what_it_selects(place: Place, hook: Hook) -> None:
    selected = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]}
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]
    path = await register(place, "Validating", webhook(hook, place, objectSelector=selected, rules=rules))
    hook.answer = lambda _: DENIED
    assert (await create(place)).status == 201
    assert (await place.make_map("b", labels={"app": "x"})).status == 201
    unlabelled = await place.session.post(place.maps, config_map("c"))
    assert unlabelled.status == 418
    assert (await place.session.patch(f"{place.maps}/a", {"data": {"k": "2"}})).status == 200
    assert (await place.session.post(place.path("secrets"), {"metadata": {"name": "s"}})).status == 201
    elsewhere = await place.session.post("/api/v1/namespaces/default/configmaps", {"metadata": {"generateName": "x-"}})
    assert elsewhere.status == 201
    await place.session.delete(path)


async def test_a_condition_is_asked_before_the_webhook(place: Place, hook: Hook) -> None:
    conditions = [{"name": "not-b", "expression": "object == null || object.metadata.name != 'b'"}]
    path = await register(place, "Validating", webhook(hook, place, matchConditions=conditions))
    hook.answer = lambda _: DENIED
    assert (await create(place, "a")).status == 418
    assert (await create(place, "b")).status == 201
    await place.session.delete(path)


async def test_a_webhook_that_does_not_answer_fails_the_request_or_is_ignored(place: Place, hook: Hook) -> None:
    dead = {"url": "https://127.0.0.1:1/admit", "caBundle": hook.bundle}
    ignored = webhook(hook, place, name="a.contract.example.com", clientConfig=dead, failurePolicy="Ignore")
    path = await register(place, "Validating", ignored, webhook(hook, place))
    assert (await create(place)).status == 201
    await place.session.delete(path)
    strict = webhook(hook, place, name="z.contract.example.com", clientConfig=dead, failurePolicy="Fail")
    path = await register(place, "Validating", webhook(hook, place), strict)
    refused = await create(place, "b")
    assert refused.failed() == (500, "InternalError")
    assert refused.message.startswith(
        'Internal error occurred: failed calling webhook "z.contract.example.com": failed to call webhook: Post '
        '"https://127.0.0.1:1/admit?timeout=5s": '
    )
    await place.session.delete(path)


async def test_a_webhook_whose_certificate_is_not_trusted_is_not_asked(place: Place, hook: Hook) -> None:
    other = base64.b64encode(CertificateAuthority("other-ca").pem).decode()
    untrusted = webhook(
        hook,
        place,
        name="z.contract.example.com",
        clientConfig={"url": hook.url, "caBundle": other},
        failurePolicy="Fail",
    )
    path = await register(place, "Validating", webhook(hook, place), untrusted)
    assert (await create(place)).failed() == (500, "InternalError")
    assert len(hook.asked) == 1
    await place.session.delete(path)


async def test_a_configuration_that_makes_no_sense_is_refused(place: Place, hook: Hook) -> None:
    collection = f"{CONFIGURATIONS}/validatingwebhookconfigurations"
    wrong = webhook(hook, place, name="short", sideEffects="Some", timeoutSeconds=60)
    refused = await place.session.post(collection, {"metadata": {"name": "wrong"}, "webhooks": [wrong]})
    assert refused.failed() == (422, "Invalid")
    assert [path for *_, path in refused.causes] == [
        "webhooks[0].name",
        "webhooks[0].sideEffects",
        "webhooks[0].timeoutSeconds",
    ]
