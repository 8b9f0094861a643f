"""Gives an import its Secret: looks at the Secret and at the account, and asks for a token if one is due.

In: an `Issue` of a decision. Out: its outcome, which says how long the token lives and holds nothing of it: the token goes
from one API server's answer into one request to another, and nowhere else (SEC-13, SEC-24). No logs, no exceptions with it.

Rules:
    * Nothing is asked of the account's cluster before the Secret's own is known to answer: no token is issued for nothing.
    * A Secret that somebody else wrote is never touched.
    * What was issued is noted in the Secret (`crosscurrent.dev/issued-for`): a changed account, address or authority shows.
      So does a value that somebody else wrote into it, which the API server says is theirs.
    * Messages name verb, resource and cluster.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from engine.core.api_errors import Status, result_of
from engine.core.importing import (
    ISSUED_FOR,
    SECRET_KEYS,
    SERVICE_ACCOUNTS,
    Endpoint,
    issued_for,
    secret_body,
)
from engine.core.live_object import Metadata, is_ours
from engine.core.outcomes import conflict, outcome_of, place
from engine.core.secrecy import SECRETS
from engine.runtime import api_calls
from engine.runtime.kubeconfig import Context
from engine.runtime.object_writer import ObjectWriter
from engine.runtime.ports import ClusterApi
from engine.runtime.token_requests import Token, request_token
from schemas.actions import Apply, Issue, Json, Outcome, Result
from schemas.names import ClusterName


class TokenIssuer:
    """Issues the tokens of one process."""

    def __init__(self, contexts: Mapping[ClusterName, Callable[[], Context]], *, timeout: float) -> None:
        """Take how each cluster is reached: what is written into kubeconfigs for others.

        Args:
            contexts: return that of each declared cluster; called in a thread.
            timeout: seconds for each request.

        """
        self._contexts, self._timeout = contexts, timeout

    async def issue(
        self,
        action: Issue,
        apis: Mapping[ClusterName, ClusterApi | None],
        writer: ObjectWriter,
        *,
        manager: str,
        first: bool,
    ) -> Outcome:
        """Carry an action out.

        Args:
            action: what to write.
            apis: the clusters, within the lease.
            writer: to the Secret's cluster.
            manager: field manager.
            first: no Secret of ours is known to exist there.

        Raises:
            LeaseOver: when there was no time left for a request.

        """
        local, remote = apis.get(action.ref.cluster), apis.get(action.account.cluster)
        context = self._contexts.get(action.account.cluster)
        if local is None or remote is None or context is None:
            return _failed(action, "Unreachable", f"there is no connection to {action.account.cluster}")
        endpoint = await asyncio.to_thread(lambda: read_endpoint(context()))
        if isinstance(endpoint, str):
            return _failed(action, "NoAuthority", endpoint)
        secret = await self._look(local, action)
        if isinstance(secret, Outcome):
            return secret
        if secret is not None and not is_ours(secret, action.body, manager):
            return conflict(action, "NotOurs", f"the Secret {place(action)} exists already and is not ours", secret)
        account = await self._account(remote, action)
        if isinstance(account, Outcome):
            return account
        wanted = issued_for(action, account.uid, endpoint)
        as_it_should = (
            secret is not None
            and (secret.annotations or {}).get(ISSUED_FOR) == wanted
            and secret.applied(manager, "data") >= SECRET_KEYS  # nobody has written another value since
        )
        if secret is not None and as_it_should and not action.renew:
            return outcome_of(action, Result.UNCHANGED, secret)
        answer = await self._token(remote, action)
        if isinstance(answer, Outcome):
            return answer
        body = secret_body(action, account.uid, endpoint, answer.text)
        written = await self._write(action, body, writer, first=first)
        return msgspec.structs.replace(
            written, action="Issue", issued_seconds=float(answer.seconds) if written.ok else 0.0
        )

    async def _look(self, api: ClusterApi, action: Issue) -> Metadata | Outcome | None:
        ref = action.ref
        found = await api_calls.get(api, SECRETS, ref.namespace, ref.name, timeout=self._timeout)
        if not isinstance(found, Status):
            return found
        return None if found.absent(ref.name, ref.resource) else _refusal(action, f"get secrets {place(action)}", found)

    async def _account(self, api: ClusterApi, action: Issue) -> Metadata | Outcome:
        account = action.account
        found = await api_calls.get(api, SERVICE_ACCOUNTS, account.namespace, account.name, timeout=self._timeout)
        if isinstance(found, Status):
            return _refused_there(action, "get serviceaccounts", found)
        return found if not found.deleting else _refused_there(action, "get serviceaccounts", _GONE)

    async def _token(self, api: ClusterApi, action: Issue) -> Token | Outcome:
        account = action.account
        answer = await request_token(
            api,
            account.namespace,
            account.name,
            seconds=action.seconds,
            audiences=action.audiences,
            timeout=self._timeout,
        )
        if isinstance(answer, Status):
            return _refused_there(action, "create serviceaccounts/token", answer)
        if answer is None:
            message = f"{_there(action, 'create serviceaccounts/token')}: the answer is no token of at most an hour"
            return outcome_of(action, Result.REFUSED, reason="NoToken", message=message)
        return answer

    async def _write(self, action: Issue, body: Json, writer: ObjectWriter, *, first: bool) -> Outcome:
        apply = Apply(ref=action.ref, api_version=action.api_version, kind=action.kind, body=body)
        written = await writer.write(apply, seen=None, first=first)
        if written.ok:
            return written
        message = f"patch secrets {place(action)} in {action.ref.cluster}: {written.message}"
        return msgspec.structs.replace(written, message=message)


def read_endpoint(context: Context) -> Endpoint | str:
    """Return where a cluster is, its authority read anew if it is a file; or what is wrong with it."""
    cluster = context.cluster
    if data := cluster.get("certificate-authority-data"):
        return Endpoint(context.server, b64decode(str(data)))
    path = cluster.get("certificate-authority")
    if not path:
        return Endpoint(context.server)
    try:
        return Endpoint(context.server, Path(str(path)).read_bytes())
    except OSError as error:
        return f"the authority of {context.name} cannot be read: {path}: {error.strerror or error}"


_GONE = Status(code=404, reason="NotFound", message="it is being deleted")


def _there(action: Issue, call: str) -> str:
    account = action.account
    return f"{call} {account.namespace}/{account.name} in {account.cluster}"


def _refused_there(action: Issue, call: str, status: Status) -> Outcome:
    """Return the outcome of a call for the account. It is granted, so its importer may know that it is not there (yet)."""
    if status.code == 404 and status.authentic:
        return _failed(action, "AccountNotFound", f"{_there(action, call)}: {status.message}")
    return _refusal(action, _there(action, call), status)


def _refusal(action: Issue, call: str, status: Status) -> Outcome:
    return outcome_of(
        action,
        result_of(status),
        code=status.code,
        reason=status.reason,
        message=f"{call}: {status.message}",
        retry_after=status.retry_after,
    )


def _failed(action: Issue, reason: str, message: str) -> Outcome:
    return outcome_of(action, Result.FAILED, reason=reason, message=message)
