"""The authority in its folder: issuing, revoking, replacing it, and crashes between the steps."""

import contextlib
import datetime
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cluster.cluster.errors import AccessError, StateError
from pi_cluster.cluster.trust import signing
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.certificates import key_hash, utc_now
from pi_cluster.cluster.trust.credentials import load_credentials
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.issued import Certification
from pi_cluster.cluster.trust.key_proof import KeyProof
from pi_cluster.worker.trust.node_credentials import (
    credentials_folder,
    held_key,
    install_certification,
    request_certificate,
    request_with_proof,
)
from tests.support.authorities import CLUSTER, certify_node, credentials_of


@pytest.fixture
def authority(tmp_path):
    return ClusterAuthority.create(tmp_path / "config" / CLUSTER, CLUSTER)


def request(name="f00d"):
    return signing.make_signing_request(signing.new_key(), name)


def node(name="f00d"):
    return Identity(CLUSTER, Role.NODE, name)


def test_its_folder_and_keys_are_for_its_owner_alone(authority):
    assert authority.folder.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in authority.folder.iterdir()}
    secret = {name: mode for name, mode in modes.items() if name.endswith((".key", ".json"))}
    assert set(secret) >= {"authority.key", "operator.key", "coordinator.key", "nodes.json"}
    assert set(secret.values()) == {0o600}


def test_a_second_one_is_not_made_over_the_first(authority):
    before = authority.fingerprint
    with pytest.raises(StateError, match="has an authority already"):
        ClusterAuthority.create(authority.folder, CLUSTER)
    assert ClusterAuthority(authority.folder, CLUSTER).fingerprint == before


def test_what_an_interrupted_making_left_is_swept_away(tmp_path):
    leftover = tmp_path / f"{CLUSTER}.partial"
    leftover.mkdir()
    (leftover / "authority.key").write_text("half")
    authority = ClusterAuthority.create(tmp_path / CLUSTER, CLUSTER)
    assert not leftover.exists() and authority.issue(request(), node(), "pi")


def test_a_folder_without_the_authoritys_key_says_where_to_go(authority):
    (authority.folder / "authority.key").unlink()
    with pytest.raises(AccessError, match=f"where `pi-cluster init --cluster {CLUSTER}` was run"):
        ClusterAuthority(authority.folder, CLUSTER)


def test_a_key_that_others_can_read_is_refused_with_the_command(authority):
    key = authority.folder / "authority.key"
    key.chmod(0o640)
    with pytest.raises(AccessError, match=f"chmod 600 {key}"):
        ClusterAuthority(authority.folder, CLUSTER)


def test_every_certificate_is_remembered_also_when_many_are_issued_at_once(authority):
    names = [f"n{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: authority.issue(request(), node(name), name), names))
    assert sorted(one.id for one in authority.issued) == sorted(names)
    assert len({one.serial for one in authority.issued}) == 12


def test_revoking_takes_back_all_certificates_of_a_node_and_no_other(authority, tmp_path):
    id_a = certify_node(authority, tmp_path / "a")
    id_b = certify_node(authority, tmp_path / "b")
    certify_node(authority, tmp_path / "a")  # renewed
    before = authority.revocations_number
    assert authority.revoke(id_a) == before + 1
    held = load_credentials(authority.folder, Role.OPERATOR)
    assert held.revoked.number == before + 1
    assert held.revoked.serials == {one.serial for one in authority.issued if one.id == id_a}
    assert len(held.revoked.serials) == 2
    assert [one.id for one in authority.good] == [id_b]


def test_a_revoked_id_is_never_certified_again(authority):
    authority.issue(request(), node(), "pi")
    authority.revoke("f00d")
    with pytest.raises(AccessError, match="was revoked"):
        authority.issue(request(), node(), "pi")


def test_an_id_belongs_to_the_key_that_first_had_it(authority, tmp_path):
    node_id = certify_node(authority, tmp_path / "victim", "victim")
    own_key = held_key(tmp_path / "victim")
    thiefs_key, thiefs_request = signing.new_key(), request(node_id)
    worthless = [
        None,
        KeyProof.make(thiefs_key, thiefs_request),  # by another key
        KeyProof.make(own_key, request(node_id)),  # seen somewhere, and of another request
        replace(KeyProof.make(own_key, thiefs_request), public_key=b"none"),
        replace(KeyProof.make(own_key, thiefs_request), signature=bytes(70)),
        KeyProof(bytes(1 << 20), bytes(1 << 20)),
    ]
    before = authority.issued
    for proof in worthless:
        with pytest.raises(AccessError, match=r"\(victim\) has a certificate.*node\.json"):
            authority.issue(thiefs_request, node(node_id), "thief", proof)
    with pytest.raises(AccessError, match="has a certificate already"):
        authority.check_claim(node(node_id), key_hash(thiefs_key))
    assert authority.issued == before


def test_whoever_proves_the_key_gets_a_certificate_for_a_new_one_and_so_on(authority, tmp_path):
    for _ in range(3):
        node_id = certify_node(authority, tmp_path, "pi")  # each time by the key of the time before
    assert len({one.key for one in authority.issued}) == 3
    assert {one.id for one in authority.issued} == {node_id}
    authority.check_claim(node(node_id), key_hash(held_key(tmp_path)))


def test_an_id_stays_its_keys_when_its_certificate_has_expired_long_ago(authority, monkeypatch):
    authority.issue(request(), node(), "pi")
    later = utc_now() + datetime.timedelta(days=900)
    monkeypatch.setattr("pi_cluster.cluster.trust.ledger.utc_now", lambda: later)
    authority.issue(request("beef"), node("beef"), "another")
    assert {one.id for one in authority.issued} == {"f00d", "beef"}
    with pytest.raises(AccessError, match="has a certificate already"):
        authority.issue(request(), node(), "thief")


def test_a_certificate_that_got_lost_on_its_way_is_given_again(authority, tmp_path):
    """The host lost power, twice, after its request was signed and before the answer came."""
    node_id, first, _ = request_with_proof(tmp_path)
    authority.issue(first, node(node_id), "pi")
    request_with_proof(tmp_path)
    _, again, proof = request_with_proof(tmp_path)
    given = authority.issue(again, node(node_id), "pi", proof)
    assert give(authority, tmp_path, given).identity == node(node_id)


def test_a_proof_survives_its_way_as_json_and_what_is_none_is_refused():
    key, asked = signing.new_key(), request()
    proof = KeyProof.from_json(KeyProof.make(key, asked).to_json())
    assert proof.held_key(asked) == key_hash(key) and proof.held_key(request()) is None
    for text in ("", "{}", "[]", '["a"]', '["!", "!"]', "[1, 2, 3]", "[" * 5_000):
        with pytest.raises(ValueError):
            KeyProof.from_json(text)


@given(st.text(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_no_text_at_all_is_a_proof_that_was_not_made(text):
    with contextlib.suppress(ValueError):
        assert KeyProof.from_json(text).held_key(b"request") is None


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_no_bytes_at_all_prove_a_key(public_key, signature):
    assert KeyProof(public_key, signature).held_key(b"request") is None


def test_an_unknown_id_and_one_of_another_role_are_refused(authority):
    with pytest.raises(AccessError, match="no certificate was issued"):
        authority.revoke("f00d")
    authority.issue(request(), node(), "pi")
    with pytest.raises(AccessError, match="taken"):
        authority.issue(request(), Identity(CLUSTER, Role.COORDINATOR, "f00d"), "pi")
    with pytest.raises(AccessError, match="authority of"):
        authority.issue(request(), Identity("other", Role.NODE, "f00d"), "pi")


def test_a_torn_list_of_nodes_is_named(authority):
    (authority.folder / "nodes.json").write_text('{"revocations": 1, "issued": [{}]}')
    with pytest.raises(StateError, match=r"nodes\.json.*backup"):
        authority.revoke("f00d")


def give(authority, data_dir, given):
    install_certification(data_dir, CLUSTER, given)
    return load_credentials(credentials_folder(data_dir), Role.NODE)


def test_replacing_it_step_by_step_leaves_everybody_trusting_everybody(authority, tmp_path):
    ids = {name: certify_node(authority, tmp_path / name) for name in ("a", "b")}
    old = authority.fingerprint

    def all_trust_all():
        held = [load_credentials(credentials_folder(tmp_path / name), Role.NODE) for name in ids]
        held.append(load_credentials(authority.folder, Role.OPERATOR))
        for one in held:
            for other in held:
                one.check(other.certificate)

    authority.prepare_successor()
    assert authority.has_successor and authority.fingerprint == old
    for name in ids:
        give(authority, tmp_path / name, Certification(authorities=authority.authorities_pem))
        all_trust_all()
    authority.succeed()
    assert authority.has_predecessor and authority.fingerprint != old
    all_trust_all()
    for name in ids:
        certify_node(authority, tmp_path / name)
        all_trust_all()
    authority.forget_predecessor()
    assert not authority.has_predecessor
    for name in ids:
        give(authority, tmp_path / name, authority.news)
        all_trust_all()


def test_after_it_was_replaced_what_the_old_one_signed_is_worth_nothing(authority, tmp_path):
    stale = credentials_of(authority, tmp_path / "stale", Role.COORDINATOR, "laptop")
    certify_node(authority, tmp_path / "left-behind")
    authority.prepare_successor()
    authority.succeed()
    authority.forget_predecessor()
    operator = load_credentials(authority.folder, Role.OPERATOR)
    with pytest.raises(AccessError, match="not signed"):
        operator.check(load_credentials(stale, Role.COORDINATOR).certificate)
    assert authority.good == []


def test_a_power_cut_while_it_is_replaced_loses_nothing(authority):
    """The certificate is in its place, its key is not yet."""
    authority.prepare_successor()
    (authority.folder / "authority.pem.next").replace(authority.folder / "authority.pem")
    again = ClusterAuthority(authority.folder, CLUSTER)
    assert again.has_predecessor and not (authority.folder / "authority.key.next").exists()
    again.issue(request(), node(), "pi")
    again.forget_predecessor()
    assert load_credentials(again.folder, Role.OPERATOR).authorities == [again.certificate]


def test_a_successor_that_was_prepared_twice_is_the_same(authority):
    authority.prepare_successor()
    trusted = authority.authorities_pem
    ClusterAuthority(authority.folder, CLUSTER).prepare_successor()
    assert authority.authorities_pem == trusted


def test_a_request_of_a_node_does_not_disturb_what_it_uses(authority, tmp_path):
    certify_node(authority, tmp_path)
    before = load_credentials(credentials_folder(tmp_path), Role.NODE)
    request_certificate(tmp_path)
    assert load_credentials(credentials_folder(tmp_path), Role.NODE) == before
