"""What of an encoded message is beside its large field, without decoding it."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from pi_cluster.cluster.errors import NodeError
from pi_cluster.cluster.wire.message_size import bytes_beside
from pi_cluster.protos import pi_cluster_pb2 as pb

HIDDEN = (2, 4)
small = st.integers(0, 2**32 - 1)
chunks = st.lists(st.builds(pb.Chunk, sequence=small, start=small, rows=small), max_size=5)


@given(chunks, st.binary(max_size=300))
def test_all_but_the_hidden_states_of_a_step_is_counted(chunks, hidden):
    step = pb.StepMessage(step=pb.Step(step=7, chunks=chunks, hidden=hidden))
    without = pb.StepMessage(step=pb.Step(step=7, chunks=chunks, hidden=b""))
    counted = bytes_beside(step.SerializeToString(), HIDDEN)
    # The field's own tag and length are not counted; those of the step around it neither.
    inner = without.step.ByteSize() - 2
    assert counted == inner


@given(st.binary(max_size=200))
def test_a_field_on_the_outside_counts_as_nothing_and_others_wholly(data):
    assert bytes_beside(pb.ShardPart(data=data).SerializeToString(), (3,)) == 0
    part = pb.ShardPart(sha256="ab" * 32, size_bytes=5, data=data)
    assert bytes_beside(part.SerializeToString(), (3,)) == 66 + 2


def test_a_million_empty_chunks_are_not_hidden_states():
    message = pb.StepMessage(step=pb.Step(chunks=[pb.Chunk()] * 100_000))
    assert bytes_beside(message.SerializeToString(), HIDDEN) == 200_000


STEP = (HIDDEN, (2, 2, 7))


@given(st.lists(st.lists(st.binary(min_size=1, max_size=40), max_size=4), max_size=4))
def test_sets_of_allowed_ids_are_large_fields_and_what_holds_them_is_not(sets):
    chunks = [pb.Chunk(sequence=7, start=1, rows=3, allowed=one) for one in sets]
    message = pb.StepMessage(step=pb.Step(step=7, chunks=chunks, hidden=b"h" * 99))
    counted = bytes_beside(message.SerializeToString(), *STEP)
    fields = 2 + 6 * len(sets)
    headers = 2 * max(0, len(sets) - 1) + 2 * sum(max(0, len(one) - 1) for one in sets)
    assert counted == fields + headers


@pytest.mark.parametrize(
    "chunks", [[pb.Chunk(allowed=[b""] * 100_000)], [pb.Chunk(allowed=[b""])] * 100_000]
)
def test_a_million_empty_sets_of_allowed_ids_are_not_large(chunks):
    message = pb.StepMessage(step=pb.Step(chunks=chunks))
    assert bytes_beside(message.SerializeToString(), *STEP) >= 199_990


@given(st.binary(max_size=60))
def test_it_takes_no_bytes_for_a_message_that_the_decoder_would_not(data):
    """Where the decoder says no, it may say so too or count; it never fails otherwise."""
    try:
        counted = bytes_beside(data, (3,))
    except NodeError:
        return
    assert 0 <= counted <= len(data)
    try:
        part = pb.ShardPart.FromString(data)
    except DecodeError:
        return
    assert counted + len(part.data) <= len(data)


@pytest.mark.parametrize("data", [b"\x1a", b"\x1a\x05ab", b"\xff" * 12, b"\x0b", b"\x09\x00"])
def test_torn_bytes_are_no_message(data):
    with pytest.raises(NodeError):
        bytes_beside(data, (3,))
