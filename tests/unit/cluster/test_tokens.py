"""Join tokens: their text, their proofs, and that each serves one node for a while."""

import datetime
import secrets
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cluster.cluster.errors import AccessError, StateError
from pi_cluster.cluster.trust.certificates import utc_now
from pi_cluster.cluster.trust.tokens import Token, TokenBook, introduction_proof
from pi_cluster.protos import pi_cluster_pb2 as pb

HASH = bytes(range(32))
NONCE = bytes(32)
keys = st.binary(min_size=32, max_size=32)


@pytest.fixture
def book(tmp_path):
    return TokenBook(tmp_path)


def introduced(token, nonce=NONCE, **others):
    values = {"node_id": "f00d", "name": "pi", "token_id": token.id, "signing_request": b"req"}
    introduction = pb.Introduction(**(values | others))
    introduction.proof = introduction_proof(token.secret, nonce, introduction)
    return introduction


@given(st.from_regex(r"[0-9a-f]{8}", fullmatch=True), keys, keys)
def test_a_token_parses_back_from_its_text(name, secret, authority):
    token = Token(name, secret, authority)
    assert Token.parse(token.text) == token
    assert Token.parse(f"  {token.text}\n") == token


@given(st.text(max_size=120))
def test_other_texts_are_no_tokens_and_are_not_repeated_in_the_message(text):
    with pytest.raises(AccessError) as error:
        Token.parse(text)
    assert len(text) < 12 or text not in str(error.value)


def test_a_token_with_a_character_lost_or_changed_at_its_end_is_none():
    text = Token("0" * 8, HASH, HASH).text
    with pytest.raises(AccessError):
        Token.parse(text[:-1])
    # The last character holds four bits only: another one with the same bits is not accepted.
    with pytest.raises(AccessError):
        Token.parse(text[:-1] + chr(ord(text[-1]) + 1))


def test_a_secret_does_not_show_when_a_token_is_printed(book):
    token = book.create(HASH, 60)
    secret = token.text.split(".")[2]
    assert secret not in repr(token) and secret not in repr(book.entries)
    assert repr(token.secret) not in repr(token)


@given(keys, keys, st.lists(st.text(max_size=20), min_size=3, max_size=3), st.binary(max_size=40))
def test_a_proof_holds_for_exactly_what_it_was_made_for(secret, nonce, texts, request):
    def proof(*values):
        node_id, name, token_id, signing_request, used_nonce, used_secret = values
        introduction = pb.Introduction(
            node_id=node_id, name=name, token_id=token_id, signing_request=signing_request
        )
        return introduction_proof(used_secret, used_nonce, introduction)

    told = [*texts, request, nonce, secret]
    expected = proof(*told)
    assert proof(*told) == expected
    for index in range(len(told)):
        changed = list(told)
        changed[index] = changed[index] + ("x" if isinstance(changed[index], str) else b"x")
        assert proof(*changed) != expected
    moved = [texts[0] + texts[1], "", *told[2:]]
    assert moved == told or proof(*moved) != expected


def test_a_token_serves_one_node_and_that_one_again_if_the_answer_was_lost(book):
    token = book.create(HASH, 60)
    assert book.has_open
    book.use(introduced(token), NONCE, b"key")
    assert not book.has_open and book.entries[0].state == "used"
    book.use(introduced(token), NONCE, b"key")
    for introduction, key in [
        (introduced(token), b"another key"),
        (introduced(token, node_id="d00f"), b"key"),
    ]:
        with pytest.raises(AccessError, match="used by node f00d before"):
            book.use(introduction, NONCE, key)


def test_a_proof_for_another_nonce_or_secret_is_refused_and_uses_nothing_up(book):
    token = book.create(HASH, 60)
    guessed = Token(token.id, secrets.token_bytes(32), HASH)
    for introduction in (introduced(token, nonce=bytes([1] * 32)), introduced(guessed)):
        with pytest.raises(AccessError, match="does not know the secret"):
            book.use(introduction, NONCE, b"key")
    with pytest.raises(AccessError, match="none of this cluster's"):
        book.use(introduced(Token("0" * 8, HASH, HASH)), NONCE, b"key")
    book.use(introduced(token), NONCE, b"key")


def test_an_expired_or_revoked_token_lets_nobody_in(book):
    late, revoked = book.create(HASH, 60), book.create(HASH, 60)
    book.revoke(revoked.id)
    with pytest.raises(AccessError, match="revoked"):
        book.use(introduced(revoked), NONCE, b"key")
    later = utc_now() + datetime.timedelta(seconds=61)
    with mock.patch("pi_cluster.cluster.trust.tokens.utc_now", lambda: later):
        assert [entry.state for entry in book.entries] == ["expired", "revoked"]
        with pytest.raises(AccessError, match="expired"):
            book.use(introduced(late), NONCE, b"key")
    with pytest.raises(AccessError, match="no token 'nope'"):
        book.revoke("nope")


def test_the_file_is_private_and_a_torn_one_is_named(book, tmp_path):
    book.create(HASH, 60)
    path = tmp_path / "tokens.json"
    assert path.stat().st_mode & 0o777 == 0o600
    for text in ("{", "[1]", '[{"id": 1}]'):
        path.write_text(text)
        with pytest.raises(StateError, match=r"tokens\.json"):
            _ = book.entries
