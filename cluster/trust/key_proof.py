"""Proof of being who had an id before: a signing request, signed with the key held until now.

Over SSH a host asks for a certificate under whatever id it says it has. The request itself shows
only that it holds the new key.
"""

import base64
import json
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pi_cluster.cluster.trust.certificates import Key, key_hash

_PURPOSE = b"pi-cluster renewal 1\0"
_MAX_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class KeyProof:
    """A public key, and what it signed; worth nothing until :meth:`held_key` was asked."""

    public_key: bytes
    """SubjectPublicKeyInfo, DER."""
    signature: bytes

    @classmethod
    def make(cls, key: Key, signing_request: bytes) -> Self:
        """Sign a request for a new key with the present one."""
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(public, key.sign(_PURPOSE + signing_request, ec.ECDSA(hashes.SHA256())))

    def held_key(self, signing_request: bytes) -> bytes | None:
        """The hash of the key whose holder signed this very request; None if nobody did."""
        if max(len(self.public_key), len(self.signature)) > _MAX_BYTES:
            return None
        try:
            key = serialization.load_der_public_key(self.public_key)
            if not isinstance(key, ec.EllipticCurvePublicKey):
                return None
            key.verify(self.signature, _PURPOSE + signing_request, ec.ECDSA(hashes.SHA256()))
        except (ValueError, InvalidSignature):
            return None
        return key_hash(key)

    def to_json(self) -> str:
        """As it goes over SSH."""
        parts = (self.public_key, self.signature)
        return json.dumps([base64.b64encode(part).decode() for part in parts])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ``ValueError`` when it is none."""
        try:
            parts = json.loads(text[: 4 * _MAX_BYTES])
        except RecursionError:
            raise ValueError("a proof is no nest of lists") from None
        if not isinstance(parts, list) or len(parts) != 2:
            raise ValueError("a proof has two parts")
        return cls(*(base64.b64decode(str(part), validate=True) for part in parts))
