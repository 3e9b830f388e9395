"""Who may call what, and how large a message may be: one table, and what is not in it is refused.

Beyond this table, a stage takes steps only from whoever comes before it
(``worker/stage/sessions.py``), and a healer has only those weights brought to a node that an
operator has named there (``worker/trust/named_shards.py``).
"""

from dataclasses import dataclass

from pi_cluster.cluster.settings import MAX_ECHO_BYTES, MAX_REQUEST_BYTES, MAX_SHARD_PART_BYTES
from pi_cluster.cluster.store.manifest import MAX_MANIFEST_BYTES
from pi_cluster.cluster.trust.identity import Role

_OPERATOR = frozenset({Role.OPERATOR})
_HEALING = frozenset({Role.OPERATOR, Role.HEALER})
_ASKING = frozenset({Role.OPERATOR, Role.HEALER, Role.COORDINATOR})
_FETCHING = frozenset({Role.OPERATOR, Role.NODE})
_ALL = frozenset(Role)

_SMALL_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for one method."""

    roles: frozenset[Role]
    max_bytes: int = _SMALL_BYTES
    """Of each message that the caller sends, its large fields not counted."""
    large_fields: tuple[tuple[int, ...], ...] = ()
    """Paths of field numbers to the fields of bytes that may be large."""
    max_large_bytes: int = 0


WORKER_RULES = {
    f"/pi_cluster.v1.Worker/{method}": rule
    for method, rule in {
        "Describe": Rule(_ALL),
        "Ping": Rule(_ALL),
        "FindShards": Rule(_HEALING, 256 << 10),
        "PutShard": Rule(_OPERATOR, large_fields=((3,),), max_large_bytes=MAX_SHARD_PART_BYTES),
        "GetShard": Rule(_FETCHING),
        "FetchShard": Rule(_HEALING),
        "VerifyShards": Rule(_OPERATOR),
        "LoadStage": Rule(_HEALING, MAX_MANIFEST_BYTES + _SMALL_BYTES),
        "UnloadStage": Rule(_HEALING),
        # Hidden states, and what may follow each row.
        "RunSteps": Rule(_ALL, 256 << 10, ((2, 4), (2, 2, 7)), MAX_REQUEST_BYTES),
        "CollectResults": Rule(_ASKING),
        "MeasureNode": Rule(_HEALING),
        "MeasureLink": Rule(_HEALING),
        "Echo": Rule(_FETCHING | _HEALING, large_fields=((1,),), max_large_bytes=MAX_ECHO_BYTES),
        "Examine": Rule(_OPERATOR),
        "RequestCertificate": Rule(_OPERATOR),
        "Certify": Rule(_OPERATOR, 3 << 20),
    }.items()
}
"""By the method's full name."""

ENROLMENT_RULES = {
    f"/pi_cluster.v1.Enrolment/{method}": rule
    for method, rule in {
        "Introduce": Rule(frozenset()),
        "Admit": Rule(frozenset(), 3 << 20),
    }.items()
}
"""Who calls these cannot be known before: the join token proves both sides to each other."""
