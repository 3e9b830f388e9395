"""What a plan is to be good at."""

from enum import StrEnum


class Objective(StrEnum):
    """Many users or long prompts, or the next token of one user."""

    THROUGHPUT = "throughput"
    LATENCY = "latency"
