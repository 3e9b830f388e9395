"""Between people's text and token ids."""
