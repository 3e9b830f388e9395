"""Texts with which a stranger would steer a terminal, and what a terminal must not be sent."""

import re

HOSTILE = (
    "\x1b]0;owned\x07"
    "\x1b]52;c;cm0gLXJmIH4=\x07"
    "\x1b]8;;http://evil.example\x1b\\here\x1b]8;;\x1b\\"
    "\x1b[31337A\x1b[31337K\x9b31337m"
    "\u202eexe.gnp\u202c\u2067x\u2069\u200f"
    "\rready: 3 stages\u2028\x85\x0b\x7f\x00\x08"
    "[blink]x[/blink][link=http://evil.example]y[/link]:fire:"
)

# What rich draws with: colours, cursor movements, a line erased, the cursor hidden and shown.
_OF_RICH = re.compile(r"\x1b\[[0-9;]{0,12}[mAK]|\x1b\[\?25[lh]")
_STEERING = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def steering(sent: str) -> list[str]:
    """What of a terminal's input could steer it, beside what rich draws with."""
    # A return is the terminal's own before a line break, and rich's before it draws a bar anew.
    return _STEERING.findall(_OF_RICH.sub(lambda code: code[0] * ("31337" in code[0]), sent))
