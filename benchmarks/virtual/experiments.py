"""Which experiments are done, and what must come out of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import ge

from benchmarks.kernels.report import Row
from benchmarks.virtual.cluster import Experiment
from benchmarks.virtual.measure import Job, Speed
from benchmarks.virtual.mistral import BOS_ID
from benchmarks.virtual.playback import FIRST_NAME
from benchmarks.virtual.texts import Text, repeating, unguessable

Figure = Callable[[Sequence[Speed]], float]
Speeds = Mapping[Experiment, Speed]

PROMPT_TOKENS = 2048
USERS = 16
NAME_TOKENS = 2  # the first of every prompt
_SHORT_PROMPT, _SHORT_ANSWER = 8, 32
_REPEATED_TOKENS_WITHOUT_DRAFTS = 60  # each takes as long as the next


def prefill_tps(speeds: Sequence[Speed]) -> float:
    """Prompt tokens a second, over several texts."""
    return sum(s.prefill_tokens for s in speeds) / sum(s.prefill_s for s in speeds)


def decode_tps(speeds: Sequence[Speed]) -> float:
    """Tokens a second after the first ones, over several texts."""
    return sum(s.decode_tokens for s in speeds) / sum(s.decode_s for s in speeds)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A ratio of two figures that must be reached."""

    key: str
    what: str
    bound: float
    figure: Figure
    ours: tuple[Experiment, ...]
    other: tuple[Experiment, ...]

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """All that must be done to tell."""
        return self.ours + self.other

    def row(self, speeds: Speeds) -> Row:
        """The line of the table."""
        ours = self.figure([speeds[experiment] for experiment in self.ours])
        other = self.figure([speeds[experiment] for experiment in self.other])
        note = f"{ours:.2f} : {other:.2f} tokens/s, simulated"
        return Row(self.key, self.what, ge, self.bound, "x", ours / other, note)


def requirements() -> list[Requirement]:
    """The table, the slowest experiments first."""
    long = asked([unguessable(0, PROMPT_TOKENS - NAME_TOKENS, 1)])
    repeated = repeating()
    begun = [Text(text.prompt, text.answer[:_REPEATED_TOKENS_WITHOUT_DRAFTS]) for text in repeated]
    new = [unguessable(0, 64, 80)]
    one, four = _pi5(1, users(USERS)), _pi5(4, users(USERS))
    wifi = Experiment("pi5", 4, "pi4-wifi", users(USERS))
    return [
        Requirement(
            key="prefill",
            what=f"prefill {PROMPT_TOKENS}, 4 Pi 5 : 1",
            bound=3.6,
            figure=prefill_tps,
            ours=(_pi5(4, long),),
            other=(_pi5(1, long),),
        ),
        Requirement("users", f"{USERS} users, 4 Pi 5 : 1", 3.6, decode_tps, (four,), (one,)),
        Requirement(
            "users_wifi", f"{USERS} users, 4 Pi 5 on Wi-Fi : 1", 3.2, decode_tps, (wifi,), (one,)
        ),
        Requirement(
            key="drafts",
            what="1 user, text repeats its prompt, drafts : none",
            bound=3.0,
            figure=decode_tps,
            ours=tuple(_pi5(4, asked([text], drafts=True)) for text in repeated),
            other=tuple(_pi5(4, asked([text])) for text in begun),
        ),
        Requirement(
            key="useless_drafts",
            what="1 user, text cannot be guessed, drafts : none",
            bound=0.97,
            figure=decode_tps,
            ours=(_pi5(4, asked(new, drafts=True)),),
            other=(_pi5(4, asked(new)),),
        ),
    ]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What so many boards of a kind would do, for one user and for many."""

    board: str
    nodes: int

    @property
    def one(self) -> Experiment:
        """One user."""
        return Experiment(self.board, self.nodes, "gbe", users(1))

    @property
    def many(self) -> Experiment:
        """``USERS`` users."""
        return Experiment(self.board, self.nodes, "gbe", users(USERS))


PREDICTIONS = [Prediction(board, nodes) for board in ("pi4", "pi5") for nodes in (2, 4, 8)]


def users(count: int) -> Job:
    """Texts of so many users at once, which share nothing."""
    return asked([unguessable(seed, _SHORT_PROMPT, _SHORT_ANSWER) for seed in range(count)])


def asked(texts: Sequence[Text], *, drafts: bool = False) -> Job:
    """Ask for all texts at once, each by a prompt that names its script."""
    return Job(
        prompts=tuple((BOS_ID, FIRST_NAME + i, *text.prompt) for i, text in enumerate(texts)),
        answers=tuple(text.answer for text in texts),
        drafts=drafts,
    )


def _pi5(nodes: int, job: Job) -> Experiment:
    return Experiment("pi5", nodes, "gbe", job)
