"""The passages of a text through the pipeline, several side by side, and what they come to."""

import collections
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pi_cluster.coordinator.asking.likelihood import score_keywords, scores_of
from pi_cluster.coordinator.asking.stream import AnswerStream
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.evaluating.divergence import Comparison, Reference, together
from pi_cluster.coordinator.evaluating.figures import Quality
from pi_cluster.coordinator.evaluating.passages import Passage
from pi_cluster.coordinator.scoring import Scoring

_AT_ONCE = 4  # passages: enough that every stage has a chunk, few enough that any caches hold them


@dataclass(frozen=True, slots=True)
class _UnderWay:
    stream: AnswerStream
    comparison: Comparison | None

    def scores(self) -> list[float]:
        """Wait for them."""
        for _ in self.stream:
            pass
        return scores_of(self.stream.answer)


def evaluate(
    client: PipelineClient,
    text: Sequence[Passage],
    reference: Reference | None = None,
    on_read: Callable[[int], None] = lambda _: None,
) -> Quality:
    """Score at least one passage, all of one length; ``on_read`` is told how many are done.

    With a ``reference``, which reads the next passages meanwhile, compare each row with its own.
    Raises as ``PipelineClient.ask`` does.
    """
    waiting = collections.deque(text)
    under_way = collections.deque[_UnderWay]()
    scores, compared = list[list[float]](), []
    try:
        while waiting or under_way:
            while waiting and len(under_way) < _AT_ONCE:
                under_way.append(_begin(client, waiting.popleft(), reference))
            scores.append(under_way[0].scores())
            if comparison := under_way.popleft().comparison:
                compared.append(comparison.compared)
            on_read(len(scores))
    finally:
        for one in under_way:
            one.stream.close()
    return Quality.of(scores, len(text[0].ids), together(compared) if compared else None)


def _begin(client: PipelineClient, passage: Passage, reference: Reference | None) -> _UnderWay:
    comparison = Comparison(passage, reference) if reference else None
    scoring = Scoring(passage.scored, client.record.model.vocab_size, comparison)
    question = client.question(passage.prompt, **score_keywords(scoring))
    return _UnderWay(client.pose(question), comparison)
