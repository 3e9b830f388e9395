"""Ollama's API, at the same root as the others."""
