"""Train the storyteller, from generated text to a checkpoint in Hugging Face's form.

    python -m storyteller.training.train all --folder run

makes the tokenizer, runs the three stages and exports to ``run/hf``; one step can be named instead
of ``all``. Stage s1 trains 8 layers on rows of 256 tokens, s2 grows them to 32 and trains all, s3
goes on with rows of 512 at a low rate. The text is drawn fresh for each step, so nothing is seen
twice. A stage goes on from its own checkpoint if there is one, and a file named STOP in the folder
ends it after the current step. Processes share the work by averaging gradients over gloo.
"""

import argparse
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import torch.distributed
import torch.multiprocessing
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor

from pi_cluster.storyteller.training.data import Rows, train_tokenizer, validation_rows
from pi_cluster.storyteller.training.export import export
from pi_cluster.storyteller.training.model import (
    N_LAYERS,
    N_LAYERS_SMALL,
    VOCAB_SIZE,
    Model,
    grow,
    untie,
)
from pi_cluster.storyteller.training.optimiser import Optimiser

WARMUP_STEPS = 80
LOG_EVERY = 50


@dataclass(frozen=True, slots=True)
class Stage:
    """``rows`` is per step and process; the rates are peaks; ``floor`` is their final share."""

    n_layers: int
    length: int
    rows: int
    tokens: float
    muon_rate: float
    adam_rate: float
    floor: float
    seed: int
    follows: str | None = None


STAGES = {
    "s1": Stage(N_LAYERS_SMALL, 256, 8, 9.5e6, 0.02, 3e-3, 0.1, seed=11),
    "s2": Stage(N_LAYERS, 256, 8, 5e6, 0.005, 1e-3, 0.1, seed=22, follows="s1"),
    "s3": Stage(N_LAYERS, 512, 4, 0.6e6, 0.0012, 3e-4, 0.05, seed=33, follows="s2"),
}


def rate_share(step: int, seen: int, total: float, floor: float) -> float:
    """Share of the peak rate at ``step`` (from 0): a linear rise, then half a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * (seen / total)))
    return min(1, (step + 1) / WARMUP_STEPS) * (floor + (1 - floor) * cosine)


def starting_model(name: str, folder: Path) -> tuple[Model, dict[str, Any] | None]:
    """The stage's model, and its saved optimiser state if the stage was begun before."""
    stage = STAGES[name]
    model = Model(stage.n_layers)
    if (folder / f"{name}.pt").exists():
        saved = torch.load(folder / f"{name}.pt", weights_only=True)
        model.load_state_dict(untie(saved["weights"]))
        return model, saved["state"]
    if stage.follows:
        weights = torch.load(folder / f"{stage.follows}.pt", weights_only=True)["weights"]
        if STAGES[stage.follows].n_layers < stage.n_layers:
            model = grow(untie(weights))
        else:
            model.load_state_dict(weights)
    return model, None


@torch.no_grad()
def evaluate(model: Model, rows: Tensor, counts: Tensor) -> float:
    """Mean loss in nats per counted token."""
    total = counted = 0.0
    for start in range(0, len(rows), 8):
        part = rows[start : start + 8]
        logits = model.logits(part[:, :-1].contiguous()).float()
        losses = F.cross_entropy(
            logits.reshape(-1, VOCAB_SIZE), part[:, 1:].reshape(-1), reduction="none"
        )
        count = counts[start : start + 8].reshape(-1)
        total += float((losses * count).sum())
        counted += float(count.sum())
    return total / counted


def averaged_gradients(
    parameters: dict[str, Tensor], loss: Tensor, processes: int
) -> tuple[dict[str, Tensor], float]:
    """Gradients by name in float32, and the loss, averaged over all processes."""
    gradients = [parameter.grad.float().reshape(-1) for parameter in parameters.values()]
    flat = torch.cat([*gradients, loss.detach().float().reshape(1)])
    if processes > 1:
        torch.distributed.all_reduce(flat)
        flat /= processes
    parts = flat[:-1].split([parameter.numel() for parameter in parameters.values()])
    named = zip(parameters.items(), parts, strict=True)
    return {name: part.view_as(p) for (name, p), part in named}, float(flat[-1])


class StageRun:
    """One process's share of one stage."""

    def __init__(self, rank: int, name: str, arguments: argparse.Namespace) -> None:
        self.rank, self.name, self.arguments = rank, name, arguments
        self.stage = STAGES[name]
        self.folder: Path = arguments.folder
        self.total = arguments.tokens or self.stage.tokens
        torch.set_num_threads(arguments.threads)
        torch.manual_seed(0)
        self.model, saved = starting_model(name, self.folder)
        self.optimiser = Optimiser(self.model, self.stage.n_layers)
        self.state = self.optimiser.state
        self.state |= saved or {"seen": 0, "refills": 0}
        tokenizer = sentencepiece.SentencePieceProcessor(
            model_file=str(self.folder / "tokenizer.model")
        )
        self.rows = Rows(tokenizer, self.stage.seed * 100 + rank, self.stage.length)
        self.rows.refills = self.state["refills"]
        self.validation = validation_rows(tokenizer)
        self.model.compile_parts()

    def run(self) -> None:
        """Train to the stage's end, logging, evaluating and saving on the way."""
        smooth, started, seen_before = None, time.time(), self.state["seen"]
        while self.state["seen"] < self.total and not (self.folder / "STOP").exists():
            loss, share = self.step()
            smooth = loss if smooth is None else 0.97 * smooth + 0.03 * loss
            step, seen = self.state["step"], self.state["seen"]
            if step % LOG_EVERY == 0:
                tps = (seen - seen_before) / (time.time() - started)
                self.log(f"tok {seen / 1e6:.2f}M loss {smooth:.4f} lr {share:.3f} {tps:.0f} tok/s")
            if step % self.arguments.save_every == 0:
                self.save()
            if step % self.arguments.evaluate_every == 0:
                self.log_validation()
        self.save()
        self.log_validation()

    def step(self) -> tuple[float, float]:
        """One optimiser step; the loss, and the share of the peak rate it was taken at."""
        stage, processes = self.stage, self.arguments.processes
        share = rate_share(self.state["step"], self.state["seen"], self.total, stage.floor)
        loss = self.model.loss(*self.rows.batch(stage.rows))
        self.model.zero_grad()
        loss.backward()
        gradients, mean_loss = averaged_gradients(self.optimiser.parameters, loss, processes)
        self.optimiser.step(gradients, share * stage.muon_rate, share * stage.adam_rate)
        self.state["seen"] += processes * stage.rows * stage.length
        return mean_loss, share

    def save(self) -> None:
        """Write the checkpoint; the first process does it for all."""
        if self.rank > 0:
            return
        self.state["refills"] = self.rows.refills
        path = self.folder / f"{self.name}.pt"
        unfinished = path.with_suffix(".part")
        torch.save({"weights": self.optimiser.masters, "state": self.state}, unfinished)
        unfinished.replace(path)

    def log_validation(self) -> None:
        """Log the validation loss; the first process does it for all."""
        if self.rank == 0:
            loss = evaluate(self.model, *self.validation)
            self.log(f"tok {self.state['seen'] / 1e6:.2f}M VAL {loss:.4f}")

    def log(self, text: str) -> None:
        """Print a line, from the first process only."""
        if self.rank == 0:
            clock = time.strftime("%H:%M:%S", time.gmtime())
            print(f"{clock} {self.name} step {self.state['step']} {text}", flush=True)


def run_process(rank: int, name: str, arguments: argparse.Namespace) -> None:
    """Run a stage as process ``rank`` of several, or alone."""
    if arguments.processes > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(arguments.port))
        torch.distributed.init_process_group("gloo", rank=rank, world_size=arguments.processes)
    StageRun(rank, name, arguments).run()
    if arguments.processes > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def main() -> None:
    """Run the named step, or all of them."""
    parser = argparse.ArgumentParser(description="Train the storyteller.")
    parser.add_argument("what", choices=["all", "tokenizer", *STAGES, "export"])
    parser.add_argument("--folder", type=Path, default=Path("storyteller-run"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--tokens", type=float, help="a stage's length, if not the usual one")
    parser.add_argument("--save-every", type=int, default=100, help="steps")
    parser.add_argument("--evaluate-every", type=int, default=250, help="steps")
    parser.add_argument("--port", type=int, default=29500, help="where processes meet")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.what in ("all", "tokenizer"):
        train_tokenizer(arguments.folder / "tokenizer.model")
    for name in STAGES:
        if arguments.what in ("all", name):
            torch.multiprocessing.spawn(run_process, (name, arguments), arguments.processes)
    if arguments.what in ("all", "export"):
        export(arguments.folder / "s3.pt", arguments.folder)


if __name__ == "__main__":
    main()
