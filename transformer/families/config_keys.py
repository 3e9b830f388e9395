"""A parsed file of configuration, asked key by key, so that no key of it is passed over in silence.

Each key is one of three. A reader *asks* for it, because it knows what it means. It is *harmless*:
known to leave what the model computes as it is, be it always or with certain values only. Whatever
is left in the end is *refused*, by its name and with its value: it may be what makes this model
another one. ``null`` says that there is nothing, and is not refused whatever the key.
"""

import re
from collections.abc import Mapping, Set
from typing import Any, TypeGuard

from pi_cluster.transformer.config import LayerConfig, ModelConfig
from pi_cluster.transformer.config_faults import MAX_SIZES, as_json, find_fault, finite
from pi_cluster.transformer.errors import UnsupportedModel

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.-]{1,60}")


class ConfigKeys:
    """The keys of one file; it remembers which were asked for, and the notes to be told."""

    def __init__(self, file_name: str, values: Mapping[str, Any]) -> None:
        self.file_name = file_name
        self.notes: list[str] = []
        self._values = values
        self._asked: set[str] = set()

    def __contains__(self, key: str) -> bool:
        """Whether the file has the key, be it with ``null``."""
        return key in self._values

    def ask(self, key: str) -> Any:
        """Look a key up and count it as understood; None if it is not there, or null."""
        self._asked.add(key)
        return self._values.get(key)

    def size(self, key: str, limit_of: str, default: int | None = None) -> int:
        """A whole number from 1 to what ``MAX_SIZES`` has for the field ``limit_of``.

        Raises ``UnsupportedModel`` if it is none, or not there and there is no default.
        """
        value = self.ask(key)
        value = default if value is None else value
        if value is None:
            raise self.lacks(key)
        if type(value) is not int or not 1 <= value <= MAX_SIZES[limit_of]:
            raise self.refusal(key, f"it must be a whole number from 1 to {MAX_SIZES[limit_of]}")
        return value

    def real(self, key: str, default: float | None = None) -> float:
        """A finite number; raises ``UnsupportedModel`` as ``size`` does."""
        value = self.ask(key)
        value = default if value is None else value
        if value is None:
            raise self.lacks(key)
        if (number := finite(value)) is None:
            raise self.refusal(key, "it must be a finite number")
        return number

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false; raises ``UnsupportedModel`` for others."""
        value = self.ask(key)
        if value not in (None, False, True):
            raise self.refusal(key, "it must be true or false")
        return default if value is None else bool(value)

    def window(self, key: str) -> int | None:
        """A window; None where the key is absent, or null for no window.

        Some files of Mistral have ``"4096"``; transformers' converter reads that as a number too.
        Raises ``UnsupportedModel`` if it is no number of positions.
        """
        value = as_number(self.ask(key))
        if value is None or is_window(value):
            return value
        raise self.refusal(
            key,
            f"it must be one whole number from 1 to {MAX_SIZES['window']}, or null for no window",
        )

    def refuse_quantised(self, key: str) -> None:
        """Raise ``UnsupportedModel`` if the key says how the weights were quantised."""
        if self.ask(key):
            raise self.refusal(
                key,
                "its weights are quantised. Use the checkpoint that it was made from, in bfloat16, "
                "float16 or float32",
            )

    def refuse_rest(
        self, harmless: Set[str], harmless_values: Mapping[str, tuple[Any, ...]]
    ) -> None:
        """Refuse what nobody asked for, unless it is known to be without effect.

        Keys of ``harmless`` are so whatever their value, those of ``harmless_values`` with the
        values given there.
        """
        for key, value in self._values.items():
            if key in self._asked or key in harmless or value is None:
                continue
            allowed = harmless_values.get(key)
            if allowed is None:
                raise self.refusal(
                    key,
                    "what this key does is not known here, and it may change what the model "
                    "computes. Choose a checkpoint without it; or, if the model's page says that "
                    "it changes nothing, remove the key from the file",
                )
            if value not in allowed:
                shown = " or ".join(as_json(one) for one in allowed)
                raise self.refusal(
                    key, f"that is not computed here, only {shown} is: choose another checkpoint"
                )

    def default(self, key: str, defaults: Mapping[str, Any], architecture: str) -> Any:
        """What transformers takes for a key that has no value; noted if that is so."""
        if self.ask(key) is None:
            self.assume(key, defaults[key], f"as transformers does for {architecture}")
        return defaults[key]

    def check(self, fields: Mapping[str, Any], names: Mapping[str, str]) -> None:
        """Raise ``UnsupportedModel`` if fields of a model cannot be computed here.

        ``names`` has the file's own name for each.
        """
        if fault := find_fault(fields, lambda field: names[field]):
            raise UnsupportedModel(f"{self.file_name}: {fault}")

    def plain_layer(
        self,
        names: Mapping[str, str],
        n_heads: int,
        n_kv_heads: int,
        head_dim: int,
        hidden_dim: int,
    ) -> LayerConfig:
        """A layer of these sizes and nothing else; raises as ``check`` does."""
        sizes = {"n_heads": n_heads, "n_kv_heads": n_kv_heads}
        self.check({**sizes, "head_dim": head_dim, "hidden_dim": hidden_dim}, names)
        return LayerConfig(n_heads, n_kv_heads, head_dim, hidden_dim)

    def build(self, **fields: Any) -> ModelConfig:
        """Make the configuration; raises ``UnsupportedModel`` if it cannot be computed here."""
        try:
            return ModelConfig(**fields)
        except UnsupportedModel as error:
            raise UnsupportedModel(f"{self.file_name}: {error}") from None

    def assume(self, key: str, value: Any, why: str) -> None:
        """Note that the file lacks a key, and what is taken instead."""
        self.notes.append(f"{self.file_name} has no {key}: {as_json(value)} is taken, {why}")

    def lacks(self, key: str) -> UnsupportedModel:
        """The error for a key that must be there."""
        return UnsupportedModel(f"{self.file_name} lacks {key}. Fetch the whole file again")

    def refusal(self, key: str, why: str) -> UnsupportedModel:
        """The error for a key with a value that is not read here."""
        shown = key if _PLAIN_KEY.fullmatch(key) else as_json(key)
        return UnsupportedModel(
            f"{self.file_name}: {shown} is {as_json(self._values.get(key))}; {why}"
        )


def as_number(window: Any) -> Any:
    """A window as the file has it, but a number where it is written as a string of digits."""
    if isinstance(window, str) and window.isascii() and window.isdigit() and len(window) < 10:
        return int(window)
    return window


def is_window(value: Any) -> TypeGuard[int]:
    """Whether it is a number of positions that a query can see."""
    return type(value) is int and 1 <= value <= MAX_SIZES["window"]
