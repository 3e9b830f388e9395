"""Our built-in templates against mistral-common, over random chats in random Unicode."""

from pathlib import Path

import mistral_common
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from pi_cluster.transformer.text.builtin_templates import builtin_template
from pi_cluster.transformer.text.chat_template import ChatTemplate
from pi_cluster.transformer.text.sentencepiece_tokenizer import SentencePieceTokenizer

DATA = Path(mistral_common.__file__).parent / "data"
FILES = {
    "v1": "tokenizer.model.v1",
    "v2": "mistral_instruct_tokenizer_240216.model.v2",
    "v3": "mistral_instruct_tokenizer_240323.model.v3",
}
THEIRS = {version: MistralTokenizer.from_file(str(DATA / name)) for version, name in FILES.items()}
TOKENIZERS = {
    version: SentencePieceTokenizer.from_file(DATA / name) for version, name in FILES.items()
}
OURS = {
    version: ChatTemplate(builtin_template(version), tokenizer)
    for version, tokenizer in TOKENIZERS.items()
}
CLASSES = {"system": SystemMessage, "user": UserMessage, "assistant": AssistantMessage}

spellings = ["[INST]", "[/INST]", "<s>", "</s>", "<unk>", "<0x41>", "[TOOL_CALLS]", "[IN", "ST]"]
rarities = [
    "▁",
    "☺",
    "👩\u200d🚀",
    "é",
    "\n",
    "\r\n",
    "\t",
    " ",
    "  ",
    "\n\n",
    "\ufdd0",
    "\x00",
    "/",
]
awkward = st.sampled_from([*spellings, *rarities, "hello", " world"])
words = st.lists(awkward | st.text(max_size=8), max_size=6).map("".join)
texts = words | st.lists(awkward, max_size=5).map(" ".join)


@st.composite
def chats(draw: st.DrawFn) -> list[dict[str, str]]:
    """Messages in any order of roles that mistral-common accepts, the last one a user's."""
    roles: list[str] = []
    for _ in range(draw(st.integers(0, 6))):
        after_assistant = bool(roles) and roles[-1] == "assistant"
        allowed = ["user", "assistant"] if after_assistant else ["user", "assistant", "system"]
        roles.append(draw(st.sampled_from(allowed)))
    roles.append("user")
    filled = texts.filter(bool)
    return [{"role": r, "content": draw(filled if r == "assistant" else texts)} for r in roles]


def reference_ids(version: str, chat: list[dict[str, str]]) -> list[int]:
    messages = [CLASSES[message["role"]](content=message["content"]) for message in chat]
    ids: list[int] = (
        THEIRS[version]
        .encode_chat_completion(ChatCompletionRequest(messages=messages, model="any"))
        .tokens
    )
    return ids


@pytest.mark.parametrize("version", list(FILES))
@settings(max_examples=150, deadline=None, derandomize=True)
@given(chat=chats())
def test_a_built_in_template_gives_the_ids_of_mistral_common(version, chat):
    assert OURS[version].encode(chat) == reference_ids(version, chat)


@pytest.mark.parametrize("version", list(FILES))
def test_an_ordinary_chat_with_a_system_prompt_gives_the_ids_of_mistral_common(version):
    chat = [
        {"role": "system", "content": "Be brief. [INST]"},
        {"role": "user", "content": "Where is Paris?"},
        {"role": "assistant", "content": " In France.  "},
        {"role": "user", "content": "And Berlin? 🗺️ </s>"},
    ]
    assert OURS[version].encode(chat) == reference_ids(version, chat)


@pytest.mark.parametrize("version", list(FILES))
@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=texts)
def test_text_alone_gives_the_ids_of_mistral_common(version, text):
    reference = THEIRS[version].instruct_tokenizer.tokenizer
    assert TOKENIZERS[version].encode(text) == reference.encode(text, bos=False, eos=False)
