"""Questions for the embedded model that tests of the clients share."""

FOX = "Tell me a story about a brave fox."
WHO = "Who are you?"
SEEDED = {"seed": 5, "max_tokens": 40}
SEEDED_WORDS = ("--seed", "5", "--max-tokens", "40")

ENDLESS_IDS = [1, 3, 2, 558, 355]
ENDLESS = {"temperature": 0.0, "repeat_penalty": 1e9, "max_tokens": 20_000}
"""With which the embedded model talks on and on; see the fixture ``endless``."""
