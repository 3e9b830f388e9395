"""Texts and how likely a model finds them: what is asked for that, and what came of it."""

from pi_cluster.cluster.errors import PipelineClosed
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.question import AskKeywords
from pi_cluster.coordinator.scoring import Scoring


def score_keywords(scoring: Scoring) -> AskKeywords:
    """What `ask` is told so that its answer has the scores."""
    return {"scoring": scoring, "max_tokens": 1, "draft": False, "one_off": True}


def scores_of(answer: Answer) -> list[float]:
    """What an answer to `score_keywords` has. Raises ``PipelineClosed`` where it was ended."""
    if answer.scores is None:
        raise PipelineClosed("a text was given up before it was read to its end")
    return answer.scores
