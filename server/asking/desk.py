"""Where all adapters ask: encodes what is asked, off the event loop, and hands out replies."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from pi_cluster.coordinator.asking.asked import Asked
from pi_cluster.coordinator.asking.question import AskKeywords
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.server.asking.ask import Ask
from pi_cluster.server.asking.model_card import ModelCard
from pi_cluster.server.asking.reply import Reply

_ENCODERS = 2  # templates and tokenising
_OPENERS = 4  # sessions that begin; questions that wait their turn take up none of them


class Desk:
    """Asks one cluster's pipeline for everybody; used by the event loop alone."""

    def __init__(self, client: PipelineClient) -> None:
        """The client stays whose it is."""
        self.client = client
        self.card = ModelCard.of(client.record, client.model)
        self._encoding = ThreadPoolExecutor(_ENCODERS, "encoding")
        self._opening = ThreadPoolExecutor(_OPENERS, "opening")

    async def prepare(self, ask: Ask) -> Reply:
        """Encode and check what is asked; nothing is asked before the reply is iterated.

        Raises ``PromptError`` and ``SettingsError`` for what cannot be asked.
        """
        loop = asyncio.get_running_loop()
        asked = await loop.run_in_executor(self._encoding, self._prepared, ask)
        return Reply(asked, self._opening)

    def close(self) -> None:
        """Let the threads end."""
        self._encoding.shutdown(wait=False, cancel_futures=True)
        self._opening.shutdown(wait=False, cancel_futures=True)

    def _prepared(self, ask: Ask) -> list[Asked]:
        first = self.client.question(ask.prompt, **ask.keywords)
        seed = first.options.sampling.seed
        questions = [first]
        for number in range(1, ask.choices):
            again = AskKeywords(**{**ask.keywords, "seed": (seed + number) % 2**64})
            questions.append(self.client.question(ask.prompt, **again))
        return [self.client.prepare(question, is_shown=True) for question in questions]
