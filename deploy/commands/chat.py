"""``pi-cluster chat``: a conversation in the terminal."""

import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from pi_cluster.cluster.errors import ClusterError, StateError
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.deploy.asking.asker import Asker
from pi_cluster.deploy.asking.choice import asker_of, nodes_asker
from pi_cluster.deploy.asking.figures import print_timings
from pi_cluster.deploy.commands.generation_options import (
    generation_options,
    stop_option,
    think_option,
)
from pi_cluster.deploy.commands.options import (
    NEWEST,
    cluster_option,
    direct_option,
    give_up_after_option,
    heal_timeout_option,
    journal_option,
    resume_option,
    wait_option,
)
from pi_cluster.deploy.failure import with_notes
from pi_cluster.deploy.leading_out import add_next_step, leading_out
from pi_cluster.deploy.screen.output import notes, stream
from pi_cluster.transformer.errors import ModelError
from pi_cluster.transformer.text.thoughts import OPENING

if TYPE_CHECKING:
    from pi_cluster.coordinator.asking.question import AskKeywords
    from pi_cluster.coordinator.text_model import Message
    from pi_cluster.deploy.asking.nodes import NodesAsker

_HELP = """\
/help    show this
/reset   forget the conversation
/bye     leave (or Ctrl-D)
Ctrl-C   interrupt an answer"""


@click.command()
@generation_options
@stop_option
@think_option
@click.option("--system", help="Instructions that come before the conversation.")
@click.option("--verbose", is_flag=True, help="Show durations and rates after each answer.")
@wait_option
@heal_timeout_option
@give_up_after_option
@direct_option
@journal_option
@resume_option
@cluster_option
@leading_out
def chat(
    keywords: "AskKeywords",
    stop: tuple[str, ...],
    think: bool | None,
    system: str | None,
    verbose: bool,
    wait_s: float,
    heal_timeout_s: float,
    give_up_after_s: float,
    direct: bool,
    keeps_journal: bool,
    resume: str | None,
    cluster: str,
) -> None:
    """Talk with the model; it remembers what was said.

    A server of this user is asked where one runs here, or the one that PI_CLUSTER_URL names.
    """
    keywords |= {"think": think, "stop": stop}
    limits = (wait_s, heal_timeout_s, give_up_after_s)
    journal_as = "chat" if keeps_journal else None
    if resume is not None:
        if system:
            raise click.UsageError("--resume goes on with what was said: leave --system out")
        with contextlib.closing(nodes_asker(cluster, *limits, journal_as=journal_as)) as nodes:
            conversation = _Conversation(nodes, cluster, keywords, None, verbose)
            conversation.resume(nodes, None if resume == NEWEST else resume)
            _talk(conversation)
        return
    asker = asker_of(cluster, *limits, directly=direct, journal_as=journal_as)
    with contextlib.closing(asker):
        _talk(_Conversation(asker, cluster, keywords, system, verbose))


def _talk(conversation: "_Conversation") -> None:
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  input() edits lines once it is loaded
        notes.print("/help tells what you can do here")
    while (line := _ask()) is not None:
        match line.strip():
            case "":
                continue
            case "/bye":
                return
            case "/help":
                notes.print(_HELP)
            case "/reset":
                conversation.reset()
                notes.print("forgotten")
            case command if command.startswith("/"):
                notes.print(f"{command.split()[0]} is no command; /help lists them")
            case said:
                conversation.say(said)


def _ask() -> str | None:
    """The next line, or None at the end of input. Ctrl-C while typing drops the line."""
    while True:
        try:
            line = input(">>> " if sys.stdin.isatty() else "")
            return line.removeprefix("\ufeff")  # a file's byte order mark is not said
        except EOFError:
            return None
        except KeyboardInterrupt:
            notes.print("\nCtrl-D or /bye leaves")


class _Conversation:
    """The turns so far; each turn is a request of its own, so that others get theirs between."""

    def __init__(
        self,
        asker: Asker,
        cluster: str,
        keywords: "AskKeywords",
        system: str | None,
        verbose: bool,
    ) -> None:
        self._asker = asker
        self._cluster = cluster
        self._keywords = keywords
        self._verbose = verbose
        self._opening: list[Message] = [{"role": "system", "content": system}] if system else []
        self._turns: list[Message] = []
        # A model that cannot chat says so now, not after the first question.
        self._asker.check(self._with("?"), self._keywords)

    def reset(self) -> None:
        """Forget all turns."""
        self._turns.clear()

    def say(self, said: str) -> None:
        """Answer one turn. A turn that fails is not remembered, and the others are not lost."""
        self._hear(said, lambda: self._asker.answer(self._with(said), self._keywords, stream))

    def resume(self, nodes: "NodesAsker", name: str | None) -> None:
        """Remember the turns of a chat that broke off in an answer, and end that one."""
        entry = nodes.take_up(name, "chat")
        turns: list[Message] = [turn for turn in entry.asking.prompt if isinstance(turn, dict)]
        if not turns or turns[-1]["role"] != "user":
            entry.leave()
            raise StateError(f"answer {entry.name} is of no chat: ask anew")
        begins = turns[0]["role"] == "system"
        self._opening, self._turns = turns[:begins], turns[begins:-1]
        said = turns[-1]["content"]
        notes.print(f">>> {said}", markup=False, soft_wrap=True)
        self._hear(said, lambda: nodes.resume(entry, stream))

    def _hear(self, said: str, answer: Callable[[], tuple[Answer, bool]]) -> None:
        try:
            answered, in_thought = answer()
        except (ClusterError, ModelError) as error:
            add_next_step(error, self._cluster)
            notes.print(f"error: {with_notes(error)}", markup=False, soft_wrap=True)
            return
        except KeyboardInterrupt:  # while it waited its turn
            notes.print("(interrupted)")
            return
        stream("\n")
        if answered.was_interrupted:
            notes.print("(interrupted)")
        if self._verbose:
            print_timings(answered)
        # What was shown is what was said, whether it was interrupted or not.
        heard = (OPENING if in_thought else "") + (answered.text or "")
        self._turns += [_user(said), {"role": "assistant", "content": heard}]

    def _with(self, said: str) -> "list[Message]":
        return [*self._opening, *self._turns, _user(said)]


def _user(said: str) -> "Message":
    return {"role": "user", "content": said}
