"""From a question to its answer: taking hold, asking again, and every way to wait."""
