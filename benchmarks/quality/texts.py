"""What the models read: passages to be measured on, and others to calibrate on."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from pydoc_data import topics

from benchmarks.real_model import samples
from pi_cluster.coordinator.evaluating.passages import Passage, passages
from pi_cluster.shard_tool.gguf.keys import Keys
from pi_cluster.shard_tool.gguf.model_files import open_model
from pi_cluster.shard_tool.gguf.text_files import write_text_files
from pi_cluster.storyteller import checkpoint_path
from pi_cluster.storyteller.training.generate import Document, Generator
from pi_cluster.transformer.text.sentencepiece_tokenizer import SentencePieceTokenizer
from pi_cluster.transformer.text.text_files import TextFiles

CONTEXT = 512
_HELD_OUT, _OTHERS = 999_000, 998_000  # the former is the seed of training/check.py
_CALIBRATION_CHARACTERS = 60_000


class GgufText:
    """The tokenizer inside a GGUF."""

    def __init__(self, path: Path, vocab_size: int) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            model = open_model(path)
            ids = write_text_files(Keys(model.path, model.values), vocab_size, folder)
            paths = {file.name: file for file in folder.iterdir()}
            tokenizer = TextFiles(paths, vocab_size, None).tokenizer
        assert tokenizer is not None, path
        self._tokenizer = tokenizer
        opening = tokenizer.opening_ids
        self._opening = [ids["bos_token_id"]] if opening is None else list(opening)

    def passages(self, text: str, most: int) -> list[Passage]:
        """As ``eval`` cuts it."""
        ids = [*self._opening, *self._tokenizer.encode(text)]
        return passages(ids, self._opening, CONTEXT, most)

    def measured(self, most: int) -> list[Passage]:
        """Of prose, code and records, written for this repository."""
        return self.passages(samples.text(), most)

    def calibrating(self, most: int) -> list[Passage]:
        """Of what Python's own help says of the language."""
        text = "\n\n".join(topics.topics.values())
        return self.passages(text[:_CALIBRATION_CHARACTERS], most)


def held_out_documents(count: int) -> list[Passage]:
    """The first documents that the embedded model was not trained on, cut to the context."""
    return [Passage(ids[:CONTEXT]) for ids in _documents(_HELD_OUT, count)]


def other_documents(count: int) -> list[Passage]:
    """Documents of the same kind, for calibrating."""
    return [Passage(ids[:CONTEXT]) for ids in _documents(_OTHERS, count)]


def _documents(seed: int, count: int) -> Iterator[Sequence[int]]:
    tokenizer = SentencePieceTokenizer.from_file(checkpoint_path() / "tokenizer.model")
    generator = Generator(seed)
    for _ in range(count):
        document = generator.document()
        # Drawn from the generator's own numbers, so it shapes the documents that follow.
        yield _encoded(tokenizer, document, generator.random.random())


def _encoded(
    tokenizer: SentencePieceTokenizer, document: Document, spacing: float
) -> Sequence[int]:
    """Ids of a document, as ``storyteller/training/data.py`` has them.

    ``spacing`` from 0 to 1 chooses the spaces around a request that chat templates may put.
    """
    begin, end = tokenizer.control_ids["[INST]"], tokenizer.control_ids["[/INST]"]
    space = tokenizer.piece_to_id("▁")
    assert space is not None, "the storyteller's tokenizer has a space"
    ids = [tokenizer.tokens["<s>"].id]
    for role, text in document:
        pieces = tokenizer.encode(text)
        if role == "user":
            before = [space] if spacing > 0.85 else []
            after = [space] if spacing > 0.5 else []
            ids += [begin, *before, *pieces, *after, end]
        else:
            ids += [*pieces, tokenizer.tokens["</s>"].id]
    return ids
