"""Shards that lose bits long after they arrived: found, refused by name, and sent again."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from pi_cluster.cluster.errors import NodeError
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.deploy.screen import output
from tests.support.cluster_process import describe_all, eventually
from tests.support.worker_servers import PLAIN

UNMENDED = ("--heal-timeout", "0")
PROMPT = ("--temperature", "0", "--max-tokens", "16", "Tell me a story.")
OFTEN = ("--verify-every", "0.000005")  # of a day: half a second


def start_pair(cluster, *words):
    """Two workers by hand, and the embedded model on them; returns their addresses."""
    addresses = [cluster.start_worker(name, *words)[1] for name in ("one", "two")]
    cluster.up("--nodes", ",".join(addresses))
    return addresses


def files_of(cluster, node: str):
    """The shards of the node's stage, in their order."""
    record = cluster.record()
    where = next(stage for stage in record.addresses if stage.name == node)
    return record.manifest.stage_files(where.layers.start, where.layers.stop)


def path_of(cluster, node: str, file) -> Path:
    return cluster.folder / node / "shards" / f"{file.sha256}.safetensors"


def flip_a_bit(path: Path) -> None:
    """In the middle of a file, as a card or a memory chip does: no time of the file changes."""
    times = path.stat()
    with path.open("r+b", buffering=0) as file:
        file.seek(times.st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x10]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def states(cluster):
    """By node: ``ready``, or why it is not."""
    stages = cluster.status()["stages"]
    return {stage["node"]: stage.get("error") or stage["state"] for stage in stages}


def start_again(cluster, name: str, address: str):
    words = ("worker", "--no-mdns", "--listen", address, "--name", name)
    again = cluster.start(*words, "--data-dir", str(cluster.folder / name))
    assert again.read_line().startswith("ready ")
    return again


def verify(cluster, *words: str):
    """``pi-cluster verify`` of nodes, of which the test's cluster names those that are up."""
    return cluster.run("verify", "--cluster", cluster.name, "--nodes", *words)


def test_one_bit_in_each_of_many_shards_is_found_and_up_moves_exactly_those(cluster):
    addresses = start_pair(cluster, *OFTEN)
    before = cluster.prompt(*PROMPT)
    damaged = files_of(cluster, "two")[::2]
    assert len(damaged) > 7
    for file in damaged:
        flip_a_bit(path_of(cluster, "two", file))
    record = cluster.record()
    told = eventually(
        lambda: describe_all(record)[1].damaged_shards, lambda seen: len(seen) == len(damaged)
    )
    assert {shard.name for shard in told} == {file.name for file in damaged}
    state = states(cluster)
    assert state["one"] == "ready"
    assert (
        ".safetensors on two is damaged" in state["two"]
        and "next `up` sends it again" in state["two"]
    )
    refused = cluster.run("prompt", *PROMPT, *UNMENDED)
    assert refused.code == 1 and refused.out == ""
    assert ".safetensors on two is damaged" in refused.err
    again = cluster.up("--nodes", ",".join(addresses))
    size_bytes = sum(file.size_bytes for file in damaged)
    assert f"{output.size(size_bytes)} moved" in again.err
    assert f"one ({addresses[0]}): lacks" not in again.err
    assert cluster.prompt(*PROMPT)["ids"] == before["ids"]
    assert not list((cluster.folder / "two" / "shards").glob("*.damaged"))
    assert "already up" in cluster.up("--nodes", ",".join(addresses)).err


@pytest.mark.parametrize("node", ["one", "two"], ids=["the first stage", "the last stage"])
def test_an_answer_in_flight_ends_with_the_name_of_the_shard_and_of_its_node(
    cluster, endless, node
):
    start_pair(cluster, *OFTEN)
    asking = cluster.start("prompt", *endless, "--max-tokens", "100000")
    asking.read(1)
    file = files_of(cluster, node)[3]
    flip_a_bit(path_of(cluster, node, file))
    ended = asking.end()
    assert ended.code == 1 and f"{file.name} on {node} is damaged" in ended.err, ended.err[-500:]


@pytest.mark.parametrize("number", [0, -1], ids=["the embedding", "the last layer"])
def test_a_shard_that_lost_a_bit_while_the_worker_was_off_is_found_after_its_start(cluster, number):
    one, address = cluster.start_worker("one")
    cluster.up("--nodes", address)
    before = cluster.prompt(*PROMPT)
    file = cluster.record().manifest.stage_files(0, 32)[:-1][number]
    one.send(signal.SIGKILL)
    one.process.wait()
    flip_a_bit(path_of(cluster, "one", file))
    again = start_again(cluster, "one", address)
    assert f"{file.name} is damaged" in states(cluster)["one"], "it has never computed with it"
    # Once more: what was set aside stays so, and the node remembers what it should serve.
    again.send(signal.SIGKILL)
    again.process.wait()
    start_again(cluster, "one", address)
    assert f"{file.name} is damaged, it was found so before" in states(cluster)["one"]
    refused = cluster.run("prompt", *PROMPT, *UNMENDED)
    assert refused.code == 1 and file.name in refused.err and "one" in refused.err
    cluster.up("--nodes", address)
    assert cluster.prompt(*PROMPT)["ids"] == before["ids"]


def test_a_damaged_shard_that_another_node_holds_comes_from_there_by_itself(cluster, random_store):
    (_, one), (_, two) = (cluster.start_worker(name, *OFTEN) for name in ("one", "two"))
    cluster.up(str(random_store.path), "--nodes", f"{one},{two}")
    files = files_of(cluster, "two")
    with NodeClient(Peer(one), PLAIN) as client:
        for file in files:
            client.put_shard(file, random_store.path_of(file), 0, lambda _: None)
    before = cluster.prompt("--ids", "1,2,3", "--max-tokens", "8", "--temperature", "0")
    flip_a_bit(path_of(cluster, "two", files[1]))
    kept = path_of(cluster, "two", files[1])
    right = random_store.path_of(files[1]).read_bytes()
    eventually(lambda: kept.exists() and kept.read_bytes(), lambda seen: seen == right)
    eventually(lambda: states(cluster), lambda seen: set(seen.values()) == {"ready"})
    after = cluster.prompt("--ids", "1,2,3", "--max-tokens", "8", "--temperature", "0")
    assert after["ids"] == before["ids"]


def test_verify_nodes_names_each_damaged_shard_of_each_node(cluster):
    addresses = start_pair(cluster)
    right = verify(cluster)
    assert right.code == 0 and right.err.count("shards are as sent") == 2, right
    first, second = files_of(cluster, "one")[1], files_of(cluster, "two")[-1]
    flip_a_bit(path_of(cluster, "one", first))
    flip_a_bit(path_of(cluster, "two", second))
    for words in ((), (",".join(addresses),)):
        wrong = verify(cluster, *words)
        assert wrong.code == 1
        assert f"one ({addresses[0]}): {first.name}" in wrong.err
        assert f"two ({addresses[1]}): {second.name}" in wrong.err
        assert f"`pi-cluster up --cluster {cluster.name}` sends damaged shards again" in wrong.err
    cluster.up("--nodes", ",".join(addresses))
    assert verify(cluster).code == 0


def test_verify_wants_a_store_or_nodes(cluster, tmp_path):
    for words in (("verify",), ("verify", str(tmp_path), "--nodes", "pi1:7711")):
        outcome = cluster.run(*words)
        assert outcome.code == 2 and "--nodes" in outcome.err


def test_a_node_that_does_not_answer_is_named_and_the_others_are_verified(cluster):
    _, one = cluster.start_worker("one")
    gone, two = cluster.start_worker("two")
    cluster.up("--nodes", f"{one},{two}")
    gone.stop()
    outcome = verify(cluster)
    assert outcome.code == 1
    assert f"one ({one}): all" in outcome.err
    assert f"two ({two}): not verified: two ({two}) does not answer" in outcome.err
    assert "sends damaged shards again" not in outcome.err


def test_a_shard_of_no_stage_is_verified_too_and_does_not_end_one(cluster, random_store):
    [address, _] = start_pair(cluster)
    file = random_store.manifest.layer_file(0)
    with NodeClient(Peer(address), PLAIN) as client:
        client.put_shard(file, random_store.path_of(file), 0, lambda _: None)
        assert client.verify_shards(lambda _: None).damaged == []
        flip_a_bit(path_of(cluster, "one", file))
        [damaged] = client.verify_shards(lambda _: None).damaged
        assert (damaged.sha256, damaged.name) == (file.sha256, "")
        assert client.find_shards([file]).held == frozenset()
        assert client.describe().HasField("stage")
    assert f"shard {file.sha256[:12]} does not hold the bytes" in verify(cluster).err


def test_a_shard_that_somebody_removed_is_named_and_comes_again(cluster):
    addresses = start_pair(cluster)
    file = files_of(cluster, "one")[2]
    path_of(cluster, "one", file).unlink()
    outcome = verify(cluster)
    assert outcome.code == 1 and f"{file.name} is missing" in outcome.err
    cluster.up("--nodes", ",".join(addresses))
    assert verify(cluster).code == 0 and path_of(cluster, "one", file).exists()


def test_a_second_verification_at_once_is_refused_and_the_first_goes_on(cluster):
    [address, _] = start_pair(cluster)
    large = cluster.folder / "one" / "shards" / f"{'0' * 64}.safetensors"
    with large.open("wb") as file:
        file.truncate(8 << 30)  # a hole, which takes seconds to hash
    with NodeClient(Peer(address), PLAIN) as first, NodeClient(Peer(address), PLAIN) as second:
        refusals = []

        def ask_meanwhile(_):
            if not refusals:
                with pytest.raises(NodeError, match="for somebody else") as refusal:
                    second.verify_shards(lambda _: None)
                refusals.append(refusal)
                raise KeyboardInterrupt  # whoever asked has gone

        with pytest.raises(KeyboardInterrupt):
            first.verify_shards(ask_meanwhile)
        first.close()
        large.unlink()
        found = eventually(lambda: try_to_verify(second), lambda seen: seen is not None)
        assert refusals and found.damaged == []


def try_to_verify(client):
    try:
        return client.verify_shards(lambda _: None)
    except NodeError:
        return None


def test_ctrl_c_ends_it_at_the_node_as_well(cluster):
    worker, address = cluster.start_worker("one")
    cluster.up("--nodes", address)
    large = cluster.folder / "one" / "shards" / f"{'0' * 64}.safetensors"
    with large.open("wb") as file:
        file.truncate(1 << 40)  # minutes
    asking = cluster.start("verify", "--cluster", cluster.name, "--nodes")
    reads = lambda: str(large) in {f.path for f in worker_process(worker).open_files()}  # noqa: E731
    eventually(reads, lambda seen: seen)
    asking.send(signal.SIGINT)
    outcome = asking.end(timeout_s=10)
    assert outcome.code == 130 and "Traceback" not in outcome.err
    eventually(reads, lambda seen: not seen)


def worker_process(running):
    return psutil.Process(running.process.pid)


def test_doctor_names_damaged_shards_and_verifies_on_demand(cluster):
    start_pair(cluster)
    file = files_of(cluster, "two")[0]
    shown = cluster.run("doctor")
    assert "weights" in shown.out and "found right" in shown.out
    flip_a_bit(path_of(cluster, "two", file))
    shown = cluster.run("doctor", "--verify")
    assert shown.code == 1
    assert f"problem: two: {file.name} does not hold the bytes" in shown.out, shown.out


def test_status_tells_when_the_weights_were_found_right(story):
    assert "weights found right" in story.run("status").out
    for stage in story.status()["stages"]:
        assert stage["verified_ago_s"] >= 0 and stage["damaged_shards"] == []
