"""What an answer cost, for people."""

from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.deploy.screen.output import notes


def print_timings(answered: Answer) -> None:
    """The figures that ``--verbose`` ends with, in the order that Ollama made familiar."""
    times = answered.timings
    total = times.ttft_s + times.decode_s
    rows = [
        ("total duration", f"{total:.3f}s"),
        ("load duration", f"{times.load_s:.3f}s"),
        ("prompt eval count", f"{times.prompt_tokens} token(s)"),
        ("prompt eval duration", f"{times.prefill_s:.3f}s"),
        ("prompt eval rate", f"{times.prefill_tps:.2f} tokens/s"),
        ("eval count", f"{times.generated_tokens} token(s)"),
        ("eval duration", f"{times.decode_s:.3f}s"),
        ("eval rate", f"{times.decode_tps:.2f} tokens/s"),
        ("seed", str(answered.seed)),
    ]
    for name, value in rows:
        notes.print(f"{name + ':':<22}{value}")
