"""The simulated Pis of the benchmarks: their times by hand, what they say, and what they hold."""

import itertools
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.virtual.cluster import (
    ROOT,
    Experiment,
    ExperimentError,
    ready_address,
    run,
    split_layers,
    worker_command,
)
from benchmarks.virtual.drafting import DraftPace, PlayedModel
from benchmarks.virtual.experiments import asked, users
from benchmarks.virtual.measure import LIMITS, load_stages, measure
from benchmarks.virtual.mistral import CONFIG, EOS_ID, manifest_of
from benchmarks.virtual.overhead import Spent, overhead
from benchmarks.virtual.pis import BOARDS, WORKER_HERE, Board, Overhead, stage_work
from benchmarks.virtual.playback import CONFUSED, FIRST_NAME, PlayedSequence
from benchmarks.virtual.stage import VirtualLoader
from benchmarks.virtual.texts import Text, pieces, recorded, repeating, unguessable
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.wire.options import WIRE_VERSION
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.transformer.layer import Span
from pi_cluster.transformer.stage import Chunk
from pi_cluster.worker.identity import NodeFile
from pi_cluster.worker.machine.examination import Examiner
from pi_cluster.worker.machine.offer import UsableMemory
from pi_cluster.worker.machine.speed import ProfileKeeper
from pi_cluster.worker.service import WorkerService
from pi_cluster.worker.shards.vault import ShardVault
from pi_cluster.worker.stage.host import StageHost
from tests.support.kernel_engines import EVERY_VARIANT, engine
from tests.support.networks import needs_network
from tests.support.worker_servers import PLAIN, serving
from tests.testbed.network.network import Network

SCRIPT = [1, FIRST_NAME, 1001, 1002, 1003, 1004]
FAST = Board("fast", bandwidth=1e14, rate=1e16)


def test_a_virtual_store_has_the_sizes_of_mistral_7b_in_4_bits():
    manifest = manifest_of(CONFIG)
    # 218,103,808 weights of 4.5 bits and two gains of 4096 floats; the head in 8.5 bits.
    assert manifest.layer_file(0).size_bytes == 218_103_808 * 9 // 16 + 2 * 4096 * 4
    assert manifest.head_file.size_bytes == 32_000 * 4096 * 17 // 16 + 4096 * 4


def test_one_row_waits_for_memory_and_many_rows_for_arithmetic():
    work = stage_work(manifest_of(CONFIG), LayerRange(0, 32), LIMITS)
    board = BOARDS["pi5"]
    assert work.layers_s(board, 1) == pytest.approx(32 * 122_716_160 / 11.4e9, rel=1e-3)
    assert work.layers_s(board, 64) == pytest.approx(64 * 32 * 218_103_808 / 70e9)
    assert work.with_head_s(board, 64, 1) == pytest.approx(
        (64 * 32 * 218_103_808 + 32_000 * 4096) / 70e9
    )


def test_attention_costs_a_pass_over_the_cache_or_its_multiply_adds():
    work = stage_work(manifest_of(CONFIG), LayerRange(0, 8), LIMITS)
    board = Board("slow", bandwidth=1.0, rate=1e15)
    # 8 layers of keys and values in half precision, 8 heads of 128, 101 positions.
    assert work.attention_s(board, [Span(0, 1, 100)]) == 8 * 2 * 8 * 128 * 2 * 101
    board = Board("slow", bandwidth=1e15, rate=1.0)
    # Two rows that see 101 and 102 positions, by 32 heads of 128, keys and values.
    assert work.attention_s(board, [Span(0, 2, 100)]) == 8 * 2 * 32 * 128 * (101 + 102)


def test_attention_costs_as_much_as_each_layer_sees():
    near = replace(CONFIG.layers[0], window=16)
    mixed = replace(CONFIG, layers=(near, *CONFIG.layers[1:]))
    work = stage_work(manifest_of(mixed), LayerRange(0, 3), LIMITS)
    board = Board("slow", bandwidth=1e15, rate=1.0)
    assert work.attention_s(board, [Span(0, 1, 100)]) == 2 * 32 * 128 * (16 + 2 * 101)


def test_a_sequence_that_follows_its_script_is_told_the_rest():
    sequence = PlayedSequence([SCRIPT])
    assert sequence.extend(np.array(SCRIPT[:3])) == [CONFUSED, 1001, 1002]
    assert sequence.extend(np.array([1002, 1003, 1004])) == [1003, 1004, EOS_ID]


def test_a_wrong_guess_confuses_all_that_follows_until_it_is_taken_back():
    sequence = PlayedSequence([SCRIPT])
    sequence.extend(np.array(SCRIPT[:3]))
    assert sequence.extend(np.array([1002, 9, 1004])) == [1003, CONFUSED, CONFUSED]
    sequence.truncate(4)
    assert sequence.extend(np.array([1003])) == [1004]


def test_a_copy_of_a_sequence_goes_on_by_itself_and_as_another_script():
    sequence = PlayedSequence([SCRIPT, [1, FIRST_NAME + 1, 7, 8]])
    sequence.extend(np.array(SCRIPT))
    assert sequence.fork(4).extend(np.array([1003])) == [1004]
    assert sequence.fork(1).extend(np.array([FIRST_NAME + 1, 7])) == [7, 8]
    assert sequence.extend(np.array([5])) == [CONFUSED]


def test_a_virtual_step_takes_the_time_of_its_board():
    work = stage_work(manifest_of(CONFIG), LayerRange(0, 32), LIMITS)
    board = Board("board", bandwidth=work.layer_bytes / 0.05, rate=1e15)
    stage = VirtualLoader(board, [SCRIPT])(manifest_of(CONFIG), LayerRange(0, 32), LIMITS).stage
    began = time.perf_counter()
    hidden = stage.forward([Chunk(1, 0, 3)], stage.embed(np.array(SCRIPT[:3])))
    assert time.perf_counter() - began >= 0.05
    logits = stage.logits(hidden[2:])
    assert time.perf_counter() - began >= work.with_head_s(board, 3, 1)
    assert logits.shape == (1, CONFIG.vocab_size) and logits.argmax() == 1002


def test_a_board_adds_what_its_processor_takes_longer_beside_arithmetic():
    board = Board("board", bandwidth=1e14, rate=1e16, slowness=3.0)
    assert board.slower_by_s(8) == 2 * (WORKER_HERE.step_s + 8 * WORKER_HERE.row_s) > 0
    assert FAST.slower_by_s(8) == 0
    assert BOARDS["pi4"].slowness > BOARDS["pi5"].slowness > 1


def test_a_virtual_step_takes_longer_on_a_board_with_a_slower_processor():
    board = Board("board", bandwidth=1e14, rate=1e16, slowness=1 + 0.05 / WORKER_HERE.step_s)
    stage = VirtualLoader(board, [SCRIPT])(manifest_of(CONFIG), LayerRange(0, 32), LIMITS).stage
    began = time.perf_counter()
    stage.forward([Chunk(1, 0, 3)], stage.embed(np.array(SCRIPT[:3])))
    assert time.perf_counter() - began >= 0.05


def test_the_costs_of_a_step_and_of_a_row_explain_short_steps_and_long_ones():
    cost = Overhead(step_s=0.002, row_s=0.0001)

    def spent(steps, rows):
        seconds = steps * cost.step_s + rows * cost.row_s
        return Spent(steps, rows, wall_s=1.0, seconds=(0.0, seconds))

    disturbed = Spent(100, 100, wall_s=1.0, seconds=(0.0, 1.0))
    found = overhead([disturbed, spent(100, 100)], [spent(4, 1000)], who=1)
    assert found.step_s == pytest.approx(cost.step_s)
    assert found.row_s == pytest.approx(cost.row_s)


def test_what_idle_processes_spend_is_no_cost_of_a_step():
    before, after = Spent(2, 10, 1.0, (1.0, 2.0)), Spent(5, 30, 5.0, (1.5, 4.0))
    assert after.since(before) == Spent(3, 20, 4.0, (0.5, 2.0))
    idle = Spent(0, 0, 2.0, (0.125, 0.0))
    assert after.since(before).beside(idle) == Spent(3, 20, 4.0, (0.25, 2.0))


def test_a_virtual_worker_tells_the_processor_time_that_it_has_spent(tmp_path):
    (tmp_path / "scripts.json").write_text("[]")
    command = worker_command("127.0.0.1:0", BOARDS["pi4"], tmp_path / "scripts.json")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as worker:
        assert ready_address(worker).startswith("127.0.0.1:")
        told, _ = worker.communicate("\n\n", timeout=30)
    first, second = map(float, told.splitlines())
    assert 0 < first <= second
    assert worker.returncode == 0


@contextmanager
def virtual_pipeline(job, folder):
    vault = ShardVault(folder)
    with ExitStack() as stack:
        stages = []
        for layers in (LayerRange(0, 16), LayerRange(16, 32)):
            name = str(layers)
            about = pb.NodeDescription(node_id=name, name=name, wire_version=WIRE_VERSION)
            host = StageHost(vault, VirtualLoader(FAST, job.scripts), PLAIN)
            profile = ProfileKeeper(folder, NodeFile(name), engine(EVERY_VARIANT[0]))
            examiner = Examiner(name, folder)
            service = WorkerService(about, vault, host, profile, examiner, PLAIN, UsableMemory())
            address = stack.enter_context(serving(service))
            stages.append(StageAddress(name, name, address, layers))
        load_stages(stages, manifest_of(CONFIG))
        yield stages


def test_two_virtual_workers_play_several_answers_over_real_sockets(tmp_path):
    job = asked([unguessable(seed, prompt_tokens=150, answer_tokens=12) for seed in range(3)])
    with virtual_pipeline(job, tmp_path) as stages:
        speed, said = measure(stages, CONFIG, job)
    assert said == job.answers
    assert speed.prefill_tokens == 3 * 152 and speed.decode_tokens > 0


def test_guesses_right_and_wrong_leave_the_answers_as_they_are(tmp_path):
    texts = [Text(text.prompt, text.answer[:60]) for text in repeating()]
    job = asked(texts, drafts=True)
    with virtual_pipeline(job, tmp_path) as stages:
        _, said = measure(stages, CONFIG, job)
    assert said == job.answers


def test_a_virtual_draft_model_is_right_as_often_as_it_should_be_and_confused_by_its_errors():
    script = [1, FIRST_NAME, *range(1000, 1400)]
    model = PlayedModel([script], DraftPace(0.75, 0.0, 0.0), CONFIG.vocab_size)
    model.compute(1, 0, script[:1])
    said = [model.compute(1, at, script[at : at + 1]).argmax() for at in range(1, 401)]
    assert 280 < sum(a == b for a, b in zip(said, script[2:], strict=False)) < 320
    model.compute(1, 50, [7])
    assert model.compute(1, 51, script[51:52]).argmax() in (CONFUSED, CONFUSED + 1)
    assert model.can_go_back(1, 50) and not model.can_go_back(1, 53)


def test_guesses_of_a_virtual_draft_model_leave_an_answer_as_it_is(tmp_path):
    job = asked([unguessable(0, 64, 60)], drafts=True, model=DraftPace(0.75, 0.0, 0.0))
    with virtual_pipeline(job, tmp_path) as stages:
        speed, said = measure(stages, CONFIG, job)
    assert said == job.answers
    assert speed.decided_guesses >= speed.right_guesses > 0


def test_recorded_answers_are_played_one_after_another(tmp_path):
    texts = [Text(text.prompt, text.answer[:8]) for text in recorded()]
    assert len(texts) > 5
    job = asked(texts, in_turn=True)
    with virtual_pipeline(job, tmp_path) as stages:
        speed, said = measure(stages, CONFIG, job)
    assert said == job.answers and speed.prefill_tokens == sum(map(len, job.prompts))


@needs_network
def test_an_interrupted_experiment_ends_its_network_and_its_processes():
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(ExperimentError, match="interrupted"):
        run(Experiment("pi4", 1, "gbe", users(1)), stopping)
    with Network(2, "gbe") as network:
        process = network.popen(1, ["sleep", "60"])
    assert process.returncode


def test_layers_are_split_evenly():
    assert split_layers(32, 4) == ((0, 8), (8, 16), (16, 24), (24, 32))
    assert [stop - start for start, stop in split_layers(32, 3)] == [10, 11, 11]


def test_the_repeating_texts_repeat_and_the_others_do_not():
    assert "".join(pieces("def f(x):\n    return x_1 + 12")) == "def f(x):\n    return x_1 + 12"
    for text in repeating():
        known = set(itertools.pairwise(text.prompt))
        pairs = list(itertools.pairwise(text.answer))
        assert sum(pair in known for pair in pairs) > 0.6 * len(pairs)
    new = unguessable(0, 500, 500)
    pairs = list(itertools.pairwise((*new.prompt, *new.answer)))
    assert len(set(pairs)) == len(pairs) == 999
