"""Answers that follow a grammar: from a schema to which ids may come next."""
