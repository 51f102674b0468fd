"""X.509 certificates: an authority that signs itself, and what it signs."""

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
LEAF_DAYS = 397
"""A year and a month: what is renewed once a year never runs out."""

CLOCK_SKEW = timedelta(hours=1)

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH


def new_key() -> bytes:
    """A private key, as PEM."""
    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def authority_certificate(name: str, key: bytes) -> bytes:
    """An authority's certificate, as PEM; renewed with the same key and name, it vouches for what it signed before."""
    own = _load(key)
    usage = _key_usage(signs=True)
    builder = _builder(name, own, AUTHORITY_DAYS).issuer_name(_name(name))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(usage, critical=True).sign(own, SHA256()).public_bytes(Encoding.PEM)


def signed_certificate(
    name: str, key: bytes, *, authority: str, authority_key: bytes, uses: Sequence[x509.ObjectIdentifier],
    hosts: Sequence[str] = (),
) -> bytes:  # fmt: skip
    """A certificate, as PEM.

    Args:
        name: whose; for people.
        key: its private key.
        authority: the name of the authority that signs.
        authority_key: its private key.
        uses: `CLIENT`, `SERVER` or both.
        hosts: the names and addresses under which a server is reached.
    """
    signer = _load(authority_key)
    vouched = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = _builder(name, _load(key), LEAF_DAYS).issuer_name(_name(authority))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    builder = builder.add_extension(vouched, critical=False)
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
    return builder.sign(signer, SHA256()).public_bytes(Encoding.PEM)


def _builder(name: str, key: EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _load(key: bytes) -> EllipticCurvePrivateKey:
    loaded = load_pem_private_key(key, password=None)
    if not isinstance(loaded, EllipticCurvePrivateKey):
        raise TypeError("this is no key that this script made")
    return loaded
