"""Answers on their way out: silence is broken, what fails is told, who leaves ends what was asked.

What is written is checked here; that it arrives is, on sockets, in the tests of integration.
"""

import asyncio
import json
from types import SimpleNamespace

import pytest

from pi_cluster.cluster.errors import NodeLost
from pi_cluster.coordinator.asking.asked import Piece
from pi_cluster.coordinator.asking.parts import Said, Thought
from pi_cluster.coordinator.standing import Held, Reading, Waiting
from pi_cluster.server.asking.reply import Grown
from pi_cluster.server.http.answering import StreamedAnswer, WholeAnswer
from pi_cluster.server.openai.chat_framing import ChatForm, ChatFraming
from tests.support.event_stream import DONE, Comment, parse

CARD = SimpleNamespace(id="some-model", digest="d" * 64)
SOON_S = 0.01


class Reply:
    """Says what it is given; where that is an event, waits for it."""

    def __init__(self, *said, stands=None):
        self.said = said
        self.stands = stands
        self.has_ended = self.is_closed = False

    def close(self):
        self.is_closed = True

    def standing(self):
        return self.stands

    async def __aiter__(self):
        try:
            for one in self.said:
                if isinstance(one, asyncio.Event):
                    await one.wait()
                elif isinstance(one, Exception):
                    raise one
                else:
                    yield one
        finally:
            self.has_ended = True


class Client:
    """Reads what is sent, counts what it waits for, and may leave."""

    def __init__(self):
        self.sent = []
        self.leaves = asyncio.Event()
        self.grew = asyncio.Condition()

    async def receive(self):
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        async with self.grew:
            self.sent.append(message)
            self.grew.notify_all()

    async def has(self, part, times):
        async with self.grew:
            await self.grew.wait_for(lambda: self.body.count(part) >= times)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)

    async def read(self, response, headers=()):
        scope = {"type": "http", "headers": headers}
        await asyncio.wait_for(response(scope, self.receive, self.send), 20)


def said(*parts):
    return Grown(0, Piece("".join(part.text for part in parts), parts))


def framing():
    return ChatFraming(CARD, None, 1, with_usage=False)


def events(body):
    return list(parse(iter(body.splitlines(keepends=True))))


async def while_waiting(response, go_on, client, part, times, headers=()):
    reading = asyncio.create_task(client.read(response, headers))
    await asyncio.wait_for(client.has(part, times), 20)
    go_on.set()
    await reading


def test_a_stream_shows_its_role_at_once_and_breaks_each_silence():
    async def check():
        go_on, client = asyncio.Event(), Client()
        response = StreamedAnswer(Reply(go_on, said(Said("Hi"))), framing(), SOON_S)
        await while_waiting(response, go_on, client, b"\n:", 3)
        first, *comments, content, end = events(client.body)
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert len(comments) >= 3 and all(isinstance(one, Comment) for one in comments)
        assert content["choices"][0]["delta"] == {"content": "Hi"} and end == DONE

    asyncio.run(check())


@pytest.mark.parametrize(
    ("stands", "told"),
    [
        (None, "waiting"),
        (Waiting(2, None), "waiting 2"),
        (Waiting(0, 29.2), "waiting 0 30"),
        (Reading(512, 3000), "prompt 512/3000"),
        (Held("pi2 is\r\nlost"), "held pi2 is lost"),
    ],
)
def test_what_breaks_a_silence_says_what_is_waited_for_in_one_line(stands, told):
    async def check():
        go_on, client = asyncio.Event(), Client()
        response = StreamedAnswer(Reply(go_on, stands=stands), framing(), SOON_S)
        await while_waiting(response, go_on, client, b"\n:", 1)
        _, comment, *_ = events(client.body)
        assert comment == Comment(told)

    asyncio.run(check())


def test_who_shows_progress_is_told_it_long_before_a_silence_is_broken():
    async def check():
        go_on, client = asyncio.Event(), Client()
        response = StreamedAnswer(Reply(go_on, stands=Waiting(1, None)), framing())
        wanted = [(b"x-progress", b"1")]
        await while_waiting(response, go_on, client, b": waiting 1\n", 2, wanted)

    asyncio.run(check())


def test_a_stream_that_breaks_ends_with_its_reason():
    async def check():
        client, reply = Client(), Reply(said(Said("Hi")), NodeLost("pi2 does not answer"))
        await client.read(StreamedAnswer(reply, framing()))
        *_, last = events(client.body)
        assert last["error"]["message"] == "pi2 does not answer"
        assert client.sent[-1]["more_body"] is False

    asyncio.run(check())


@pytest.mark.parametrize("stream", [True, False])
def test_a_fault_is_logged_where_it_happened_and_without_its_words(stream, caplog):
    async def check():
        client, reply = Client(), Reply(KeyError("what somebody asked"))
        form = ChatForm(CARD, None)
        await client.read(StreamedAnswer(reply, framing()) if stream else WholeAnswer(reply, form))
        assert b"internal_error" in client.body

    asyncio.run(check())
    (told,) = (record.getMessage() for record in caplog.records)
    assert "KeyError" in told and "somebody" not in caplog.text


def test_a_thought_has_a_field_of_its_own():
    async def check():
        client = Client()
        parts = (Thought("<think>hm"), Thought(" so</think>"), Said("\n\nYes"))
        await client.read(StreamedAnswer(Reply(*map(said, parts)), framing()))
        deltas = [event["choices"][0]["delta"] for event in events(client.body)[1:-1]]
        assert deltas == [
            {"reasoning_content": "hm"},
            {"reasoning_content": " so"},
            {"content": "Yes"},
        ]

    asyncio.run(check())


@pytest.mark.parametrize("stream", [True, False])
def test_what_was_asked_has_ended_when_a_client_has_left(stream):
    async def check():
        client, reply = Client(), Reply(asyncio.Event())
        response = (
            StreamedAnswer(reply, framing(), SOON_S)
            if stream
            else WholeAnswer(reply, ChatForm(CARD, None), SOON_S, SOON_S)
        )
        reading = asyncio.create_task(client.read(response))
        await asyncio.wait_for(client.has(b"\n", 2), 20)
        client.leaves.set()
        await reading
        assert reply.has_ended

    asyncio.run(check())


@pytest.mark.parametrize("stream", [True, False])
def test_a_reply_is_let_go_of_also_when_nobody_came_to_ask(stream):
    async def check():
        client, reply = Client(), Reply(said(Said("Hi")))
        client.leaves.set()
        form = ChatForm(CARD, None)
        await client.read(StreamedAnswer(reply, framing()) if stream else WholeAnswer(reply, form))
        assert reply.is_closed

    asyncio.run(check())


def test_a_whole_answer_that_takes_long_begins_with_empty_lines():
    async def check():
        go_on, client = asyncio.Event(), Client()
        reply = Reply(go_on, NodeLost("pi2 does not answer"))
        response = WholeAnswer(reply, ChatForm(CARD, None), SOON_S, SOON_S)
        await while_waiting(response, go_on, client, b"\n", 3)
        assert client.status == 200 and client.body.startswith(b"\n\n\n")
        assert json.loads(client.body)["error"]["code"] == "pipeline_lost"

    asyncio.run(check())


def test_a_whole_answer_that_fails_soon_has_a_status():
    async def check():
        client = Client()
        reply = Reply(NodeLost("pi2 does not answer"))
        await client.read(WholeAnswer(reply, ChatForm(CARD, None)))
        headers = dict(client.sent[0]["headers"])
        assert client.status == 503 and headers[b"retry-after"]
        assert int(headers[b"content-length"]) == len(client.body)

    asyncio.run(check())
