"""Text from people, which may not be Unicode."""

from pi_cluster.transformer.errors import PromptError


def require_unicode(text: str) -> None:
    """Raise `PromptError` where ``text`` holds lone surrogates: it then has no UTF-8 form."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PromptError(
            f"the text is not valid Unicode: character {error.start} is the lone surrogate "
            f"U+{ord(text[error.start]):04X}; send it as valid UTF-8"
        ) from error
