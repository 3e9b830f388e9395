"""Join tokens: how a node and an operator who never met prove themselves to each other.

A token reads ``pc1.ID.SECRET.AUTHORITY``. The secret proves the node to the operator, by an HMAC
over a fresh nonce; the authority's hash proves the operator to the node, which takes a certificate
from that authority only. A token serves one node, until it expires.
"""

import base64
import contextlib
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from pi_cluster.cluster.atomic_file import locked
from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.json_file import JsonFile
from pi_cluster.cluster.private_files import read_secret
from pi_cluster.cluster.trust.certificates import utc_now
from pi_cluster.protos import pi_cluster_pb2 as pb

NONCE_BYTES = 32
_SECRET_BYTES = 32
_ID_BYTES = 4
_SHAPE = re.compile(r"pc1\.([0-9a-f]{8})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})")
_PURPOSE = b"pi-cluster enrolment 1"
_FORGET_AFTER_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Token:
    """What the operator hands to a node that is to join."""

    id: str
    secret: bytes = field(repr=False)
    authority: bytes
    """SHA-256 of the authority's public key."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """From its text. Raises ``AccessError`` when it is none; the message does not repeat it."""
        parts = _SHAPE.fullmatch(text.strip())
        if parts:
            token = cls(parts[1], _decoded(parts[2]), _decoded(parts[3]))
            if token.text == text.strip():
                return token
        raise AccessError(
            "that is no join token: copy all of it, from 'pc1.' to its end, as `pi-cluster token "
            "create` printed it"
        )

    @property
    def text(self) -> str:
        """The token as people copy it. It is a secret."""
        return f"pc1.{self.id}.{_encoded(self.secret)}.{_encoded(self.authority)}"


def introduction_proof(secret: bytes, nonce: bytes, introduction: pb.Introduction) -> bytes:
    """HMAC-SHA256 over the nonce and all that a node tells about itself."""
    texts = (introduction.node_id, introduction.name, introduction.token_id)
    parts = [nonce, *(text.encode() for text in texts), introduction.signing_request]
    # Each with its length before it, or bytes could move from one part to the next.
    told = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(secret, _PURPOSE + told, hashlib.sha256)


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """A token as the operator remembers it."""

    id: str
    secret: str = field(repr=False)
    expires_unix_s: float
    used_by: str = ""
    """Id of the node that it was used by, empty until then."""
    used_key: str = ""
    """Hash of that node's key: the same one may ask again when the answer got lost."""
    revoked: bool = False

    @property
    def state(self) -> str:
        """For people: ``open``, ``used``, ``expired`` or ``revoked``."""
        if self.revoked:
            return "revoked"
        if self.used_by:
            return "used"
        return "open" if utc_now().timestamp() < self.expires_unix_s else "expired"


class TokenBook:
    """The tokens of a cluster, in the operator's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = JsonFile(
            folder / "tokens.json", "remove it, and make new tokens", is_private=True
        )

    @property
    def entries(self) -> list[TokenEntry]:
        """All that still matter, oldest first.

        Raises as ``JsonFile.read`` does, and ``AccessError`` when others may read the file.
        """
        return self._file.read(lambda values: [_entry(one) for one in values], read_secret) or []

    @property
    def has_open(self) -> bool:
        """Whether any node may still join."""
        return any(entry.state == "open" for entry in self.entries)

    def create(self, authority: bytes, valid_s: float) -> Token:
        """A new token that pins an authority, given by the hash of its key."""
        token = Token(secrets.token_hex(_ID_BYTES), secrets.token_bytes(_SECRET_BYTES), authority)
        expires = utc_now().timestamp() + valid_s
        with locked(self._folder):
            entry = TokenEntry(token.id, _encoded(token.secret), expires)
            self._write([*self.entries, entry])
        return token

    def revoke(self, token_id: str) -> None:
        """Let nobody join by a token any more. Raises ``AccessError`` for an unknown one."""
        with locked(self._folder):
            entries = self.entries
            if not any(entry.id == token_id for entry in entries):
                raise AccessError(f"there is no token {token_id!r}")
            self._write(
                [replace(e, revoked=True, secret="") if e.id == token_id else e for e in entries]
            )

    def use(self, introduction: pb.Introduction, nonce: bytes, key: bytes) -> None:
        """Check a node's proof and use its token up, for the node with this key's hash alone.

        Raises ``AccessError`` when the token is unknown, revoked, expired, used by another node,
        or when the proof is wrong.
        """
        with locked(self._folder):
            entries = self.entries
            entry = next((one for one in entries if one.id == introduction.token_id), None)
            if entry is None:
                raise AccessError("its token is none of this cluster's")
            if entry.revoked:
                raise AccessError(f"its token {entry.id} was revoked")
            proof = introduction_proof(_decoded(entry.secret), nonce, introduction)
            if not hmac.compare_digest(proof, introduction.proof):
                raise AccessError(f"it does not know the secret of token {entry.id}")
            user = (introduction.node_id, key.hex())
            if entry.used_by and (entry.used_by, entry.used_key) != user:
                raise AccessError(f"its token {entry.id} was used by node {entry.used_by} before")
            if utc_now().timestamp() >= entry.expires_unix_s:
                raise AccessError(f"its token {entry.id} has expired: make a new one")
            used = replace(entry, used_by=user[0], used_key=user[1])
            self._write([used if one is entry else one for one in entries])

    def _write(self, entries: Sequence[TokenEntry]) -> None:
        oldest = utc_now().timestamp() - _FORGET_AFTER_S
        self._file.write([asdict(entry) for entry in entries if entry.expires_unix_s > oldest])


def _entry(values: dict[str, Any]) -> TokenEntry:
    entry = TokenEntry(**values)
    with contextlib.suppress(TypeError):
        _decoded(entry.secret)
        if entry.expires_unix_s >= 0 and isinstance(entry.revoked, bool):
            return entry
    raise ValueError("an entry is none")


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
