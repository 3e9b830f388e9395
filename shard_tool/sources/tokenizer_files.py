"""The tokenizer's files in a checkpoint, and the ids that begin and end a text."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path
from typing import Any

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.cluster.store.manifest import MAX_EOS_IDS, TOKENIZER_NAMES
from pi_cluster.shard_tool.sources.text_trial import TextTrial, try_text
from pi_cluster.transformer.errors import ModelError
from pi_cluster.transformer.text import text_files
from pi_cluster.transformer.text.text_files import TextFiles

_VERSIONED_NAME = re.compile(r"tokenizer\.model\.v\d{1,3}")
_DEFAULT_BOS_ID, _DEFAULT_EOS_ID = 1, 2
# Where transformers 5 puts the template named "default" if it stands beside others.
_DEFAULT_TEMPLATE = Path("additional_chat_templates", "default.jinja")


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """A checkpoint's text files, found and tried.

    ``paths`` are those of use, by their names in a store; ``model_name`` is what the checkpoint
    calls its SentencePiece file.
    """

    paths: Mapping[str, Path]
    model_name: str | None
    trial: TextTrial


def find_tokenizer_files(folder: Path, vocab_size: int) -> TokenizerFiles:
    """Find the files in ``folder`` and try them with a model of ``vocab_size`` ids.

    Mistral's own folders call the model ``tokenizer.model.v3`` or the like, some beside a
    ``tokenizer.model`` of the same content; the versioned name says more, so it is the one kept.
    Raises ``CheckpointError`` for a file that is torn, of another kind, or of another model.
    """
    paths = {name: folder / name for name in TOKENIZER_NAMES}
    versioned = sorted(path for path in folder.iterdir() if _VERSIONED_NAME.fullmatch(path.name))
    if not paths[text_files.MODEL].is_file() and versioned:
        paths[text_files.MODEL] = versioned[-1]
    if not paths[text_files.TEMPLATE].is_file():
        paths[text_files.TEMPLATE] = folder / _DEFAULT_TEMPLATE
    paths = {name: path for name, path in paths.items() if path.is_file()}
    try:
        model_name = _model_name(paths.get(text_files.MODEL), versioned)
        text = TextFiles(paths, vocab_size, model_name)
        trial = try_text(text, folder)
        names = text.used_names if trial.tokenizer else frozenset()
        used = {name: path for name, path in paths.items() if name in names}
    except ModelError as error:
        raise CheckpointError(str(error)) from error
    return TokenizerFiles(used, model_name, trial)


def _model_name(model: Path | None, versioned: list[Path]) -> str | None:
    if model is None:
        return None
    try:
        same = [path for path in versioned if cmp(path, model, shallow=False)]
    except OSError as error:
        raise CheckpointError(f"cannot read {error.filename}: {error.strerror}") from error
    return (same[-1] if same else model).name


def find_special_ids(
    configs: Iterable[tuple[Path, Mapping[str, Any]]], trial: TextTrial, vocab_size: int
) -> tuple[int | None, tuple[int, ...], tuple[str, ...]]:
    """Return the id that begins a text, those that end one, and notes on the latter.

    The first of ``configs``, each with its path, that has them wins, then the tokenizer, then
    Mistral's ids 1 and 2 where there is none. Where the text files say that an answer ends is
    added: vLLM ends it there too, and else many a finetune would go on to ask itself the next
    question. Raises ``CheckpointError`` for an id that is not in the vocabulary.
    """
    tokenizer, own = trial.tokenizer, "the tokenizer" if trial.tokenizer else "Mistral"
    bos_id, bos_source = (tokenizer.bos_id if tokenizer else _DEFAULT_BOS_ID), own
    eos_id, eos_source = (tokenizer.eos_id if tokenizer else _DEFAULT_EOS_ID), own
    for path, config in reversed(list(configs)):
        if config.get("bos_token_id") is not None:
            bos_id, bos_source = config["bos_token_id"], str(path)
        if config.get("eos_token_id") is not None:
            eos_id, eos_source = config["eos_token_id"], str(path)
    listed: Iterable[Any] = eos_id if isinstance(eos_id, list | tuple) else [eos_id]
    eos_ids: tuple[int, ...] = () if eos_id is None else tuple(listed)
    if len(eos_ids) > MAX_EOS_IDS:
        raise CheckpointError(
            f"eos_token_id of {eos_source} lists {len(eos_ids)} ids; at most {MAX_EOS_IDS} fit"
        )
    if bos_id is not None:
        _check_id("bos_token_id", bos_id, bos_source, vocab_size)
    for eos_id in eos_ids:
        _check_id("eos_token_id", eos_id, eos_source, vocab_size)
    more = [end for end in trial.ends if end not in eos_ids][: MAX_EOS_IDS - len(eos_ids)]
    notes = [_of_another_end(end, trial, eos_ids, eos_source) for end in more if eos_ids]
    if not eos_ids and not more:
        notes.append(
            "no file names an id that ends an answer (eos_token_id of generation_config.json): "
            "answers go on until --max-tokens"
        )
    return bos_id, (*eos_ids, *more), tuple(notes)


def _of_another_end(end: int, trial: TextTrial, eos_ids: tuple[int, ...], eos_source: str) -> str:
    spelling = trial.tokenizer.id_to_piece(end) if trial.tokenizer else ""
    return (
        f"an answer ends at {spelling!r} (id {end}) too, because {trial.ends[end]}; "
        f"{eos_source} names {', '.join(map(str, eos_ids))} alone"
    )


def _check_id(name: str, value: Any, source: str, vocab_size: int) -> None:
    if type(value) is not int or not 0 <= value < vocab_size:
        raise CheckpointError(
            f"{name} of {source} is {value!r}; the model's vocabulary has 0 to {vocab_size - 1}"
        )
