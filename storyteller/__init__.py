"""The embedded demo model: 32 Mistral layers in 12 MB, which tells very short stories.

The checkpoint travels inside the package in the form Hugging Face stores one, so that the whole
program can be tried, and tested, without any download. What it is and how it was made:
``README.md`` beside this file.
"""

from pathlib import Path


def checkpoint_path() -> Path:
    """The folder of the embedded checkpoint: config, bfloat16 weights and tokenizer."""
    return Path(__file__).resolve().parent / "checkpoint"
