"""Where calls begin in an answer, and what to do where what begins there is none."""

from collections.abc import Collection, Sequence

from pi_cluster.coordinator.calling.feed import Feed, Reading
from pi_cluster.coordinator.calling.json_text import called_by, object_text, solid


def text_until(feed: Feed, openings: Sequence[str]) -> Reading[str]:
    """Say what comes, up to one of the ``openings``, which is held; "" at the end.

    White space before it is held too, and so becomes no text where a call follows. No opening has
    its first character again.
    """
    firsts = {opening[0] for opening in openings}
    while character := (yield from feed.take()):
        if character.isspace():
            continue
        if character not in firsts:
            feed.say()
        elif found := (yield from _opening(feed, character, openings)):
            return found
    if feed.called:
        feed.drop()
    else:
        feed.say()
    return ""


def begins_with(feed: Feed, beginnings: Collection[str]) -> Reading[str]:
    """Which of these an answer begins with, white space left out of account; "" for none.

    What was taken is held.
    """
    begun, is_quoted = "", False
    while any(one.startswith(begun) for one in beginnings):
        if begun in beginnings:
            return begun
        character = yield from feed.take()
        if not character:
            return ""
        is_quoted ^= character == '"'
        if is_quoted or not character.isspace():
            begun += character
    return ""


def calls_of_objects(feed: Feed, separators: str) -> Reading[str]:
    """Calls that follow each other as objects; the character behind the last of them.

    "" where that is no call, or not yet: what is left of it is held.
    """
    while True:
        written = yield from object_text(feed)
        call = called_by(written) if written else None
        if call is None or not feed.call(*call):
            return ""
        behind = yield from solid(feed)
        if not behind or behind not in separators:
            return behind


def give_up(feed: Feed) -> None:
    """What is held is text after all; what was taken last may begin something else."""
    feed.put_back()
    feed.say()


def _opening(feed: Feed, begun: str, openings: Sequence[str]) -> Reading[str]:
    while begun not in openings:
        character = yield from feed.take()
        begun += character
        if not character or not any(one.startswith(begun) for one in openings):
            give_up(feed)
            return ""
    return begun
