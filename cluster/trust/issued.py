"""What somebody is given to take part in a cluster, on the wire and as JSON.

The list of what an authority has given to whom is in `ledger.py`.
"""

import json
from dataclasses import dataclass
from typing import Self

from pi_cluster.cluster.errors import AccessError
from pi_cluster.protos import pi_cluster_pb2 as pb

_FIELDS = ("certificate", "authorities", "revocations")


@dataclass(frozen=True, slots=True)
class Certification:
    """What somebody is given to take part in a cluster. What is empty stays as it was."""

    certificate: bytes = b""
    """PEM, as the others."""
    authorities: bytes = b""
    revocations: bytes = b""

    def to_wire(self) -> pb.Certification:
        """As ``Certify`` and ``Admit`` carry it."""
        return pb.Certification(
            certificate=self.certificate,
            authorities=self.authorities,
            revocations=self.revocations,
        )

    @classmethod
    def from_wire(cls, message: pb.Certification) -> Self:
        """From ``Certify`` or ``Admit``; unchecked."""
        return cls(message.certificate, message.authorities, message.revocations)

    def to_json(self) -> str:
        """A JSON object of three texts in PEM."""
        return json.dumps({name: getattr(self, name).decode() for name in _FIELDS})

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """From :meth:`to_json`; unchecked. Raises ``AccessError`` when it is none."""
        try:
            values = json.loads(text)
            return cls(*(str(values[name]).encode("ascii") for name in _FIELDS))
        except (ValueError, TypeError, KeyError, RecursionError):
            raise AccessError("that is no JSON object of certificates") from None
