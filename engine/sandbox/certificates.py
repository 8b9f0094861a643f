"""The certificate authority of one sandbox cluster: serving, client and service-account keys, all P-256.

Extensions are complete because Python 3.13 verifies strictly (VERIFY_X509_STRICT) and the engine's clients keep that on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from engine.sandbox.private_file import write_private

A_YEAR = timedelta(days=365)
_CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def write(self, directory: Path, name: str) -> None:
        """Write `<name>.crt` and `<name>.key` (mode 0600) into a directory."""
        (directory / f"{name}.crt").write_bytes(self.certificate)
        write_private(directory / f"{name}.key", self.key)


class CertificateAuthority:
    """A self-signed authority.

    Args:
        name: its common name.
        kept: certificate and key of an earlier one to go on with, instead of a new one.
        lifetime: of a new one.

    """

    def __init__(self, name: str, kept: KeyPair | None = None, *, lifetime: timedelta = A_YEAR) -> None:
        self._lifetime = lifetime
        self._name = _distinguished_name(name, ())
        if kept is None:
            self._key = ec.generate_private_key(ec.SECP256R1())
            self._certificate = self._self_signed()
        else:
            key = serialization.load_pem_private_key(kept.key, None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise TypeError(f"the key of {name} is no elliptic-curve key")
            self._key = key
            self._certificate = x509.load_pem_x509_certificate(kept.certificate)
            self._name = self._certificate.subject
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def pair(self) -> KeyPair:
        """The authority's own certificate and key, to be kept."""
        return KeyPair(self.pem, _private_pem(self._key))

    def _self_signed(self) -> x509.Certificate:
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            _builder(self._name, self._name, self._key.public_key(), self._lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def issue(
        self,
        common_name: str,
        *,
        organizations: Sequence[str] = (),
        hosts: Sequence[str] = (),
        lifetime: timedelta = A_YEAR,
    ) -> KeyPair:
        """Return a certificate for servers and clients.

        Args:
            common_name: Kubernetes takes it as the user.
            organizations: Kubernetes takes them as the user's groups.
            hosts: names and IP addresses that a server answers to.
            lifetime: from now on; negative: it has expired already.

        """
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        subject = _distinguished_name(common_name, organizations)
        builder = _builder(subject, self._name, key.public_key(), lifetime)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(authority, critical=False).add_extension(usage, critical=False)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _private_pem(key))


def signing_key() -> bytes:
    """Return a fresh private key, PEM, to sign service-account tokens with."""
    return _private_pem(ec.generate_private_key(ec.SECP256R1()))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW + min(lifetime, timedelta()))
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _distinguished_name(common_name: str, organizations: Sequence[str]) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
