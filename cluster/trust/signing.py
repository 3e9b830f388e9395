"""Making keys, requests, certificates and revocation lists: what authorities and nodes sign."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pi_cluster.cluster.trust.certificates import ANY_NODE, Key, Revocations, key_hash, server_name
from pi_cluster.cluster.trust.identity import Identity, Role

AUTHORITY_LIFE = datetime.timedelta(days=3650)
CERTIFICATE_LIFE = datetime.timedelta(days=365)
EARLIER = datetime.timedelta(days=1)
"""Certificates begin to be valid before they are made: a Pi has no battery for its clock."""


def new_key() -> Key:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def make_signing_request(key: Key, common_name: str) -> bytes:
    """PKCS #10 in DER: the public key, and proof that whoever asks has the private one."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(name_of(common_name))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def make_authority(key: Key, cluster: str, now: datetime.datetime) -> x509.Certificate:
    """An authority's certificate, signed by itself."""
    # Two authorities of a cluster differ in name too, or TLS could try the wrong one only.
    name = name_of(f"pi-cluster {cluster} {key_hash(key).hex()[:12]}")
    return (
        certificate_builder(name, name, key.public_key(), now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def make_certificate(
    authority: x509.Certificate,
    authority_key: Key,
    public_key: ec.EllipticCurvePublicKey,
    identity: Identity,
    now: datetime.datetime,
) -> x509.Certificate:
    """A certificate for somebody's key, valid for a year or as long as the authority's."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(str(identity))]
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.role is Role.NODE:
        names += [x509.DNSName(server_name(identity.id)), x509.DNSName(ANY_NODE)]
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    life = min(CERTIFICATE_LIFE, authority.not_valid_after_utc - now)
    return (
        certificate_builder(name_of(identity.id), authority.subject, public_key, now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )


def make_self_signed(key: Key, node_id: str, now: datetime.datetime) -> x509.Certificate:
    """What a node shows that has no certificate yet: its key, and nobody's word for it."""
    name = name_of(node_id)
    names = x509.SubjectAlternativeName([x509.DNSName(server_name(node_id))])
    return (
        certificate_builder(name, name, key.public_key(), now, CERTIFICATE_LIFE)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )


def make_revocations(
    authority: x509.Certificate, key: Key, revoked: Revocations, now: datetime.datetime
) -> bytes:
    """A revocation list in PEM, signed by the authority."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(now - EARLIER)
        .next_update(authority.not_valid_after_utc)
        .add_extension(x509.CRLNumber(revoked.number), critical=False)
    )
    for serial in sorted(revoked.serials):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def certificate_builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    life: datetime.timedelta,
) -> x509.CertificateBuilder:
    """What all certificates have; the ``issuer`` is to sign it."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def name_of(common_name: str) -> x509.Name:
    """A subject or issuer, of which 64 characters are kept."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def key_usage(*, authority: bool) -> x509.KeyUsage:
    """To sign certificates, or to prove who one is."""
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
