"""The one door to Kubernetes API servers: authentication and TLS by kubernetes_asyncio, a thin request layer of our own.

The library loads what a kubeconfig says (configuration, authentication headers, certificates); its typed calls and its
watch are not used, because they decode every object three times, never time out and lose the end of a stream. Requests
and streams go through one aiohttp session.

Rules:
    * Every answer is returned, whatever its status; no answer is `ClusterUnreachable`, never absence.
    * Every exchange is bounded: connecting, waiting for one of `connections` slots and the whole request by the caller's
      timeout; a stream by silence. Streams need no slot, or a hundred watches would starve every request.
    * Token files, plugins and certificates are looked at every `LOOK_SECONDS`; on a 401 at once, and the request is
      repeated once if that gave other credentials (W-13, W-29).
    * No redirects, no proxy from the environment, no compression, no cookies, no link-local addresses (SEC-22, SEC-23);
      what else may not be connected to, `engine.runtime.addresses` says.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import ssl
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import aiohttp
import structlog
from multidict import CIMultiDict
from yarl import URL

from engine.runtime.addresses import DECLARED, Addresses
from engine.runtime.credentials import CredentialSource, Material, on_disk
from engine.runtime.http_session import new_session, read_body, read_lines
from engine.runtime.kubeconfig import Context
from engine.runtime.ports import ClusterUnreachable, CredentialsRejected, Reply
from schemas.actions import Json
from schemas.names import ClusterName

CONNECT_SECONDS = 2.0
"""TCP and TLS handshake; three round trips, so a server that needs longer is as good as gone."""
CONNECTIONS = 128
"""Requests in flight to one cluster; a kube-apiserver serves 600 at once by default, to everybody."""
LOOK_SECONDS = 3.0
"""How often credentials are looked at, which reads some small files: what was rotated is in use within 5 s."""
RENEW_SECONDS = 5.0
"""Least time between two renewals that were forced by a 401, or tried after a failure: plugins are processes."""

_log = structlog.get_logger(__name__)


class KubernetesApi:
    """One cluster's API server (the port `ClusterApi`)."""

    def __init__(
        self,
        name: ClusterName,
        context: Context | None,
        *,
        connections: int,
        connect_timeout: float,
        current: Callable[[], Context] | None = None,
        addresses: Addresses = DECLARED,
    ) -> None:
        """Use `open`: this must run inside the event loop."""
        self._name = name
        self._source = CredentialSource(context, current)
        self._connections = connections
        self._slots = asyncio.Semaphore(connections)
        self._connect_timeout = connect_timeout
        self._request_timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
        self._current: _Secured | None = None
        self._look_at = 0.0
        self._renewal: asyncio.Task[None] | None = None
        self._renewed_at = float("-inf")
        self._closed = False
        self._failure: str | None = None
        self._session = new_session(addresses)

    @classmethod
    async def open(
        cls,
        name: ClusterName,
        context: Context | None,
        *,
        connections: int = CONNECTIONS,
        connect_timeout: float = CONNECT_SECONDS,
        current: Callable[[], Context] | None = None,
        addresses: Addresses = DECLARED,
    ) -> KubernetesApi:
        """Return the API of a cluster. Sends nothing and reads no credential yet, so it does not fail.

        Args:
            name: the cluster's configured name.
            context: where it is and who we are; None: as yet unknown, `current` tells.
            connections: requests in flight at most.
            connect_timeout: seconds for the TCP and TLS handshakes.
            current: returns the context of each later moment, called in a thread at every look; None: it never changes.
                Raises `CredentialsRejected` while there is none.
            addresses: where it may be.

        """
        # The library takes a while to import, which must not stop the streams of other clusters.
        await asyncio.to_thread(_library)
        return cls(
            name,
            context,
            connections=connections,
            connect_timeout=connect_timeout,
            current=current,
            addresses=addresses,
        )

    @property
    def name(self) -> ClusterName:
        """The cluster's configured name."""
        return self._name

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float,
    ) -> Reply:
        """Send one request and return the answer; see `ClusterApi.request`."""
        target = _target(path, params)
        headers = {"Accept": accept} if body is None else {"Accept": accept, "Content-Type": content_type}
        queued = True
        try:
            async with asyncio.timeout(timeout), self._slots:
                queued = False
                secured = await self._secured()
                reply = await self._exchange(secured, method, target, headers, body)
                if reply.status == 401 and (renewed := await self._renewed(secured)):
                    reply = await self._exchange(renewed, method, target, headers, body)
                return reply
        except TimeoutError as error:
            busy = f"all {self._connections} connections stayed busy" if queued else "no answer"
            message = f"{self._name}: {method} {path}: {busy} within {timeout:g} s"
            sent = not queued and not isinstance(error, aiohttp.ConnectionTimeoutError)
            raise ClusterUnreachable(message, sent=sent) from error
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise self._unreachable(f"{method} {path}", error) from error

    async def stream(
        self, path: str, *, params: Mapping[str, str], idle_timeout: float
    ) -> AsyncGenerator[Reply | list[bytes], None]:
        """Open a watch; see `ClusterApi.stream`. Close the iterator (`aclosing`) to close the connection at once."""
        target = _target(path, params)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=min(self._connect_timeout, idle_timeout), sock_read=idle_timeout
        )
        try:
            async with asyncio.timeout(idle_timeout):  # not `wait_for`, which may lose a cancellation before 3.12
                secured = await self._secured()
            response = await self._send(secured, "GET", target, {"Accept": "application/json"}, None, timeout)
            if response.status == 401 and (renewed := await self._renewed(secured)):
                response.close()
                response = await self._send(renewed, "GET", target, {"Accept": "application/json"}, None, timeout)
            try:
                if response.status != 200:
                    yield Reply(response.status, await read_body(response), response.headers)
                    return
                yield Reply(response.status, b"", response.headers)
                async with aclosing(read_lines(response)) as chunks:
                    async for lines in chunks:
                        yield lines
            finally:
                response.close()
        except TimeoutError as error:
            message = f"{self._name}: watch of {path}: nothing arrived for {idle_timeout:g} s"
            raise ClusterUnreachable(message) from error
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise self._unreachable(f"watch of {path}", error) from error

    def refresh(self) -> None:
        """Look at the credentials before the next request: whoever provides them says that they have changed."""
        self._look_at, self._renewed_at = 0.0, float("-inf")

    async def close(self) -> None:
        """Close every connection; requests and streams under way fail with `ClusterUnreachable`."""
        self._closed = True
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        await self._session.close()

    async def _exchange(
        self, secured: _Secured, method: str, target: str, headers: dict[str, str], body: bytes | None
    ) -> Reply:
        response = await self._send(secured, method, target, headers, body, self._request_timeout)
        async with response:
            return Reply(response.status, await read_body(response), response.headers)

    async def _send(
        self,
        secured: _Secured,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes | None,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        if self._closed:
            message = f"{self._name}: the connection was closed by us"
            raise ClusterUnreachable(message)
        everything = secured.headers.copy()
        everything.update(headers)
        return await self._session.request(
            method,
            URL(f"{secured.base}{target}", encoded=True),
            data=body,
            headers=everything,
            timeout=timeout,
            ssl=secured.tls,
            server_hostname=secured.server_name,
            proxy=secured.proxy,
            allow_redirects=False,
        )

    async def _secured(self) -> _Secured:
        """Return what to connect with, looked at anew if that is due."""
        now = asyncio.get_running_loop().time()
        if self._current is None:
            if self._renewal is None and now < self._renewed_at + RENEW_SECONDS and self._failure is not None:
                raise CredentialsRejected(self._failure)
            await self._renew(force=False)
        elif now >= self._look_at and self._renewal is None:
            self._look_at = now + LOOK_SECONDS  # the others go on with what there is
            try:
                await self._renew(force=False)
            except CredentialsRejected as error:
                # A file that is just being replaced, a plugin without network: what we have may well be good still.
                _log.warning("credentials not renewed", cluster=self._name, error=str(error))
        assert self._current is not None  # noqa: S101 - _renew sets it or raises
        return self._current

    async def _renewed(self, refused: _Secured) -> _Secured | None:
        """Return other credentials than those that got a 401, or None if there are none."""
        now = asyncio.get_running_loop().time()
        if self._current is refused and (self._renewal is not None or now >= self._renewed_at + RENEW_SECONDS):
            await self._renew(force=True)
        return None if self._current is refused else self._current

    async def _renew(self, *, force: bool) -> None:
        """Look at the credentials; callers share one look, and one that gives up does not stop it for the others."""
        if self._renewal is None:
            self._renewed_at = asyncio.get_running_loop().time()
            self._renewal = asyncio.create_task(self._load(force=force), name=f"credentials of {self._name}")
            self._renewal.add_done_callback(self._loaded)
        renewal = self._renewal
        try:
            await asyncio.shield(renewal)
        except asyncio.CancelledError:
            if self._closed and renewal.cancelled():
                message = f"{self._name}: the connection was closed by us"
                raise ClusterUnreachable(message) from None
            raise

    def _loaded(self, task: asyncio.Task[None]) -> None:
        self._renewal = None
        error = None if task.cancelled() else task.exception()
        self._failure = None if error is None else str(error)

    async def _load(self, *, force: bool) -> None:
        material = await self._source.read(renew=force)
        if self._current is None or self._current.digest != material.digest:
            self._current = await _secure(material)
        self._look_at = asyncio.get_running_loop().time() + LOOK_SECONDS

    def _unreachable(self, what: str, error: BaseException) -> ClusterUnreachable:
        if isinstance(error, RuntimeError) and "closed" not in str(error).lower():
            raise error  # a mistake of ours; aiohttp's are "Session is closed" and "Connection closed"
        sent = not isinstance(error, aiohttp.ClientConnectorError | RuntimeError)
        return ClusterUnreachable(f"{self._name}: {what}: {_said(error)}", sent=sent)


def _target(path: str, params: Mapping[str, str] | None) -> str:
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        message = f"{path!r} is not an absolute, percent-encoded path"
        raise ValueError(message)
    return f"{path}?{urlencode(params, quote_via=quote)}" if params else path


def _said(error: BaseException) -> str:
    """Return an error's words, the same for the same cause: aiohttp's own hold the address of an object in memory."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"the certificate of {error.host}:{error.port} is not accepted: {error.certificate_error}"
        case aiohttp.ClientConnectorError():
            asyncio_says = (error.strerror or "").startswith("Connect call failed")
            why = os.strerror(error.errno) if asyncio_says and error.errno else error.strerror or str(error.os_error)
            return f"cannot connect to {error.host}:{error.port}: {why}"
        case _:
            return str(error) or type(error).__name__


class _Secured:
    """What every request carries, made from one `Material`."""

    def __init__(
        self,
        material: Material,
        headers: CIMultiDict[str],
        tls: ssl.SSLContext | bool,
        proxy: str | None,
        name: str | None,
    ) -> None:
        self.digest = material.digest
        self.base = str(material.cluster["server"]).rstrip("/")
        """Belongs to the credentials: those of one server are never sent to another."""
        self.headers = headers
        self.tls = tls
        """Part of aiohttp's key of a pooled connection: a changed certificate opens new connections by itself."""
        self.proxy = proxy
        self.server_name = name


class _Library(NamedTuple):
    """What is used of kubernetes_asyncio."""

    configuration: Any
    load: Any
    problem: type[Exception]


_importing = threading.Lock()


def _library() -> _Library:
    """Import what is used of kubernetes_asyncio, on first use."""
    with _importing:
        return _imported()


@cache
def _imported() -> _Library:
    """Import two modules of kubernetes_asyncio without its models, which its packages import: 0.3 s of CPU and 60 MB.

    Every watcher and worker would pay for them, and none sends a request with them. The packages stand empty for as long as
    that takes, and are forgotten then: whoever else imports the library gets it whole.
    """
    name = "kubernetes_asyncio"
    found = importlib.util.find_spec(name)
    if found is None or found.submodule_search_locations is None or name in sys.modules:
        package = importlib.import_module(name)
        return _Library(
            package.client.Configuration, package.config.load_kube_config_from_dict, package.config.ConfigException
        )
    root, client = ModuleType(name), ModuleType(f"{name}.client")
    root.__path__ = list(found.submodule_search_locations)
    client.__path__ = [str(Path(place) / "client") for place in root.__path__]
    sys.modules |= {name: root, f"{name}.client": client}
    try:
        configuration = importlib.import_module(f"{name}.client.configuration").Configuration
        vars(client).update(
            Configuration=configuration, ApiClient=None
        )  # the latter for helpers that are not used here
        config = importlib.import_module(f"{name}.config")
    finally:
        for module in [one for one in list(sys.modules) if one == name or one.startswith(f"{name}.")]:
            del sys.modules[module]
    return _Library(configuration, config.load_kube_config_from_dict, config.ConfigException)


async def _secure(material: Material) -> _Secured:
    library = _library()
    configuration = library.configuration()
    try:
        # Keys are on disk (in a directory that only we can enter) for as long as ssl needs to read them: it takes files
        # only, and the library's own are left behind by a process that is killed.
        with TemporaryDirectory(prefix="crosscurrent-") as directory:
            document = {
                "clusters": [{"name": "it", "cluster": on_disk(material.cluster, Path(directory))}],
                "users": [{"name": "it", "user": on_disk(material.user, Path(directory))}],
                "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            }
            await library.load(document, context="it", client_configuration=configuration)
            tls = await asyncio.to_thread(_tls, configuration) if configuration.host.startswith("https:") else True
    except (library.problem, OSError, ValueError, TypeError, AssertionError) as error:
        message = f"certificates cannot be used: {error}"
        raise CredentialsRejected(message) from error
    headers = CIMultiDict({"User-Agent": _user_agent(), "Accept-Encoding": "identity"})
    headers.extend(_impersonation(material.user))
    for setting in (await configuration.auth_settings()).values():
        headers[setting["key"]] = setting["value"]
    return _Secured(material, headers, tls, configuration.proxy, configuration.tls_server_name)


def _tls(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if hasattr(ssl, "VERIFY_X509_STRICT"):
        # On by default since Python 3.13; CAs of older clusters lack what it asks for, and client-go does not ask.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:  # only if the kubeconfig was resolved with allow_insecure
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _user_agent() -> str:
    try:
        return f"crosscurrent/{version('crosscurrent')}"
    except PackageNotFoundError:
        return "crosscurrent/unknown"


def _impersonation(user: Json) -> CIMultiDict[str]:
    """Return headers for kubeconfig's `as`, `as-uid`, `as-groups`, `as-user-extra`; leaving them out would be more power."""
    headers: CIMultiDict[str] = CIMultiDict()
    if user.get("as"):
        headers.add("Impersonate-User", str(user["as"]))
    if user.get("as-uid"):
        headers.add("Impersonate-Uid", str(user["as-uid"]))
    for group in user.get("as-groups") or ():
        headers.add("Impersonate-Group", str(group))
    for key, values in (user.get("as-user-extra") or {}).items():
        for value in values:
            headers.add(f"Impersonate-Extra-{quote(str(key), safe='')}", str(value))
    return headers
