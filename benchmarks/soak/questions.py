"""Requests whose answers are known, asked by many users at once."""

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from pi_cluster.coordinator.generation import Generation, GenerationOptions
from pi_cluster.coordinator.scheduling.scheduler import Scheduler
from pi_cluster.transformer.sampling_settings import SamplingSettings

_PROMPTS, _MOST_TOKENS = 48, 16
_CANCELLED = 0.1  # share of the requests
_SAMPLINGS = (
    SamplingSettings(temperature=0),
    SamplingSettings(temperature=0.8, seed=1),
    SamplingSettings(temperature=1.0, seed=2, repeat_penalty=1.2),
)


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, how to sample, and the answer it gets alone."""

    prompt: tuple[int, ...]
    sampling: SamplingSettings
    answer: tuple[int, ...] = ()


@dataclass(slots=True)
class Tally:
    """How the requests went."""

    done: int = 0
    cancelled: int = 0
    tokens: int = 0
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, question: Question, generation: Generation, stop: int) -> None:
        """Compare an answer with what it should be; it was read up to ``stop`` tokens."""
        expected = question.answer[: min(stop, generation.options.max_tokens)]
        with self.lock:
            self.done += 1
            self.cancelled += stop < generation.options.max_tokens
            self.tokens += len(generation.ids)
            if tuple(generation.ids) != expected:
                self.wrong.append(f"{question.prompt}: {generation.ids}, alone {expected}")


def questions(vocab_size: int, bos_id: int, seed: int) -> list[Question]:
    """Prompts of 3 to 40 ids; half of them go on from one of four beginnings."""
    draw = random.Random(seed)  # noqa: S311
    beginnings = [_ids(draw, vocab_size, 24) for _ in range(4)]
    found = []
    for number in range(_PROMPTS):
        beginning = beginnings[number % 8] if number % 8 < 4 else []
        rest = _ids(draw, vocab_size, draw.randrange(2, 16))
        prompt = (bos_id, *beginning, *rest)
        found.append(Question(prompt, _SAMPLINGS[number % len(_SAMPLINGS)]))
    return found


def answered_alone(scheduler: Scheduler, asked: Sequence[Question]) -> list[Question]:
    """The questions with their answers, asked one after another; nothing is guessed."""
    answered = []
    for one in asked:
        options = GenerationOptions(one.sampling, _MOST_TOKENS, ignore_eos=True, draft=False)
        answered.append(replace(one, answer=tuple(scheduler.submit(one.prompt, options))))
    return answered


def ask_all(
    scheduler: Scheduler,
    asked: Sequence[Question],
    requests: int,
    users: int,
    seed: int,
    tally: Tally,
) -> None:
    """Let ``users`` threads ask until ``requests`` have been answered. Raises what a user met."""
    shares = [requests // users + (user < requests % users) for user in range(users)]

    def one_user(user: int) -> None:
        draw = random.Random(f"{seed} {user}")  # noqa: S311
        for _ in range(shares[user]):
            _ask_one(scheduler, draw.choice(asked), draw, tally)

    with ThreadPoolExecutor(users) as pool:
        for ended in [pool.submit(one_user, user) for user in range(users)]:
            ended.result()


def _ask_one(scheduler: Scheduler, question: Question, draw: random.Random, tally: Tally) -> None:
    tokens = draw.randrange(1, _MOST_TOKENS + 1)
    stop = draw.randrange(1, tokens + 1) if draw.random() < _CANCELLED else tokens
    options = GenerationOptions(
        question.sampling, tokens, ignore_eos=True, draft=draw.random() < 0.5
    )
    generation = scheduler.submit(question.prompt, options)
    for _ in generation:
        if len(generation.ids) == stop < tokens:
            break
    tally.count(question, generation, stop)


def _ids(draw: random.Random, vocab_size: int, count: int) -> list[int]:
    return [draw.randrange(vocab_size) for _ in range(count)]
