"""What a campaign does, drawn from its seed before anything runs. Pure.

A round is one group of users who ask at once, and the faults that strike while they are answered.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Kind(StrEnum):
    """What can happen."""

    KILLED = "worker killed, started again"
    GONE = "worker killed, away for longer"
    FROZEN = "worker frozen"
    CABLE = "cable out and back"
    PARTITION = "partition"
    LOSS = "20 % of frames lost"
    RESET = "connections reset"
    FULL = "disk full"
    CORRUPTED = "shard corrupted, worker killed"
    CLOCK = "clock jumped"
    REBOOTED = "node rebooted"
    MOVED = "address changed"
    COORDINATOR = "coordinator killed"
    SERVER = "server killed"


ON_USERS = (Kind.COORDINATOR, Kind.SERVER)
"""Kinds that strike the program that asks; all others strike a node."""
ON_NODES = tuple(kind for kind in Kind if kind not in ON_USERS)
COPIES = {3: 1, 4: 2}
"""By how many nodes there are: on how many of their disks each layer lies."""

_LASTS_S = {
    Kind.KILLED: (0.2, 0.8),
    Kind.GONE: (12.0, 20.0),
    Kind.FROZEN: (1.0, 60.0),
    Kind.CABLE: (1.0, 15.0),
    Kind.PARTITION: (1.0, 15.0),
    Kind.LOSS: (2.0, 8.0),
    Kind.FULL: (2.0, 8.0),
    Kind.CORRUPTED: (0.2, 0.8),
    Kind.CLOCK: (2.0, 15.0),
    Kind.REBOOTED: (3.0, 8.0),
    Kind.COORDINATOR: (0.0, 1.0),
    Kind.SERVER: (0.2, 1.0),
}
_TWO_AT_ONCE = 0.12  # share of rounds
_EARLY = 0.25  # share of rounds that are struck during the prompts
_TOKENS = {1: 700, 2: 350, 4: 175, 8: 100}  # of each user's answer, by how many there are
_QUESTIONS = {1: 3, 2: 4, 4: 6, 8: 8}  # to draw from: each is asked undisturbed first
_LENGTHS = (2, 20, 400)  # of what stands in prompts


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that happens to one host, or to the program that asks."""

    kind: Kind
    host: int
    """1 is the first node; 0 where it strikes the program that asks."""
    lasts_s: float
    """Until it is over, unless all are answered before: what has to be mended is mended then."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What one user asks, in token ids."""

    prompt: tuple[int, ...]
    tokens: int
    seed: int
    temperature: float
    draft: bool


@dataclass(frozen=True, slots=True)
class Round:
    """Users who ask at once, and what happens meanwhile."""

    number: int
    nodes: int
    through_server: bool
    asks: tuple[Ask, ...]
    after_tokens: int
    """Of all users together: the moment. 0 is during the prompts, ``after_s`` behind the call."""
    after_s: float
    faults: tuple[Fault, ...]

    @property
    def kind(self) -> str:
        """What people call what happens; two faults at once are a kind of their own."""
        if len(self.faults) > 1:
            return "two at once"
        (fault,) = self.faults
        has_copies = fault.kind is Kind.GONE and COPIES[self.nodes] > 1
        return fault.kind.value + (", others hold copies" if has_copies else "")


def draw_rounds(
    seed: int, faults: int, kinds: Sequence[Kind] = tuple(Kind), longest_s: float = 60.0
) -> list[Round]:
    """Rounds with so many faults, all on 3 nodes before those on 4; each kind as often.

    No fault lasts longer than ``longest_s``.
    """
    draw = random.Random(seed)
    drawn = list(itertools.islice(_shuffled(kinds, draw), faults))
    pool = {users: [_ask(users, draw) for _ in range(n)] for users, n in _QUESTIONS.items()}
    rounds: list[Round] = []
    for nodes, part in zip(COPIES, (drawn[::2], drawn[1::2]), strict=True):
        on_these: list[Round] = []
        while part:
            struck, part = _struck(part, nodes, longest_s, draw)
            on_these.append(_round((0, nodes), struck, pool, draw))
        # A server keeps the pipeline for a minute after its last answer: its rounds come last.
        rounds += sorted(on_these, key=lambda one: one.through_server)
    return [replace(one, number=number) for number, one in enumerate(rounds)]


def each_kind_once(faults: Sequence[Fault]) -> list[Fault]:
    """All of them: first one of each kind, then the others as they were drawn."""
    first = {fault.kind: number for number, fault in reversed([*enumerate(faults)])}
    numbers = sorted(first.values())
    return [faults[n] for n in numbers] + [
        fault for n, fault in enumerate(faults) if n not in numbers
    ]


def _shuffled(kinds: Sequence[Kind], draw: random.Random) -> Iterator[Kind]:
    while True:
        yield from draw.sample(kinds, len(kinds))


def _struck(
    kinds: list[Kind], nodes: int, longest_s: float, draw: random.Random
) -> tuple[tuple[Fault, ...], list[Kind]]:
    """The faults of the next round, and the kinds that are left."""
    count = 2 if draw.random() < _TWO_AT_ONCE and len(kinds) > 1 else 1
    # One switch parts hosts into two groups, so there is one partition at a time.
    if len(set(kinds[:count])) < count:
        count = 1
    hosts = draw.sample(range(1, nodes + 1), count)
    struck = zip(kinds[:count], hosts, strict=True)
    return tuple(_fault(kind, host, longest_s, draw) for kind, host in struck), kinds[count:]


def _fault(kind: Kind, host: int, longest_s: float, draw: random.Random) -> Fault:
    lasts_s = draw.uniform(*_LASTS_S.get(kind, (0.0, 0.0)))
    return Fault(kind, 0 if kind in ON_USERS else host, round(min(lasts_s, longest_s), 2))


def _round(
    where: tuple[int, int],
    faults: tuple[Fault, ...],
    pool: Mapping[int, Sequence[Ask]],
    draw: random.Random,
) -> Round:
    kinds = {fault.kind for fault in faults}
    through_server = Kind.SERVER in kinds or (Kind.COORDINATOR not in kinds and draw.random() < 0.5)
    users = draw.choice(list(_TOKENS))
    is_early = draw.random() < _EARLY
    after_tokens = 0 if is_early else draw.randint(1, _TOKENS[users] * users // 4)
    after_s = round(draw.uniform(0.0, 0.3), 3) if is_early else 0.0
    asks = tuple(draw.sample(pool[users], users))
    return Round(*where, through_server, asks, after_tokens, after_s, faults)


def _ask(users: int, draw: random.Random) -> Ask:
    # The end-of-sequence id 2 in the prompt is all but forbidden by the penalty: texts are long.
    middle = [draw.randrange(300, 1500) for _ in range(draw.choice(_LENGTHS))]
    return Ask(
        prompt=(1, 3, 2, *middle, 355),
        tokens=_TOKENS[users],
        seed=draw.randrange(1 << 31),
        temperature=draw.choice((0.0, 0.8)),
        draft=draw.random() < 0.5,
    )
