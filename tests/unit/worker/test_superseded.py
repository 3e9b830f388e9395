"""Which chunks of a step are still wanted, and what is left of its rows."""

import numpy as np
import pytest

from pi_cluster.cluster.errors import NodeError
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.worker.stage import superseded
from pi_cluster.worker.stage.superseded import Batch, Superseded


def batch_of(*rows_of: tuple[int, int], width: int = 3) -> Batch:
    """Chunks ``(sequence, rows)``; every row tells its place."""
    chunks = [pb.Chunk(sequence=sequence, rows=rows) for sequence, rows in rows_of]
    total = sum(rows for _, rows in rows_of)
    return Batch(chunks, np.repeat(np.arange(total), width).reshape(total, width))


def left(marks: Superseded, step: int, batch: Batch) -> tuple[list[int], list[int]]:
    """Sequences and places that are still wanted."""
    wanted = marks.wanted(step, batch)
    return [chunk.sequence for chunk in wanted.chunks], wanted.rows[:, 0].tolist()


@pytest.fixture
def marks():
    made = Superseded()
    made.put(pb.Supersede(sequence=1, before_step=5))
    return made


@pytest.mark.parametrize(
    ("rows_of", "sequences", "places"),
    [
        ([(1, 2), (2, 3)], [2], [2, 3, 4]),
        ([(2, 3), (1, 2)], [2], [0, 1, 2]),
        ([(2, 1), (1, 2), (3, 2)], [2, 3], [0, 3, 4]),
        ([(2, 1), (3, 2)], [2, 3], [0, 1, 2]),
        ([(1, 2)], [], []),
        ([], [], []),
    ],
)
def test_the_rows_of_other_sequences_stay_in_their_order(marks, rows_of, sequences, places):
    batch = batch_of(*rows_of)
    assert left(marks, 4, batch) == (sequences, places)
    assert marks.wanted(4, batch).rows.shape[1:] == (3,)
    assert marks.wanted(4, batch).rows.dtype == batch.rows.dtype


def test_a_mark_holds_for_earlier_steps_alone_and_the_later_of_two_stands(marks):
    marks.put(pb.Supersede(sequence=1, before_step=8))
    marks.put(pb.Supersede(sequence=1, before_step=6))
    assert left(marks, 7, batch_of((1, 1)))[0] == []
    assert left(marks, 8, batch_of((1, 1)))[0] == [1]


def test_a_mark_is_forgotten_when_its_sequence_ends(marks):
    marks.end(2)
    marks.end(1)
    assert left(marks, 4, batch_of((1, 1)))[0] == [1]


def test_the_number_of_marks_is_bounded_and_those_that_have_done_their_work_do_not_count(
    monkeypatch,
):
    monkeypatch.setattr(superseded, "MAX_MARKS", 3)
    marks = Superseded()
    for sequence in (1, 2, 3, 3):
        marks.put(pb.Supersede(sequence=sequence, before_step=5 + sequence))
    with pytest.raises(NodeError, match="more than 3 sequences were superseded"):
        marks.put(pb.Supersede(sequence=4, before_step=9))
    marks.reach(6)
    marks.put(pb.Supersede(sequence=4, before_step=9))
    assert left(marks, 6, batch_of((1, 1), (2, 1), (3, 1), (4, 1)))[0] == [1]


@pytest.mark.parametrize("rows", [4, 6])
def test_chunks_that_do_not_make_up_the_rows_are_refused(rows):
    chunks = [pb.Chunk(sequence=1, rows=2), pb.Chunk(sequence=2, rows=3)]
    with pytest.raises(NodeError, match=f"chunks of 5 rows came with {rows}"):
        Batch(chunks, np.zeros(rows))
