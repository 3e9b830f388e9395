"""What a ``tokenizer.json`` says, checked and bounded before a library builds anything of it.

The format is that of Hugging Face's library ``tokenizers``: a model, and steps around it.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

from pi_cluster.transformer.errors import ModelError, UnsupportedTokenizer

_MAX_PIECES = 1_000_000
_MAX_MERGES = 2_000_000
_MAX_TOKEN_ID = 2**31 - 1
_MAX_STEPS = 16
_MAX_STEP_CHARS = 10_000  # of patterns, some of which list the letters of scripts
_MAX_GROWTH = 64  # of a text when it is normalized: a chain of replacements could fill the memory
_STEPS_OF = {"Sequence": ("normalizers", "pretokenizers", "decoders", "processors")}
_LIKE_SENTENCEPIECE = {"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"}


class BpeFile:
    """One file; each `ModelError` begins with ``name``.

    `UnsupportedTokenizer` is raised for what is sound and of a kind that is not read here.
    """

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self.name = name
        self._values = values
        model = values.get("model")
        if not isinstance(model, dict):
            raise ModelError(f"{name} has no model; fetch it again")
        kind = model.get("type", "BPE" if "merges" in model else None)
        if kind != "BPE":
            raise UnsupportedTokenizer(
                f"{name} is of the kind {str(kind)[:40]!r}; of such files only BPE is read"
            )
        self._model = model
        self.vocabulary: Mapping[str, int] = _vocabulary(model.get("vocab"), name)
        merges = model.get("merges")
        if not isinstance(merges, list) or len(merges) > _MAX_MERGES:
            raise ModelError(f"{name} has no list of at most {_MAX_MERGES} merges; fetch it again")
        self._merges: list[Any] = merges
        for key in ("continuing_subword_prefix", "end_of_word_suffix"):
            if model.get(key):
                raise UnsupportedTokenizer(f"{name} marks pieces by a {key}, which is not read")
        self._check_steps()
        self.is_byte_level = self._decides_for_bytes()

    @property
    def unk_id(self) -> int | None:
        """What stands for text that no piece can write."""
        unknown = self._model.get("unk_token")
        if unknown is None:
            return None
        if not isinstance(unknown, str) or unknown not in self.vocabulary:
            raise ModelError(
                f"{self.name} names {str(unknown)[:40]!r} as its unk_token, which is no piece of "
                "it; fetch it again"
            )
        return self.vocabulary[unknown]

    @cached_property
    def has_dummy_prefix(self) -> bool:
        """Whether a text that is decoded loses its first space."""
        for step in _steps(self._values.get("decoder")):
            if step.get("type") == "Strip" and step.get("content") == " " and step.get("start"):
                return True
            if step.get("type") == "Metaspace" and _scheme(step) != "never":
                return True
        return False

    @property
    def prefixes_each_part(self) -> bool:
        """Whether a dummy prefix also comes behind each token, as in the beginning."""
        splitting = [*_steps(self._values.get("pre_tokenizer"))]
        return all(_scheme(step) != "first" for step in splitting if step["type"] == "Metaspace")

    @property
    def opening(self) -> list[str]:
        """The special tokens that its post-processor puts before a text."""
        return self._around_text("cls", 1)

    @property
    def closing(self) -> list[str]:
        """The special tokens that its post-processor puts behind a text."""
        return self._around_text("sep", -1)[::-1]

    def _around_text(self, key: str, direction: int) -> list[str]:
        for step in _steps(self._values.get("post_processor")):
            if step["type"] == "TemplateProcessing":
                single = step.get("single")
                return _before_text(single[::direction] if isinstance(single, list) else single)
            if step["type"] in ("BertProcessing", "RobertaProcessing"):
                one = step.get(key)
                return [one[0]] if isinstance(one, list) and one and isinstance(one[0], str) else []
        return []

    def parts(self, *, continuation: bool) -> dict[str, Any]:
        """The steps before the model; those of a ``continuation`` add no dummy prefix."""
        names = ("normalizer", "pre_tokenizer")
        steps = {name: self._values.get(name) for name in names}
        return {n: _without_prefix(s) for n, s in steps.items()} if continuation else steps

    def model_without(self, ids: Collection[int]) -> dict[str, Any]:
        """The model that spells no text with the pieces of these ids, single letters excepted.

        Without its byte a tokenizer would drop a letter silently.
        """
        model = self._model | {"dropout": None, "type": "BPE"}
        gone = {piece for piece, i in self.vocabulary.items() if i in ids and len(piece) > 1}
        if not gone:
            return model
        vocabulary = {p: i for p, i in self.vocabulary.items() if p not in gone}
        merges = [merge for merge in self._merges if gone.isdisjoint(_pieces_of(merge))]
        return model | {"vocab": vocabulary, "merges": merges}

    def _check_steps(self) -> None:
        for key in ("normalizer", "pre_tokenizer", "decoder", "post_processor"):
            steps = [*_steps(self._values.get(key))]
            if len(steps) > _MAX_STEPS or any(not _is_bounded(step) for step in steps):
                raise UnsupportedTokenizer(
                    f"{self.name} has a {key} of more than {_MAX_STEPS} steps, or a step with more "
                    f"than {_MAX_STEP_CHARS} characters"
                )
        if math.prod(map(_growth, _steps(self._values.get("normalizer")))) > _MAX_GROWTH:
            raise UnsupportedTokenizer(f"{self.name} has a normalizer that makes texts much longer")

    def _decides_for_bytes(self) -> bool:
        kinds = {str(step["type"]) for step in _steps(self._values.get("decoder"))}
        if "ByteLevel" in kinds:
            return True
        replaced = [
            (step.get("pattern"), step.get("content"))
            for step in _steps(self._values.get("decoder"))
            if step["type"] == "Replace"
        ]
        if not kinds or kinds - _LIKE_SENTENCEPIECE or any(r != _SPACES for r in replaced):
            named = ", ".join(sorted(kinds)) or "none"
            raise UnsupportedTokenizer(
                f"{self.name} makes text of pieces by a decoder ({named[:80]}) that is not read"
            )
        return False


_SPACES = ({"String": "▁"}, " ")


def _vocabulary(values: Any, name: str) -> dict[str, int]:
    if not isinstance(values, dict) or len(values) > _MAX_PIECES:
        raise ModelError(f"{name} has no vocabulary of at most {_MAX_PIECES} pieces")
    for piece, token_id in values.items():
        if type(token_id) is not int or not 0 <= token_id <= _MAX_TOKEN_ID:
            raise ModelError(f"{name} gives the piece {piece[:40]!r} no id; fetch it again")
    if len(set(values.values())) < len(values):
        raise ModelError(f"{name} gives two pieces the same id; fetch it again")
    return values


def _steps(part: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The steps of a part of the file, those of sequences one by one."""
    if not isinstance(part, dict):
        return
    kind = str(part.get("type"))
    for key in _STEPS_OF.get(kind, ()):
        inner = part.get(key)
        for step in inner if isinstance(inner, list) and depth < _MAX_STEPS else ():
            yield from _steps(step, depth + 1)
    if kind not in _STEPS_OF:
        yield part | {"type": kind}


def _is_bounded(step: Mapping[str, Any]) -> bool:
    if step["type"] in ("TemplateProcessing", "Precompiled"):
        return True  # it is not given to the library, or is no pattern
    return len(str(step)) <= _MAX_STEP_CHARS


def _growth(step: Mapping[str, Any]) -> float:
    """By how much a step makes a text longer, at most."""
    content, pattern = str(step.get("content", "")), step.get("pattern")
    if not content:
        return 1
    replaced = str(pattern.get("String", "")) if isinstance(pattern, dict) else ""
    return max(1, len(content) / len(replaced)) if replaced else 1 + len(content)


def _scheme(step: Mapping[str, Any]) -> str:
    """Where a Metaspace puts a dummy prefix; older files have a flag for it."""
    if "prepend_scheme" in step:
        return str(step["prepend_scheme"])
    return "always" if step.get("add_prefix_space", True) else "never"


def _without_prefix(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    match part.get("type"):
        case "Sequence":
            inner = {key: part[key] for key in _STEPS_OF["Sequence"] if key in part}
            kept = {
                key: [_without_prefix(step) for step in steps if not _is_prepend(step)]
                for key, steps in inner.items()
                if isinstance(steps, list)
            }
            return part | kept
        case "Prepend":
            return None
        case "Metaspace":
            return part | {"prepend_scheme": "never", "add_prefix_space": False}
        case "ByteLevel":
            return part | {"add_prefix_space": False}
    return part


def _is_prepend(step: Any) -> bool:
    return isinstance(step, dict) and step.get("type") == "Prepend"


def _before_text(template: Any) -> list[str]:
    names: list[str] = []
    for piece in template if isinstance(template, list) else []:
        special = piece.get("SpecialToken") if isinstance(piece, dict) else None
        if not isinstance(special, dict):
            return names
        names.append(str(special.get("id")))
    return []


def _pieces_of(merge: Any) -> set[str]:
    """Both halves of a merge and what they make together."""
    halves = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(halves, list) or not all(isinstance(half, str) for half in halves):
        return set()
    return {*halves, "".join(halves)}
