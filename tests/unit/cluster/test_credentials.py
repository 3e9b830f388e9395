"""A folder of credentials: loaded with checks, replaced as a whole, followed while it changes."""

import datetime
import os

import pytest

from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust import certificates, installing, signing
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.credentials import LiveCredentials, load_credentials
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.installing import install
from pi_cluster.cluster.trust.issued import Certification
from pi_cluster.worker.trust.node_credentials import (
    Membership,
    credentials_folder,
    install_certification,
)
from tests.support.authorities import CLUSTER, certify_node, credentials_of, dated_credentials


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return ClusterAuthority.create(tmp_path_factory.mktemp("authority") / CLUSTER, CLUSTER)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another authority of a cluster with the same name."""
    return ClusterAuthority.create(tmp_path_factory.mktemp("other") / CLUSTER, CLUSTER)


@pytest.fixture
def folder(authority, tmp_path):
    """A node's credentials."""
    certify_node(authority, tmp_path)
    return credentials_folder(tmp_path)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_key_and_folder_are_private_and_a_key_that_others_read_is_refused(folder):
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "node.key").stat().st_mode & 0o777 == 0o600
    (folder / "node.key").chmod(0o644)
    with pytest.raises(AccessError, match=f"mode 0644.*chmod 600 {folder / 'node.key'}"):
        load_credentials(folder, Role.NODE)


def test_a_folder_that_others_may_enter_is_closed_when_it_is_written_to(authority, folder):
    folder.chmod(0o755)
    certify_node(authority, folder.parent)
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["node.key", "node.pem", "authorities.pem", "revocations.pem"])
@pytest.mark.parametrize("damage", [b"", b"-----BEGIN CERTIFICATE-----\n", bytes(3 << 20)])
def test_a_damaged_file_is_named(folder, name, damage):
    (folder / name).write_bytes(damage)
    with pytest.raises(AccessError, match=name):
        load_credentials(folder, Role.NODE)


@pytest.mark.parametrize("name", ["node.key", "node.pem", "authorities.pem"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(AccessError, match=name):
        load_credentials(folder, Role.NODE)


def test_a_key_of_another_certificate_is_noticed(folder):
    key = certificates.key_pem(signing.new_key())
    (folder / "node.key").write_bytes(key)
    with pytest.raises(AccessError, match=r"not the key of node\.pem"):
        load_credentials(folder, Role.NODE)


def test_a_power_cut_between_certificate_and_key_is_mended(authority, folder):
    node_id = load_credentials(folder, Role.NODE).identity.id
    identity = Identity(CLUSTER, Role.NODE, node_id)
    request = installing.request_certificate(folder, Role.NODE, node_id)
    given = authority.renew(request, identity, "pi")
    (folder / "node.pem").write_bytes(given.certificate)  # and then the power went
    assert load_credentials(folder, Role.NODE).certificate_pem == given.certificate
    assert not (folder / "node.key.next").exists()


def given_to(authority, folder, identity, key_folder=None):
    request = installing.request_certificate(key_folder or folder, Role.NODE, identity.id)
    return authority.renew(request, identity, "pi")


def test_what_is_wrong_with_a_certificate_is_found_before_anything_changes(
    authority, other, folder, tmp_path
):
    mine = load_credentials(folder, Role.NODE).identity
    stranger = Identity(CLUSTER, Role.NODE, "stranger")
    wrong = [
        (given_to(authority, folder, stranger), "is for"),
        (given_to(authority, folder, mine, tmp_path / "elsewhere"), "not here"),
        (Certification(given_to(other, folder, mine).certificate), "not signed"),
        (other.news, "with these authorities"),
        (Certification(revocations=other.revocations_pem), "not signed"),
        (Certification(authorities=b"none"), "no certificate"),
    ]
    installing.request_certificate(folder, Role.NODE, mine.id)
    before = contents(folder)
    for given, why in wrong:
        with pytest.raises(AccessError, match=why):
            install(folder, Role.NODE, given, mine)
        assert contents(folder) == before


def test_an_operators_certificate_does_not_make_a_node(authority, folder):
    mine = load_credentials(folder, Role.NODE).identity
    operator = Identity(CLUSTER, Role.OPERATOR, mine.id + "x")
    with pytest.raises(AccessError, match="is for"):
        install(folder, Role.NODE, given_to(authority, folder, operator), mine)


def test_an_older_revocation_list_is_refused(authority, folder):
    identity = load_credentials(folder, Role.NODE).identity
    older = authority.news
    authority.issue(
        signing.make_signing_request(signing.new_key(), "x"),
        Identity(CLUSTER, Role.NODE, "thief"),
        "thief",
    )
    authority.revoke("thief")
    install(folder, Role.NODE, authority.news, identity)
    with pytest.raises(AccessError, match="older"):
        install(folder, Role.NODE, older, identity)
    assert load_credentials(folder, Role.NODE).revoked.number == authority.revocations_number


def test_live_credentials_follow_the_files_and_keep_the_last_good_ones(authority, folder):
    live = LiveCredentials(folder, Role.NODE)
    first = live.current
    assert live.current is first
    certify_node(authority, folder.parent)
    second = live.current
    assert second.certificate != first.certificate and second.identity == first.identity
    os.truncate(folder / "node.pem", 100)
    assert live.current is second
    certify_node(authority, folder.parent)
    assert live.current.certificate not in (first.certificate, second.certificate)


def test_another_ones_certificate_is_checked_against_what_is_held(authority, other, tmp_path):
    held = load_credentials(authority.folder, Role.OPERATOR)
    mine = credentials_of(authority, tmp_path / "mine", Role.COORDINATOR, "mine")
    foreign = credentials_of(other, tmp_path / "foreign", Role.COORDINATOR, "foreign")
    late = dated_credentials(
        authority, tmp_path / "late", Role.COORDINATOR, "late", datetime.timedelta(days=-400)
    )

    def check(folder):
        return held.check(load_credentials(folder, Role.COORDINATOR).certificate)

    assert check(mine) == Identity(CLUSTER, Role.COORDINATOR, "mine")
    with pytest.raises(AccessError, match="not signed"):
        check(foreign)
    with pytest.raises(AccessError, match="expired"):
        check(late)


def test_a_worker_does_not_start_with_another_nodes_or_clusters_certificate(authority, tmp_path):
    for name in ("one", "two"):
        certify_node(authority, tmp_path / name)
    (tmp_path / "one" / "node.json").write_bytes((tmp_path / "two" / "node.json").read_bytes())
    with pytest.raises(AccessError, match=r"is for .* and this worker is"):
        Membership(tmp_path / "one", CLUSTER)
    with pytest.raises(AccessError, match=f"--cluster {CLUSTER}"):
        Membership(tmp_path / "two", "garage")


def test_a_certification_survives_its_way_as_json_and_on_the_wire(authority):
    news = authority.news
    assert Certification.from_json(news.to_json().encode()) == news
    assert Certification.from_wire(news.to_wire()) == news


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b'{"certificate": 1}', b"\xff", b'"x"', b"[" * 100_000],
)
def test_other_json_is_no_certification(text):
    with pytest.raises(AccessError):
        Certification.from_json(text)


def test_installing_needs_a_request_first(authority, tmp_path):
    with pytest.raises(AccessError):
        install_certification(tmp_path, CLUSTER, authority.news)
