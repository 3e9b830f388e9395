"""Guesses at how texts go on, which fill stages that would wait."""
