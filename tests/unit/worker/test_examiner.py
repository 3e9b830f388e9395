"""An examination as a whole, its parts that touch the real machine, and its bounds."""

import os
import socket
import threading

import psutil
import pytest

from pi_cluster.cluster.errors import ClusterError, NodeError
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.worker.machine import disk, port_settings, reach
from pi_cluster.worker.machine.examination import MOST_ADDRESSES, Examiner
from tests.support.machines import pi_4


@pytest.fixture
def open_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("port", [*(name for _, name in socket.if_nameindex()), "none", "n" * 99])
def test_settings_of_any_port_are_known_or_absent(port):
    assert port_settings.energy_efficient(port) in (True, False, None)
    assert port_settings.power_saving(port) in (True, False, None)


def test_loopback_has_neither_energy_efficient_ethernet_nor_radio():
    assert port_settings.energy_efficient("lo") is None
    assert port_settings.power_saving("lo") is None


def test_an_open_port_is_reached_and_a_closed_one_refuses(open_port, closed_port):
    addresses = [f"127.0.0.1:{open_port}", f"127.0.0.1:{closed_port}", f"[::1]:{closed_port}"]
    fine, refused, _ = reach.reach(addresses)
    assert fine == "" and refused.startswith("refused")


def test_a_machine_that_drops_connections_gives_no_answer():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(8)]
        try:
            for one in waiting:  # they fill the queue, and from then on nobody is answered
                one.setblocking(False)
                one.connect_ex(address)
            assert reach.why_not(*address, connect_s=0.3).startswith("no answer")
        finally:
            for one in waiting:
                one.close()


@pytest.mark.parametrize("host", ["nobody.invalid", "x" * 70, ".", "a..b"])
def test_a_name_that_is_none_is_said_so(host):
    assert reach.why_not(host, 7711, connect_s=2.0) != ""


def test_an_address_that_is_none_is_refused():
    with pytest.raises(ClusterError, match="HOST:PORT"):
        reach.reach(["pi1.local"])


def test_a_shard_is_read_past_the_page_cache_and_nothing_is_no_rate(tmp_path):
    assert disk.read_rate_bytes_ps(None) == 0.0
    assert disk.read_rate_bytes_ps(tmp_path / "none") == 0.0
    (tmp_path / "small").write_bytes(bytes(1000))
    assert disk.read_rate_bytes_ps(tmp_path / "small") == 0.0
    large = tmp_path / "large"
    large.write_bytes(os.urandom(5 << 20) + b"odd")
    try:
        os.close(os.open(large, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        assert disk.read_rate_bytes_ps(large) == 0.0
    else:
        assert disk.read_rate_bytes_ps(large) > 0


def test_at_most_64_mib_are_read(tmp_path):
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(1 << 30)  # a hole
    before = psutil.Process().io_counters().read_chars
    disk.read_rate_bytes_ps(large)
    assert psutil.Process().io_counters().read_chars - before < 65 << 20


def test_an_examination_holds_what_all_readers_tell(tmp_path, open_port, closed_port):
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "a.safetensors").write_bytes(bytes(2 << 20))
    examiner = Examiner("of-a-test", shards, pi_4(tmp_path / "root"))
    addresses = [f"127.0.0.1:{open_port}", f"127.0.0.1:{closed_port}"]
    told = examiner.examine(pb.ExamineRequest(addresses=addresses, measure_disk=True))
    assert told.model == "Raspberry Pi 4 Model B Rev 1.4" and told.throttled == 0x50005
    assert [reached.address for reached in told.reached] == addresses
    assert [bool(reached.error) for reached in told.reached] == [False, True]
    assert [port.name for port in told.ports] == ["eth0", "wlan0"]
    assert not told.clock_synchronised and told.HasField("clock_synchronised")
    assert told.disk_bytes > 0 and told.memory_limit_bytes == 1 << 30
    assert list(told.heard) == [] and told.clock_unix_s > 1.6e9


def test_without_being_asked_to_the_disk_is_not_read(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(bytes(2 << 20))
    assert Examiner("of-a-test", tmp_path).examine(pb.ExamineRequest()).disk_read_bytes_ps == 0


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (pb.ExamineRequest(addresses=["a:1"] * (MOST_ADDRESSES + 1)), "65 addresses"),
        (pb.ExamineRequest(addresses=["a" * 300 + ":1"]), "302 characters"),
        (pb.ExamineRequest(listen_ms=5_001), "5001 ms"),
        (pb.ExamineRequest(addresses=["a"]), "HOST:PORT"),
    ],
)
def test_a_request_out_of_bounds_is_refused(tmp_path, request_, named):
    with pytest.raises(ClusterError, match=named):
        Examiner("of-a-test", tmp_path).examine(request_)


def test_examinations_run_one_at_a_time(tmp_path):
    examiner = Examiner("of-a-test", tmp_path)
    answers = []
    asking = [
        threading.Thread(target=lambda: answers.append(examiner.examine(pb.ExamineRequest())))
        for _ in range(4)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(answers) == 4


def test_whoever_waits_too_long_for_its_turn_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("pi_cluster.worker.machine.examination._TURN_S", 0.01)
    examiner = Examiner("of-a-test", tmp_path)
    listening = threading.Thread(target=examiner.examine, args=(pb.ExamineRequest(listen_ms=1500),))
    listening.start()
    try:
        with pytest.raises(NodeError, match="being examined already"):
            for _ in range(1000):  # until the other one has begun
                examiner.examine(pb.ExamineRequest())
    finally:
        listening.join()
