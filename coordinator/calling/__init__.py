"""Calls of tools: what may be called, how models write a call, and how it is read."""
