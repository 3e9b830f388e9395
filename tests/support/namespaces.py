"""Computers with any interfaces and addresses on one switch: network namespaces and bridges.

Other than ``testbed/network/network.py``, whose hosts have one slow cable and IPv4 each, this is
for what addresses do: they come, go, are several, or lead nowhere. Needs root and iproute2.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.support.cluster_process import Running

_TIMEOUT_S = 60.0

LISTEN = """
import dataclasses, json, sys
from pi_cluster.cluster.discovery.mdns import listen
heard = listen(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
peers = [dataclasses.asdict(peer) for peer in heard.peers]
print(json.dumps(peers))
"""
ANNOUNCE = """
import sys
from pi_cluster.cluster.discovery.mdns import announced
from pi_cluster.cluster.wire.peer import Peer
cluster, address, node_id, name = sys.argv[1:]
with announced(Peer(address, node_id, name), cluster, "0.1.0"):
    print("announced", flush=True)
    sys.stdin.read()
"""


def impossible() -> str:
    """Why this machine cannot have network namespaces; empty if it can."""
    if os.geteuid():
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "network namespaces need ip: apt install iproute2"
    return ""


class Switch:
    """Namespaces whose cables end in one bridge, from ``with`` to its end, and all that runs there.

    IPv6 addresses are used at once, without asking around for others who have them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tag = secrets.token_hex(4)
        self._stack = ExitStack()
        self._cables = 0
        self._middle = f"{self._tag}-switch"

    def __enter__(self) -> Self:
        self._add(self._middle)
        _ip("-n", self._middle, "link", "add", "lan", "type", "bridge", "mcast_snooping", "0")
        _ip("-n", self._middle, "link", "set", "lan", "up")
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def computer(self, name: str, *interfaces: str) -> "Computer":
        """One with these interfaces, each of them cabled to the switch and without addresses."""
        namespace = f"{self._tag}-{name}"
        self._add(namespace)
        made = Computer(namespace, self.folder)
        self._stack.callback(made.stop_all)
        for interface in interfaces:
            self.cable(made, interface)
        return made

    def cable(self, computer: "Computer", interface: str) -> None:
        """Add an interface to a computer, cabled to the switch."""
        self._cables += 1
        port = f"port{self._cables}"
        words = ("link", "add", port, "type", "veth", "peer", "name", interface)
        _ip("-n", self._middle, *words, "netns", computer.namespace)
        _ip("-n", self._middle, "link", "set", port, "master", "lan", "up")
        computer.sysctl(f"net.ipv6.conf.{interface}.accept_dad=0")
        computer.ip("link", "set", interface, "up")

    def _add(self, namespace: str) -> None:
        _ip("netns", "add", namespace)
        self._stack.callback(_ip, "netns", "del", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")


class Computer:
    """One namespace."""

    def __init__(self, namespace: str, folder: Path) -> None:
        self.namespace = namespace
        self._folder = folder
        self._started: list[Running] = []

    def ip(self, *words: str) -> None:
        """The command ``ip``, for this computer."""
        _ip("-n", self.namespace, *words)

    def sysctl(self, setting: str) -> None:
        """Change a setting of its network."""
        subprocess.run(self.words("sysctl", "-qw", setting), check=True, timeout=_TIMEOUT_S)

    def words(self, *words: str) -> list[str]:
        """The command line that runs a command on this computer; it becomes the command itself."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def listen(self, cluster: str, wait_s: float = 2.5, *expected: str) -> list[dict[str, Any]]:
        """The peers that this computer hears."""
        words = [sys.executable, "-c", LISTEN, cluster, str(wait_s), *expected]
        done = subprocess.run(
            self.words(*words), capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
        peers: list[dict[str, Any]] = json.loads(done.stdout)
        return peers

    def announce(self, cluster: str, address: str, node_id: str, name: str = "pi") -> Running:
        """Announce a worker that listens at ``address``."""
        running = self.start(sys.executable, "-c", ANNOUNCE, cluster, address, node_id, name)
        assert running.read_line() == "announced"
        return running

    def start(self, *words: str, env: dict[str, str] | None = None) -> Running:
        """Begin a program on this computer."""
        running = Running(self.words(*words), env or dict(os.environ), self._folder)
        self._started.append(running)
        return running

    def stop_all(self) -> None:
        """End what runs on it."""
        while self._started:
            self._started.pop().stop()


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=_TIMEOUT_S)
    assert not done.returncode, (words, done.stderr)
