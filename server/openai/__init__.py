"""OpenAI's API, and what llama.cpp's server has beside it."""
