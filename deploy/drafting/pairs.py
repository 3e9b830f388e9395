"""Which small model may guess for which large one: those that mean the same by their ids."""

from collections.abc import Mapping
from pathlib import Path

from pi_cluster.cluster.errors import DraftUnfit
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.transformer.errors import ModelError
from pi_cluster.transformer.text.same_tokens import first_difference
from pi_cluster.transformer.text.text_files import TextFiles
from pi_cluster.transformer.text.tokenizer import Tokenizer

KNOWN_PAIRS: Mapping[str, str] = {
    "Llama 3.2 1B": "Llama 3.1 8B",
    "Qwen3 0.6B": "Qwen3 4B and 8B",
    "Qwen2.5 0.5B": "Qwen2.5 7B",
    "JackFram's llama-68m": "Llama 2 7B",
}
"""Draft models that others have used, by llama.cpp's issue 5877, vLLM's pull requests 24322 and
13849, and arXiv:2409.10644."""


def check_pair(
    name: str, folder: Path, manifest: Manifest, draft_name: str, draft: Path, small: Manifest
) -> None:
    """Raise ``DraftUnfit`` unless a draft model means the same by each token of a model.

    The folders hold the tokenizers' files, as stores and records do; the names are for people.
    """
    tokenizer = _tokenizer(name, folder, manifest)
    theirs = _tokenizer(draft_name, draft, small)
    sizes = [int(one.config["vocab_size"]) for one in (manifest, small)]
    difference = first_difference(tokenizer, sizes[0], theirs, sizes[1])
    if difference is None:
        return
    here = _shown(difference.first)
    there = "none" if difference.second is None else _shown(difference.second)
    raise DraftUnfit(
        f"{draft_name} cannot guess for {name}: token {difference.token_id} is {here} to {name} "
        f"and {there} to {draft_name}. Both must have the same tokens, as these have:\n{_pairs()}"
    )


def _tokenizer(name: str, folder: Path, manifest: Manifest) -> Tokenizer:
    paths = {file.name: folder / file.name for file in manifest.tokenizer_files}
    vocab_size = int(manifest.config["vocab_size"])
    try:
        tokenizer = TextFiles(paths, vocab_size, manifest.tokenizer_name).tokenizer
    except ModelError as error:
        raise DraftUnfit(f"the tokenizer of {name} cannot be read: {error}") from error
    if tokenizer is None:
        raise DraftUnfit(
            f"{name} has no tokenizer that can be read, so nobody can tell whether its ids mean "
            "the same as another model's: add it to the checkpoint, and shard that again"
        )
    return tokenizer


def _shown(token: bytes) -> str:
    return repr(token.decode(errors="replace")[:40])


def _pairs() -> str:
    return "\n".join(f"  {small} for {large}" for small, large in KNOWN_PAIRS.items())
