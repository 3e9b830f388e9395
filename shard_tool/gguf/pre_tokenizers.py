"""How text is cut before byte pairs are merged, by the names that ``tokenizer.ggml.pre`` has.

A GGUF names the rule of its byte-level tokenizer and leaves the rule itself to whoever reads it.
Those of the families that run here are written out as tokenizer.json has them. Another name is
refused: with a wrong rule a model runs, and reads a text that it was not trained on.
"""

from dataclasses import dataclass
from typing import Any

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LEAD = r"[^\r\n\p{L}\p{N}]?"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_SIGNS_AND_SLASHES = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """A rule: ``pattern`` cuts text, or GPT-2's own does where it is None.

    ``single_digits`` cuts each digit off first. ``ignores_merges``: a whole piece that is a token
    is taken as it stands. ``adds_bos``: texts begin with bos unless the file says otherwise.
    ``composes``: text is brought into NFC, as the tokenizer.json of the family does.
    """

    pattern: str | None = None
    single_digits: bool = False
    ignores_merges: bool = False
    adds_bos: bool = False
    composes: bool = False

    def steps(self) -> dict[str, Any]:
        """The ``pre_tokenizer`` of a tokenizer.json."""
        steps: list[dict[str, Any]] = []
        if self.single_digits:
            steps.append({"type": "Digits", "individual_digits": True})
        if self.pattern is not None:
            steps.append(
                {
                    "type": "Split",
                    "pattern": {"Regex": self.pattern},
                    "behavior": "Isolated",
                    "invert": False,
                }
            )
        steps.append(
            {
                "type": "ByteLevel",
                "add_prefix_space": False,
                "trim_offsets": True,
                "use_regex": self.pattern is None,
            }
        )
        return {"type": "Sequence", "pretokenizers": steps}


_LLAMA_3 = PreTokenizer(
    "|".join([_CONTRACTIONS, _LETTERS, r"\p{N}{1,3}", _SIGNS, _SPACES]),
    ignores_merges=True,
    adds_bos=True,
)
_QWEN_2_PATTERN = "|".join([_CONTRACTIONS, _LETTERS, r"\p{N}", _SIGNS, _SPACES])
_TEKKEN = PreTokenizer(
    "|".join(
        [
            f"{_LEAD}{_UPPER}*{_LOWER}+",
            f"{_LEAD}{_UPPER}+{_LOWER}*",
            r"\p{N}",
            _SIGNS_AND_SLASHES,
            _SPACES,
        ]
    ),
    ignores_merges=True,
    adds_bos=True,
)
_GPT_4O = PreTokenizer(
    "|".join(
        [
            f"{_LEAD}{_UPPER}*{_LOWER}+{_CONTRACTIONS}?",
            f"{_LEAD}{_UPPER}+{_LOWER}*{_CONTRACTIONS}?",
            r"\p{N}{1,3}",
            _SIGNS_AND_SLASHES,
            _SPACES,
        ]
    )
)

PRE_TOKENIZERS = {
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "pixtral"), _LLAMA_3),
    # Llama 3's tokenizer where it begins no text with bos, as that of SmolLM3.
    "smaug-bpe": PreTokenizer(_LLAMA_3.pattern, ignores_merges=True),
    "qwen2": PreTokenizer(_QWEN_2_PATTERN, composes=True),
    "deepseek-r1-qwen": PreTokenizer(_QWEN_2_PATTERN),
    "smollm": PreTokenizer(single_digits=True),
    "tekken": _TEKKEN,
    "gpt-2": PreTokenizer(),
    **dict.fromkeys(("gpt-4o", "llama4"), _GPT_4O),
}
