"""Who somebody is: ``pi-cluster://CLUSTER/ROLE/ID``, which certificates carry."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import AccessError, StateError

_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_URI = re.compile(r"pi-cluster://([^/]{1,32})/([a-z]{1,16})/([^/]{1,63})")


class Role(StrEnum):
    """What somebody is in a cluster, which decides what they may call (``roles.py``)."""

    OPERATOR = "operator"
    HEALER = "healer"
    """A coordinator that may also load the model that is up on other nodes, when some are lost."""
    COORDINATOR = "coordinator"
    NODE = "node"

    @property
    def grant_words(self) -> tuple[str, ...]:
        """The command by which an operator grants it to a machine."""
        may_heal = ("--may-heal",) if self is Role.HEALER else ()
        return ("grant", "NAME", *may_heal, "--out", "FILE")


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody in a cluster. Raises ``StateError`` or ``AccessError`` when it could not be one."""

    cluster: str
    role: Role
    id: str

    def __post_init__(self) -> None:
        settings.check_cluster_name(self.cluster)
        if not _ID.fullmatch(self.id) or self.id == "any":
            raise AccessError(
                f"{self.id!r} is not a name for a {self.role}: use up to 63 small letters, digits "
                "and '-', and not 'any'"
            )

    @classmethod
    def parse(cls, uri: str) -> Self:
        """From ``pi-cluster://CLUSTER/ROLE/ID``. Raises ``AccessError`` when it is none."""
        parts = _URI.fullmatch(uri)
        if not parts:
            raise AccessError(f"{uri[:100]!r} is no identity of a cluster")
        try:
            return cls(parts[1], Role(parts[2]), parts[3])
        except (ValueError, StateError):
            raise AccessError(f"{uri!r} is no identity of a cluster") from None

    def __str__(self) -> str:
        return f"pi-cluster://{self.cluster}/{self.role}/{self.id}"

    @property
    def label(self) -> str:
        """For messages: ``node 1f3c...``."""
        return f"{self.role} {self.id}"
