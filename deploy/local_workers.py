"""Workers on this machine, in the background: started, found again, stopped.

Each has a supervisor (`supervisor.py`), which starts it again when it is killed.
"""

import contextlib
import logging
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import AccessError, ClusterError, NodeError
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.certificates import check_certificate, key_hash, utc_now
from pi_cluster.cluster.trust.credentials import load_credentials
from pi_cluster.cluster.trust.holdings import is_initialised
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.key_proof import KeyProof
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.deploy import supervisor
from pi_cluster.deploy.known_local_workers import data_dirs, find_supervisor, log_file
from pi_cluster.kernels import usable_cores
from pi_cluster.worker.command_line import WorkerCommand
from pi_cluster.worker.identity import forget_identity
from pi_cluster.worker.presence import Presence, find_presence
from pi_cluster.worker.trust.node_credentials import (
    credentials_folder,
    held_key,
    install_certification,
    node_identity,
    request_certificate,
)

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 30.0  # a Pi imports numpy and gRPC from a microSD card in about ten
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.02


def ensure_local_workers(cluster: str, count: int) -> list[Peer]:
    """Have exactly ``count`` local workers run for ``cluster``; those that do are kept."""
    _stop(data_dirs(cluster)[count:])
    _certify([settings.local_worker_data(cluster, i) for i in range(1, count + 1)], cluster)
    # They share the cores: more threads than cores would spin against each other.
    threads = max(1, usable_cores() // count)
    names = [(settings.local_worker_data(cluster, i), f"local-{i}") for i in range(1, count + 1)]
    started = {
        data_dir: process
        for data_dir, name in names
        if (process := _supervised(cluster, data_dir, name, threads))
    }
    return [
        _await_ready(cluster, data_dir, name, started.get(data_dir)) for data_dir, name in names
    ]


def stop_local_workers(cluster: str) -> int:
    """Stop every local worker of ``cluster``; returns how many ran."""
    return _stop(data_dirs(cluster))


def _certify(data_dirs: Sequence[Path], cluster: str) -> None:
    """Give local workers certificates where the cluster has them and they have none that holds."""
    config = settings.cluster_config(cluster)
    if not is_initialised(config):
        return
    authority = ClusterAuthority(config, cluster)
    for data_dir in data_dirs:
        folder = credentials_folder(data_dir)
        if not _is_certified_by(authority, folder):
            data_dir.mkdir(parents=True, exist_ok=True)
            _stop([data_dir])  # it serves in the clear, or with what nobody believes
            held = held_key(data_dir)
            shutil.rmtree(folder, ignore_errors=True)
            try:
                key = key_hash(held) if held else b""
                authority.check_claim(node_identity(data_dir, cluster), key)
            except AccessError:
                forget_identity(data_dir)  # it was revoked, or its key is lost
            node_id, request = request_certificate(data_dir)
            identity = Identity(cluster, Role.NODE, node_id)
            proof = KeyProof.make(held, request) if held else None
            given = authority.issue(request, identity, data_dir.name, proof)
            install_certification(data_dir, cluster, given)


def _is_certified_by(authority: ClusterAuthority, folder: Path) -> bool:
    try:
        certificate = load_credentials(folder, Role.NODE).certificate
        check_certificate(certificate, authority.authorities, authority.revoked, utc_now())
    except AccessError:
        return False
    return True


def _supervised(
    cluster: str, data_dir: Path, name: str, threads: int
) -> subprocess.Popen[bytes] | None:
    """Have a worker run that is started again when it ends; returns its process if it is new."""
    is_running = find_presence(data_dir) is not None
    if is_running and find_supervisor(data_dir):
        return None
    if not is_running:
        _stop([data_dir])  # whoever waits to start it again: nobody is to wait for that now
    process = _start(cluster, data_dir, name, threads)
    if not is_running:
        return process
    # It takes over the one that runs.
    assert process.stdout is not None
    process.stdout.close()
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while find_supervisor(data_dir) is None and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    process.returncode = 0  # it is meant to outlive us: nothing is to wait for it
    return None


def _start(cluster: str, data_dir: Path, name: str, threads: int) -> subprocess.Popen[bytes]:
    log_path = log_file(cluster, name)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    worker = WorkerCommand(
        cluster, str(data_dir), threads=threads, listen="127.0.0.1:0", name=name
    ).words
    # -I and -S: it needs nothing that is installed, and each import would cost memory.
    words = [sys.executable, "-I", "-S", supervisor.__file__, str(data_dir), name, *worker]
    with log_path.open("ab") as log_to:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log_to,
            start_new_session=True,  # Ctrl-C in this terminal is not meant for the worker
        )


def _await_ready(
    cluster: str, data_dir: Path, name: str, process: subprocess.Popen[bytes] | None
) -> Peer:
    """The address of a worker that runs already, or that says ``ready`` on its output."""
    if process is not None:
        assert process.stdout is not None
        with process.stdout as output:
            readable, _, _ = select.select([output], [], [], _START_TIMEOUT_S)
            line = output.readline() if readable else b""
        if not line.startswith(b"ready "):
            process.terminate()
            process.wait()
            _stop([data_dir])
            raise ClusterError(f"{name} did not start; the end of its log:\n{_tail(cluster, name)}")
        process.returncode = 0  # it is meant to outlive us: nothing is to wait for it
    presence = _await_address(data_dir)
    if presence is None or not presence.address:
        raise NodeError(
            f"{name} is not answering: run `{command(cluster, 'down')}`, and then the same again; "
            f"its log is {log_file(cluster, name)}"
        )
    return Peer(presence.address, presence.node_id, name)


def _await_address(data_dir: Path) -> Presence | None:
    """Who runs there, with its address: one that was started again just now has none yet."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while (presence := find_presence(data_dir)) and time.monotonic() < deadline:
        if presence.address:
            break
        time.sleep(_POLL_S)
    return presence


def _tail(cluster: str, name: str) -> str:
    lines = log_file(cluster, name).read_text(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-5:])


def _stop(data_dirs: Sequence[Path]) -> int:
    """Ask workers to leave, and insist where one does not; returns how many there were.

    Before them whoever would start them again.
    """
    running = [path for path in data_dirs if find_supervisor(path) or find_presence(path)]
    _end([found for path in running if (found := find_supervisor(path))])
    _end([found for path in running if (found := find_presence(path))])
    return len(running)


def _end(found: Sequence[Presence]) -> None:
    processes = []
    for presence in found:
        # The lock proves that the process lives and is this one: its id is no stranger's.
        with contextlib.suppress(psutil.NoSuchProcess):
            processes.append(psutil.Process(presence.process_id))
            processes[-1].terminate()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if not _ends(process):
                log.warning("worker process %d does not leave; killing it", process.pid)
                process.kill()
                _ends(process)


def _ends(process: psutil.Process) -> bool:
    """Wait for a process that is not our child; false when it takes too long."""
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    # A zombie has ended; when it is reaped is between it and its parent.
    while process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
