"""Models as llama.cpp keeps them: GGUF files, their tensors and the tokenizer inside them."""
