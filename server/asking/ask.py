"""What is asked, whichever API it came by."""

from dataclasses import dataclass, field

from pi_cluster.coordinator.asking.question import AskKeywords, Prompt

SURELY_ONE = 1e-9
"""A ``top_p`` that keeps the likeliest token alone, as clients mean by 0."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, in the words of the Python API."""

    prompt: Prompt
    keywords: AskKeywords = field(default_factory=AskKeywords)
    choices: int = 1
    """Answers wanted, with the seeds s, s + 1, ..."""
