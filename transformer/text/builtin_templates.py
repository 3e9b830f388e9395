"""Chat templates of our own, for checkpoints of Mistral's that have none.

They give the ids of mistral-common's ``encode_chat_completion``, from v2 on with tools, too. Where
that refuses an answer with both a text and calls (v2, v3), they write one behind the other.
"""

from pathlib import Path

from pi_cluster.transformer.errors import PromptError
from pi_cluster.transformer.text.tokenizer import Tokenizer

_UP_TO_V3 = ("mistral-calls.jinja", "mistral-v3.jinja")
_V7 = ("mistral-calls.jinja", "mistral-v7.jinja")
_FROM_V11 = ("mistral-calls-v11.jinja", "mistral-v7.jinja")
_FILES = {
    "v1": ("mistral-v1.jinja",),
    "v2": _UP_TO_V3,
    "v3": _UP_TO_V3,
    "v3-tekken": _UP_TO_V3,
    "v7": _V7,
    "v7-tekken": _V7,
    "v11-tekken": _FROM_V11,
    "v13-tekken": _FROM_V11,
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
    folder = Path(__file__).with_name("chat_templates")
    number = version.removeprefix("v").removesuffix("-tekken")
    prefix = _NO_DUMMY_PREFIX if version.endswith("-tekken") else _DUMMY_PREFIX
    begun = f"{{%- set version = {number} -%}}{prefix}"
    return begun + "".join((folder / name).read_text(encoding="utf-8") for name in _FILES[version])


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
