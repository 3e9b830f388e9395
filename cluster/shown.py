"""Text of strangers, made fit to be seen: nothing in it steers a terminal or fakes a line.

Whatever the network, a host or a checkpoint tells goes through here before a person sees it, and
before it becomes a line of a log. What would do harm stands there as JSON writes it (``\\u001b``):
it is seen, and a line of JSON stays one.

Left as they are: letters, marks, signs and spaces of every script, private and unassigned
characters (newer signs than this Python knows), and the few formatting characters that scripts
and emoji are written with.
"""

import re

_CONTROLS = "\x00-\x1f\x7f-\x9f"
_BREAKS = "\u2028\u2029"
# Marks, embeddings, overrides and isolates: they move the text beside them.
_DIRECTIONS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# No script needs them, and whole sentences have been hidden in the last ones.
_INVISIBLE = "\u180e\u2061-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_MUSIC_AND_SHORTHAND = "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
# Lone surrogates are bytes of file names that are no UTF-8; the others are no characters at all.
_NONE = "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
_HARMFUL = re.compile(
    f"[{_CONTROLS}{_BREAKS}{_DIRECTIONS}{_INVISIBLE}{_MUSIC_AND_SHORTHAND}{_NONE}]"
)


def shown_line(text: str) -> str:
    """``text`` on one line: line breaks and tabs are written out as well."""
    return _HARMFUL.sub(_written_out, text)


def shown_text(text: str) -> str:
    """``text`` with its line breaks and tabs."""
    return _HARMFUL.sub(_kept_or_written_out, text)


def _kept_or_written_out(match: re.Match[str]) -> str:
    letter = match[0]
    if letter in "\n\t":
        return letter
    # Before the end of a line it changes nothing, and texts from Windows are full of it.
    if letter == "\r" and match.string.startswith("\n", match.end()):
        return ""
    return _written_out(match)


def _written_out(match: re.Match[str]) -> str:
    data = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{data[at : at + 2].hex()}" for at in range(0, len(data), 2))
