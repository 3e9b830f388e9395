"""What a stream says while nothing of an answer comes."""

import math

from pi_cluster.coordinator.standing import Held, Reading, Standing, Waiting

_LONGEST_REASON = 300


def heartbeat(standing: Standing | None) -> bytes:
    """One comment of an event stream: a single line with text behind its colon.

    ``: waiting 2 30`` has two before it and about 30 s to wait, ``: prompt 512/3000`` is read so
    far. Strict parsers take a blank line for the end of an event without data, and choke on a bare
    colon; clients skip a comment, and proxies see bytes.
    """
    match standing:
        case Held(reason):
            return f": held {' '.join(reason.split())[:_LONGEST_REASON]}\n".encode()
        case Waiting(position, None):
            return f": waiting {position}\n".encode()
        case Waiting(position, float(expected_s)):
            return f": waiting {position} {math.ceil(expected_s)}\n".encode()
        case Reading(done, total):
            return f": prompt {done}/{total}\n".encode()
    return b": waiting\n"
