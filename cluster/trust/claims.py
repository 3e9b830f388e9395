"""Who may have an id: whoever had it first, for as long as it was not taken back."""

from collections.abc import Sequence

from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.ledger import Issued


def check_claim(issued: Sequence[Issued], identity: Identity, keys: Sequence[bytes] | None) -> None:
    """Raise ``AccessError`` when the holder of keys, given by their hashes, must not get an id.

    A node's id belongs to the key that first had it, and to those that one led to. None for
    ``keys`` stands for a connection on which they were proven. Coordinators are called as the
    operator calls them, who makes their keys; one may become a healer, but what a healer's
    certificate allows ends only with it.
    """
    earlier = [one for one in issued if one.id == identity.id]
    if any(one.revoked for one in earlier):
        raise AccessError(
            f"{identity.label} was revoked, which is for ever: let it take part under a "
            "new id (remove node.json and credentials/ from its data directory)"
        )
    if taken := next((one.role for one in earlier if not _may_become(one.role, identity)), None):
        raise AccessError(_taken(identity, taken))
    if identity.role is not Role.NODE or keys is None or not earlier:
        return
    if not {one.key for one in earlier} & {key.hex() for key in keys}:
        raise AccessError(
            f"node {identity.id} ({earlier[-1].name}) has a certificate already, and this one "
            "cannot show that it has that node's key: if its card was copied or set up anew, "
            "or its key was lost, remove node.json and credentials/ from its data directory, "
            "so that it gets an id of its own; its shards stay"
        )


def _may_become(role: Role, identity: Identity) -> bool:
    return role is identity.role or (role, identity.role) == (Role.COORDINATOR, Role.HEALER)


def _taken(identity: Identity, by: Role) -> str:
    if (by, identity.role) == (Role.HEALER, Role.COORDINATOR):
        return (
            f"{identity.id!r} may heal the pipeline, and a grant without that would not end it: "
            f"revoke it (`{command(identity.cluster, 'node', 'revoke', identity.id)}`), and choose "
            "another name"
        )
    return f"{identity.id!r} is taken already, by a {by}: choose another name"
