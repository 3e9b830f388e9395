"""Answers under way, written down so that a restarted server can go on with them."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from pi_cluster.cluster.errors import KeptNowhere, ModelReplaced, StateError
from pi_cluster.coordinator.asking.question import AskKeywords, Question
from pi_cluster.coordinator.calling.tools import Tool
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.journal import Asking, Journal, JournalEntry, KeptAnswer

COMMAND = "serve"
"""By which the journal tells a server's answers from those of other commands."""


class Keeper:
    """Writes answers down on one thread, in the order in which they grow."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._writing = ThreadPoolExecutor(1, "journal")
        self.is_stopping = False
        """Whether what is not at its end waits for the next server."""

    def begin(self, asking: Asking) -> "Kept | None":
        """Keep an answer that is about to begin; None where that cannot be. Not for the loop."""
        entry = self._journal.begin(asking)
        return Kept(self, entry) if entry else None

    def resume(self, name: str, asker: str | None) -> "Kept":
        """Go on with what another server has left. Not for the loop.

        Raises ``KeptNowhere`` where ``asker`` has no such answer; None may have everybody's.
        """
        entry = self._journal.resume(name, COMMAND)
        if not _is_of(entry.asking, asker):
            entry.leave()
            raise KeptNowhere(f"no unfinished answer {name!r} can be gone on with here: ask anew")
        return Kept(self, entry)

    def look(self, asker: str | None) -> list[KeptAnswer]:
        """The answers of ``asker``, or with None of everybody. Not for the loop."""
        return [one for one in self._journal.look(COMMAND) if _is_of(one.asking, asker)]

    def write(self, work: Callable[[], None]) -> None:
        """Have it done behind what was to be written before."""
        with suppress(RuntimeError):  # it is closed, and the process ends, which leaves all files
            self._writing.submit(work)

    def stop(self) -> None:
        """From now on, answers that end without their end are left for the next server."""
        self.is_stopping = True

    def close(self) -> None:
        """Write what is still to be written, and no more."""
        self._writing.shutdown(wait=True)


@dataclass(slots=True, eq=False)
class Kept:
    """One answer; used by the event loop alone, which waits for no disk."""

    keeper: Keeper
    entry: JournalEntry
    _count: int = 0
    _is_over: bool = False

    @property
    def begun(self) -> list[int]:
        """What is known of the answer, but for the last id: that one is computed again.

        With it the text might be at its end, of which nothing is written down. An answer with
        log-probabilities is computed from its beginning, as those are not written down either.
        """
        return [] if self.entry.asking.keywords.get("logprobs") is not None else self.entry.ids[:-1]

    def keep(self, token: int) -> None:
        """The answer behind ``begun`` has grown; what is known already comes once more."""
        known = len(self.entry.ids) - len(self.begun)
        self._count += 1
        if self._count > known:
            self.keeper.write(partial(self.entry.keep, token))

    def close(self, *, is_left: bool) -> None:
        """Leave it for whoever goes on with it, or keep nothing of it. The first call counts."""
        if not self._is_over:
            self._is_over = True
            self.keeper.write(self.entry.leave if is_left else self.entry.end)


class KeptReply:
    """What is kept of the answers to one request."""

    def __init__(self, keeper: Keeper | None, kept: Sequence[Kept | None]) -> None:
        self._keeper, self._kept = keeper, kept
        self._has_failed = False

    @property
    def name(self) -> str:
        """Of the first answer; empty where it is not kept."""
        return self._kept[0].entry.name if self._kept and self._kept[0] else ""

    def ended(self, choice: int) -> None:
        """An answer is complete."""
        if kept := self._kept[choice]:
            kept.close(is_left=False)

    def failed(self) -> None:
        """The pipeline could not end them."""
        self._has_failed = True

    def close(self) -> None:
        """Nobody reads on."""
        is_left = self._has_failed or (self._keeper is not None and self._keeper.is_stopping)
        for kept in self._kept:
            if kept:
                kept.close(is_left=is_left)


def asking_of(
    client: PipelineClient,
    prompt: Any,
    keywords: Mapping[str, Any],
    question: Question,
    asked_unix_s: float,
) -> Asking:
    """What it takes to ask a question of a server again, exactly."""
    options = question.options
    known = {name: value for name, value in keywords.items() if name != "pooling"}
    known |= {
        "seed": options.sampling.seed,
        "max_tokens": options.max_tokens,
        "asker": options.asker,
        "one_off": options.one_off,
    }
    if bias := known.get("logit_bias"):
        known["logit_bias"] = {str(token): value for token, value in bias.items()}
    if tools := known.get("tools"):
        known["tools"] = [_tool_to_json(Tool.of(tool)) for tool in tools]
    if not isinstance(known.get("stop", ""), str):
        known["stop"] = list(known["stop"])
    asked = prompt if isinstance(prompt, str) else list(prompt)
    return Asking(COMMAND, client.digest, asked, known, list(question.prompt_ids), asked_unix_s)


def question_of(client: PipelineClient, asking: Asking) -> Question:
    """What was asked, encoded anew; raises ``ModelReplaced``, and ``StateError`` for another form.

    The ids of the prompt are those of before: a template may tell the date.
    """
    if asking.digest != client.digest:
        raise ModelReplaced(
            "this answer is another model's than the one that is up now: bring that one up to go "
            "on with it, or ask anew"
        )
    if unknown := asking.keywords.keys() - AskKeywords.__annotations__.keys():
        raise StateError(
            f"it was asked for with {', '.join(sorted(unknown))}, which this version does not "
            "know: ask anew"
        )
    known = dict(asking.keywords)
    if bias := known.get("logit_bias"):
        known["logit_bias"] = {int(token): value for token, value in bias.items()}
    question = client.question(asking.prompt, **cast("AskKeywords", known))
    return replace(question, prompt_ids=asking.prompt_ids)


def _tool_to_json(tool: Tool) -> dict[str, Any]:
    told = tool.to_json()
    return {**told, "function": {**told["function"], "strict": tool.strict}}


def _is_of(asking: Asking, asker: str | None) -> bool:
    return asker is None or asking.keywords.get("asker", "") == asker
