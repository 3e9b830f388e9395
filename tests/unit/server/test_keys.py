"""Keys: shown once, kept as hashes for their owner alone, followed while they change."""

import json

import pytest

from pi_cluster.cluster.errors import AccessError
from pi_cluster.server.keys import FollowedKeys, KeyBook


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return KeyBook("kitchen")


def followed(book, **needed):
    return FollowedKeys(book, **({"always_needed": False} | needed))


def test_a_key_is_kept_as_a_hash_in_a_file_for_its_owner(book):
    key = book.create("phone")
    assert len(key) > 40 and key not in book.path.read_text()
    assert book.path.stat().st_mode & 0o777 == 0o600
    assert book.path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in book.entries] == ["phone"]


def test_a_running_server_follows_what_is_made_and_revoked(book):
    keys = followed(book)
    assert not keys.are_needed and keys.asker("pck_x") is None
    phone, laptop = book.create("phone"), book.create("laptop")
    assert keys.are_needed
    assert (keys.asker(phone), keys.asker(laptop)) == ("phone", "laptop")
    assert keys.asker(phone[:-1]) is None and keys.asker("é") is None
    book.revoke("phone")
    assert (keys.asker(phone), keys.asker(laptop)) == (None, "laptop")


def test_beyond_this_machine_the_last_key_that_goes_opens_nothing(book):
    keys = followed(book, always_needed=True)
    book.create("phone")
    book.revoke("phone")
    assert keys.are_needed and not followed(book).are_needed


@pytest.mark.parametrize("damage", ["torn", "exposed", "an entry of another kind", "out of reach"])
def test_a_file_that_cannot_be_trusted_lets_nobody_in(book, damage):
    keys, key = followed(book), book.create("phone")
    if damage == "exposed":
        book.path.chmod(0o644)
        book.path.write_text(book.path.read_text() + " ")
    elif damage == "torn":
        book.path.write_bytes(book.path.read_bytes()[:-9])
    elif damage == "out of reach":
        folder = book.path.parent
        folder.rename(folder.with_name("elsewhere"))
        folder.symlink_to(folder)  # a way that ends nowhere, also for root
    else:
        entry = {"name": "x", "digest": "", "created_unix_s": 0}
        book.path.write_text(json.dumps({"version": 1, "keys": [entry]}))
    assert keys.are_needed and keys.asker(key) is None


@pytest.mark.parametrize("name", ["", "-x", "a b", "x" * 65, "a\nb", "ü"])
def test_a_name_that_logs_could_not_show_is_refused(book, name):
    with pytest.raises(AccessError, match="no name of a key"):
        book.create(name)


def test_a_name_has_one_key_and_an_unknown_one_is_said_to_be(book):
    book.create("phone")
    with pytest.raises(AccessError, match=r"already.*key revoke phone --cluster kitchen"):
        book.create("phone")
    with pytest.raises(AccessError, match=r"no key 'tablet'.*key list --cluster kitchen"):
        book.revoke("tablet")
