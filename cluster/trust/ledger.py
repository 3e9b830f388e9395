"""What an authority has signed, and how often it has taken something back: ``nodes.json``."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pi_cluster.cluster.errors import StateError
from pi_cluster.cluster.json_file import JsonFile
from pi_cluster.cluster.private_files import read_secret
from pi_cluster.cluster.trust.certificates import utc_now
from pi_cluster.cluster.trust.identity import Role

_FORGET_AFTER_S = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that the authority has signed for a node or a granted coordinator."""

    role: Role
    id: str
    name: str
    """For people."""
    serial: int
    key: str
    """SHA-256 of its public key, in hexadecimal."""
    expires_unix_s: float
    authority: str
    """The hash of the authority that signed it: another one may have taken its place since."""
    revoked: bool = False


class Ledger:
    """The list in an authority's folder, whose lock whoever writes must hold."""

    def __init__(self, folder: Path) -> None:
        self._file = JsonFile(
            folder / "nodes.json",
            "put it back from a backup; what it holds is needed to revoke nodes",
            is_private=True,
        )

    def read(self) -> tuple[int, list[Issued]]:
        """The number of the newest revocation list, and the certificates, oldest first.

        Raises as ``JsonFile.read`` does, and ``AccessError`` when others may read it.
        """
        found = self._file.read(_number_and_issued, read_secret)
        if found is None:
            raise StateError(f"{self._file.path} is missing: {self._file.next_step}")
        return found

    def write(self, number: int, issued: Sequence[Issued]) -> None:
        """Keep the list, without what has expired long ago."""
        # What was revoked stays for ever: a node whose clock is behind would believe it again. So
        # does the last certificate of each id: nobody else may have that id afterwards.
        expired = utc_now().timestamp() - _FORGET_AFTER_S
        last = {one.id: one.serial for one in issued}
        kept = [
            one
            for one in issued
            if one.revoked or one.expires_unix_s > expired or last[one.id] == one.serial
        ]
        entries = [asdict(one) | {"serial": f"{one.serial:x}"} for one in kept]
        self._file.write({"revocations": number, "issued": entries})


def _number_and_issued(values: dict[str, Any]) -> tuple[int, list[Issued]]:
    return int(values["revocations"]), [_issued(one) for one in values["issued"]]


def _issued(values: dict[str, Any]) -> Issued:
    return Issued(
        role=Role(values["role"]),
        id=str(values["id"]),
        name=str(values["name"]),
        serial=int(values["serial"], 16),
        key=str(values["key"]),
        expires_unix_s=float(values["expires_unix_s"]),
        authority=str(values["authority"]),
        revoked=bool(values["revoked"]),
    )
