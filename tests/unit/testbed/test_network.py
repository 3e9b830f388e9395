"""The emulated network: what is plugged in is heard, and nothing is left of it at the end."""

import subprocess
import sys

import psutil
import pytest

from tests.support.cluster_process import eventually
from tests.support.networks import needs_network
from tests.testbed.network.network import Network

PORT = 7000
# Sends back what it is sent, one connection after the other.
ECHO = f"""
import socket
with socket.create_server(("", {PORT})) as server:
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)
"""
SEND = f"""
import socket, sys
with socket.create_connection((sys.argv[1], {PORT}), timeout=float(sys.argv[3])) as connection:
    data = b"x" * int(sys.argv[2])
    connection.sendall(data)
    while data:
        data = data[len(connection.recv(1 << 16)):]
"""


pytestmark = needs_network


def start(network, host, *words):
    command = [sys.executable, "-ISc", *words]
    return network.popen(host, command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def network():
    """Host 2 sends back what it is sent."""
    with Network(3, "none") as made:
        assert start(made, 2, ECHO).stdout.readline() == b"ready\n"
        yield made


def reaches(network, host, size=1, patience_s=0.5):
    words = (network.address(2), str(size), str(patience_s))
    return start(network, host, SEND, *words).wait() == 0


def test_an_unplugged_host_hears_nothing_until_it_is_plugged_in(network):
    assert reaches(network, 1)
    network.unplug(2)
    assert not reaches(network, 1)
    network.plug(2)
    assert reaches(network, 1, patience_s=10)


def test_a_partition_keeps_apart_until_it_heals(network):
    network.partition({1})
    assert not reaches(network, 1) and reaches(network, 0)
    network.heal()
    assert reaches(network, 1, patience_s=10)


def test_the_switch_counts_the_bytes_of_each_link(network):
    before = [network.traffic(host) for host in range(3)]
    assert reaches(network, 1, size=100_000, patience_s=10)
    after = [network.traffic(host) for host in range(3)]
    for host in (1, 2):
        assert 100_000 < after[host].sent - before[host].sent < 150_000
        assert 100_000 < after[host].delivered - before[host].delivered < 150_000
    assert after[0].sent - before[0].sent < 1_000


def test_hosts_have_names(network):
    assert network.hosts_file().splitlines() == [
        "127.0.0.1 localhost",
        "10.77.0.10 operator operator.local",
        "10.77.0.11 pi1 pi1.local",
        "10.77.0.12 pi2 pi2.local",
    ]


def test_the_end_of_a_network_ends_also_what_its_processes_have_started():
    starting = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"
    with Network(2, "none") as network:
        starter = start(network, 1, starting)
        child = psutil.Process(int(starter.stdout.readline()))
        assert starter.wait() == 0 and child.is_running()
    eventually(child.is_running, lambda running: not running)
