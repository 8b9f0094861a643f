"""Whom a hub's broker trusts, from one secret: the operator, three accounts, the engine's user and the anonymous one.

    system   nobody uses it; the broker wants one
    engine   the streams, and everything of ours; the engine's user may do everything, a member only what is below
    join     what a stranger gets who shows no credential: it may ask `join`, hear its own answer, and nothing else

A member may publish questions to its log (`members.<cluster>`), hear the calls that are meant for it (`calls.<cluster>`) and
answer those. It may not speak to JetStream, not even about its own subjects: the broker sends an answer wherever the question
says, so whoever may ask for a stored message can have it stored again under anybody's subject. What it says goes through
`engine.runtime.member_gateway`, which looks at every word. Pure.
"""

from __future__ import annotations

import hmac

from engine.core.nats_claims import Permissions, account, operator, service, user
from engine.core.nkeys import KeyPair, Role
from schemas import subjects
from schemas.actions import Json
from schemas.names import ClusterName

JOINING_CONNECTIONS = 64
"""Of strangers at once: each stays for one question. More would only be of use to a flood."""
JOINING_BYTES = 64 * 1024
"""Of a question or answer of `join`; they have some 2 KB, and 64 bytes for each type that is to be watched."""
ANSWER_SECONDS = 120.0
"""For so long a member may answer a call: longer than any call lasts."""


class BrokerTrust:
    """The keys of one broker.

    Args:
        root: 32 random bytes, kept secret. The same root, the same keys.

    """

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._operator = self._key("operator", Role.OPERATOR)
        self._system = self._key("system", Role.ACCOUNT)
        self._engine = self._key("engine", Role.ACCOUNT)
        self._join = self._key("join", Role.ACCOUNT)

    def configuration(self, issued_at: int) -> Json:
        """Return what the configuration of nats-server must hold."""
        join = subjects.JOIN
        accounts = {
            self._system.public: account(self._operator, self._system.public, "system", issued_at=issued_at),
            self._engine.public: account(
                self._operator,
                self._engine.public,
                "engine",
                issued_at=issued_at,
                streams=True,
                exports=[service("join", join)],
            ),
            self._join.public: account(
                self._operator,
                self._join.public,
                "join",
                issued_at=issued_at,
                connections=JOINING_CONNECTIONS,
                payload=JOINING_BYTES,
                imports=[service("join", join, of=self._engine.public)],
            ),
        }
        stranger = self._key("stranger", Role.USER)
        may_join = Permissions(publish=(join,), subscribe=(f"{subjects.JOIN_INBOX}.>",))
        return {
            "operator": operator(self._operator, system_account=self._system.public, issued_at=issued_at),
            "system_account": self._system.public,
            "resolver": "MEMORY",
            "resolver_preload": accounts,
            "default_sentinel": user(
                self._join, stranger.public, "stranger", may_join, issued_at=issued_at, bearer=True
            ),
        }

    def engine_credentials(self, issued_at: int) -> bytes:
        """Return the credentials file of the engine's own processes: a secret."""
        key = self._key("engine user", Role.USER)
        return credentials_file(user(self._engine, key.public, "engine", None, issued_at=issued_at), key)

    def member(self, cluster: ClusterName, public: str, *, issued_at: int, seconds: int) -> str:
        """Return the JWT of a member: good for so many seconds, together with the private key of `public`."""
        permissions = Permissions(
            publish=(subjects.member(cluster),),
            subscribe=(subjects.calls(cluster), f"{subjects.member_inbox(cluster)}.>"),
            reply_seconds=ANSWER_SECONDS,
        )
        return user(self._engine, public, cluster, permissions, issued_at=issued_at, expires_at=issued_at + seconds)

    def _key(self, name: str, role: Role) -> KeyPair:
        return KeyPair(role, hmac.digest(self._root, f"crosscurrent broker key: {name}".encode(), "sha256"))


def credentials_file(jwt: str, key: KeyPair) -> bytes:
    """Return what NATS calls a credentials file."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{key.text}\n------END USER NKEY SEED------\n"
    ).encode()
