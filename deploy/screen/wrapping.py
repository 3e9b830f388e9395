"""Text that is broken between words, whole or while it comes.

Nothing that was written is taken back. A word is held until it has ended, and only where it may
have to go to the next line: it begins so near the end of the line that a long word has no room. So
most of a text is shown as soon as it comes, and the end of a line one word late.
"""

from collections.abc import Callable

from rich.cells import cell_len, chop_cells

_TAB = 8
_LONG_WORD = 30  # columns; a longer one may be broken where the line ends, as terminals do
_MOST_LETTERS = 256  # of a word that are kept: marks without a width could go on for ever
_CODE = ("    ", "\t")  # what a line of code begins with in Markdown
_FENCES = ("```", "~~~")
_DEEPEST_FENCE = 3  # spaces before it

# Scripts without spaces: a line may end at any letter, but not before or after some signs.
_WITHOUT_SPACES = (
    *(("\u2e80", "\u9fff"), ("\uf900", "\ufaff"), ("\uff00", "\uffef")),
    ("\U00020000", "\U0003ffff"),
)
_NO_BEGINNING = frozenset(
    "、。，．：；？！）］｝」』】〕〉》〗〙ー々ゝゞ…’”,.:;?!)]}%"
    "ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ"
)
_NO_END = frozenset("（［｛「『【〔〈《〖〘‘“([{")


class WordWrap:
    """Breaks a text that comes in pieces; what it returns is to be written at once.

    Lines of code stay as they are: those between fences, and those that begin with a tab or four
    spaces. Spaces at which a line is broken, and those at its end that have no room, are left out.
    """

    def __init__(self, columns: Callable[[], int]) -> None:
        """``columns`` tells the width of the screen, which may change."""
        self._columns = columns
        self._fence = ""
        self._begin_line()

    def push(self, piece: str) -> str:
        """What is to be written now that this has come as well; a line break writes all."""
        return "".join([*map(self._take, piece), self._begun_word()])

    def end_word(self) -> str:
        """What is held of the word that goes on, to be written before something else is."""
        return self._end_word()

    def _begin_line(self) -> None:
        self._beginning = ""  # of the line, enough to know code by
        self._column = 0  # where what is written ends, without the word that goes on
        self._spaces = ""  # that come before the word, not written yet
        self._word = ""  # so far
        self._written = 0  # letters of it
        self._is_begun = False  # whether it is known on which line it stands

    def _take(self, letter: str) -> str:
        """Put a letter to the others; returns what may be written of those before it."""
        if letter == "\n":
            written = self._end_word() + self._fitting_spaces() + letter
            self._look_for_fence()
            self._begin_line()
            return written
        if len(self._beginning) < _DEEPEST_FENCE + len(_FENCES[0]):
            self._beginning += letter
        if self._fence or self._beginning.startswith(_CODE):
            written, self._spaces = self._spaces + letter, ""
            return written
        if letter in " \t":
            written = self._end_word()
            self._spaces += letter
            return written
        written = ""
        if self._word and _may_part(self._word[-1], letter):
            written = self._end_word()
        elif len(self._word) >= _MOST_LETTERS:
            written = self._end_word()
            self._is_begun = True  # it goes on where it is
        self._word += letter
        return written

    def _end_word(self) -> str:
        written = self._begin_word() if self._word and not self._is_begun else ""
        written += self._rest()
        self._column += cell_len(self._word)
        if self._column > self._columns():  # the terminal has broken it
            self._column = (self._column - 1) % self._columns() + 1
        self._word, self._written, self._is_begun = "", 0, False
        return written

    def _begun_word(self) -> str:
        """What is new of the word that goes on, if it is known by now on which line it stands."""
        if not self._word or self._is_begun:
            return self._rest()
        start, columns = self._start(), self._columns()
        if self._column and start + _LONG_WORD > columns >= start + cell_len(self._word):
            return ""
        return self._begin_word() + self._rest()

    def _begin_word(self) -> str:
        """What comes before the word: its spaces, or a line break."""
        start = self._start()
        spaces, self._spaces, self._is_begun = self._spaces, "", True
        if self._column and start + cell_len(self._word) > self._columns():
            self._column = 0
            return "\n"
        self._column = start
        return spaces

    def _rest(self) -> str:
        rest, self._written = self._word[self._written :], len(self._word)
        return rest

    def _start(self) -> int:
        return _after(self._column, self._spaces)

    def _fitting_spaces(self) -> str:
        return self._spaces if self._start() <= self._columns() else ""

    def _look_for_fence(self) -> None:
        line = self._beginning.lstrip(" ")
        if self._fence:
            self._fence = "" if line.startswith(self._fence) else self._fence
        elif line.startswith(_FENCES):
            self._fence = line[: len(_FENCES[0])]


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a text, none wider than ``width``: a word is broken where it alone is wider."""
    lines = WordWrap(lambda: width).push(f"{text}\n").split("\n")[:-1]
    return [part.rstrip(" ") for line in lines for part in chop_cells(line, width) or [""]]


def _after(column: int, spaces: str) -> int:
    for space in spaces:
        column += _TAB - column % _TAB if space == "\t" else 1
    return column


def _may_part(before: str, after: str) -> bool:
    """Whether a line may end between two letters."""
    if after in _NO_BEGINNING or before in _NO_END or not cell_len(after):
        return False
    return _is_without_spaces(before) or _is_without_spaces(after)


def _is_without_spaces(letter: str) -> bool:
    return any(first <= letter <= last for first, last in _WITHOUT_SPACES)
