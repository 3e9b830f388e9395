"""A coordinator's credentials and the pipeline's record, in one file for another machine.

The file holds a private key: whoever has it may ask the cluster, and no more than that.
"""

import base64
import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pi_cluster.cluster import settings
from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.errors import AccessError, ClusterError, StateError
from pi_cluster.cluster.trust import certificates, installing, private_files, signing
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.holdings import AUTHORITIES, has_credentials, is_initialised
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.issued import Certification
from pi_cluster.coordinator.records.pipeline_record import load_record

_VERSION = 1
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Grant:
    """What such a file holds."""

    cluster: str
    key_pem: bytes
    certification: Certification
    files: dict[str, bytes]
    """Of the pipeline's record, by name; empty if no pipeline was up."""


def make_grant(authority: ClusterAuthority, name: str) -> Grant:
    """Certify a new key as a coordinator called ``name``. Raises ``AccessError``."""
    identity = Identity(authority.cluster, Role.COORDINATOR, name)
    if name == Role.COORDINATOR:
        raise AccessError(f"{name!r} is what you are called yourself: choose another name")
    key = signing.new_key()
    given = authority.issue(signing.make_signing_request(key, name), identity, name)
    files: dict[str, bytes] = {}
    with contextlib.suppress(StateError):
        record = load_record(authority.cluster)
        files = {path.name: path.read_bytes() for path in record.files}
    return Grant(authority.cluster, certificates.key_pem(key), given, files)


def write_grant(grant: Grant, path: Path) -> None:
    """Write the file, for its owner alone to read."""
    values = {
        "version": _VERSION,
        "cluster": grant.cluster,
        "key": grant.key_pem.decode(),
        "certification": json.loads(grant.certification.to_json()),
        "files": {name: base64.b64encode(data).decode() for name, data in grant.files.items()},
    }
    write_bytes(path, json.dumps(values, indent=1).encode() + b"\n", private=True)


def read_grant(path: Path) -> Grant:
    """Read a file of :func:`write_grant`; unchecked but for its shape. Raises ``StateError``."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from None
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError("it is too large")
        return _grant(json.loads(data))
    except (ValueError, TypeError, KeyError, AttributeError, ClusterError) as error:
        raise StateError(
            f"{path} is no grant ({error}): make one with `pi-cluster grant NAME --out FILE`"
        ) from None


def accept_grant(grant: Grant) -> None:
    """Put credentials and record in their places for this user.

    A grant of the same cluster and authority from before is replaced. Raises ``AccessError`` where
    this user operates a cluster of that name.
    """
    folder = settings.cluster_config(grant.cluster)
    certificate = certificates.read_certificate(grant.certification.certificate)
    identity = certificates.identity_of(certificate)
    if has_credentials(folder, Role.OPERATOR):
        raise AccessError(
            f"this user operates a cluster {grant.cluster!r} already, and needs no grant for it"
        )
    if (identity.cluster, identity.role) != (grant.cluster, Role.COORDINATOR):
        raise AccessError(f"the grant is for {identity}, not for a coordinator of {grant.cluster}")
    if is_initialised(folder):
        _check_same_authority(folder, grant)
    private_files.make_private_folder(folder)
    write_bytes(folder / f"{Role.COORDINATOR}.key.next", grant.key_pem, private=True)
    installing.install(folder, Role.COORDINATOR, grant.certification, identity)
    state = settings.cluster_state(grant.cluster)
    state.mkdir(parents=True, exist_ok=True)
    for name, data in grant.files.items():
        write_bytes(state / name, data)


def _check_same_authority(folder: Path, grant: Grant) -> None:
    held = private_files.read_file(folder / AUTHORITIES)
    known = {certificates.key_hash(one) for one in certificates.read_authorities(held)}
    given = certificates.read_authorities(grant.certification.authorities)
    if not known & {certificates.key_hash(one) for one in given}:
        raise AccessError(
            f"this user has certificates of another cluster called {grant.cluster!r}: remove "
            f"{folder} first if that one is no longer needed"
        )


def _grant(values: dict[str, Any]) -> Grant:
    if values["version"] != _VERSION:
        raise ValueError("it is of another version of pi-cluster")
    files = {
        str(name): base64.b64decode(data, validate=True) for name, data in values["files"].items()
    }
    for name in files:
        if Path(name).name != name or name.startswith("."):
            raise ValueError(f"{name!r} is no name of a file")
    return Grant(
        cluster=settings.check_cluster_name(values["cluster"]),
        key_pem=str(values["key"]).encode("ascii"),
        certification=Certification.from_json(json.dumps(values["certification"]).encode()),
        files=files,
    )
