"""Our built-in templates against mistral-common, over random chats in random Unicode."""

import functools
import json
import tempfile
from pathlib import Path

import mistral_common
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from pi_cluster.transformer.checkpoint_file import read_object
from pi_cluster.transformer.text.builtin_templates import builtin_template
from pi_cluster.transformer.text.chat_template import ChatTemplate
from pi_cluster.transformer.text.detokenizer import IncrementalDetokenizer
from pi_cluster.transformer.text.loading import load_sentencepiece, load_tekken
from pi_cluster.transformer.text.tokenizer import Tokenizer

DATA = Path(mistral_common.__file__).parent / "data"
SENTENCEPIECE = {
    "v1": "tokenizer.model.v1",
    "v2": "mistral_instruct_tokenizer_240216.model.v2",
    "v3": "mistral_instruct_tokenizer_240323.model.v3",
    "v7": "mistral_instruct_tokenizer_241114.model.v7",
}
# Later versions are read in a file of an earlier one that names them: they share its pieces.
TEKKEN = {
    "v3-tekken": "tekken_240718.json",
    "v7-tekken": "tekken_240911.json",
    "v11-tekken": "tekken_240911.json",
    "v13-tekken": "tekken_240911.json",
}
V11_SPECIAL = ("[ARGS]", "[CALL_ID]")
VOCABULARY = 131_072
WRITTEN = tempfile.TemporaryDirectory()  # gone when the tests have ended
VERSIONS = [*SENTENCEPIECE, *TEKKEN]


@functools.cache
def path_of(version: str) -> Path:
    """The file of a version, written anew where mistral-common has none."""
    if version in SENTENCEPIECE:
        return DATA / SENTENCEPIECE[version]
    path = DATA / TEKKEN[version]
    if version == "v3-tekken":
        return path
    values = json.loads(path.read_text(encoding="utf-8"))
    values["config"]["version"] = version.partition("-")[0]
    if version in ("v11-tekken", "v13-tekken"):
        special = [token["token_str"] for token in Tekkenizer.DEPRECATED_SPECIAL_TOKENS]
        values["special_tokens"] = [
            {"rank": rank, "token_str": token, "is_control": True}
            for rank, token in enumerate((*special, *V11_SPECIAL))
        ]
    changed = Path(WRITTEN.name) / f"tekken-{version}.json"
    changed.write_text(json.dumps(values), encoding="utf-8")
    return changed


@functools.cache
def theirs(version: str) -> MistralTokenizer:
    return MistralTokenizer.from_file(str(path_of(version)))


@functools.cache
def tokenizer_of(version: str) -> Tokenizer:
    path = path_of(version)
    if version in SENTENCEPIECE:
        return load_sentencepiece(path, (), 40_000, legacy=False)
    return load_tekken(path, read_object(path), VOCABULARY)[0]


@functools.cache
def ours(version: str) -> ChatTemplate:
    return ChatTemplate(builtin_template(version), tokenizer_of(version))


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
        theirs(version)
        .encode_chat_completion(ChatCompletionRequest(messages=messages, model="any"))
        .tokens
    )
    return ids


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=150)
@given(chat=chats())
def test_a_built_in_template_gives_the_ids_of_mistral_common(version, chat):
    assert ours(version).encode(chat) == reference_ids(version, chat)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_ordinary_chat_with_a_system_prompt_gives_the_ids_of_mistral_common(version):
    chat = [
        {"role": "system", "content": "Be brief. [INST]"},
        {"role": "user", "content": "Where is Paris?"},
        {"role": "assistant", "content": " In France.  "},
        {"role": "user", "content": "And Berlin? 🗺️ </s>"},
    ]
    assert ours(version).encode(chat) == reference_ids(version, chat)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=100)
@given(text=texts)
def test_text_alone_gives_the_ids_of_mistral_common(version, text):
    reference = theirs(version).instruct_tokenizer.tokenizer
    assert tokenizer_of(version).encode(text) == reference.encode(text, bos=False, eos=False)


@pytest.mark.parametrize("version", ["v3-tekken", "v7-tekken"])
@settings(max_examples=200)
@given(ids=st.lists(st.integers(1_000, VOCABULARY - 1) | st.integers(1_000, 1_255), max_size=12))
def test_ids_of_tekken_come_back_in_parts_as_mistral_common_decodes_them(version, ids):
    detokenizer = IncrementalDetokenizer(tokenizer_of(version))
    parts = [*map(detokenizer.push, ids), detokenizer.finish()]
    assert "".join(parts) == theirs(version).instruct_tokenizer.tokenizer.decode(ids)
