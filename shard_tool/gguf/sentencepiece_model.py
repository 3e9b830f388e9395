"""The ``tokenizer.model`` of SentencePiece, written anew from the pieces and scores in a GGUF.

Field numbers are those of sentencepiece_model.proto. What a GGUF leaves out (how the model was
trained) is of no use to whoever encodes with it.
"""

import struct

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.gguf.keys import Keys
from pi_cluster.shard_tool.gguf.vocabulary import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER_DEFINED,
    Vocabulary,
)
from pi_cluster.transformer.text.sentencepiece_file import varint

_SCORES = "tokenizer.ggml.scores"
_USUAL_IDS = {"unk": 0, "bos": 1, "eos": 2}  # Llama's, which files need not name
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3  # of ModelProto
_PIECE, _SCORE, _TYPE = 1, 2, 3  # of SentencePiece
_MODEL_TYPE, _BYTE_FALLBACK = 3, 35  # of TrainerSpec
_PIECE_OF = {"unk": 45, "bos": 46, "eos": 47}
_NAME, _DUMMY_PREFIX, _EXTRA_SPACES, _ESCAPE = 1, 3, 4, 5  # of NormalizerSpec
_BPE = 2
_SPACE, _PIECES_SPACE = " ", "▁"


def special_ids(vocabulary: Vocabulary) -> dict[str, int]:
    """The ids of ``unk``, ``bos`` and ``eos``: those that the file names, or Llama's."""
    return _USUAL_IDS | {name: i for name, i in vocabulary.ids.items() if name in _USUAL_IDS}


def sentencepiece_model(vocabulary: Vocabulary, keys: Keys) -> bytes:
    """The bytes of a model that encodes as the file's tokenizer ``llama`` does.

    Raises ``CheckpointError`` where the file does not describe one.
    """
    path, ids = vocabulary.path, special_ids(vocabulary)
    if len(vocabulary.spellings) <= max(ids.values()):
        raise CheckpointError(f"the vocabulary of {path} has no tokens for {', '.join(ids)}")
    scores = keys.numbers(_SCORES)
    if scores is None or len(scores) != len(vocabulary.spellings):
        raise CheckpointError(
            f"{_SCORES} of {path} has {0 if scores is None else len(scores)} entries for "
            f"{len(vocabulary.spellings)} tokens. Fetch another GGUF of the same model"
        )
    types = _types(vocabulary, ids)
    has_bytes = _has_bytes(vocabulary, types)
    pieces = [
        _bytes(
            _PIECES,
            _bytes(_PIECE, _spelling(spelling, type_).encode())
            + _float(_SCORE, score)
            + _number(_TYPE, type_),
        )
        for spelling, score, type_ in zip(vocabulary.spellings, scores.tolist(), types, strict=True)
    ]
    trainer = _number(_MODEL_TYPE, _BPE) + _number(_BYTE_FALLBACK, has_bytes)
    for name, number in _PIECE_OF.items():
        trainer += _bytes(number, vocabulary.spellings[ids[name]].encode())
    has_prefix = keys.flag("tokenizer.ggml.add_space_prefix") is not False
    normalizer = (
        _bytes(_NAME, b"identity")
        + _number(_DUMMY_PREFIX, has_prefix)
        + _number(_EXTRA_SPACES, False)
        + _number(_ESCAPE, True)
    )
    return b"".join([*pieces, _bytes(_TRAINER, trainer), _bytes(_NORMALIZER, normalizer)])


def _types(vocabulary: Vocabulary, ids: dict[str, int]) -> list[int]:
    types: list[int] = vocabulary.types.tolist()
    # SentencePiece wants exactly one unknown piece; files call it a control token, too.
    types = [CONTROL if type_ == UNKNOWN else type_ for type_ in types]
    for name, token_id in ids.items():
        types[token_id] = UNKNOWN if name == "unk" else CONTROL
    if ids["unk"] in (ids["bos"], ids["eos"]):
        types[ids["unk"]] = UNKNOWN
    if NORMAL not in types:
        raise CheckpointError(
            f"the vocabulary of {vocabulary.path} has no ordinary token. Fetch another GGUF of the "
            "same model"
        )
    return types


def _has_bytes(vocabulary: Vocabulary, types: list[int]) -> bool:
    has = {vocabulary.spellings[i] for i, type_ in enumerate(types) if type_ == BYTE}
    wanted = {f"<0x{byte:02X}>" for byte in range(256)}
    if has and has != wanted:
        odd = sorted(has ^ wanted)[0]
        raise CheckpointError(
            f"the vocabulary of {vocabulary.path} has tokens for single bytes, but not for all "
            f"256 of them, each once ({odd!r} is amiss). Fetch another GGUF of the same model"
        )
    return bool(has)


def _spelling(spelling: str, type_: int) -> str:
    # Newer files write the tokens that were added with plain spaces.
    return spelling.replace(_SPACE, _PIECES_SPACE) if type_ == USER_DEFINED else spelling


def _number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(int(value))


def _float(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value)


def _bytes(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value
