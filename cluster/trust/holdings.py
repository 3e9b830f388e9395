"""What this user has of a cluster's trust, as far as the names of files tell; nothing is read."""

from pathlib import Path

from pi_cluster.cluster.trust.identity import Role

AUTHORITIES = "authorities.pem"
AUTHORITY_KEY = "authority.key"


def is_initialised(folder: Path) -> bool:
    """Whether a cluster has certificates on this machine, made or granted."""
    return (folder / AUTHORITIES).exists()


def can_sign(folder: Path) -> bool:
    """Whether the authority itself is here: this user is the cluster's operator."""
    return is_initialised(folder) and (folder / AUTHORITY_KEY).exists()


def held_role(folder: Path, *roles: Role) -> Role | None:
    """The first of these roles for which a certificate lies there."""
    return next((role for role in roles if has_credentials(folder, role)), None)


def has_credentials(folder: Path, role: Role) -> bool:
    """Whether a certificate for this role lies there."""
    return (folder / f"{role}.pem").exists()
