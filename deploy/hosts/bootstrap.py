"""From fresh hosts to workers that answer: check, install, certify, start, ask.

All hosts at once, each over one SSH connection. What is as it should be stays as it is, so the
same command again is quick, and goes on where it stopped; one host's failure is its own.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import AccessError, ClusterError, HostError
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.records.known_hosts import Host, HostRole
from pi_cluster.deploy.hosts.answers import (
    HostFacts,
    Installed,
    ask_facts,
    ask_health,
    ask_journal,
    ask_lacking,
)
from pi_cluster.deploy.hosts.certificates_over_ssh import certify
from pi_cluster.deploy.hosts.fitness import check_disk, check_fitness, target_of
from pi_cluster.deploy.hosts.reachable import reachable
from pi_cluster.deploy.hosts.remote import layout
from pi_cluster.deploy.hosts.remote_host import RemoteHost
from pi_cluster.deploy.hosts.systemd_unit import worker_unit
from pi_cluster.deploy.screen.setup_screen import SetupLines
from pi_cluster.deploy.wheels.wheelhouse import Wheelhouse, wheelhouse
from pi_cluster.worker.command_line import WorkerCommand

_START_PATIENCE_S = 90.0  # a Pi imports numpy and gRPC from a slow card in about ten
_POLL_S = 0.2
_CRASHES = 2  # after so many restarts the reason stands in the journal


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one host."""

    host: Host
    failure: ClusterError | None = None
    peer: Peer | None = None
    """Its worker, which has answered; None after a failure, and where there is no worker."""
    changed: bool = False
    """Whether anything was installed or started."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a host should be."""

    house: Wheelhouse
    unit: str
    """Of the service; empty where there is none."""
    receipt: dict[str, Any]

    @property
    def environment(self) -> str:
        """The name of the folder with the program."""
        return f"venv-{self.house.digest}"

    def is_met_by(self, installed: Installed) -> bool:
        """Whether an earlier run has left the host like this."""
        if (installed.receipt, installed.environment) != (self.receipt, self.environment):
            return False
        runs = installed.unit == self.unit and installed.is_active and installed.is_enabled
        return runs or not self.unit


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Sets up the hosts of one cluster."""

    cluster: str
    dialer: Dialer
    lines: SetupLines
    authority: ClusterAuthority | None
    """None for a cluster without certificates."""
    remember: Callable[[Host], None]
    """Told of a host just before anything is changed on it."""
    wheels: Path | None
    """A folder of wheels that the user has made."""
    sudo_password: str | None
    shard_bytes: int
    """That each host is likely to get."""

    def set_up(self, hosts: Sequence[Host]) -> list[Result]:
        """Set up all hosts at once; what went wrong with one stands in its result."""
        with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
            return list(pool.map(self._guarded, hosts))

    def _guarded(self, host: Host) -> Result:
        try:
            result = self._set_up(host)
        except ClusterError as error:
            self.lines.step(host.label, "failed")
            return Result(host, error)
        self.lines.step(host.label, "ready")
        return result

    def _set_up(self, host: Host) -> Result:
        self.lines.step(host.label, "connecting")
        with RemoteHost(host) as remote:
            self.lines.step(host.label, "checking")
            facts = ask_facts(remote, self.cluster, host.data_dir)
            warnings = tuple(check_fitness(facts, host, time.time()))
            self.lines.step(host.label, "collecting wheels")
            wanted = self._wanted(host, wheelhouse(target_of(facts), self.wheels))
            if host.role is HostRole.COORDINATOR:
                changed = not wanted.is_met_by(facts.installed)
                if changed:
                    self._install(remote, facts, wanted)
                    remote.ask("offer", cluster=self.cluster)
                    self._finish(remote, wanted)
                return Result(host, changed=changed, warnings=warnings)
            if wanted.is_met_by(facts.installed):
                self.lines.step(host.label, "asking its worker")
                if peer := self._asked(facts):
                    return Result(host, None, peer, False, warnings)
            self._install(remote, facts, wanted)
            node_id = self._certified(remote, host)
            self._start(remote, facts, wanted)
            self.lines.step(host.label, "waiting for its worker")
            peer = self._answering(remote, facts, node_id)
            self._finish(remote, wanted)
            return Result(host, None, peer, True, warnings)

    def _finish(self, remote: RemoteHost, wanted: Wanted) -> None:
        """Say that all is done, and remove what is not needed any more."""
        digest, wheels = wanted.house.digest, _listed(wanted)
        remote.ask("receipt", cluster=self.cluster, receipt=wanted.receipt)
        remote.ask("tidy", cluster=self.cluster, digest=digest, wheels=wheels)

    def _wanted(self, host: Host, house: Wheelhouse) -> Wanted:
        python = layout.current(self.cluster) / "bin" / "python"
        data_dir = str(layout.data(self.cluster, host.data_dir))
        unit = ""
        if host.role is HostRole.WORKER:
            unit = worker_unit(
                WorkerCommand(
                    cluster=self.cluster,
                    python=str(python),
                    data_dir=data_dir,
                    threads=host.threads,
                    memory_bytes=host.memory_bytes,
                    insecure=self.authority is None,
                )
            )
        receipt = {
            "environment": house.digest,
            "unit": hashlib.sha256(unit.encode()).hexdigest(),
            "data_dir": data_dir,
            "authority": self.authority.fingerprint.hex() if self.authority else "",
        }
        return Wanted(house, unit, receipt)

    def _install(self, remote: RemoteHost, facts: HostFacts, wanted: Wanted) -> None:
        """Everything up to the point where the program could run."""
        host, house = remote.host, wanted.house
        listed = _listed(wanted)
        lacking = ask_lacking(remote, listed)
        missing = [wheel for wheel in house.wheels if wheel.sha256 in lacking]
        is_made = facts.installed.environment == wanted.environment
        total = 0 if is_made else sum(wheel.size_bytes for wheel in missing)
        shard_bytes = self.shard_bytes if host.role is HostRole.WORKER else 0
        check_disk(facts, house, total, is_made, shard_bytes)
        if not facts.is_root:
            become_root(remote, self.sudo_password)
        self.remember(host)
        remote.ask("lock")
        if not is_made:
            self.lines.step(host.label, "sending the program", total)
            for wheel in missing:
                remote.send_wheel(
                    wheel.message, wheel.path, lambda sent: self.lines.sent(host.label, sent)
                )
            self.lines.step(host.label, "installing")
            remote.ask("make", cluster=self.cluster, digest=house.digest, wheels=listed)
        remote.ask("switch", cluster=self.cluster, digest=house.digest)

    def _certified(self, remote: RemoteHost, host: Host) -> str:
        remote.ask("prepare_user")
        remote.ask("prepare_data", cluster=self.cluster, data_parent=host.data_dir)
        if self.authority is None:
            return ""
        self.lines.step(host.label, "certifying")
        data_dir = str(layout.data(self.cluster, host.data_dir))
        return certify(remote, self.cluster, data_dir, self.authority)

    def _start(self, remote: RemoteHost, facts: HostFacts, wanted: Wanted) -> None:
        self.lines.step(remote.host.label, "starting")
        is_new = bool(remote.ask("write_unit", cluster=self.cluster, unit=wanted.unit))
        was = facts.installed
        is_new |= (was.receipt, was.environment) != (wanted.receipt, wanted.environment)
        remote.ask("start", cluster=self.cluster, anew=is_new)

    def _asked(self, facts: HostFacts) -> Peer | None:
        """The host's worker, if it answers at once and as it should."""
        try:
            return self._ask(facts, "")
        except ClusterError:
            return None

    def _ask(self, facts: HostFacts, node_id: str) -> Peer | None:
        address = reachable(facts.addresses, settings.DEFAULT_PORT)
        if address is None:
            return None
        with NodeClient(Peer(address, node_id, facts.label), self.dialer) as client:
            about = client.describe()
        return Peer(address, about.node_id, about.name)

    def _answering(self, remote: RemoteHost, facts: HostFacts, node_id: str) -> Peer:
        """Wait for the worker; raises ``HostError`` with what it logged when it does not come."""
        deadline = time.monotonic() + _START_PATIENCE_S
        problem = "nothing listens there"
        while True:
            try:
                if peer := self._ask(facts, node_id):
                    return peer
            except AccessError:
                raise
            except ClusterError as error:
                problem = str(error)
            health = ask_health(remote, self.cluster)
            if health.restarts >= _CRASHES or time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        if health.is_active and not health.restarts:
            addresses = ", ".join(facts.addresses)
            raise HostError(
                f"{facts.label}: its worker runs, but port {settings.DEFAULT_PORT} cannot be "
                f"reached from here at any of {addresses} ({problem}): is there a firewall?"
            )
        said = "\n".join(f"  {line}" for line in ask_journal(remote, self.cluster))
        raise HostError(
            f"{facts.label}: the worker does not stay up, its service is {health.state}. "
            f"What it logged last:\n{said}"
        )


def _listed(wanted: Wanted) -> list[dict[str, Any]]:
    return [wheel.message for wheel in wanted.house.wheels]


def become_root(remote: RemoteHost, password: str | None) -> None:
    """Go on as root on a host. Raises ``HostError`` when sudo does not let this user."""
    label = remote.host.label
    state = remote.ask("sudo", password=password)
    if state == "none":
        raise HostError(
            f"{label}: there is no sudo, and the user that SSH logs in as is not root: install "
            "sudo there, or name root, as in root@HOST"
        )
    if state == "wrong":
        raise HostError(
            f"{label}: this sudo password is not accepted there (or the user may not use sudo): "
            "run the same command again and type it with care"
        )
    if state == "password" and password is None:
        raise HostError(
            f"{label}: sudo needs a password: run the same command with --ask-sudo-password, or "
            "allow sudo without one there"
        )
    remote.become_root(password if state == "password" else None)
