"""A text that somebody gave a model to read, still as bytes."""

from pi_cluster.transformer.errors import PromptError


def decoded(data: bytes, name: object) -> str:
    """All of it, from UTF-8. Raises ``PromptError``, by ``name``, where it is no text."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise PromptError(
            f"{name} is not UTF-8 at byte {error.start}: convert it first, for instance with iconv"
        ) from None
    if not text.strip():
        raise PromptError(f"{name} is empty: give a text of some thousand words")
    return text
