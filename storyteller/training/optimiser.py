"""Muon for the matrices of the layers, Adam for everything else, on float32 copies of the weights.

Muon (Keller Jordan et al., 2024) steps along the orthogonalised momentum of a matrix: all its
singular values are made about equal by a few Newton-Schulz iterations. All layers' matrices of one
shape are stacked and treated together; fused matrices are taken apart first.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pi_cluster.storyteller.training.model import DIM, HIDDEN_DIM, KEY_ROWS, QUERY_ROWS, Model

MUON_MOMENTUM, MUON_WEIGHT_DECAY = 0.95, 0.05
ADAM_BETAS, ADAM_EPS, ADAM_MAX_NORM = (0.9, 0.98), 1e-8, 1.0


@dataclass(frozen=True, slots=True)
class Block:
    """Rows ``start:stop`` of a layer's matrix: one matrix to Muon."""

    part: str
    start: int
    stop: int
    columns: int = DIM


BLOCKS = (
    Block("qkv", 0, QUERY_ROWS),
    Block("qkv", QUERY_ROWS, QUERY_ROWS + KEY_ROWS),
    Block("qkv", QUERY_ROWS + KEY_ROWS, QUERY_ROWS + 2 * KEY_ROWS),
    Block("gate_up", 0, HIDDEN_DIM),
    Block("gate_up", HIDDEN_DIM, 2 * HIDDEN_DIM),
    Block("output", 0, DIM),
    Block("down", 0, DIM, columns=HIDDEN_DIM),
)
MUON_PARTS = {block.part for block in BLOCKS}


class Optimiser:
    """Keeps float32 masters of a bfloat16 model and steps them; ``state`` is what to save."""

    def __init__(self, model: Model, n_layers: int) -> None:
        self.masters = {n: p.detach().float().clone() for n, p in model.named_parameters()}
        model.bfloat16()
        self.parameters = dict(model.named_parameters())
        self.n_layers = n_layers
        self.adam_names = [n for n in self.masters if n.split(".")[-1] not in MUON_PARTS]
        self.state = {
            "momentum": [
                torch.zeros(n_layers, block.stop - block.start, block.columns) for block in BLOCKS
            ],
            "mean": [torch.zeros_like(self.masters[n]) for n in self.adam_names],
            "square": [torch.zeros_like(self.masters[n]) for n in self.adam_names],
            "step": 0,
        }

    @torch.no_grad()
    def step(self, gradients: dict[str, Tensor], muon_rate: float, adam_rate: float) -> None:
        """Move the masters by one step and copy them, rounded, into the model."""
        self.state["step"] += 1
        for block, momentum in zip(BLOCKS, self.state["momentum"], strict=True):
            self._muon(gradients, block, momentum, muon_rate)
        self._adam(gradients, adam_rate)
        for name, parameter in self.parameters.items():
            parameter.copy_(self.masters[name])

    def _muon(
        self, gradients: dict[str, Tensor], block: Block, momentum: Tensor, rate: float
    ) -> None:
        rows = slice(block.start, block.stop)
        names = [f"layers.{number}.{block.part}" for number in range(self.n_layers)]
        gradient = torch.stack([gradients[name][rows] for name in names])
        momentum.lerp_(gradient, 1 - MUON_MOMENTUM)
        update = orthogonalise(gradient.lerp(momentum, MUON_MOMENTUM))
        update = update * max(1, (block.stop - block.start) / block.columns) ** 0.5
        for name, change in zip(names, update, strict=True):
            master = self.masters[name][rows]
            master.mul_(1 - rate * MUON_WEIGHT_DECAY).sub_(change, alpha=rate)

    def _adam(self, gradients: dict[str, Tensor], rate: float) -> None:
        chosen = [gradients[name] for name in self.adam_names]
        norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in chosen))
        scale = min(1, ADAM_MAX_NORM / (norm + 1e-6))
        step, (beta1, beta2) = self.state["step"], ADAM_BETAS
        for name, gradient, mean, square in zip(
            self.adam_names, chosen, self.state["mean"], self.state["square"], strict=True
        ):
            clipped = gradient * scale
            mean.lerp_(clipped, 1 - beta1)
            square.lerp_(clipped * clipped, 1 - beta2)
            root = (square / (1 - beta2**step)).sqrt() + ADAM_EPS
            self.masters[name].sub_(mean / (1 - beta1**step) / root, alpha=rate)


def orthogonalise(stack: Tensor, iterations: int = 5) -> Tensor:
    """Nearly orthogonal matrices with the directions of ``stack (n, rows, columns)``."""
    x = stack.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.transpose(-1, -2)
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).bfloat16()
    for _ in range(iterations):
        a = torch.bmm(x, x.transpose(-1, -2))
        x = 3.4445 * x + torch.bmm(-4.7750 * a + 2.0315 * torch.bmm(a, a), x)
    return (x.transpose(-1, -2) if tall else x).float()
