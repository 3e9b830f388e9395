"""``chat`` as a program reads it (a pipe) and as a person types it (a terminal)."""

import contextlib

import pytest

from tests.support.terminal import Terminal

GREEDY = ("--temperature", "0")
WHO = "Who are you?"
NAME = "What is your name?"


def answer_to(story, *turns):
    """What the model says next, asked through the chat's own template by piping all turns."""
    outcome = story.run("chat", *GREEDY, stdin="\n".join(turns).encode() + b"\n")
    assert outcome.code == 0, outcome
    return outcome.out.splitlines()


def test_two_turns_get_two_answers_and_the_second_knows_the_first(story):
    first, second = answer_to(story, WHO, NAME)
    assert "I am called Storyteller" in second
    alone = story.prompt(WHO, *GREEDY)
    assert first == alone["text"]
    long = story.run("chat", *GREEDY, "--verbose", stdin=f"{WHO}\n{NAME}\n".encode())
    counts = [
        int(line.split()[3]) for line in long.err.splitlines() if line.startswith("prompt eval cou")
    ]
    assert counts[0] == len(alone["prompt_ids"]) and counts[1] > counts[0] + len(alone["ids"])


def test_reset_forgets_what_was_said(story):
    outcome = story.run(
        *("chat", *GREEDY, "--verbose"), stdin=f"{WHO}\n/reset\n{WHO}\n/bye\n{WHO}\n".encode()
    )
    first, second = outcome.out.splitlines()  # /bye left before the third
    assert first == second and "forgotten" in outcome.err
    assert outcome.err.count("prompt eval count") == 2


def test_commands_of_a_chat_answer_on_standard_error(story):
    outcome = story.run("chat", stdin=b"/help\n\n/dance now\n")
    assert (outcome.code, outcome.out) == (0, "")
    for words in ("/reset", "/bye", "Ctrl-D", "/dance is no command"):
        assert words in outcome.err


def test_text_that_is_not_utf_8_is_refused_and_the_chat_goes_on(story):
    outcome = story.run("chat", *GREEDY, stdin=b"\xff\xfe\n" + WHO.encode() + b"\n")
    assert "Traceback" not in outcome.err and "internal" not in outcome.err
    assert story.prompt(WHO, *GREEDY)["text"] in outcome.out


def test_a_file_with_a_byte_order_mark_and_crlf_says_the_same(story):
    piped = f"\ufeff{WHO}\r\n".encode()
    outcome = story.run("chat", *GREEDY, stdin=piped)
    assert outcome.out.splitlines() == answer_to(story, WHO)


@pytest.fixture
def terminal(story):
    with contextlib.ExitStack() as opened:
        env = story.env | {"TERM": "dumb"}
        yield lambda *words: opened.enter_context(Terminal(story.words("chat", *words), env))


def test_a_person_chats_interrupts_an_answer_and_leaves_with_ctrl_d(terminal):
    # After the first turn the end-of-sequence id stands in the conversation, and with this penalty
    # what stands there is all but forbidden: the second answer is still going on when we look.
    chat = terminal("--seed", "5", "--repeat-penalty", "1e9", "--max-tokens", "20000")
    chat.until(">>> ")
    chat.type("Who are you?\r")
    chat.until("Who are you?")
    assert len(chat.until(">>> ")) > 10
    chat.type("Tell me a long story about a curious owl.\r")
    chat.until("owl.")
    chat.until("e")  # the answer has begun
    chat.press_ctrl_c()
    chat.until("(interrupted)")
    chat.until(">>> ")
    chat.type("half a li")
    chat.until("half a li")  # its echo: the line is being read
    chat.press_ctrl_c_until("/bye leaves")
    chat.until(">>> ")
    chat.type("\x04")
    assert chat.process.wait(10) == 0


def test_a_person_leaves_with_bye(terminal):
    chat = terminal()
    assert "/help" in chat.until(">>> ")
    chat.type("/bye\r")
    assert chat.process.wait(10) == 0
