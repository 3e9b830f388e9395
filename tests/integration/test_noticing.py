"""Who is lost, who is only slow, and what comes too late: told apart over real sockets."""

import contextlib
import re
import signal
import sys
import threading

import pytest

from pi_cluster import PipelineClient
from pi_cluster.cluster.errors import NodeLost, NodeStuck, StaleEpoch
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.failures import restored_errors
from pi_cluster.cluster.wire.options import WIRE_VERSION
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.cluster.wire.pulse import Pulse
from pi_cluster.coordinator.asking.asked import Asked
from pi_cluster.coordinator.asking.hold import Hold
from pi_cluster.coordinator.asking.stream import AnswerStream
from pi_cluster.coordinator.healing.decision import RETURN_S
from pi_cluster.coordinator.patience import Patience
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.step_times import StepTimes
from pi_cluster.coordinator.steps import StepChunk
from pi_cluster.coordinator.wait_limits import WaitLimits
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.transformer.stage import Stage
from tests.support.asking import ENDLESS_IDS
from tests.support.cluster_process import eventually
from tests.support.measured_nodes import remember_speeds
from tests.support.notices import Notices
from tests.support.relay import relaying
from tests.support.worker_servers import EPOCH, PLAIN, load_stage, pipeline

PATIENCE_S = 40.0
VOCAB = 130
BOUNDS = [0, 2, 4, 6]
IDS = list(range(1, 30))
ROW_S = (0.001, 0.001, 0.001)


def one_step(session):
    session.submit([StepChunk(1, 0, IDS, len(IDS))])
    return [row.candidates.logits.tolist() for row in session.next_result().rows]


def describe(stage):
    with NodeClient(stage.peer, PLAIN) as client:
        return client.describe().stage


def lead_to(store, stage, following):
    """Have a stage send its steps elsewhere."""
    with NodeClient(stage.peer, PLAIN) as client:
        client.unload_stage(EPOCH)
    load_stage(store, stage, following)


@pytest.fixture
def stages(random_store, tmp_path):
    with pipeline(random_store, BOUNDS, tmp_path) as served:
        yield served


class Held:
    """Stages of this process that compute until they are let go on."""

    def __init__(self, monkeypatch, holds):
        self.goes_on = threading.Event()
        self.begun = threading.Semaphore(0)
        forward = Stage.forward

        def held_forward(stage, chunks, hidden):
            if holds(stage):
                self.begun.release()
                assert self.goes_on.wait(PATIENCE_S)
            return forward(stage, chunks, hidden)

        monkeypatch.setattr(Stage, "forward", held_forward)

    def wait(self):
        assert self.begun.acquire(timeout=PATIENCE_S)


def is_second(stage):
    return not stage.is_first and not stage.is_last


def test_a_stage_that_computes_far_beyond_its_profile_is_told_as_slow_and_waited_for(
    stages, monkeypatch
):
    with Session(stages, EPOCH, VOCAB, PLAIN) as session:
        undisturbed = one_step(session)
    held = Held(monkeypatch, is_second)
    limits = WaitLimits(3.0, told_after_s=1.2, slow_after_s=1.0)
    notices, slow = Notices(), []
    with Session(
        *(stages, EPOCH, VOCAB, PLAIN, notices),
        lambda stage, said: slow.append((stage.node_id, said)),
        limits=limits,
        times=StepTimes(ROW_S),
    ) as session:
        session.submit([StepChunk(1, 0, IDS, len(IDS))])
        notices.wait(1)
        held.goes_on.set()
        result = session.next_result()
        assert [row.candidates.logits.tolist() for row in result.rows] == undisturbed
    told = notices.told[0]
    assert told.startswith(f"{stages[1].label} has been computing {len(IDS)} positions for ")
    assert "less than 0.1 s" in told and "slow, not lost" in told
    assert slow == [(stages[1].node_id, told)]


def test_a_stage_that_was_slow_is_told_to_be_through(stages, monkeypatch):
    held = Held(monkeypatch, is_second)
    limits = WaitLimits(3.0, told_after_s=1.2, slow_after_s=1.0)
    notices = Notices()
    with Session(
        *(stages, EPOCH, VOCAB, PLAIN, notices), limits=limits, times=StepTimes(ROW_S)
    ) as session:
        session.submit([StepChunk(1, 0, IDS)])
        notices.wait(1)
        # The last stage computes for long instead: the second has nothing to do meanwhile.
        after = Held(monkeypatch, lambda stage: stage.is_last)
        held.goes_on.set()
        after.wait()
        notices.wait(2)
        after.goes_on.set()
        session.next_result()
    assert notices.told[1].startswith(f"{stages[1].name} is through with that step, after some ")


def test_a_stage_that_no_slowness_explains_is_lost_and_named(stages, monkeypatch):
    held = Held(monkeypatch, is_second)
    limits = WaitLimits(3.0, told_after_s=1.2, slow_after_s=1.0, stuck_after_s=2.0)
    with (
        Session(stages, EPOCH, VOCAB, PLAIN, limits=limits, times=StepTimes(ROW_S)) as session,
        contextlib.ExitStack() as at_end,
    ):
        at_end.callback(held.goes_on.set)
        session.submit([StepChunk(1, 0, IDS)])
        with pytest.raises(NodeStuck, match="is stuck; restart its worker") as lost:
            session.next_result()
    assert lost.value.node_ids == (stages[1].node_id,)
    assert lost.value.awaited_s > 2.0


# A worker whose steps do not end once a file is there, and which answers all the same.
_WEDGED = """
import sys, time
from pathlib import Path
from pi_cluster.transformer.stage import Stage
from pi_cluster.worker import cli
wedge, forward = Path(sys.argv.pop(1)), Stage.forward
def wedged(stage, chunks, hidden):
    while wedge.exists():
        time.sleep(0.02)
    return forward(stage, chunks, hidden)
Stage.forward = wedged
sys.exit(cli.main())
"""


def test_a_wedged_worker_is_done_without_although_it_answers(cluster):
    wedge, data = cluster.folder / "wedge", cluster.folder / "two"
    remember_speeds([data], cluster.env)
    where = ("--listen", "127.0.0.1:0", "--no-mdns", "--data-dir", str(data))
    words = [sys.executable, "-c", _WEDGED, str(wedge), "--cluster", cluster.name, "--name", "two"]
    addresses = [cluster.start_program([*words, *where]).read_line().split()[1]]
    addresses += [cluster.start_worker(name)[1] for name in ("one", "three")]
    cluster.up("--nodes", ",".join(addresses))
    record, notices = cluster.record(), Notices()
    # By then nobody waits any more for it to come back.
    limits = WaitLimits(slow_after_s=1.0, stuck_after_s=RETURN_S + 1)
    with cluster.environment(), PipelineClient.connect(cluster.name) as client:
        question = client.question(ENDLESS_IDS, max_tokens=400, temperature=0.0)
        with client.pose(question) as undisturbed:
            whole = "".join(undisturbed)
        client.release()
        with Hold(record, PLAIN, notices, wait_limits=limits) as hold:
            stream = AnswerStream(Asked(hold, question, Patience(30.0, on_notice=notices)))
            pieces = iter(stream)
            begun = next(pieces)
            wedge.touch()
            assert begun + "".join(pieces) == whole
        wedge.unlink()
    ended = next(line for line in notices.told if "got stuck;" in line)
    assert re.match(r"two got stuck; going on with (one and three|three and one) after ", ended)
    assert "two" not in {stage.name for stage in cluster.record().addresses}


def test_what_steps_took_so_far_counts_for_the_next(stages, monkeypatch):
    held = Held(monkeypatch, is_second)
    held.goes_on.set()
    limits = WaitLimits(3.0, told_after_s=1.2, slow_after_s=1.0)
    notices = Notices()
    with Session(stages, EPOCH, VOCAB, PLAIN, notices, limits=limits) as session:
        one_step(session)
        held.goes_on.clear()
        session.submit([StepChunk(1, 0, IDS, 1)])
        notices.wait(1)
        held.goes_on.set()
        session.next_result()
    assert notices.told[0].startswith(f"{stages[1].label} has been computing ")


def test_steps_that_get_lost_between_nodes_which_answer_are_not_awaited_forever(
    stages, random_store
):
    second = stages[1]
    limits = WaitLimits(3.0, told_after_s=1.2, stalled_after_s=3.0)
    with relaying(second.address) as relay:
        following = StageAddress(second.node_id, second.name, relay.address, second.layers)
        lead_to(random_store, stages[0], following)
        with Session(stages, EPOCH, VOCAB, PLAIN, limits=limits) as session:
            one_step(session)
            relay.hold_open_ones()
            session.submit([StepChunk(1, 0, IDS)])
            with pytest.raises(NodeLost, match=r"nothing has come .* none computes") as lost:
                session.next_result()
    assert lost.value.awaited_s == 3.0 and not lost.value.node_ids


def test_a_killed_worker_is_noticed_at_once_also_while_all_others_compute(
    stages, random_store, cluster, monkeypatch
):
    first, killed, last = stages
    running, address = cluster.start_worker("killed")
    with NodeClient(Peer(address), PLAIN) as client:
        killed = StageAddress(client.describe().node_id, "killed", address, killed.layers)
    load_stage(random_store, killed, last)
    lead_to(random_store, first, killed)
    last_computes = threading.Event()
    held = Held(monkeypatch, lambda stage: stage.is_last or last_computes.is_set())
    notices = Notices()
    with (
        Session([first, killed, last], EPOCH, VOCAB, PLAIN, notices) as session,
        contextlib.ExitStack() as at_end,
    ):
        at_end.callback(held.goes_on.set)
        session.submit([StepChunk(1, 0, IDS)])
        held.wait()
        last_computes.set()
        session.submit([StepChunk(1, len(IDS), IDS)])
        held.wait()
        running.send(signal.SIGKILL)
        with pytest.raises(NodeLost, match=r"killed .* stopped answering") as lost:
            session.next_result()
    assert lost.value.node_ids == (killed.node_id,)
    assert not lost.value.was_awaited and notices.told == []


def test_a_process_that_listens_for_longer_than_it_is_connected_has_ended_all_the_same(stages):
    with relaying(stages[0].address) as relay:
        heard = threading.Event()
        pulse = Pulse(Peer(relay.address), PLAIN, "", lambda _: heard.set())
        with contextlib.closing(pulse):
            assert heard.wait(PATIENCE_S)
            relay.hold()
            taken = relay.taken
            relay.break_open_ones()
            # One look whether anybody listens, and the next question.
            eventually(lambda: relay.taken, lambda now: now >= taken + 2, PATIENCE_S)
            assert not pulse.is_gone
            relay.close()
            eventually(lambda: pulse.is_gone, bool, PATIENCE_S)


def test_results_that_nobody_collects_any_more_are_a_loss(stages):
    """Their connection breaks between the call that collects and the first step."""
    header = pb.SessionHeader(wire_version=WIRE_VERSION, epoch=EPOCH, session="uncollected")
    with NodeClient(stages[0].peer, PLAIN) as client:
        call = client.run_steps(iter([pb.StepMessage(header=header)]))
        with pytest.raises(NodeLost, match="nobody collects"), restored_errors(""):
            call.result(timeout=PATIENCE_S)


def test_late_steps_of_a_session_that_ended_are_not_computed_nor_mixed_into_the_next(
    stages, random_store
):
    second = stages[1]
    with relaying(second.address) as relay:
        following = StageAddress(second.node_id, second.name, relay.address, second.layers)
        lead_to(random_store, stages[0], following)
        with contextlib.suppress(KeyboardInterrupt), Session(stages, EPOCH, VOCAB, PLAIN) as ended:
            undisturbed = one_step(ended)
            relay.hold()
            for start in (len(IDS), 2 * len(IDS)):
                ended.submit([StepChunk(1, start, IDS)])
            eventually(lambda: describe(stages[0]).steps, lambda steps: steps == 3, PATIENCE_S)
            raise KeyboardInterrupt  # as if it were ended by hand, with steps on their way
        eventually(lambda: describe(second).coordinator, lambda who: not who, PATIENCE_S)
        with Session(stages, EPOCH, VOCAB, PLAIN) as session:
            session.submit([StepChunk(1, 0, IDS, len(IDS))])
            relay.release()
            result = session.next_result()
            assert [row.candidates.logits.tolist() for row in result.rows] == undisturbed
        assert describe(second).steps == describe(stages[2]).steps == 2


def test_a_session_that_arrives_after_its_pipeline_was_replaced_is_refused(stages, random_store):
    first = stages[0]
    step = pb.Step(step=1, ids=pb.TokenIds(id=IDS))
    step.chunks.add(sequence=1, rows=len(IDS))
    header = pb.SessionHeader(wire_version=WIRE_VERSION, epoch=EPOCH, session="late")
    messages = [pb.StepMessage(header=header), pb.StepMessage(step=step)]
    with relaying(first.address) as relay, NodeClient(Peer(relay.address), PLAIN) as late:
        late.describe()  # it is connected
        relay.hold()
        call = late.run_steps(iter(messages))
        for stage, following in zip(stages, [*stages[1:], None], strict=True):
            load_stage(random_store, stage, following, EPOCH + 1)
        relay.release()
        with pytest.raises(StaleEpoch, match=f"epoch {EPOCH + 1} is served"), restored_errors(""):
            call.result(timeout=PATIENCE_S)
    assert describe(first).steps == 0
    with Session(stages, EPOCH + 1, VOCAB, PLAIN) as session:
        assert one_step(session)
