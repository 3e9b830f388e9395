"""The wire: arrays as bytes, versions, and errors that arrive as what they were."""

import gc
import socket
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pi_cluster.cluster import errors
from pi_cluster.cluster.errors import ClusterError, NodeError, NodeLost, VersionError
from pi_cluster.cluster.shown import shown_line
from pi_cluster.cluster.wire.arrays import pack, unpack_floats, unpack_ids
from pi_cluster.cluster.wire.failures import refuse, restored_errors
from pi_cluster.cluster.wire.options import SERVER_OPTIONS, WIRE_VERSION, check_wire_version
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from tests.support.worker_servers import PLAIN


def every_kind(kind: type[ClusterError] = ClusterError) -> list[type[ClusterError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in every_kind(child))]


@settings(max_examples=60)
@given(
    rows=arrays.arrays(
        np.float32,
        st.tuples(st.integers(0, 6), st.integers(1, 7)),
        elements=st.floats(width=32, allow_nan=False),
    )
)
def test_floats_survive_the_wire_to_the_bit(rows):
    found = unpack_floats(pack(rows), rows.shape[1])
    assert found.dtype == np.float32
    assert np.array_equal(found.view(np.uint32), rows.view(np.uint32))


@settings(max_examples=60)
@given(ids=arrays.arrays(np.int32, st.integers(0, 20)))
def test_token_ids_survive_the_wire(ids):
    found = unpack_ids(pack(ids))
    assert found.dtype == np.int32
    assert np.array_equal(found, ids)


def test_numbers_travel_little_endian_row_after_row():
    rows = np.array([[1, 2], [3, 4]], np.float32)
    expected = b"\0\0\x80?\0\0\0@\0\0@@\0\0\x80@"
    assert pack(rows) == expected
    assert pack(rows.astype(">f4")) == expected
    assert pack(np.asfortranarray(rows)) == expected
    assert pack(np.array([1, -1], np.int32)) == b"\1\0\0\0\xff\xff\xff\xff"


@pytest.mark.parametrize("size", [1, 3, 5, 11, 13, 16])
def test_bytes_that_are_no_whole_rows_are_refused(size):
    with pytest.raises(NodeError, match=f"{size} bytes are no whole rows of 3 numbers"):
        unpack_floats(bytes(size), 3)


@pytest.mark.parametrize("columns", [0, -1])
def test_rows_of_no_columns_are_refused(columns):
    with pytest.raises(NodeError, match="no whole rows"):
        unpack_floats(bytes(8), columns)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_bytes_that_are_no_whole_ids_are_refused(size):
    with pytest.raises(NodeError, match=f"{size} bytes are no whole token ids"):
        unpack_ids(bytes(size))


def test_our_own_version_is_accepted():
    check_wire_version(WIRE_VERSION, "pi2")


@pytest.mark.parametrize(
    ("difference", "older", "newer"), [(1, "this machine", "pi2"), (-1, "pi2", "this machine")]
)
def test_another_version_is_refused_and_the_older_side_told_to_update(difference, older, newer):
    with pytest.raises(VersionError) as refusal:
        check_wire_version(WIRE_VERSION + difference, "pi2")
    text = str(refusal.value)
    assert text.endswith(f"update pi-cluster on {older}")
    assert f"on {newer}" not in text
    assert f"pi2 speaks version {WIRE_VERSION + difference} of the wire protocol" in text
    assert f"this machine {WIRE_VERSION}:" in text


class Refusing(rpc.WorkerServicer):
    """Ends calls as it is told: a describe at once, a collection after its first result."""

    def __init__(self, end: Callable[[grpc.ServicerContext], None]) -> None:
        self._end = end

    def Describe(self, request, context):  # noqa: N802
        self._end(context)

    def CollectResults(self, request, context):  # noqa: N802
        yield pb.StepResult(ready=True)
        self._end(context)


@contextmanager
def served(end: Callable[[grpc.ServicerContext], None]) -> Iterator[rpc.WorkerStub]:
    server = grpc.server(ThreadPoolExecutor(2), options=SERVER_OPTIONS)
    rpc.add_WorkerServicer_to_server(Refusing(end), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with PLAIN.connect(Peer(f"127.0.0.1:{port}")) as channel:
            yield rpc.WorkerStub(channel)
    finally:
        server.stop(None).wait()


def describe(stub: rpc.WorkerStub) -> None:
    with restored_errors("pi2"):
        stub.Describe(pb.DescribeRequest(), timeout=10)


def collect(stub: rpc.WorkerStub) -> None:
    with restored_errors("pi2"):
        results = stub.CollectResults(pb.CollectResultsRequest(), timeout=10)
        assert next(results).ready
        next(results)


@pytest.mark.parametrize("call", [describe, collect])
def test_every_error_arrives_with_its_class_and_its_text(call):
    kinds = every_kind()
    assert len(kinds) >= 10
    assert {kind.__module__ for kind in kinds} == {errors.__name__}
    pending = iter(kinds)

    def end(context):
        kind = next(pending)
        refuse(context, kind(f"{kind.__name__}: wähle\nzwei ☺ 100%"))

    with served(end) as stub:
        for kind in kinds:
            with pytest.raises(ClusterError) as arrived:
                call(stub)
            assert type(arrived.value) is kind
            # On one line: a node may not write lines of its own into what a person reads.
            assert str(arrived.value) == rf"{kind.__name__}: wähle\u000azwei ☺ 100%"


@pytest.mark.parametrize("letter", ["x", "é", "☺", "\n", "🦊"])
def test_a_reason_too_long_for_a_header_arrives_shortened(letter):
    def end(context):
        refuse(context, errors.PlanError("too large: " + 100_000 * letter))

    with served(end) as stub, pytest.raises(errors.PlanError, match="too large: ") as arrived:
        describe(stub)
    assert set(str(arrived.value).removeprefix("too large: ")) == set(shown_line(letter))
    assert len(str(arrived.value)) > 300


def test_a_reason_with_a_file_name_that_is_no_unicode_arrives():
    def end(context):
        refuse(context, errors.StoreError("cannot read /data/\udcff.safetensors"))

    with served(end) as stub, pytest.raises(errors.StoreError) as arrived:
        describe(stub)
    assert str(arrived.value) == "cannot read /data/?.safetensors"


def test_an_error_of_an_unknown_name_is_still_an_error_of_that_node():
    def end(context):
        context.set_trailing_metadata((("pi-cluster-error", "ErrorOfTheFuture"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the moon is full")

    with served(end) as stub, pytest.raises(NodeError) as arrived:
        describe(stub)
    assert type(arrived.value) is NodeError
    assert "pi2: the moon is full" in str(arrived.value)


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ("a1,b2", ("a1", "b2")),
        ("", ()),
        ("a1,a b,,-$," + "x" * 65, ("a1",)),
        (",".join(1000 * ["nnn"]), ("nnn",) * 8),
    ],
)
def test_a_lost_node_arrives_with_the_ids_that_can_be_some(sent, named):
    def end(context):
        pairs = (("pi-cluster-error", "NodeLost"), ("pi-cluster-nodes", sent))
        context.set_trailing_metadata(pairs)
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "gone")

    with served(end) as stub, pytest.raises(NodeLost, match="gone") as arrived:
        describe(stub)
    assert arrived.value.node_ids == named


@pytest.mark.parametrize("kind", [NodeLost, errors.SessionExpired])
@pytest.mark.parametrize("awaited_s", [0.0, 9.25])
def test_a_lost_node_is_carried_with_its_kind_its_ids_and_how_long_it_was_awaited(kind, awaited_s):
    def end(context):
        refuse(context, kind("gone", ["a1", "b2"], awaited_s=awaited_s))

    with served(end) as stub, pytest.raises(NodeLost, match="gone") as arrived:
        describe(stub)
    lost = arrived.value
    assert type(lost) is kind and lost.node_ids == ("a1", "b2")
    assert (lost.awaited_s, lost.was_awaited) == (awaited_s, awaited_s > 0)


@pytest.mark.parametrize("sent", ["", "-1", "1.5", "9" * 10, "nan", "1e3"])
def test_a_waiting_time_that_cannot_be_one_counts_as_none(sent):
    def end(context):
        pairs = (("pi-cluster-error", "NodeLost"), ("pi-cluster-awaited-ms", sent))
        context.set_trailing_metadata(pairs)
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "gone")

    with served(end) as stub, pytest.raises(NodeLost, match="gone") as arrived:
        describe(stub)
    assert arrived.value.awaited_s == 0 and not arrived.value.was_awaited


def test_a_name_that_is_no_error_of_ours_is_not_called():
    def end(context):
        context.set_trailing_metadata((("pi-cluster-error", "__doc__"),))
        context.abort(grpc.StatusCode.INTERNAL, "x")

    with served(end) as stub, pytest.raises(NodeError, match="pi2: x"):
        describe(stub)


def test_a_method_that_the_peer_lacks_is_an_error_of_that_node():
    def end(context):
        raise AssertionError("not called")

    with (
        served(end) as stub,
        pytest.raises(NodeError, match=r"pi2: .*UNIMPLEMENTED") as arrived,
        restored_errors("pi2"),
    ):
        stub.FindShards(pb.FindShardsRequest(), timeout=10)
    assert not isinstance(arrived.value, NodeLost)


def test_a_dead_port_is_a_lost_node():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        with (
            PLAIN.connect(Peer(address)) as channel,
            pytest.raises(NodeLost, match="pi2 does not answer"),
        ):
            describe(rpc.WorkerStub(channel))


def test_the_error_of_a_lost_node_is_free_with_whoever_caught_it():
    caught = []
    gc.disable()  # it finds circles, but does not know how much memory gRPC has in them
    try:
        with PLAIN.connect(Peer("127.0.0.1:1")) as channel:
            try:
                describe(rpc.WorkerStub(channel))
            except NodeLost as lost:
                caught.append(weakref.ref(lost))
        assert [one() for one in caught] == [None]
    finally:
        gc.enable()


def test_what_explains_an_unreachable_peer_takes_the_place_of_grpcs_words():
    why = errors.AccessError("its certificate expired")

    def refused_by_nobody(explain):
        with PLAIN.connect(Peer("127.0.0.1:1")) as channel, restored_errors("pi2", explain):
            rpc.WorkerStub(channel).Describe(pb.DescribeRequest(), timeout=10)

    with pytest.raises(errors.AccessError) as explained:
        refused_by_nobody(lambda: why)
    assert explained.value is why
    with pytest.raises(NodeLost, match="pi2 does not answer"):
        refused_by_nobody(lambda: None)


def test_an_error_that_a_peer_gave_itself_is_not_explained_away():
    def explain():
        raise AssertionError("nobody asked")

    with (
        served(lambda context: refuse(context, errors.StaleEpoch("old"))) as stub,
        pytest.raises(errors.StaleEpoch, match="old"),
        restored_errors("pi2", explain),
    ):
        stub.Describe(pb.DescribeRequest(), timeout=10)


def test_a_peer_that_accepts_and_stays_silent_is_a_lost_node():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            PLAIN.connect(Peer(address)) as channel,
            pytest.raises(NodeLost, match="pi2 does not answer"),
            restored_errors("pi2"),
        ):
            rpc.WorkerStub(channel).Describe(pb.DescribeRequest(), timeout=0.3)


def test_a_step_of_the_largest_size_is_not_refused_by_either_side():
    size = 512 * 4096 * 4

    class Echo(Refusing):
        def CollectResults(self, request, context):  # noqa: N802
            yield pb.StepResult(rows=[pb.RowLogits(logits=bytes(size))])

    server = grpc.server(ThreadPoolExecutor(1), options=SERVER_OPTIONS)
    rpc.add_WorkerServicer_to_server(Echo(lambda context: None), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with PLAIN.connect(Peer(f"127.0.0.1:{port}")) as channel:
            results = rpc.WorkerStub(channel).CollectResults(pb.CollectResultsRequest(), timeout=10)
            assert len(next(results).rows[0].logits) == size
            assert list(results) == []
    finally:
        server.stop(None).wait()
