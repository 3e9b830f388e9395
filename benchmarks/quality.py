"""What quantisation costs the embedded model: its loss in every format of weights.

    python -m benchmarks.quality [--documents 100]

The loss is the mean cross-entropy, in nats per token, of what the model says in documents that it
was not trained on: the first of those, of the same seed, in `storyteller/training/check.py`.
The checkpoint is sharded into a temporary store for each format and loaded as a worker loads it,
the whole model as one stage. The reference is the numpy arithmetic on the same weights in float32.
The logits of the kernels are the same bits on every machine, so it does not matter where this runs.
Prints a table and, as the last line, JSON.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pi_cluster.cluster import settings
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest, ShardFile
from pi_cluster.cluster.store.tensor_file import TensorFile
from pi_cluster.kernels import Engine
from pi_cluster.shard_tool.convert import shard
from pi_cluster.storyteller import checkpoint_path
from pi_cluster.storyteller.training.generate import Document, Generator
from pi_cluster.transformer.arithmetic import Weight
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.formats import WeightFormats
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.numpy_arithmetic import StageWeights, numpy_stage
from pi_cluster.transformer.stage import Chunk, Stage
from pi_cluster.transformer.text.sentencepiece_tokenizer import SentencePieceTokenizer
from pi_cluster.worker.shards.vault import ShardVault
from pi_cluster.worker.stage.loading import load_stage

SEED = 999000  # of check.py, as is everything about the documents
MOST_DOCUMENTS = 200
LONGEST = 512  # positions; the rest of a longer document is left out
FORMATS = (("f32", "f32"), ("f16", "f16"), ("q8", "q8"), ("q4", "q8"), ("q4", "q4"))
"""Of the layers, and of the embedding and the head."""

LIMITS = Limits(
    max_step_rows=LONGEST, max_sequences=1, context=LONGEST, cache_positions=2 * LONGEST
)
_PART_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """A document as the model reads it."""

    ids: NDArray[np.int64]
    """What goes in."""
    targets: NDArray[np.int64]
    """What should come out, an id for each of ``ids``."""
    is_said: NDArray[np.bool_]
    """Which targets the model says; what the user says does not count."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a stage gave for every token that the model says."""

    losses: NDArray[np.float64]
    picks: NDArray[np.int64]
    """The ids of the largest logits."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table; losses are means in nats per token."""

    arithmetic: str
    weights: str
    outer_weights: str
    store_bytes: int
    loss: float
    perplexity: float
    difference: float
    """Of the loss to the reference's."""
    standard_error: float
    """Of the difference, from how it varies between documents."""
    same_picks: float
    """Share of the tokens for which the largest logit is the reference's."""

    def __str__(self) -> str:
        return (
            f"| {self.arithmetic} | {self.weights} | {self.outer_weights} "
            f"| {self.store_bytes / 1e6:.1f} MB | {self.loss:.4f} | {self.perplexity:.4f} "
            f"| {self.difference:+.4f} ± {self.standard_error:.4f} "
            f"| {100 * self.same_picks:.2f} % |"
        )


def held_out_samples(tokenizer: SentencePieceTokenizer, count: int) -> list[Sample]:
    """The first ``count`` documents of the seed."""
    generator = Generator(SEED)
    samples = []
    for _ in range(count):
        document = generator.document()
        # Drawn from the generator's own numbers, so it shapes the documents that follow.
        spacing = generator.random.random()
        ids, said = encode(tokenizer, document, spacing)
        row = np.array(ids[: LONGEST + 1])
        samples.append(Sample(row[:-1], row[1:], np.array(said[1 : LONGEST + 1])))
    return samples


def encode(
    tokenizer: SentencePieceTokenizer, document: Document, spacing: float
) -> tuple[list[int], list[bool]]:
    """Ids of a document and which of them the model says, as `training/data.py` has them.

    ``spacing`` from 0 to 1 chooses the spaces around a request that chat templates may put.
    """
    begin, end = tokenizer.control_ids["[INST]"], tokenizer.control_ids["[/INST]"]
    space = tokenizer.piece_to_id("▁")
    assert space is not None, "the storyteller's tokenizer has a space"
    ids, said = [tokenizer.tokens["<s>"].id], [False]
    for role, text in document:
        pieces = tokenizer.encode(text)
        if role == "user":
            before = [space] if spacing > 0.85 else []
            after = [space] if spacing > 0.5 else []
            turn = [begin, *before, *pieces, *after, end]
        else:
            turn = [*pieces, tokenizer.tokens["</s>"].id]
        ids += turn
        said += [role != "user"] * len(turn)
    return ids, said


def answers_of(stage: Stage, samples: Sequence[Sample]) -> Answers:
    """Run every sample through a stage that holds the whole model."""
    losses, picks = [], []
    for sample in samples:
        hidden = stage.forward([Chunk(0, 0, len(sample.ids))], stage.embed(sample.ids))
        stage.end(0)
        logits = stage.logits(hidden)[sample.is_said].astype(np.float64)
        largest = logits.max(axis=1)
        log_sum = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
        losses.append(log_sum - logits[np.arange(len(logits)), sample.targets[sample.is_said]])
        picks.append(logits.argmax(axis=1))
    return Answers(np.concatenate(losses), np.concatenate(picks))


def standard_error(differences: NDArray[np.float64], samples: Sequence[Sample]) -> float:
    """Of the mean of ``differences``, one a token; tokens of one document are not independent."""
    starts = np.cumsum([0, *(sample.is_said.sum() for sample in samples[:-1])])
    per_document = np.add.reduceat(differences - differences.mean(), starts)
    return float(np.sqrt((per_document**2).sum()) / len(differences))


def reference_stage(manifest: Manifest, store: Path) -> Stage:
    """The whole model in numpy, from a store in float32."""

    def tensors_of(file: ShardFile) -> dict[str, Weight]:
        with TensorFile(store / file.name) as tensors:
            return {name: tensors.map(name) for name in tensors.names}

    config = read_config(manifest.config)
    layers = range(config.n_layers)
    weights = StageWeights(
        layers=[tensors_of(manifest.layer_file(layer)) for layer in layers],
        embedding=tensors_of(manifest.embedding_file),
        head=tensors_of(manifest.head_file),
    )
    return numpy_stage(config, layers, weights, LIMITS)


def worker_stage(manifest: Manifest, store: Path, folder: Path, engine: Engine) -> Stage:
    """The whole model on the kernels, received into a vault and mapped as a worker does it."""
    vault = ShardVault(folder)
    for file in manifest.stage_files(0, manifest.n_layers):
        vault.receive(file.sha256, file.size_bytes, 0, _parts(store / file.name))
    return load_stage(manifest, LayerRange(0, manifest.n_layers), LIMITS, vault, engine).stage


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(_PART_BYTES):
            yield part


def measure(samples: Sequence[Sample], folder: Path, engine: Engine) -> Iterator[Result]:
    """The reference, then each of ``FORMATS`` on the kernels."""
    reference: Answers | None = None
    for layers, outer in FORMATS:
        store = folder / f"{layers}-{outer}"
        manifest = shard(checkpoint_path(), store, WeightFormats(layers, outer), engine)
        if reference is None:
            assert layers == outer == "f32", "the reference has the weights as they are"
            reference = answers_of(reference_stage(manifest, store), samples)
            yield compare("numpy", manifest, reference, reference, samples)
        vault_folder = folder / f"{layers}-{outer}-vault"
        answers = answers_of(worker_stage(manifest, store, vault_folder, engine), samples)
        yield compare("kernels", manifest, answers, reference, samples)


def compare(
    arithmetic: str,
    manifest: Manifest,
    answers: Answers,
    reference: Answers,
    samples: Sequence[Sample],
) -> Result:
    """Sum up what a stage gave, beside what the reference gave."""
    differences = answers.losses - reference.losses
    loss = float(answers.losses.mean())
    return Result(
        arithmetic=arithmetic,
        weights=manifest.weights,
        outer_weights=manifest.outer_weights,
        store_bytes=manifest.size_bytes,
        loss=loss,
        perplexity=math.exp(loss),
        difference=float(differences.mean()),
        standard_error=standard_error(differences, samples),
        same_picks=float((answers.picks == reference.picks).mean()),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Loss of the embedded model in every format.")
    parser.add_argument("--documents", type=int, default=100, help="1 to 200 [default: 100]")
    count = parser.parse_args().documents
    if not 1 <= count <= MOST_DOCUMENTS:
        parser.error(f"--documents must be from 1 to {MOST_DOCUMENTS}")
    samples = held_out_samples(
        SentencePieceTokenizer.from_file(checkpoint_path() / "tokenizer.model"), count
    )
    tokens = sum(int(sample.is_said.sum()) for sample in samples)
    print(f"{count} documents, {tokens} tokens that the model says; loss in nats per token\n")
    print(
        "| arithmetic | layers | embedding, head | store | loss | perplexity "
        "| difference to numpy f32 | same greedy pick |"
    )
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    results = []
    with tempfile.TemporaryDirectory() as name, Engine(settings.kernel_variant()) as engine:
        for result in measure(samples, Path(name), engine):
            print(result, flush=True)
            results.append(asdict(result))
    print(json.dumps({"documents": count, "tokens": tokens, "results": results}))


if __name__ == "__main__":
    main()
