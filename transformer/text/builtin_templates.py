"""Chat templates of our own, for checkpoints of Mistral's that have none.

They give the ids of mistral-common's ``encode_chat_completion`` for chats without tools.
"""

from pathlib import Path

from pi_cluster.transformer.errors import PromptError
from pi_cluster.transformer.text.tokenizer import Tokenizer

# Where versions share a file, they differ in how they write tool calls, which it leaves out.
_FILES = {
    "v1": "mistral-v1.jinja",
    "v2": "mistral-v3.jinja",
    "v3": "mistral-v3.jinja",
    "v3-tekken": "mistral-v3.jinja",
    "v7": "mistral-v7.jinja",
    "v7-tekken": "mistral-v7.jinja",
    "v11-tekken": "mistral-v7.jinja",
    "v13-tekken": "mistral-v7.jinja",
}
# What SentencePiece puts in front of a text that is not empty; tekken puts nothing there.
_DUMMY_PREFIX = "{%- set dummy_prefix = ' ' -%}"
_NO_DUMMY_PREFIX = "{%- set dummy_prefix = '' -%}"


def builtin_template(version: str) -> str:
    """Our own template for Mistral's tokenizer ``version``, such as "v3" or "v3-tekken".

    Raises `PromptError` for other versions.
    """
    if version not in _FILES:
        known = ", ".join(_FILES)
        raise PromptError(f"there is no built-in chat template {version!r}; there are {known}")
    path = Path(__file__).with_name("chat_templates") / _FILES[version]
    prefix = _NO_DUMMY_PREFIX if version.endswith("-tekken") else _DUMMY_PREFIX
    return prefix + path.read_text(encoding="utf-8")


def template_for_tokenizer(file_name: str, tokenizer: Tokenizer) -> str | None:
    """The built-in template for a SentencePiece file, or None where it cannot be known.

    Mistral ends the name of such a file with its version, as in ``tokenizer.model.v3``. A mere
    ``tokenizer.model`` is v3 if it has 32768 pieces with ``[INST]``, but no ``[SYSTEM_PROMPT]``
    (v7). Without ``[INST]`` it may be v1, or of a base model that was never taught to chat: None.
    """
    version = file_name.rpartition(".")[2]
    if version in _FILES:
        return builtin_template(version)
    control = tokenizer.control_ids
    is_v3 = tokenizer.vocab_size == 32768 and "[INST]" in control
    if file_name.endswith(".model") and is_v3 and "[SYSTEM_PROMPT]" not in control:
        return builtin_template("v3")
    return None


def template_for_tekken(version: str) -> str | None:
    """The built-in template for the version that a ``tekken.json`` names, or None."""
    name = f"{version}-tekken"
    return builtin_template(name) if name in _FILES else None
