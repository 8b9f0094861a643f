"""Reviews of pods, and the certificates under which they are answered."""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from engine.core.importing import IMPORT_LABEL
from engine.runtime import webhook_certificates
from engine.runtime.automount_review import Automount
from engine.runtime.webhook_certificates import Pair, ServingCertificates, bundle_with
from engine.sandbox.certificates import CertificateAuthority
from schemas.names import ClusterName, ObjectRef
from tests.fakes import Clock, ScriptedCluster

GROUP, PLURAL = "multicluster.admiralty.io", "serviceaccountimports"
WEBHOOKS = ("admissionregistration.k8s.io", "mutatingwebhookconfigurations")


def put(cluster: ScriptedCluster, name: str, secret: str = "", message: str = "") -> None:
    status: dict[str, Any] = {"secrets": [{"name": secret}]} if secret else {}
    status["conditions"] = [{"type": "Ready", "status": "False", "message": message}] if message else []
    cluster.put(GROUP, PLURAL, {"metadata": {"name": name, "namespace": "default"}, "status": status})


def a_review(imports: str | None, **more: Any) -> bytes:
    annotations = {} if imports is None else {IMPORT_LABEL: imports}
    pod = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "c"}]}}
    request = {"uid": "u-1", "namespace": "default", "object": pod, **more}
    return msgspec.json.encode({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})


async def answer(cluster: ScriptedCluster, review: bytes, clock: Clock | None = None) -> dict[str, Any]:
    found = msgspec.json.decode(await Automount(cluster, clock or Clock()).review(review))["response"]
    assert found["uid"] == "u-1"
    return dict(found)


async def test_a_pod_that_names_imports_is_patched() -> None:
    cluster = ScriptedCluster()
    put(cluster, "one", "one-token-abc")
    found = await answer(cluster, a_review("one"))
    operations = msgspec.json.decode(b64decode(found["patch"]))
    assert (found["allowed"], found["patchType"]) == (True, "JSONPatch")
    assert operations[0]["value"][0]["secret"]["secretName"] == "one-token-abc"


@pytest.mark.parametrize("imports", [None, "", " , "])
async def test_a_pod_that_names_none_is_let_through_though_the_server_is_away(imports: str | None) -> None:
    cluster = ScriptedCluster()
    cluster.unreachable = True
    assert await answer(cluster, a_review(imports)) == {"uid": "u-1", "allowed": True}
    assert cluster.requests == []


async def test_a_secret_that_is_about_to_exist_is_waited_for() -> None:
    cluster, clock = ScriptedCluster(), Clock()
    put(cluster, "one")

    async def then_there_is_one(seconds: float) -> None:
        clock.now += seconds
        put(cluster, "one", "one-token-abc")
        await asyncio.sleep(0)

    clock.sleep = then_there_is_one  # type: ignore[method-assign]
    assert (await answer(cluster, a_review("one"), clock))["allowed"] is True


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("missing", "there is no such import"),
        ("new", "nobody has looked at it yet"),
        ("refused", "no ServiceAccountGrant there"),
        ("away", "is unreachable"),
    ],
)
async def test_a_pod_whose_import_has_no_secret_is_denied_with_the_reason(state: str, says: str) -> None:
    cluster, clock = ScriptedCluster(), Clock()
    if state == "new":
        put(cluster, "one")
    if state == "refused":
        put(cluster, "one", message="no ServiceAccountGrant there")
    cluster.unreachable = state == "away"
    found = await answer(cluster, a_review("one"), clock)
    assert (found["allowed"], found["status"]["code"]) == (False, 422)
    assert found["status"]["message"].startswith("ServiceAccountImport default/one has no Secret to mount: ")
    assert says in found["status"]["message"]
    assert clock.now - 1000.0 <= 8.0


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"kind":"AdmissionReview"}', b'{"kind":"Pod","request":{"uid":"x"}}']
)
async def test_what_is_no_review_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        await Automount(ScriptedCluster(), Clock()).review(body)


def a_pair(lifetime: timedelta = timedelta(days=7)) -> Pair:
    authority = CertificateAuthority("webhook", lifetime=lifetime)
    pair = authority.issue("webhook", hosts=("127.0.0.1",), lifetime=lifetime)
    return Pair(authority.pem, pair.certificate, pair.key)


def a_configuration(cluster: ScriptedCluster) -> ObjectRef:
    ref = ObjectRef(ClusterName(cluster.name), *WEBHOOKS, "", "automount")
    body = {"metadata": {"name": "automount"}, "webhooks": [{"name": "w", "clientConfig": {"url": "https://x"}}]}
    cluster.put(*WEBHOOKS, body)
    return ref


def bundle_of(cluster: ScriptedCluster, ref: ObjectRef) -> bytes:
    found = cluster.get(ref)
    assert found is not None
    assert found["webhooks"][0]["clientConfig"]["url"] == "https://x"
    return b64decode(found["webhooks"][0]["clientConfig"]["caBundle"])


async def test_certificates_are_published_served_and_renewed_before_they_expire() -> None:
    cluster, clock, made, served = ScriptedCluster(), Clock(), [], 0
    ref = a_configuration(cluster)

    def make() -> Pair:
        made.append(a_pair())
        return made[-1]

    def ready() -> None:
        nonlocal served
        served += 1

    keeping = asyncio.create_task(ServingCertificates(cluster, clock, "automount", make).keep(ready))
    while len(made) < 3:
        await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert served == 1
    bundle = bundle_of(cluster, ref)
    assert made[0].authority in bundle
    assert made[1].authority in bundle
    assert clock.now - 1000.0 >= 2 * 0.75 * webhook_certificates.LIFETIME_SECONDS


async def test_what_cannot_be_published_is_tried_again_and_nothing_is_served_before() -> None:
    cluster, clock, served = ScriptedCluster(), Clock(), []
    certificates = ServingCertificates(cluster, clock, "automount", a_pair)
    keeping = asyncio.create_task(certificates.keep(lambda: served.append(True)))
    while len(cluster.sent("GET")) < 2:
        await asyncio.sleep(0)
    assert not served
    a_configuration(cluster)
    while not served:
        await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


def test_a_bundle_keeps_the_others_and_drops_what_has_expired_or_is_garbage() -> None:
    now = time.time()
    other, own, old = a_pair(timedelta(days=36500)).authority, a_pair().authority, a_pair(timedelta(days=-1)).authority
    bundle = b"garbage\n" + old + other + own
    kept = bundle_with(bundle, own, now)
    assert kept == other.strip() + b"\n" + own.strip() + b"\n"
    assert bundle_with(kept, own, now) == kept
