"""A program that asks by the library, and says what processor time that took.

python -m benchmarks.server.library CLUSTER
"""

import sys
import time

from benchmarks.json_process import serve
from benchmarks.server.request import PROMPTS
from pi_cluster import PipelineClient, as_they_come


class Library:
    """Asks on one thread, however many answers come at once."""

    def __init__(self, client: PipelineClient) -> None:
        self._client = client

    def answer(self, streams: int, tokens: int) -> dict[str, float]:
        """Ask ``streams`` questions at once for so many tokens each."""
        began_s = time.process_time()
        asked = [
            self._client.stream(
                PROMPTS[number % len(PROMPTS)], max_tokens=tokens, temperature=0, ignore_eos=True
            )
            for number in range(streams)
        ]
        ends = sum(piece is None for _, piece in as_they_come(asked))
        assert ends == streams
        count = sum(len(one.answer.ids) for one in asked)
        return {"tokens": count, "cpu_s": time.process_time() - began_s}


if __name__ == "__main__":
    with PipelineClient.connect(sys.argv[1]) as connected:
        serve(Library(connected))
