"""What somebody on the same network sees of a cluster: with certificates, nothing of use.

The relays record every byte between operator and workers, between coordinator and workers, and from
worker to worker, since the pipeline knows the nodes by the relays' addresses.
"""

import base64
import re
from contextlib import ExitStack

from pi_cluster.cluster import settings
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.tokens import Token
from pi_cluster.cluster.who_am_i import who_am_i
from pi_cluster.protos import pi_cluster_pb2 as pb
from tests.support.authorities import certify_node
from tests.support.relay import relaying

SAID = "Wherever the quiet heron walks at dusk"


def bring_up(cluster, nodes):
    outcome = cluster.call("up", "--nodes", nodes)
    assert outcome.code == 0, outcome


def recorded(cluster, stack):
    """Two workers behind relays, brought up and asked; the relays, and what was said."""
    relays = []
    for name in ("one", "two"):
        _, address = cluster.start_worker(name, "--threads", "1")
        relays.append(stack.enter_context(relaying(address)))
    bring_up(cluster, ",".join(relay.address for relay in relays))
    assert len(cluster.record().stages) == 2
    answer = cluster.prompt(SAID, "--raw", "--temperature", "0", "--max-tokens", "12")
    return [relay.seen for relay in relays], answer


def secrets_of(cluster, answer):
    """Byte patterns that are on the wire when nothing is encrypted, by what they are."""
    packed = pb.TokenIds(id=answer["prompt_ids"]).SerializeToString()
    manifest = cluster.record().manifest
    shards = cluster.folder / "one" / "shards"
    data = sorted(shards.iterdir())[0].read_bytes()
    return {
        "the ids of the prompt": packed,
        "the manifest": manifest.to_json().encode()[:60],
        "a shard's digest": manifest.files[0].sha256.encode(),
        "a shard's header": data[8:72],
        "a shard's weights": data[len(data) // 2 :][:64],
        "who asks": who_am_i().partition(" ")[0].encode(),
        "a method's name": b"/pi_cluster.v1.Worker/RunSteps",
    }


def test_without_certificates_all_of_it_can_be_read_along(cluster):
    """Shows that the next test could fail."""
    with ExitStack() as stack:
        seen, answer = recorded(cluster, stack)
    for what, pattern in secrets_of(cluster, answer).items():
        assert any(pattern in one for one in seen), what


def test_with_certificates_nothing_of_it_can_be_read(cluster):
    assert cluster.call("init").code == 0
    with cluster.environment():
        authority = ClusterAuthority(settings.cluster_config(cluster.name), cluster.name)
    for name in ("one", "two"):
        certify_node(authority, cluster.folder / name, name)
    with ExitStack() as stack:
        seen, answer = recorded(cluster, stack)
    assert all(len(one) > 100_000 for one in seen)
    for what, pattern in secrets_of(cluster, answer).items():
        assert not any(pattern in one for one in seen), what
    for key in (authority.folder / "authority.key", cluster.folder / "one/credentials/node.key"):
        assert not any(_key_bytes(key) in one for one in seen)


def test_nothing_of_a_token_but_its_id_can_be_read_while_a_node_joins(cluster):
    assert cluster.call("init").code == 0
    made = cluster.call("token", "create").out
    token = Token.parse(re.search(r"join (\S+)", made)[1])
    node = cluster.start(
        *("join", token.text, "--foreground", "--no-mdns", "--listen", "127.0.0.1:0"),
        *("--data-dir", str(cluster.folder / "joins")),
    )
    address = node.read_line().split()[1]
    with relaying(address) as relay:
        outcome = cluster.call("plan", "--nodes", relay.address)
        assert outcome.code == 0 and "admitted" in outcome.err, outcome
        seen = relay.seen
    assert len(seen) > 3_000
    encoded = token.text.split(".")[2].encode()
    for pattern in (token.secret, encoded, base64.b16encode(token.secret), b"Introduce"):
        assert pattern not in seen


def _key_bytes(path):
    return b"".join(path.read_bytes().splitlines()[1:-1])[:40]
