"""A context's credentials as they are just now: token files re-read, `exec` plugins run, changed certificates noticed.

Rules:
    * Nothing here goes to the network, and no credential goes into a message, a log or a `repr` (SEC-24).
    * A plugin runs without a shell and without our environment, is bounded in time, and dies with all its children (SEC-21).
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import time
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from engine.runtime.kubeconfig import Context
from engine.runtime.ports import CredentialsRejected
from schemas.actions import Json

PLUGIN_SECONDS = 30.0
"""Time for one run of an `exec` plugin; those of the clouds take 1 to 5 s."""
EXPIRY_MARGIN_SECONDS = 90.0
"""A plugin is run again this long before its token expires: more than the time between two looks, and some skew."""
PLUGIN_ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""What a plugin sees of our environment. Whatever else it needs is named in its kubeconfig's `env`."""
PLUGIN_EXTENSION = "client.authentication.k8s.io/exec"
"""Extension of a kubeconfig's cluster that its plugin gets as `spec.cluster.config`."""
_FILES = ("certificate-authority", "client-certificate", "client-key")


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """What to authenticate with: cluster and user sections without `tokenFile` and `exec`. Prints no credentials."""

    cluster: Json
    user: Json
    digest: bytes
    """Changes when anything in it does, the content of the files that it names included."""

    def __repr__(self) -> str:
        return "Material(...)"


class CredentialSource:
    """Reads one context's credentials; remembers what a plugin answered until that expires."""

    def __init__(self, context: Context | None, current: Callable[[], Context] | None = None) -> None:
        """Start with a context.

        Args:
            context: of now; None: there is none yet.
            current: returns the context of each later moment, in a thread; None: it never changes.

        """
        self._context, self._current = context, current
        self._plugin_user: Json | None = None
        self._plugin_expires = 0.0

    async def read(self, *, renew: bool = False) -> Material:
        """Return the credentials of this moment.

        Args:
            renew: the server refused the last ones: run the plugin even if its answer has not expired.

        Raises:
            CredentialsRejected: when a file cannot be read or a plugin fails.

        """
        if self._current is not None and (context := await asyncio.to_thread(self._current)) != self._context:
            self._context, self._plugin_user = context, None
        if self._context is None:
            message = "there are no credentials yet"
            raise CredentialsRejected(message)
        cluster, user = self._context.cluster, dict(self._context.user)
        if "exec" in user:
            user = await self._from_plugin(cluster, user, renew=renew)
        return await asyncio.to_thread(_material, cluster, user)

    async def _from_plugin(self, cluster: Json, user: Json, *, renew: bool) -> Json:
        if self._plugin_user is None or renew or time.time() > self._plugin_expires - EXPIRY_MARGIN_SECONDS:
            status = await run_plugin(user["exec"], cluster)
            self._plugin_user, self._plugin_expires = _plugin_answer(status, str(user["exec"]["command"]))
        rest = {key: value for key, value in user.items() if key != "exec"}
        return {**rest, **self._plugin_user}


def on_disk(section: Json, directory: Path) -> Json:
    """Return a cluster or user section whose embedded certificates and keys are files in `directory`, mode 0600."""
    section = dict(section)
    for key in _FILES:
        data = section.pop(f"{key}-data", None)
        if data:
            path = directory / key
            path.touch(mode=0o600)
            path.write_bytes(base64.b64decode(str(data)))
            section[key] = str(path)
    return section


async def run_plugin(plugin: Json, cluster: Json) -> Json:
    """Run a credential plugin and return the `status` of the ExecCredential that it prints.

    Raises:
        CredentialsRejected: when it cannot be started, fails, takes too long, or prints something else.

    """
    command = [str(plugin["command"]), *(str(argument) for argument in plugin.get("args") or ())]
    environment = {name: os.environ[name] for name in PLUGIN_ENVIRONMENT if name in os.environ}
    environment |= {str(item["name"]): str(item["value"]) for item in plugin.get("env") or ()}
    environment["KUBERNETES_EXEC_INFO"] = msgspec.json.encode(_exec_info(plugin, cluster)).decode()
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        message = f"exec plugin {command[0]} cannot be run: {error.strerror or error}"
        raise CredentialsRejected(message) from error
    try:
        async with asyncio.timeout(PLUGIN_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError as error:
        message = f"exec plugin {command[0]} did not answer within {PLUGIN_SECONDS:g} s"
        raise CredentialsRejected(message) from error
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode != 0:
        said = errors[-500:].decode(errors="replace").strip()
        message = f"exec plugin {command[0]} failed with {process.returncode}{': ' if said else ''}{said}"
        raise CredentialsRejected(message)
    return _status(output, plugin, command[0])


def _exec_info(plugin: Json, cluster: Json) -> Json:
    spec: Json = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        shared = ("server", "tls-server-name", "certificate-authority-data", "proxy-url")
        spec["cluster"] = {key: cluster[key] for key in shared if key in cluster}
        if path := cluster.get("certificate-authority"):
            spec["cluster"]["certificate-authority-data"] = base64.b64encode(Path(path).read_bytes()).decode()
        for entry in cluster.get("extensions") or ():
            if isinstance(entry, dict) and entry.get("name") == PLUGIN_EXTENSION:
                spec["cluster"]["config"] = entry.get("extension")
    return {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": spec}


def _status(output: bytes, plugin: Json, command: str) -> Json:
    try:
        answer = msgspec.json.decode(output, type=dict[str, Any])
        status = answer["status"]
        if answer.get("kind") != "ExecCredential" or not isinstance(status, dict):
            raise KeyError("status")
    except (msgspec.DecodeError, KeyError) as error:
        message = f"exec plugin {command} printed no ExecCredential"
        raise CredentialsRejected(message) from error
    if answer.get("apiVersion") != plugin["apiVersion"]:
        message = f"exec plugin {command} speaks {answer.get('apiVersion')}, not {plugin['apiVersion']} as asked"
        raise CredentialsRejected(message)
    return status


def _plugin_answer(status: Json, command: str) -> tuple[Json, float]:
    """Return (user section, wall time at which it expires)."""
    user: Json = {}
    if status.get("token"):
        user["token"] = str(status["token"])
    for key, field in (("client-certificate-data", "clientCertificateData"), ("client-key-data", "clientKeyData")):
        if status.get(field):
            user[key] = base64.b64encode(str(status[field]).encode()).decode()
    if not user:
        message = f"exec plugin {command} gave neither a token nor a client certificate"
        raise CredentialsRejected(message)
    expires = status.get("expirationTimestamp")
    if not expires:
        return user, float("inf")  # as kubectl: until the server refuses it
    try:
        return user, datetime.fromisoformat(str(expires)).timestamp()
    except ValueError:
        return user, float("inf")


def _material(cluster: Json, user: Json) -> Material:
    """Return the material with tokens read from their file; files of certificates stay files, but count in the digest."""
    user = dict(user)
    hasher = blake2b(digest_size=16)
    path = token_file = user.pop("tokenFile", None)
    try:
        if path is not None:
            # The file wins over `token`, as in kubectl; a newline at its end would break the header.
            user["token"] = Path(path).read_text().strip()
        for key in _FILES:
            name = user.get(key) or cluster.get(key)
            if name:
                path = name
                hasher.update(Path(name).read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
        raise CredentialsRejected(message) from error
    if "token" in user:
        _check_token(str(user["token"]), str(token_file or "the token"))
    hasher.update(msgspec.json.encode([cluster, user], order="deterministic"))
    return Material(cluster=cluster, user=user, digest=hasher.digest())


def _check_token(token: str, where: str) -> None:
    # What cannot stand in a header would raise far from here, with the token in its message.
    if not token or not token.isascii() or not token.isprintable():
        message = f"{where} {'is empty' if not token else 'holds characters that no token has'}"
        raise CredentialsRejected(message)
