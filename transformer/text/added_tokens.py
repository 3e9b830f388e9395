"""Tokens that a checkpoint adds to its vocabulary, or gives flags there.

transformers writes them as ``added_tokens_decoder`` of ``tokenizer_config.json``. Where that is
missing, it reads ``added_tokens.json`` (older finetunes) and then ``added_tokens`` of
``tokenizer.json`` (what its version 5 writes), and so do we. Where ``tokenizer.json`` is the
tokenizer itself, its ``added_tokens`` come first, and the configuration may give them other flags.
Ids are taken as the files give them; transformers' Rust side counts anew where they have gaps.

The flag ``normalized`` is not read: it means "match in the normalized text", behind the dummy
prefix. transformers 5 and its older Python side ignore it for SentencePiece, or ``<|im_start|>``
behind a line break would be no token; normalizers of byte-level files leave such spellings alone.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pi_cluster.transformer.errors import ModelError

CONFIG_KEY = "added_tokens_decoder"
_NAMED = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
_LISTED = ("additional_special_tokens", "extra_special_tokens")
_FLAGS = ("special", "lstrip", "rstrip", "single_word")
_MAX_CONTENT_CHARS = 250
_JOINERS = "\u200c\u200d"  # within words of Persian and of Indian languages


@dataclass(frozen=True, slots=True)
class AddedToken:
    """One spelling that is a token wherever a template writes it.

    A ``special`` token gives no text. ``lstrip`` and ``rstrip`` eat the white space on their side;
    a ``single_word`` is no token within a longer word.
    """

    id: int
    content: str
    special: bool = True
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False

    @property
    def is_control(self) -> bool:
        """Whether it must not come of what people type.

        Finetunes also add the words of a language, which people must be able to type. Those hold
        letters, digits and spaces alone; ``<|im_start|>`` is often not marked as special.
        """
        return self.special or not all(map(_is_of_words, self.content))


def special_tokens(config: Mapping[str, Any], special_map: Mapping[str, Any]) -> dict[str, str]:
    """The spellings by their names, such as ``eos_token``, as a template may use them.

    ``config`` is ``tokenizer_config.json``, ``special_map`` is ``special_tokens_map.json``, whose
    entries win.
    """
    both = {**config, **special_map}
    model_specific = both.get("extra_special_tokens")
    named = {name: both.get(name) for name in _NAMED}
    if isinstance(model_specific, Mapping):
        named |= {str(name): token for name, token in model_specific.items()}
    spelt = {name: _content(token) for name, token in named.items()}
    return {name: spelling for name, spelling in spelt.items() if spelling}


def read_added_tokens(
    config: Mapping[str, Any],
    special_map: Mapping[str, Any],
    added: Mapping[str, Any],
    tokenizer_json: Mapping[str, Any],
) -> list[AddedToken]:
    """The added tokens of a checkpoint, given what its JSON files hold.

    ``added`` is ``added_tokens.json``. Raises `ModelError`, naming the key, for entries that make
    no sense.
    """
    special = _special(config, special_map)
    by_id: dict[int, AddedToken] = {}
    if CONFIG_KEY in config:
        for token_id, flags in _pairs(config[CONFIG_KEY], CONFIG_KEY):
            by_id[token_id] = _token(token_id, flags, special, CONFIG_KEY)
        return list(by_id.values())
    for content, token_id in added.items():
        by_id[_id(token_id, "added_tokens.json")] = _token(
            token_id, {"content": content}, special, "added_tokens.json"
        )
    for flags in _list(tokenizer_json, "added_tokens"):
        key = "added_tokens of tokenizer.json"
        token_id = _id(flags.get("id") if isinstance(flags, Mapping) else None, key)
        by_id[token_id] = _token(token_id, flags, special, key)
    return list(by_id.values())


def read_tokens_of_tokenizer_json(
    config: Mapping[str, Any], special_map: Mapping[str, Any], tokenizer_json: Mapping[str, Any]
) -> list[AddedToken]:
    """The added tokens of a checkpoint whose tokenizer is ``tokenizer.json``.

    Raises `ModelError`, naming the key, for entries that make no sense.
    """
    own = read_added_tokens({}, {}, {}, tokenizer_json)
    flagged = read_added_tokens({CONFIG_KEY: config.get(CONFIG_KEY, {})}, {}, {}, {})
    ids = {token.content: token.id for token in own}
    by_content = {token.content: token for token in own}
    for token in flagged:
        by_content[token.content] = replace(token, id=ids.get(token.content, token.id))
    special = _special(config, special_map)
    return [replace(t, special=t.special or t.content in special) for t in by_content.values()]


def _is_of_words(character: str) -> bool:
    is_letter = unicodedata.category(character)[0] in "LMN"  # with the marks on letters
    return is_letter or character.isspace() or character in _JOINERS


def _special(config: Mapping[str, Any], special_map: Mapping[str, Any]) -> set[str]:
    """The spellings that the files call special, whatever flags they have."""
    listed = [
        _content(t) for name in _LISTED for t in _list(config, name) + _list(special_map, name)
    ]
    return {*special_tokens(config, special_map).values(), *filter(None, listed)}


def _token(token_id: int, flags: Any, special: Iterable[str], key: str) -> AddedToken:
    content = flags.get("content") if isinstance(flags, Mapping) else None
    if not isinstance(content, str) or not 0 < len(content) <= _MAX_CONTENT_CHARS:
        raise ModelError(f"{key} gives the id {token_id} no spelling")
    values = {name: flags.get(name) is True for name in _FLAGS}
    values["special"] |= content in special
    return AddedToken(id=token_id, content=content, **values)


def _pairs(values: Any, key: str) -> list[tuple[int, Any]]:
    if not isinstance(values, Mapping):
        raise ModelError(f"{key} is no object of ids and tokens")
    return [(_id(int(i) if i.isdecimal() else i, key), flags) for i, flags in values.items()]


def _id(value: Any, key: str) -> int:
    if type(value) is not int or value < 0:
        raise ModelError(f"{key} has {value!r} where the id of a token should be")
    return value


def _list(values: Mapping[str, Any], name: str) -> list[Any]:
    value = values.get(name)
    return list(value) if isinstance(value, list) else []


def _content(token: Any) -> str | None:
    """The spelling of a special token, which the files give alone or in an object."""
    content = token.get("content") if isinstance(token, Mapping) else token
    return content if isinstance(content, str) else None
