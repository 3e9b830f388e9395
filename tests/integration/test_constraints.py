"""Answers that keep to a constraint, with penalties and log-probabilities: the same ids as one
stage with all logits, whatever the split, guesses, batch mates and sizes.
"""

from dataclasses import replace

import numpy as np
import pytest

from pi_cluster.cluster.errors import NodeError
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.transformer.cache import CacheRoom
from pi_cluster.transformer.errors import ConstraintError, SettingsError, StepError
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.sampling import sample, top_candidates
from pi_cluster.transformer.sampling_settings import SamplingSettings
from pi_cluster.transformer.stage import Chunk
from tests.support.automata import Automaton, OfAutomaton, Script, probabilities
from tests.support.raw_session import RawSession
from tests.support.serving import GREEDY, Line, answer, prompt_of, whole_model
from tests.support.stages import run_step
from tests.support.worker_servers import pipeline

VOCAB, END = 130, 129
WINDOW, STEP_ROWS = 32, 64
MODEL = ServedModel(VOCAB, 1, frozenset({END}), None)
LIMITS = CacheLimits(20, 20 * 128, 128, (CacheRoom(WINDOW, 128),), STEP_ROWS)
OF_STAGES = Limits(STEP_ROWS, LIMITS.max_sequences, 1024, LIMITS.cache_positions)
SEEDED = SamplingSettings(temperature=1.2, seed=3)
EVERYTHING = SamplingSettings(
    *(0.9, 40, 0.95, 0.0, 1.2, 5),
    presence_penalty=0.7,
    frequency_penalty=-0.4,
    logit_bias={5: 4.0, 9: -100, 77: 2.5},
)
PENALTIES = SamplingSettings(temperature=0, presence_penalty=1.5, frequency_penalty=0.5)


@pytest.fixture(scope="module", params=[[0, 6], [0, 2, 4, 6]], ids=["one stage", "three stages"])
def line(request, random_store, tmp_path_factory):
    """Stages whose caches wrap after 128 positions."""
    folder = tmp_path_factory.mktemp("stages")
    with pipeline(random_store, request.param, folder, OF_STAGES) as stages:
        yield Line(stages, MODEL, LIMITS, whole_model(random_store, OF_STAGES))


def row_by_row(line, prompt, sampling, count, automaton=None):
    """One row a step on one stage, all logits, those that are not allowed taken out.

    Ids, log-probabilities, and how many ids there was no choice for.
    """
    text, logprobs, forced = list(prompt), [], 0
    for position in range(len(prompt) + count - 1):
        row = np.array([text[position]])
        _, rows = run_step([line.whole], [Chunk(1, position, 1)], row)
        if position < len(prompt) - 1:
            continue
        logits, answered = rows[0], text[len(prompt) :]
        ids = automaton.choices(answered) if automaton else None
        masked = logits
        if ids is not None:
            masked = np.full_like(logits, -np.inf)
            masked[ids] = logits[ids]
            forced += len(ids) == 1
        counts = {one: answered.count(one) for one in answered}
        best = top_candidates(masked, 0)
        token = sample(best, sampling, position + 1, set(text), counts)
        if token == END:
            break
        precise = logits.astype(np.float64)
        logprobs.append((token, precise[token] - np.log(np.exp(precise).sum())))
        text.append(token)
    return text[len(prompt) :], logprobs, forced


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED, EVERYTHING], ids=["greedy", "seeded", "all"])
@pytest.mark.parametrize("seed", range(4))
def test_a_constrained_text_is_that_of_one_stage_with_masked_logits(line, sampling, seed):
    automaton = Automaton(seed, VOCAB, [END])
    prompt, count = prompt_of(seed, 30 + 20 * seed), 70
    wanted, logprobs, forced = row_by_row(line, prompt, sampling, count, automaton)
    assert forced, "an automaton that forces nothing shows little"
    with line.served() as scheduler:
        for draft, chunk_size, asked in (
            *((True, None, None), (False, None, None), (True, 1, None)),
            *((False, 7, 3), (True, None, 2)),
        ):
            options = GenerationOptions(sampling, count, chunk_size, draft=draft, logprobs=asked)
            mates = [
                scheduler.submit(prompt_of(n, 20), GenerationOptions(SEEDED, 40)) for n in (8,)
            ]
            generation = scheduler.submit(prompt, options, constraint=OfAutomaton(automaton))
            assert list(generation) == wanted
            assert generation.measurement.forced == forced
            if asked is not None:
                got = probabilities(generation.logprobs)
                assert [one for one, _ in got] == wanted
                assert np.allclose([p for _, p in got], [p for _, p in logprobs], atol=1e-4)
            [list(mate) for mate in mates]


def test_many_constrained_texts_at_once_are_each_what_they_are_alone(line):
    automata = [Automaton(40 + n, VOCAB, [END]) for n in range(6)]
    prompts = [[*prompt_of(9, 40), *prompt_of(n, 5 + n)] for n in range(6)]
    with line.served() as scheduler:
        asked = [
            scheduler.submit(prompt, GenerationOptions(SEEDED, 50), constraint=OfAutomaton(one))
            for prompt, one in zip(prompts, automata, strict=True)
        ]
        free = answer(scheduler, prompts[0], SEEDED, 40)
        got = [list(one) for one in asked]
    for prompt, one, ids in zip(prompts, automata, got, strict=True):
        assert ids == row_by_row(line, prompt, SEEDED, 50, one)[0]
    assert free == row_by_row(line, prompts[0], SEEDED, 40)[0]


def test_forced_ids_travel_together(line):
    class Alternating(Script):
        """Each of ten choices forces nine ids."""

        def forced(self):
            return [] if self._at % 10 == 0 else range(50, 60)[self._at % 10 :]

        def mask(self):
            return (0b111 << 20).to_bytes(17, "little")

        def accept(self, token):
            assert token in (self.forced()[:1] or (20, 21, 22))
            self._at += 1

    steps = []
    with line.served(on_step=steps.append) as scheduler:
        options = GenerationOptions(SEEDED, 500, draft=False)
        generation = scheduler.submit([1, 2, 3], options, constraint=Alternating([0] * 100))
        ids = list(generation)
    assert (len(ids), generation.measurement.forced) == (100, 90)
    assert generation.finish_reason is FinishReason.EOS
    # The prompt gives the first choice, each of the others takes one step, and the end none.
    assert len(steps) == 10
    assert scheduler.counters.forced_tokens == 90
    assert (scheduler.counters.steps, scheduler.counters.generated_tokens) == (10, 100)


def test_a_text_that_is_forced_as_a_whole_takes_no_step_and_ends_where_it_must(line):
    steps = []
    with line.served(on_step=steps.append) as scheduler:
        whole = scheduler.submit([1, 2], GenerationOptions(), constraint=Script(range(40, 80)))
        assert list(whole) == list(range(40, 80))
        assert whole.finish_reason is FinishReason.EOS
        short = scheduler.submit(
            [1, 2], GenerationOptions(max_tokens=7), constraint=Script(range(40, 80))
        )
        assert list(short) == list(range(40, 47))
        assert short.finish_reason is FinishReason.LENGTH
        ended = scheduler.submit([1], GenerationOptions(), constraint=Script([40, END]))
        assert (list(ended), ended.finish_reason) == ([40], FinishReason.EOS)
        assert not steps
        # With log-probabilities each of them needs its row.
        told = scheduler.submit(
            [1, 2], GenerationOptions(logprobs=0), constraint=Script(range(40, 80))
        )
        assert list(told) == [one.id for one in told.logprobs] == list(range(40, 80))


@pytest.mark.parametrize(
    ("make", "error", "reason"),
    [
        (lambda: Script([4, 5], is_dead_behind=True), ConstraintError, "allows no token after 2"),
        (lambda: Script([], is_dead_behind=True), ConstraintError, "allows no token after 0"),
        (
            lambda: OfAutomaton(Automaton(2, VOCAB), fails_at=12),
            NodeError,
            "a fault of the grammar",
        ),
        (lambda: OfAutomaton(Automaton(2, VOCAB), fails_at=0), NodeError, "a fault of the grammar"),
    ],
    ids=["stuck later", "stuck at once", "raises later", "raises at once"],
)
def test_a_constraint_that_is_stuck_or_fails_ends_its_own_text_alone(line, make, error, reason):
    with line.served() as scheduler:
        other = iter(scheduler.submit([1, 3], GenerationOptions(GREEDY, 40)))
        got = [next(other)]
        bad = scheduler.submit([1, 2], GenerationOptions(SEEDED, 300), constraint=make())
        with pytest.raises(error, match=reason):
            list(bad)
        got += other
        assert scheduler.failure is None
        later = answer(scheduler, [1, 4], count=10)
    assert got == row_by_row(line, [1, 3], GREEDY, 40)[0]
    assert later == row_by_row(line, [1, 4], GREEDY, 10)[0]


@pytest.mark.parametrize("sampling", [EVERYTHING, PENALTIES], ids=["all", "greedy"])
def test_penalties_and_bias_are_those_of_one_stage(line, sampling):
    prompt = prompt_of(6, 50)
    wanted = row_by_row(line, prompt, sampling, 60)[0]
    assert wanted != row_by_row(line, prompt, GREEDY, 60)[0]
    with line.served() as scheduler:
        assert answer(scheduler, prompt, sampling, 60) == wanted


def test_a_bias_of_an_id_that_the_model_does_not_have_is_refused_by_name(line):
    with line.served() as scheduler:
        biased = GenerationOptions(replace(GREEDY, logit_bias={VOCAB: 1}))
        with pytest.raises(SettingsError, match=r"logit_bias has token id 130.*0\.\.129"):
            scheduler.submit([1], biased)


@pytest.mark.parametrize("alternatives", [0, 1, 20])
@pytest.mark.parametrize("sampling", [GREEDY, SEEDED, EVERYTHING], ids=["greedy", "seeded", "all"])
def test_log_probabilities_are_those_of_the_unmodified_distribution(line, sampling, alternatives):
    prompt = prompt_of(4, 60)
    wanted, logprobs, _ = row_by_row(line, prompt, sampling, 40)
    with line.served() as scheduler:
        options = GenerationOptions(sampling, 40, logprobs=alternatives)
        generation = scheduler.submit(prompt, options)
        assert list(generation) == wanted
    got = generation.logprobs
    assert [one.id for one in got] == wanted
    assert np.allclose([one.logprob for one in got], [p for _, p in logprobs], atol=1e-4)
    for one in got:
        assert len(one.top) == alternatives
        best = [logprob for _, logprob in one.top]
        assert best == sorted(best, reverse=True) and sum(np.exp(best)) <= 1 + 1e-6
        if sampling is GREEDY and alternatives:
            assert one.top[0] == (one.id, one.logprob)


def test_what_was_held_already_is_told_and_counted(line):
    prompt = prompt_of(7, 60)
    with line.served() as scheduler:
        first = scheduler.submit(prompt, GenerationOptions(GREEDY, 5))
        ids = list(first)
        second = scheduler.submit([*prompt, *ids, 4, 5], GenerationOptions(GREEDY, 5))
        list(second)
    held = len(prompt) + len(ids) - 1
    assert (first.timings.cached_tokens, second.timings.cached_tokens) == (0, held)
    counted = scheduler.counters
    assert (counted.prompt_tokens, counted.cached_tokens) == (2 * 60 + 7, held)
    assert counted.generated_tokens == 10


@pytest.mark.parametrize(
    ("allowed", "reason"),
    [
        ([b"\xff" * 17], "1 sets say which ids may follow 2 rows"),
        ([b"\xff" * 17] * 3, "3 sets say which ids may follow 2 rows"),
        ([b"", b"\xff" * 16], "16 bytes say which ids may follow.* 130 takes 17"),
        ([b"", b"\xff" * 18], "18 bytes say which ids may follow"),
        ([b"", b"\0" * 17], "no id may follow"),
        ([b"", b"\0" * 16 + b"\xfc"], "no id may follow"),
    ],
)
def test_sets_of_ids_that_are_worth_nothing_are_refused_by_what_is_wrong(line, allowed, reason):
    with RawSession(line.stages) as session:
        session.send_chunk(
            pb.Chunk(sequence=1, rows=3, logit_rows=2, candidates=4, allowed=allowed), [1, 2, 3]
        )
        with pytest.raises((NodeError, StepError), match=reason):
            session.failure()


def test_rows_come_with_the_best_of_what_is_allowed_and_the_sum_of_all(line):
    bits = sum(1 << one for one in (5, 77, 101)).to_bytes(17, "little")
    with RawSession(line.stages) as session:
        everything = session.step((1, 0, [1, 2]))[1, 1]
        for count in (0, 2):
            chunk = pb.Chunk(sequence=1, rows=2, logit_rows=2, candidates=count, log_sum=True)
            chunk.allowed.extend([b"", bits])
            session.send_chunk(chunk, [1, 2])
            row = session.receive().rows[1]
            ids = np.frombuffer(row.ids, "<i4")
            wanted = sorted((5, 77, 101), key=lambda one: -everything[one])[: count or None]
            assert ids.tolist() == wanted
            assert np.frombuffer(row.logits, "<f4").tolist() == everything[wanted].tolist()
            whole = np.log(np.exp(everything.astype(np.float64)).sum())
            assert row.log_sum == pytest.approx(whole)
        session.close()
