"""What a context may not be: insecure, or able to run programs that nobody allowed."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine.runtime.addresses import DECLARED, Addresses
from schemas.actions import Json


class KubeconfigError(Exception):
    """Raised when no usable context can be had from a kubeconfig; the message says what to do about it."""


def check_server(cluster: Json, where: str, addresses: Addresses = DECLARED) -> None:
    """Refuse a context if its server is no API server's URL, or credentials would go there in the clear (SEC-22).

    A context that was read from a cluster never goes without TLS, not even to this machine, and names no proxy: whoever
    wrote it would have us connect to addresses that we cannot judge.

    Raises:
        KubeconfigError: when it is refused.

    """
    server = cluster.get("server")
    if not server:
        message = f"{where}: its cluster has no `server`"
        raise KubeconfigError(message)
    try:
        url = urlsplit(str(server))
        host, _ = url.hostname or "", url.port
    except ValueError as error:
        message = f"{where}: {server!r} is no URL"
        raise KubeconfigError(message) from error
    if url.scheme not in ("http", "https") or not host or url.username or url.query or url.fragment:
        # Not quoted: it may hold a password.
        message = f"{where}: its `server` is not of the form https://HOST[:PORT][/PATH]"
        raise KubeconfigError(message)
    if url.scheme == "http" and not (addresses.declared and _loopback(host)):
        local = " nor on the loopback interface" if addresses.declared else ""
        not_this = "neither https" if local else "not https"
        message = f"{where}: {server!r} is {not_this}{local}; credentials would go in the clear"
        raise KubeconfigError(message)
    if refusal := addresses.refusal(host):
        message = f"{where}: {server!r} is {refusal}, which may not be connected to"
        raise KubeconfigError(message)
    if cluster.get("proxy-url") and not addresses.declared:
        message = f"{where} names a `proxy-url`, which is not allowed here"
        raise KubeconfigError(message)


def check_tls(cluster: Json, where: str, *, allow_insecure: bool) -> None:
    """Refuse a context if it skips the verification of the server without leave (SEC-23).

    Raises:
        KubeconfigError: when it is refused.

    """
    if cluster.get("insecure-skip-tls-verify") and not allow_insecure:
        message = f"{where} sets insecure-skip-tls-verify; give the cluster's CA in certificate-authority-data instead"
        raise KubeconfigError(message)


def check_user(user: Json, where: str, exec_allow: Collection[str]) -> None:
    """Refuse a context if its user runs a plugin that is not allowed (SEC-21), or is not well formed.

    Raises:
        KubeconfigError: when it is refused.

    """
    if "auth-provider" in user:
        message = f"{where} uses an `auth-provider`, which kubectl has dropped as well; use an `exec` plugin or a token"
        raise KubeconfigError(message)
    _check_impersonation(user, where)
    plugin = user.get("exec")
    if plugin is not None:
        _check_plugin(plugin, where, exec_allow)


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _check_impersonation(user: Json, where: str) -> None:
    extra = user.get("as-user-extra") or {}
    lists = [user.get("as-groups") or [], *(extra.values() if isinstance(extra, dict) else [None])]
    named = [user[key] for key in ("as", "as-uid") if user.get(key)]
    named += [value for values in lists if isinstance(values, list) for value in values]
    if not all(isinstance(one, list) for one in lists) or not all(_fits_header(value) for value in named):
        message = f"{where}: `as`, `as-uid`, `as-groups` or `as-user-extra` is not of the form that kubectl reads"
        raise KubeconfigError(message)


def _fits_header(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _check_plugin(plugin: Any, where: str, exec_allow: Collection[str]) -> None:
    command = str(plugin.get("command", "")) if isinstance(plugin, dict) else ""
    if not command or not plugin.get("apiVersion"):
        message = f"{where}: its `exec` plugin lacks `command` or `apiVersion`"
        raise KubeconfigError(message)
    if not Path(command).is_absolute():
        message = f"{where} runs {command!r}; write its absolute path there, and in the cluster's `exec_allow`"
        raise KubeconfigError(message)
    if command not in exec_allow:
        message = f"{where} runs {command}, which is not allowed; add it to the cluster's `exec_allow` if it should be"
        raise KubeconfigError(message)
    arguments, variables = plugin.get("args") or [], plugin.get("env") or []
    well_formed = isinstance(arguments, list) and isinstance(variables, list)
    if not well_formed or not all(isinstance(one, dict) and {"name", "value"} <= one.keys() for one in variables):
        message = f"{where}: `args` or `env` of its `exec` plugin is not of the form that kubectl reads"
        raise KubeconfigError(message)
    if plugin.get("interactiveMode") == "Always":
        message = f"{where}: {command} wants to talk to a person (interactiveMode: Always), and there is none here"
        raise KubeconfigError(message)
