"""Identities in certificates, and certificates that are worth nothing."""

import datetime
import string

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust import certificates, signing
from pi_cluster.cluster.trust.certificates import NOTHING_REVOKED, Revocations
from pi_cluster.cluster.trust.identity import Identity, Role

NOW = certificates.utc_now()
KEY = signing.new_key()
AUTHORITY = signing.make_authority(KEY, "home", NOW)
NODE = Identity("home", Role.NODE, "f00d")

ids = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
clusters = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", fullmatch=True)


def made(identity=NODE, now=NOW, key=None):
    public_key = (key or signing.new_key()).public_key()
    return signing.make_certificate(AUTHORITY, KEY, public_key, identity, now)


def checked(certificate, authorities=(AUTHORITY,), revoked=NOTHING_REVOKED, now=NOW):
    return certificates.check_certificate(certificate, authorities, revoked, now)


@given(clusters, st.sampled_from(Role), ids.filter(lambda text: text != "any"))
def test_an_identity_parses_back_from_its_text(cluster, role, name):
    identity = Identity(cluster, role, name)
    assert Identity.parse(str(identity)) == identity


@given(st.text(max_size=80) | st.text("pi-cluster:/.any ", max_size=60))
def test_no_other_text_is_an_identity(text):
    try:
        identity = Identity.parse(text)
    except AccessError:
        return
    assert str(identity) == text


@pytest.mark.parametrize("name", ["", "any", "A", "a.b", "a/b", "-a", "a-", "a" * 64, "ü", "a\n"])
def test_a_name_that_is_no_dns_label_or_means_all_nodes_is_no_id(name):
    with pytest.raises(AccessError):
        Identity("home", Role.NODE, name)


@pytest.mark.parametrize("role", list(Role))
def test_a_certificate_names_whom_it_is_for(role):
    identity = Identity("home", role, "f00d")
    assert checked(made(identity)) == identity


def test_only_a_nodes_certificate_has_names_and_may_serve():
    node, coordinator = made(), made(Identity("home", Role.COORDINATOR, "f00d"))
    usage = x509.oid.ExtendedKeyUsageOID.SERVER_AUTH

    def names(certificate):
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return found.value.get_values_for_type(x509.DNSName)

    def usages(certificate):
        return certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert names(node) == ["f00d.node.pi-cluster.internal", "any.node.pi-cluster.internal"]
    assert usage in usages(node)
    assert names(coordinator) == [] and usage not in usages(coordinator)


def test_another_authority_of_the_same_name_is_not_believed():
    other = signing.make_authority(signing.new_key(), "home", NOW)
    with pytest.raises(AccessError, match="not signed by this cluster's authority"):
        checked(made(), [other])
    assert checked(made(), [other, AUTHORITY]) == NODE


def test_a_signature_by_a_node_makes_no_certificate():
    """A node's certificate is no authority's, whatever its key signs."""
    key = signing.new_key()
    node = made(key=key)
    forged = signing.make_certificate(
        node, key, signing.new_key().public_key(), Identity("home", Role.OPERATOR, "me"), NOW
    )
    with pytest.raises(AccessError, match="not signed"):
        checked(forged)


def test_a_changed_byte_anywhere_makes_it_worthless():
    der = made().public_bytes(serialization.Encoding.DER)
    believed = 0
    for at in range(0, len(der), 7):
        changed = bytearray(der)
        changed[at] ^= 1
        try:
            checked(x509.load_der_x509_certificate(bytes(changed)))
            believed += 1
        except (AccessError, ValueError):
            pass
    assert believed == 0


def test_revoked_expired_and_future_ones_are_refused_with_the_reason():
    certificate = made()
    with pytest.raises(AccessError, match="revoked"):
        checked(certificate, revoked=Revocations(2, frozenset({certificate.serial_number})))
    with pytest.raises(AccessError, match=r"expired on .* clock says"):
        checked(certificate, now=NOW + datetime.timedelta(days=366))
    with pytest.raises(AccessError, match=r"valid from .* clock .*timedatectl"):
        checked(certificate, now=NOW - datetime.timedelta(days=2))
    assert checked(certificate, now=NOW - datetime.timedelta(hours=23)) == NODE


def test_no_certificate_outlives_its_authority():
    late = AUTHORITY.not_valid_after_utc - datetime.timedelta(days=3)
    assert made(now=late).not_valid_after_utc == AUTHORITY.not_valid_after_utc


@pytest.mark.parametrize(
    "names",
    [
        [],
        [x509.DNSName("f00d.node.pi-cluster.internal")],
        [x509.UniformResourceIdentifier("https://example.org/")],
        [x509.UniformResourceIdentifier("pi-cluster://home/king/f00d")],
        [x509.UniformResourceIdentifier("pi-cluster://home/node/f00d")] * 2,
    ],
)
def test_a_certificate_that_names_nobody_is_nobodys(names):
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(AUTHORITY.subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    with pytest.raises(AccessError):
        checked(builder.sign(KEY, hashes.SHA256()))


def test_a_signing_request_gives_its_key_back():
    key = signing.new_key()
    request = signing.make_signing_request(key, "f00d")
    assert certificates.key_hash(certificates.read_signing_request(request)) == (
        certificates.key_hash(key)
    )


@given(st.binary(max_size=300))
def test_other_bytes_are_no_signing_request(data):
    with pytest.raises(AccessError):
        certificates.read_signing_request(data)


def request_of(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "f00d")])
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())]
)
def test_a_request_for_another_kind_of_key_is_refused(key):
    with pytest.raises(AccessError, match="P-256"):
        certificates.read_signing_request(request_of(key))


def test_a_request_whose_signature_is_not_by_its_key_is_refused():
    request = bytearray(signing.make_signing_request(KEY, "f00d"))
    request[-1] ^= 1
    with pytest.raises(AccessError):
        certificates.read_signing_request(bytes(request))
    with pytest.raises(AccessError, match="too large"):
        certificates.read_signing_request(bytes(10_000))


def test_a_revocation_list_counts_only_if_an_authority_signed_it():
    revoked = Revocations(7, frozenset({1, 2, 1 << 150}))
    pem = signing.make_revocations(AUTHORITY, KEY, revoked, NOW)
    assert certificates.read_revocations(pem, [AUTHORITY]) == revoked
    other = signing.make_authority(signing.new_key(), "home", NOW)
    with pytest.raises(AccessError, match="not signed"):
        certificates.read_revocations(pem, [other])


@given(st.binary(max_size=200) | st.text(string.printable, max_size=200).map(str.encode))
def test_what_is_no_pem_is_refused(data):
    for read in (
        certificates.read_key,
        certificates.read_certificate,
        lambda pem: certificates.read_revocations(pem, [AUTHORITY]),
    ):
        with pytest.raises(AccessError):
            read(data)


def test_too_much_is_not_even_parsed():
    pem = certificates.certificate_pem(AUTHORITY)
    with pytest.raises(AccessError, match="at most 8"):
        certificates.read_certificates(pem * 9)
    with pytest.raises(AccessError, match="too many"):
        certificates.read_certificates(pem * 3_000)
    with pytest.raises(AccessError, match="instead of one"):
        certificates.read_certificate(pem * 2)
