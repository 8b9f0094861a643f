"""Who asks: client certificates, static tokens and the ServiceAccount tokens that the cluster signs itself.

In: a request's certificate and Authorization header. Out: a `User`, or 401. What a user may do is decided in `access`.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from ssl import SSLObject
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import NameOID

from engine.sandbox.control_plane import SERVICE_ACCOUNT_ISSUER
from engine.sandbox.simulator import errors
from engine.sandbox.simulator.options import User

AUTHENTICATED: Final = "system:authenticated"
ANONYMOUS: Final = User("system:anonymous", groups=("system:unauthenticated",))
CREDENTIAL_ID: Final = "authentication.kubernetes.io/credential-id"

_VERIFIED_TOKENS: Final = 1000
"""Tokens whose signature is remembered as good: 100 µs saved at each request; a sandbox has a handful."""
_P256_BYTES: Final = 32

Json = dict[str, Any]


class TokenSigner:
    """Signs and verifies the ServiceAccount tokens of one cluster.

    Args:
        key: private P-256 key, PEM.

    """

    def __init__(self, key: bytes) -> None:
        loaded = serialization.load_pem_private_key(key, None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise TypeError("the key that signs ServiceAccount tokens is no elliptic-curve key")
        self._key = loaded
        public = loaded.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._key_id = _base64(hashlib.sha256(public).digest())
        self.verified = lru_cache(maxsize=_VERIFIED_TOKENS)(self._verified)

    def sign(self, claims: Json) -> str:
        """Return a token with these claims."""
        header = {"alg": "ES256", "kid": self._key_id}
        signed = f"{_base64(msgspec.json.encode(header))}.{_base64(msgspec.json.encode(claims))}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")
        return f"{signed}.{_base64(signature)}"

    def _verified(self, token: str) -> Json | None:
        """Return the claims of a token that this cluster signed, None for any other text; times are not looked at."""
        signed, _, signature = token.rpartition(".")
        try:
            raw = _unbase64(signature)
            encoded = encode_dss_signature(
                int.from_bytes(raw[:_P256_BYTES], "big"), int.from_bytes(raw[_P256_BYTES:], "big")
            )
            self._key.public_key().verify(encoded, signed.encode(), ec.ECDSA(hashes.SHA256()))
            claims: Json = msgspec.json.decode(_unbase64(signed.partition(".")[2]), type=dict[str, Any])
        except (ValueError, InvalidSignature, msgspec.DecodeError):
            return None
        return claims


class Authenticator:
    """Says who asks one cluster.

    Args:
        tokens: static bearer tokens and whose they are.
        signer: of ServiceAccount tokens.
        account_uid: returns the uid of a ServiceAccount by namespace and name, empty when there is none.
        now: seconds since 1970, as the cluster's clock has it.

    """

    def __init__(
        self,
        tokens: Mapping[str, User],
        signer: TokenSigner,
        account_uid: Callable[[str, str], str],
        now: Callable[[], float],
    ) -> None:
        self._tokens = tokens
        self._signer = signer
        self._account_uid = account_uid
        self._now = now

    def user(self, authorization: str, tls: SSLObject | None) -> User:
        """Return who asks.

        Args:
            authorization: the Authorization header, may be empty.
            tls: of the connection; whatever certificate it has is of an authority that is trusted; None: no TLS.

        Raises:
            ApiError: 401 for credentials that are no good.

        """
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        if certificate:
            return self._of_certificate(certificate)
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return ANONYMOUS
        user = self.of_token(token.strip())
        if user is None:
            raise errors.unauthorized()
        return user

    def of_token(self, token: str, audiences: Sequence[str] = ()) -> User | None:
        """Return whose token this is, None when it is no good.

        Args:
            token: as in the header.
            audiences: of which one must be meant; empty: the API server itself.

        """
        known = self._tokens.get(token)
        if known is not None:
            return known
        claims = self._signer.verified(token)
        if claims is None:
            return None
        return self._of_claims(claims, audiences or (SERVICE_ACCOUNT_ISSUER,))

    def issue(
        self, namespace: str, name: str, uid: str, *, seconds: int, audiences: Sequence[str], bound: Json | None = None
    ) -> tuple[str, float]:
        """Return a token for a ServiceAccount, and when it expires.

        Args:
            namespace: of the account.
            name: of the account.
            uid: of the account; the token dies with it.
            seconds: for how long it is good.
            audiences: empty: the API server itself.
            bound: claims about the object that it is bound to.

        """
        now = int(self._now())
        account = {"name": name, "uid": uid}
        claims = {
            "aud": [*audiences] or [SERVICE_ACCOUNT_ISSUER],
            "exp": now + seconds,
            "iat": now,
            "iss": SERVICE_ACCOUNT_ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {"namespace": namespace, **(bound or {}), "serviceaccount": account},
            "nbf": now,
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        return self._signer.sign(claims), float(now + seconds)

    def _of_claims(self, claims: Json, audiences: Sequence[str]) -> User | None:
        try:
            private = claims["kubernetes.io"]
            namespace, account = private["namespace"], private["serviceaccount"]
            good = (
                claims["nbf"] <= self._now() < claims["exp"]
                and not set(audiences).isdisjoint(claims["aud"])
                and self._account_uid(namespace, account["name"]) == account["uid"]
            )
            token_id = claims["jti"]
        except (KeyError, TypeError):
            return None
        if not good:
            return None
        return User(
            f"system:serviceaccount:{namespace}:{account['name']}",
            account["uid"],
            ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED),
            {CREDENTIAL_ID: [f"JTI={token_id}"]},
        )

    def _of_certificate(self, certificate: bytes) -> User:
        start, end, user = _read_certificate(certificate)
        if not user.name or not start <= self._now() <= end:
            raise errors.unauthorized()
        return user


@lru_cache(maxsize=256)
def _read_certificate(der: bytes) -> tuple[float, float, User]:
    """Return from when until when a certificate is good, and whose it is."""
    certificate = x509.load_der_x509_certificate(der)
    names = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    extra = {CREDENTIAL_ID: [f"X509SHA256={hashlib.sha256(der).hexdigest()}"]}
    user = User(names[-1] if names else "", groups=(*groups, AUTHENTICATED), extra=extra)
    return certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp(), user


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
