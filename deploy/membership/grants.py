"""A coordinator's credentials and the pipeline's record, in one file for another machine.

The file holds a private key: whoever has it may ask the cluster, and mend its pipeline if the
grant says so, and no more than that.
"""

import base64
import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pi_cluster.cluster import private_files, settings
from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.errors import AccessError, StateError
from pi_cluster.cluster.json_file import JsonFile
from pi_cluster.cluster.trust import certificates, installing, signing
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.credentials import NEXT
from pi_cluster.cluster.trust.holdings import AUTHORITIES, has_credentials, is_initialised
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.issued import Certification
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.coordinator.records.known_nodes import addresses_file

_VERSION = 1
_MAX_BYTES = 64 << 20
_GRANTED = (Role.COORDINATOR, Role.HEALER)


@dataclass(frozen=True, slots=True)
class Grant:
    """What such a file holds."""

    cluster: str
    key_pem: bytes
    certification: Certification
    files: dict[str, bytes]
    """Of the pipeline's record, by name; empty if no pipeline was up."""


def make_grant(authority: ClusterAuthority, name: str, *, may_heal: bool = False) -> Grant:
    """Certify a new key as a coordinator called ``name``, or as a healer.

    Raises ``AccessError`` where somebody else, or one who may do more, is called so.
    """
    identity = Identity(authority.cluster, Role.HEALER if may_heal else Role.COORDINATOR, name)
    if name == Role.COORDINATOR:
        raise AccessError(f"{name!r} is what you are called yourself: choose another name")
    key = signing.new_key()
    given = authority.issue(signing.make_signing_request(key, name), identity, name)
    files: dict[str, bytes] = {}
    with contextlib.suppress(StateError):
        record = load_record(authority.cluster)
        files = {path.name: path.read_bytes() for path in record.files}
        met = addresses_file(record.folder)
        if may_heal and met.exists():  # layers may go to nodes without a stage, too
            files[met.name] = met.read_bytes()
    return Grant(authority.cluster, certificates.key_pem(key), given, files)


def write_grant(grant: Grant, path: Path) -> None:
    """Write the file, for its owner alone to read."""
    values = {
        "cluster": grant.cluster,
        "key": grant.key_pem.decode(),
        "certification": json.loads(grant.certification.to_json()),
        "files": {name: base64.b64encode(data).decode() for name, data in grant.files.items()},
    }
    _file(path).write(values)


def read_grant(path: Path) -> Grant:
    """Read a file of :func:`write_grant`; unchecked but for its shape.

    Raises as ``JsonFile.read`` does.
    """
    grant = _file(path).read(_grant)
    if grant is None:
        raise StateError(f"there is no file {path}: see that its name is spelt right")
    return grant


def accept_grant(grant: Grant) -> None:
    """Put credentials and record in their places for this user.

    A grant of the same cluster and authority from before is replaced, whatever it allowed. Raises
    ``AccessError`` where this user operates a cluster of that name.
    """
    folder = settings.cluster_config(grant.cluster)
    certificate = certificates.read_certificate(grant.certification.certificate)
    identity = certificates.identity_of(certificate)
    if has_credentials(folder, Role.OPERATOR):
        raise AccessError(
            f"this user operates a cluster {grant.cluster!r} already, and needs no grant for it"
        )
    if identity.cluster != grant.cluster or identity.role not in _GRANTED:
        raise AccessError(f"the grant is for {identity}, not for a coordinator of {grant.cluster}")
    if is_initialised(folder):
        _check_same_authority(folder, grant)
    private_files.make_private_folder(folder)
    write_bytes(folder / f"{identity.role}.key{NEXT}", grant.key_pem, private=True)
    installing.install(folder, identity.role, grant.certification, identity)
    for role in _GRANTED:
        if role is not identity.role:
            for suffix in ("pem", "key", f"key{NEXT}"):
                (folder / f"{role}.{suffix}").unlink(missing_ok=True)
    state = settings.cluster_state(grant.cluster)
    state.mkdir(parents=True, exist_ok=True)
    for name, data in grant.files.items():
        write_bytes(state / name, data)


def _file(path: Path) -> JsonFile:
    next_step = "make one with `pi-cluster grant NAME --out FILE`"
    return JsonFile(
        path, next_step, _VERSION, is_private=True, most_bytes=_MAX_BYTES, problem="is no grant"
    )


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
