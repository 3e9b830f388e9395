"""The tokenizer's files in a checkpoint, and the ids that begin and end a text."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import sentencepiece

from cluster.errors import CheckpointError
from cluster.manifest import MAX_EOS_IDS, TOKENIZER_NAMES

MAX_TOKENIZER_BYTES = 64_000_000
_VERSIONED_NAME = re.compile(r"tokenizer\.model\.v\d{1,3}")
_DEFAULT_BOS_ID, _DEFAULT_EOS_IDS = 1, (2,)


def find_tokenizer_files(folder: Path) -> tuple[dict[str, Path], str | None]:
    """Return the files by their names in a store, and the checkpoint's name of the model.

    Mistral's own folders call it ``tokenizer.model.v3`` or the like, some beside a
    ``tokenizer.model`` of the same content; the versioned name says more, so it is the one kept.
    Raises ``CheckpointError`` if a file is too large to be one.
    """
    files = {name: folder / name for name in TOKENIZER_NAMES if (folder / name).is_file()}
    versioned = sorted(path for path in folder.iterdir() if _VERSIONED_NAME.fullmatch(path.name))
    for path in (*files.values(), *versioned):
        if path.stat().st_size > MAX_TOKENIZER_BYTES:
            raise CheckpointError(f"{path} is larger than {MAX_TOKENIZER_BYTES} bytes")
    if "tokenizer.model" not in files:
        if not versioned:
            return files, None
        files = {"tokenizer.model": versioned[-1]} | files
    model = files["tokenizer.model"]
    same = [path for path in versioned if path.read_bytes() == model.read_bytes()]
    return files, (same[-1] if same else model).name


def find_special_ids(
    configs: Iterable[Mapping[str, Any]], tokenizer: Path | None, vocab_size: int
) -> tuple[int, tuple[int, ...]]:
    """Return the id that begins a text and those that end one.

    The first of ``configs`` that has them wins, then the SentencePiece model, then Mistral's
    ids 1 and 2. Raises ``CheckpointError`` for an id that is not in the vocabulary.
    """
    bos_id: Any = None
    eos_ids: Any = None
    for config in configs:
        bos_id = config.get("bos_token_id") if bos_id is None else bos_id
        eos_ids = config.get("eos_token_id") if eos_ids is None else eos_ids
    if tokenizer is not None and (bos_id is None or eos_ids is None):
        pieces = _load(tokenizer)
        bos_id = pieces.bos_id() if bos_id is None and pieces.bos_id() >= 0 else bos_id
        eos_ids = pieces.eos_id() if eos_ids is None and pieces.eos_id() >= 0 else eos_ids
    bos_id = _DEFAULT_BOS_ID if bos_id is None else bos_id
    eos_ids = _DEFAULT_EOS_IDS if eos_ids is None else eos_ids
    eos_ids = tuple(eos_ids) if isinstance(eos_ids, list | tuple) else (eos_ids,)
    if len(eos_ids) > MAX_EOS_IDS:
        raise CheckpointError(f"eos_token_id lists {len(eos_ids)} ids; at most {MAX_EOS_IDS} fit")
    for name, value in (("bos_token_id", bos_id), *(("eos_token_id", eos) for eos in eos_ids)):
        if type(value) is not int or not 0 <= value < vocab_size:
            raise CheckpointError(f"{name} is {value!r}; the vocabulary has 0 to {vocab_size - 1}")
    return bos_id, eos_ids


def _load(path: Path) -> Any:
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise CheckpointError(f"{path} is not a SentencePiece model. Fetch it again") from error
