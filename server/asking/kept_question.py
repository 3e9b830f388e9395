"""A question to a server as it is written down, and as it is asked again from that."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from pi_cluster.cluster.errors import ModelReplaced, StateError
from pi_cluster.coordinator.asking.question import AskKeywords, Question
from pi_cluster.coordinator.calling.tools import Tool
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.keeping.what_was_asked import Asking

_COMMAND = "serve"


def asking_of(
    client: PipelineClient,
    prompt: Any,
    keywords: Mapping[str, Any],
    question: Question,
    asked_unix_s: float,
) -> Asking:
    """What it takes to ask a question of a server again, exactly."""
    options = question.options
    known = {name: value for name, value in keywords.items() if name != "pooling"}
    known |= {
        "seed": options.sampling.seed,
        "max_tokens": options.max_tokens,
        "asker": options.asker,
        "one_off": options.one_off,
    }
    if bias := known.get("logit_bias"):
        known["logit_bias"] = {str(token): value for token, value in bias.items()}
    if tools := known.get("tools"):
        known["tools"] = [_tool_to_json(Tool.of(tool)) for tool in tools]
    if not isinstance(known.get("stop", ""), str):
        known["stop"] = list(known["stop"])
    asked = prompt if isinstance(prompt, str) else list(prompt)
    return Asking(_COMMAND, client.digest, asked, known, list(question.prompt_ids), asked_unix_s)


def question_of(client: PipelineClient, asking: Asking) -> Question:
    """What was asked, encoded anew; raises ``ModelReplaced``, and ``StateError`` for another form.

    The ids of the prompt are those of before: a template may tell the date.
    """
    if asking.digest != client.digest:
        raise ModelReplaced(
            "this answer is another model's than the one that is up now: bring that one up to go "
            "on with it, or ask anew"
        )
    if unknown := asking.keywords.keys() - AskKeywords.__annotations__.keys():
        raise StateError(
            f"it was asked for with {', '.join(sorted(unknown))}, which this version does not "
            "know: ask anew"
        )
    known = dict(asking.keywords)
    if bias := known.get("logit_bias"):
        known["logit_bias"] = {int(token): value for token, value in bias.items()}
    question = client.question(asking.prompt, **cast("AskKeywords", known))
    return replace(question, prompt_ids=asking.prompt_ids)


def _tool_to_json(tool: Tool) -> dict[str, Any]:
    told = tool.to_json()
    return {**told, "function": {**told["function"], "strict": tool.strict}}
