"""Which experiments are done, and what must come out of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import ge

from benchmarks.kernels.report import Row
from benchmarks.virtual.cluster import Experiment
from benchmarks.virtual.drafting import DraftPace
from benchmarks.virtual.measure import Job, Speed
from benchmarks.virtual.mistral import BOS_ID
from benchmarks.virtual.playback import FIRST_NAME
from benchmarks.virtual.texts import Text, recorded, repeating, unguessable

Figure = Callable[[Sequence[Speed]], float]
Speeds = Mapping[Experiment, Speed]

PROMPT_TOKENS = 2048
USERS = 16
NAME_TOKENS = 2  # the first of every prompt
_SHORT_PROMPT, _SHORT_ANSWER = 8, 32
_GUESSED_ANSWER = 240
_REPEATED_TOKENS_WITHOUT_DRAFTS = 60  # each takes as long as the next


# A model of 1B in 4 bits on a Pi 5: 0.68 GB of weights at 11.4 GB/s, 1e9 multiply-adds a row at 70
# GMAC/s, and a call over the network.
_GIGABIT_CALL_S, _WIFI_CALL_S = 0.001, 0.007
_ON_GIGABIT = DraftPace(right=0.75, token_s=0.060 + _GIGABIT_CALL_S, row_s=0.0143)
_ON_WIFI = replace(_ON_GIGABIT, token_s=0.060 + _WIFI_CALL_S)
_ALWAYS_WRONG = replace(_ON_GIGABIT, right=0.0)


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
        if decided := sum(speeds[experiment].decided_guesses for experiment in self.ours):
            right = sum(speeds[experiment].right_guesses for experiment in self.ours)
            note += f"; {right} of {decided} guesses right"
        return Row(self.key, self.what, ge, self.bound, "x", ours / other, note)


def requirements() -> list[Requirement]:
    """The table, the slowest experiments first."""
    long = asked([unguessable(0, PROMPT_TOKENS - NAME_TOKENS, 1)])
    repeated = repeating()
    begun = [Text(text.prompt, text.answer[:_REPEATED_TOKENS_WITHOUT_DRAFTS]) for text in repeated]
    new = [unguessable(0, 64, 80)]
    one, four = _pi5(1, users(USERS)), _pi5(4, users(USERS))
    wifi = Experiment("pi5", 4, "pi4-wifi", users(USERS))
    natural = unguessable(0, 64, _GUESSED_ANSWER)  # by its repetitions, that is
    undrafted = asked([Text(natural.prompt, natural.answer[:80])])
    drafted = asked([natural], drafts=True, model=_ON_GIGABIT)
    drafted_wifi = asked([natural], drafts=True, model=_ON_WIFI)
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
        Requirement(
            key="real_text",
            what="1 user, what SmolLM2 answers to 7 questions, drafts : none",
            bound=1.3,
            figure=decode_tps,
            ours=(_pi5(4, asked(recorded(), drafts=True, in_turn=True)),),
            other=(_pi5(4, asked(recorded(), in_turn=True)),),
        ),
        Requirement(
            key="draft_model",
            what="1 user, 1B right 75 % on a fifth Pi 5 : no drafts",
            bound=2.5,
            figure=decode_tps,
            ours=(_pi5(4, drafted),),
            other=(_pi5(4, undrafted),),
        ),
        Requirement(
            key="draft_model_inside",
            what="1 user, 1B right 75 % on one of the 4, 3 with layers : 4 with layers, no drafts",
            bound=2.1,
            figure=decode_tps,
            ours=(_pi5(3, drafted),),
            other=(_pi5(4, undrafted),),
        ),
        Requirement(
            key="draft_model_wifi",
            what="1 user, 1B right 75 % on a fifth Pi 5, Wi-Fi : no drafts",
            bound=2.2,
            figure=decode_tps,
            ours=(Experiment("pi5", 4, "pi4-wifi", drafted_wifi),),
            other=(Experiment("pi5", 4, "pi4-wifi", undrafted),),
        ),
        Requirement(
            key="useless_model",
            what="1 user, a draft model that is always wrong : no drafts",
            bound=0.97,
            figure=decode_tps,
            ours=(_pi5(4, asked(new, drafts=True, model=_ALWAYS_WRONG)),),
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


def asked(
    texts: Sequence[Text],
    *,
    drafts: bool = False,
    model: DraftPace | None = None,
    in_turn: bool = False,
) -> Job:
    """Ask for all texts, each by a prompt that names its script."""
    return Job(
        prompts=tuple((BOS_ID, FIRST_NAME + i, *text.prompt) for i, text in enumerate(texts)),
        answers=tuple(text.answer for text in texts),
        drafts=drafts,
        model=model,
        in_turn=in_turn,
    )


def _pi5(nodes: int, job: Job) -> Experiment:
    return Experiment("pi5", nodes, "gbe", job)
