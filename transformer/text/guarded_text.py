"""A message as a chat template sees it: guarded where it is written, itself where it is examined.

Templates look into messages: whether one holds ``</think>``, begins with ``<tool_response>``, or is
empty. They must find there what was said, without the marks of `ControlText.guard`, and write it
with them.
"""

import json
from typing import Any, Final

from pi_cluster.transformer.text.control_text import ControlText


class GuardedText(str):
    """A guarded text whose methods are those of the text without marks.

    What they return is guarded anew: a part of a text may begin or end where the whole did not.
    """

    __slots__ = ("_control_text", "_plain")

    _plain: str  # out of a template's reach
    _control_text: ControlText

    def __new__(cls, plain: str, control_text: ControlText) -> "GuardedText":
        """Guard ``plain``; raises `PromptError` where that is not valid Unicode."""
        self = super().__new__(cls, control_text.guard(plain))
        self._plain = plain
        self._control_text = control_text
        return self

    def __str__(self) -> str:
        return self  # filters ask for a string before they replace something in it

    def as_json(self) -> "GuardedText":
        """The JSON value that it spells, ``{}`` where it is empty; else itself as a JSON text."""
        try:
            written = json.dumps(json.loads(self._plain or "{}"), ensure_ascii=False)
        except (ValueError, RecursionError):
            written = json.dumps(self._plain, ensure_ascii=False)
        return GuardedText(written, self._control_text)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        args = tuple(map(self._bare, args))
        kwargs = {key: self._bare(value) for key, value in kwargs.items()}
        return self._guarded(getattr(self._plain, name)(*args, **kwargs))

    def _bare(self, value: Any) -> Any:
        if isinstance(value, GuardedText):
            return value._plain
        if isinstance(value, str):
            return self._control_text.unguard(value)
        return tuple(map(self._bare, value)) if isinstance(value, tuple) else value

    def _guarded(self, value: Any) -> Any:
        if isinstance(value, str):
            return GuardedText(value, self._control_text)
        if isinstance(value, list | tuple):
            return type(value)(map(self._guarded, value))
        return value


# What templates ask of a text; the rest of `str`, such as `+`, gives what is written.
_EXAMINING: Final = (
    *("__contains__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__len__"),
    *("__getitem__", "__hash__", "startswith", "endswith", "find", "rfind", "index", "rindex"),
    *("count", "split", "rsplit", "splitlines", "partition", "rpartition", "strip", "lstrip"),
    *("rstrip", "removeprefix", "removesuffix", "replace", "lower", "upper", "title"),
    *("capitalize", "isspace", "isdigit", "isalpha", "isalnum", "islower", "isupper"),
)


def _asking_the_plain_text(name: str) -> Any:
    def ask(self: GuardedText, *args: Any, **kwargs: Any) -> Any:
        return self._call(name, *args, **kwargs)

    ask.__name__ = name
    return ask


GuardedText.__module__, GuardedText.__name__ = "builtins", "str"  # what a template's fault names
for _name in _EXAMINING:
    setattr(GuardedText, _name, _asking_the_plain_text(_name))
