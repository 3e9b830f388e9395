"""How long a generation took, and how its stages spent that time.

TTFT runs from the request to the first token; ``prefill_s`` from the first step sent, so that it
leaves out connecting; ``decode_s`` from the first token to the last.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StageFigures:
    """What a stage did for one generation; ``prompt --json`` prints these names."""

    node: str
    layers: str
    compute_s: float
    wait_s: float
    """It had nothing to do."""


@dataclass(frozen=True, slots=True)
class Timings:
    """The durations of one generation, in seconds, and the rates that follow from them."""

    load_s: float
    prefill_s: float
    decode_s: float
    ttft_s: float
    prompt_tokens: int
    generated_tokens: int
    cached_tokens: int = 0
    """Of the prompt's: those that the stages held already and did not compute again."""

    @property
    def prefill_tps(self) -> float:
        """Prompt tokens per second."""
        return self.prompt_tokens / self.prefill_s if self.prefill_s else 0.0

    @property
    def decode_tps(self) -> float:
        """Tokens per second after the first one, which belongs to prefill."""
        return (self.generated_tokens - 1) / self.decode_s if self.decode_s else 0.0

    def to_json(self) -> dict[str, float]:
        """The names that ``prompt --json`` prints."""
        return {
            "load_s": self.load_s,
            "prefill_s": self.prefill_s,
            "decode_s": self.decode_s,
            "ttft_s": self.ttft_s,
            "prefill_tps": self.prefill_tps,
            "decode_tps": self.decode_tps,
        }
