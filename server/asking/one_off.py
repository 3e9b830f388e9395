"""Which requests nobody goes on with."""

from collections.abc import Mapping

from pi_cluster.coordinator.asking.question import Prompt

_TASK = "### Task:"  # how Open WebUI begins what it asks for titles, tags and follow-ups


def is_one_off(prompt: Prompt) -> bool:
    """Whether a chat page asks this for itself, so that its caches make room before a chat's.

    It is told from the words of its last turn. That it wants no stream says nothing: programs ask
    for whole answers and go on with them. What nobody has gone on with makes room early anyway.
    """
    if isinstance(prompt, str):
        return prompt.startswith(_TASK)
    turns = [turn for turn in prompt if isinstance(turn, Mapping)]
    return bool(turns) and str(turns[-1].get("content") or "").startswith(_TASK)
