"""How this machine is, for whoever judges it (``deploy/doctor/judgement.py``).

All of it can be had by an unprivileged user in a hardened service; what the system does not tell
is left out. One examination runs at a time, bounded in what it reads and how long it takes.
"""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pi_cluster.cluster.discovery import mdns
from pi_cluster.cluster.errors import ClusterError, NodeError
from pi_cluster.cluster.wire.peer import check_address
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.worker.machine import (
    board,
    clock,
    disk,
    memory_pressure,
    operating_system,
    port_settings,
    ports,
    reach,
)
from pi_cluster.worker.machine.system_files import ROOT

log = logging.getLogger(__name__)

MOST_ADDRESSES = 64
MOST_LISTEN_MS = 5_000

_MOST_HEARD = 256
_MAX_NODE_ID = 64
_TURN_S = 20.0  # somebody else's examination takes less


class Examiner:
    """Looks at the machine when asked to."""

    def __init__(self, cluster: str, shards: Path, root: Path = ROOT) -> None:
        """``shards`` is the folder whose disk matters; ``root`` holds ``proc`` and ``sys``."""
        self._cluster = cluster
        self._shards = shards
        self._root = root
        self._turn = threading.Lock()

    def examine(self, request: pb.ExamineRequest) -> pb.Examination:
        """All that can be found out. Raises ``NodeError`` for a request out of bounds."""
        _check(request)
        if not self._turn.acquire(timeout=_TURN_S):
            raise NodeError("this node is being examined already: ask again in a moment")
        try:
            return self._examine(request)
        finally:
            self._turn.release()

    def _examine(self, request: pb.ExamineRequest) -> pb.Examination:
        with ThreadPoolExecutor(1, "listen") as pool:
            heard = pool.submit(self._heard, request.listen_ms / 1000)
            reasons = reach.reach(request.addresses)
            examination = self._software()
            self._add_memory_and_disk(examination, request.measure_disk)
            examination.ports.extend(self._ports())
            examination.reached.extend(
                pb.Reached(address=address, error=reason)
                for address, reason in zip(request.addresses, reasons, strict=True)
            )
            examination.heard.extend(heard.result())
        examination.uptime_s = clock.uptime_s(self._root)
        examination.load = clock.load()
        examination.clock_unix_s = time.time()  # last: the answer is on its way at once
        return examination

    def _software(self) -> pb.Examination:
        examination = pb.Examination(
            system=operating_system.system(self._root),
            linux=operating_system.linux_release(),
            architecture=operating_system.architecture(),
            model=board.model(self._root),
            python=operating_system.python(),
            wheel=operating_system.wheel(),
            throttled=board.throttled(self._root),
        )
        synchronised = clock.is_synchronised(self._root)
        if synchronised is not None:
            examination.clock_synchronised = synchronised
        return examination

    def _add_memory_and_disk(self, examination: pb.Examination, measure_disk: bool) -> None:
        swap = memory_pressure.swap(self._root)
        examination.swap_bytes = swap.total_bytes
        examination.used_swap_bytes = swap.used_bytes
        examination.memory_limit_bytes = memory_pressure.limit_bytes(self._root)
        examination.out_of_memory_kills = memory_pressure.out_of_memory_kills(self._root)
        examination.disk_bytes = disk.size_bytes(self._shards)
        if measure_disk:
            examination.disk_read_bytes_ps = disk.read_rate_bytes_ps(self._largest_shard())

    def _ports(self) -> list[pb.NetworkPort]:
        found = ports.network_ports(ports.addresses_by_port(), self._root)
        for port in found:
            setting = port_settings.power_saving(port.name) if port.is_wireless else None
            if setting is not None:
                port.power_saving = setting
            saving = None if port.is_wireless else port_settings.energy_efficient(port.name)
            if saving is not None:
                port.energy_efficient = saving
        return found

    def _heard(self, listen_s: float) -> list[str]:
        """Ids of the nodes of our cluster that announce themselves; none where mDNS is blocked."""
        if not listen_s:
            return []
        try:
            peers = mdns.discover(self._cluster, listen_s)
        except (ClusterError, OSError) as error:
            log.warning("cannot listen to mDNS: %s", error)
            return []
        return [peer.node_id for peer in peers if len(peer.node_id) <= _MAX_NODE_ID][:_MOST_HEARD]

    def _largest_shard(self) -> Path | None:
        try:
            sizes = [(file.stat().st_size, file) for file in self._shards.glob("*.safetensors")]
        except OSError:
            return None
        return max(sizes)[1] if sizes else None


def _check(request: pb.ExamineRequest) -> None:
    if len(request.addresses) > MOST_ADDRESSES:
        raise NodeError(
            f"{len(request.addresses)} addresses were asked for; at most {MOST_ADDRESSES} are tried"
        )
    for address in request.addresses:
        check_address(address)
    if request.listen_ms > MOST_LISTEN_MS:
        raise NodeError(f"listening for {request.listen_ms} ms is too long: {MOST_LISTEN_MS} do")
