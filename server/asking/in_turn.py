"""Many questions of one request, a few at a time, so that they leave room for others."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from pi_cluster.server.asking.ask import Ask
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.asking.reply import Ended, Event, Grown, Reply

_AT_ONCE = 16


class InTurn:
    """Iterate, once, to ask and to get the events of all; leaving early cancels the rest."""

    def __init__(self, desk: Desk, asks: Sequence[Ask]) -> None:
        """Each of the ``asks`` has one choice; events count them from 0."""
        self._desk = desk
        self._groups = [asks[at : at + _AT_ONCE] for at in range(0, len(asks), _AT_ONCE)]
        self._first: Reply | None = None

    async def prepare(self) -> None:
        """Encode and check the first few, so that what is wrong with them is told at once."""
        if self._groups:
            self._first = await self._desk.prepare(*self._groups[0])

    def close(self) -> None:
        """Let go of what was prepared and not asked."""
        if self._first:
            self._first.close()

    async def __aiter__(self) -> AsyncGenerator[Event, None]:
        for number, group in enumerate(self._groups):
            reply = self._first if number == 0 else None
            reply = reply or await self._desk.prepare(*group)
            async with aclosing(aiter(reply)) as events:
                async for event in events:
                    yield _counted(event, number * _AT_ONCE)


def _counted(event: Event, before: int) -> Event:
    choice = before + event.choice
    if isinstance(event, Grown):
        return Grown(choice, event.piece)
    return Ended(choice, event.answer)
