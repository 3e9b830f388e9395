"""From documents to rows of token ids, and the tokenizer itself."""

import io
import random
from pathlib import Path

import sentencepiece
import torch

from pi_cluster.storyteller.training.generate import Document, Generator
from pi_cluster.storyteller.training.model import VOCAB_SIZE

BOS, EOS, INST, END_INST = 1, 2, 3, 4
DOCUMENTS_PER_REFILL = 300
SMALLEST_REST = 48  # tokens: a shorter rest of a document that was cut is thrown away

Marked = tuple[list[int], list[float]]  # token ids, and 1.0 for each that the model says


def train_tokenizer(path: Path) -> None:
    """Train the tokenizer on generated text and the printable ASCII characters."""
    generator = Generator(1)
    lines = [text for _ in range(15000) for _, text in generator.document()]
    ascii_characters = "".join(map(chr, range(33, 127)))
    lines += [" ".join(ascii_characters), ascii_characters] * 20
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=VOCAB_SIZE,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        add_dummy_prefix=True,
        unk_id=0,
        bos_id=BOS,
        eos_id=EOS,
        pad_id=-1,
        control_symbols=["[INST]", "[/INST]"],
        num_threads=1,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())


class Rows:
    """Rows of ``length + 1`` ids, drawn fresh for each step, and which of them count.

    What the model says counts, what the user says does not.
    """

    def __init__(
        self, tokenizer: sentencepiece.SentencePieceProcessor, seed: int, length: int
    ) -> None:
        self.tokenizer = tokenizer
        self.seed = seed
        self.length = length
        self.refills = 0
        self.rows: list[Marked] = []
        self.space = tokenizer.piece_to_id("▁")

    def encode(self, document: Document, draw: random.Random) -> Marked:
        """Ids of a document, with the spaces around a request that chat templates may put."""
        ids, counts = [BOS], [0.0]
        spacing = draw.random()
        for role, text in document:
            pieces = self.tokenizer.encode(text)
            if role != "user":
                ids += [*pieces, EOS]
                counts += [1.0] * (len(pieces) + 1)
                continue
            if spacing > 0.5:
                pieces = [*pieces, self.space]
            if spacing > 0.85:
                pieces = [self.space, *pieces]
            ids += [INST, *pieces, END_INST]
            counts += [0.0] * (len(pieces) + 2)
        return ids, counts

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """``size`` rows ``(size, length + 1)`` and which predicted ids count ``(size, length)``."""
        while len(self.rows) < size:
            self._refill()
        taken = [self.rows.pop() for _ in range(size)]
        return (
            torch.tensor([ids for ids, _ in taken]),
            torch.tensor([counts[1:] for _, counts in taken]),
        )

    def _refill(self) -> None:
        """Pack whole documents into rows; cut one only to fill a row that is mostly empty."""
        generator = Generator(self.seed * 1000003 + self.refills)
        self.refills += 1
        size = self.length + 1
        row: list[int] = []
        row_counts: list[float] = []
        for _ in range(DOCUMENTS_PER_REFILL):
            ids, counts = self.encode(generator.document(), generator.random)
            while ids:
                room = size - len(row)
                too_long = len(ids) > size
                fill = len(ids) <= room or len(row) < size * 0.6 or too_long
                if fill:
                    row, row_counts = row + ids[:room], row_counts + counts[:room]
                    go_on = too_long and len(ids) - room > SMALLEST_REST
                    ids, counts = (ids[room:], counts[room:]) if go_on else ([], [])
                if not fill or len(row) >= size:
                    self.rows.append(_padded(row, row_counts, size))
                    row, row_counts = [], []
        generator.random.shuffle(self.rows)


def validation_rows(
    tokenizer: sentencepiece.SentencePieceProcessor, documents: int = 96, seed: int = 777000
) -> tuple[torch.Tensor, torch.Tensor]:
    """One document a row, at most 513 ids, and which predicted ids count."""
    rows, generator = Rows(tokenizer, 0, 512), Generator(seed)
    taken = []
    for _ in range(documents):
        ids, counts = rows.encode(generator.document(), generator.random)
        taken.append(_padded(ids[:513], counts[:513], 513))
    return (
        torch.tensor([ids for ids, _ in taken]),
        torch.tensor([counts[1:] for _, counts in taken]),
    )


def _padded(ids: list[int], counts: list[float], size: int) -> Marked:
    missing = size - len(ids)
    return ids + [EOS] * missing, counts + [0.0] * missing
