"""The authority for browsers: it vouches for this machine's names, and can do so for no other."""

import datetime
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust.certificates import read_certificate, read_key
from pi_cluster.cluster.trust.signing import new_key
from pi_cluster.server.web_authority import WebAuthority


def handshake(context, trusted, name):
    """What a client that trusts an authority says of a server's certificate; None if it is good."""
    client = ssl.create_default_context(cafile=str(trusted))
    ours, theirs = socket.socketpair()

    def serve():
        try:
            with context.wrap_socket(theirs, server_side=True) as served:
                served.recv(1)
        except (ssl.SSLError, OSError):
            theirs.close()

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as connected:
            connected.sendall(b"x")
        return None
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        ours.close()
        serving.join(20)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", socket.gethostname().lower()])
def test_who_trusts_it_trusts_the_server_by_its_own_names(tmp_path, name):
    authority = WebAuthority(tmp_path / "web")
    assert handshake(authority.context(), authority.path, name) is None


def test_another_name_has_to_be_given(tmp_path):
    authority = WebAuthority(tmp_path / "web", ["chat.example.org"])
    assert handshake(authority.context(), authority.path, "chat.example.org") is None
    assert "Hostname mismatch" in handshake(authority.context(), authority.path, "evil.example")
    with pytest.raises(AccessError, match=r"may not vouch for other\.example"):
        WebAuthority(tmp_path / "web", ["other.example"])


def test_whoever_steals_its_key_can_pass_for_no_site_of_the_web(tmp_path):
    authority = WebAuthority(tmp_path / "web")
    signer = read_certificate(authority.path.read_bytes())
    constraints = signer.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    key, now = new_key(), datetime.datetime.now(datetime.UTC)
    forged = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(signer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bank.example")]), critical=True)
        .sign(read_key((tmp_path / "web" / "authority.key").read_bytes()), hashes.SHA256())
    )
    chain, key_file = tmp_path / "forged.pem", tmp_path / "forged.key"
    chain.write_bytes(forged.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key_file)
    assert "subtree" in handshake(context, authority.path, "bank.example")


def test_a_certificate_is_kept_until_it_is_worth_nothing_and_the_authority_stays(tmp_path):
    folder = tmp_path / "web"
    authority = WebAuthority(folder)
    context, trusted = authority.context(), authority.path.read_bytes()
    shown = (folder / "server.pem").read_bytes()
    WebAuthority(folder).renew(context)
    assert (folder / "server.pem").read_bytes() == shown
    (folder / "server.pem").write_bytes(shown[:-40])
    WebAuthority(folder).renew(context)
    assert (folder / "server.pem").read_bytes() != shown and authority.path.read_bytes() == trusted
    assert handshake(context, authority.path, "localhost") is None
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.glob("*.key")} == {
        "authority.key": 0o600,
        "server.key": 0o600,
    }
