"""The webhook's certificates: made by itself, published in its configuration, replaced before they expire, only in memory.

Every process has an authority of its own, whose key it never writes down, and puts it into `caBundle` beside those of other
processes that still live; so any number may serve one configuration. A new certificate is served only after its authority has
been published and API servers have had time to hear of it.
"""

from __future__ import annotations

import re
import ssl
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import structlog
from cryptography import x509

from engine.core.api_errors import Status
from engine.core.renewal import renewal
from engine.runtime import api_calls
from engine.runtime.credentials import on_disk
from engine.runtime.ports import Clock, ClusterApi
from schemas.actions import Json
from schemas.names import Resource

CONFIGURATIONS = Resource("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations")
LIFETIME_SECONDS = 7 * 86_400.0
"""Of an authority and its certificate; renewed at 80 %. A process that is gone is trusted for as long, without its key."""
SETTLE_SECONDS = 2.0
"""Until API servers serve by a changed configuration, which they watch."""
RETRY_SECONDS = 5.0
REQUEST_SECONDS = 5.0
MAX_AUTHORITIES = 32
"""In one bundle, the newest: more processes than that do not serve one webhook."""
TRIES = 8
"""At a configuration that other processes write as well."""
MANAGER = "crosscurrent/webhook"
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)

_log = structlog.get_logger(__name__)


class Pair(msgspec.Struct, frozen=True):
    """A serving certificate, its key, and the authority that signed it; PEM. Prints no key."""

    authority: bytes
    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Pair(...)"


class NotPublished(Exception):
    """Raised when the authority cannot be put into the webhook's configuration."""


class ServingCertificates:
    """Keeps one TLS context fresh."""

    def __init__(self, api: ClusterApi, clock: Clock, name: str, make: Callable[[], Pair]) -> None:
        """Make nothing yet.

        Args:
            api: the cluster whose API servers call us.
            clock: time.
            name: of the MutatingWebhookConfiguration.
            make: makes a new authority and a certificate that live for `LIFETIME_SECONDS`.

        """
        self._api, self._clock, self._name, self._make = api, clock, name, make
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._serving = False

    async def keep(self, ready: Callable[[], None], *, seed: float = 0.5) -> None:
        """Publish and renew until cancelled; `ready` is called once the first certificate is served."""
        while True:
            pair = self._make()
            try:
                await self._publish(pair.authority)
            except NotPublished as error:
                _log.warning("webhook's authority not published", configuration=self._name, error=str(error))
                await self._clock.sleep(RETRY_SECONDS)
                continue
            if self._serving:
                await self._clock.sleep(SETTLE_SECONDS)
            _load(self.context, pair)
            if not self._serving:
                self._serving = True
                ready()
            now = self._clock.monotonic()
            await self._clock.sleep(renewal(now, LIFETIME_SECONDS, seed) - now)

    async def _publish(self, authority: bytes) -> None:
        """Put the authority into every webhook of the configuration, with those that have not expired."""
        why = ""
        for _ in range(TRIES):
            found = await api_calls.get_object(self._api, CONFIGURATIONS, "", self._name, timeout=REQUEST_SECONDS)
            if isinstance(found, Status):
                message = f"get mutatingwebhookconfigurations {self._name} in {self._api.name}: {found.message}"
                raise NotPublished(message)
            webhooks = [_trusting(one, authority, self._clock.time()) for one in found.get("webhooks") or []]
            metadata = {"resourceVersion": found["metadata"]["resourceVersion"]}
            answer = await api_calls.patch(
                self._api,
                CONFIGURATIONS,
                "",
                self._name,
                {"metadata": metadata, "webhooks": webhooks},
                manager=MANAGER,
                timeout=REQUEST_SECONDS,
            )
            if not isinstance(answer, Status):
                return
            why = answer.message
            if not answer.stale:
                break
        message = f"patch mutatingwebhookconfigurations {self._name} in {self._api.name}: {why}"
        raise NotPublished(message)


def bundle_with(bundle: bytes, authority: bytes, now: float) -> bytes:
    """Return a bundle with an authority at its end; what has expired or is no certificate is left out.

    Args:
        bundle: PEM.
        authority: PEM.
        now: wall time, seconds since the epoch.

    """
    kept = [one for one in _CERTIFICATE.findall(bundle) if _lives(one, now) and one.strip() != authority.strip()]
    return b"".join(one.strip() + b"\n" for one in [*kept[-(MAX_AUTHORITIES - 1) :], authority])


def _trusting(webhook: Json, authority: bytes, now: float) -> Json:
    client = webhook.get("clientConfig") or {}
    try:
        bundle = b64decode(str(client.get("caBundle") or ""))
    except NotBase64:
        bundle = b""
    bundle = bundle_with(bundle, authority, now)
    return {**webhook, "clientConfig": {**client, "caBundle": b64encode(bundle).decode()}}


def _lives(certificate: bytes, now: float) -> bool:
    try:
        return x509.load_pem_x509_certificate(certificate).not_valid_after_utc > datetime.fromtimestamp(now, UTC)
    except ValueError:
        return False


def _load(context: ssl.SSLContext, pair: Pair) -> None:
    """Serve a certificate from the next handshake on; ssl reads files only, so they are there for that moment."""
    with TemporaryDirectory(prefix="crosscurrent-") as directory:
        files = {
            "client-certificate-data": b64encode(pair.certificate).decode(),
            "client-key-data": b64encode(pair.key).decode(),
        }
        paths = on_disk(files, Path(directory))
        context.load_cert_chain(paths["client-certificate"], paths["client-key"])
