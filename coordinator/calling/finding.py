"""In which form a model calls: what it was taught shows in its tokens and its chat template."""

from pi_cluster.coordinator.calling.call_format import CallFormat
from pi_cluster.coordinator.calling.generic import Generic
from pi_cluster.coordinator.calling.hermes import CLOSING, OPENING, Hermes
from pi_cluster.coordinator.calling.llama import OPENING as PYTHON_TAG
from pi_cluster.coordinator.calling.llama import Llama
from pi_cluster.coordinator.calling.mistral import OPENING as TOOL_CALLS
from pi_cluster.coordinator.calling.mistral import MistralList
from pi_cluster.coordinator.calling.mistral_arguments import ARGUMENTS, CALL_ID, MistralArguments
from pi_cluster.transformer.text.chat_template import ChatTemplate
from pi_cluster.transformer.text.tokenizer import Tokenizer

# What other forms write within the tags of Hermes: they are no JSON.
_NO_JSON = ("<function=", "<arg_key>")
_LLAMA_KEY = '"parameters": '


def find_format(tokenizer: Tokenizer, template: ChatTemplate | None) -> CallFormat:
    """The model's own form, or `Generic` where its template cannot tell it of tools."""
    if template is None or not template.takes_tools:
        return Generic()
    tokens, source = tokenizer.tokens, template.source
    ids = {spelling: one.id for spelling, one in tokens.items()}
    if (opening := ids.get(TOOL_CALLS)) is not None:
        arguments = ids.get(ARGUMENTS)
        if arguments is not None and ARGUMENTS in source:
            return MistralArguments(opening, arguments, ids.get(CALL_ID))
        begun = tokenizer.piece_bytes(tokenizer.encode("[")[0], continuation=True)
        return MistralList(opening, dummy_prefix=begun.startswith(b" "))
    if OPENING in source and not any(other in source for other in _NO_JSON):
        return Hermes(ids.get(OPENING), ids.get(CLOSING))
    if PYTHON_TAG in ids or _LLAMA_KEY in source:
        return Llama(ids.get(PYTHON_TAG))
    return Generic()
