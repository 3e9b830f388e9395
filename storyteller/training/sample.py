"""Look at a training checkpoint: what does it say by now?

python -m storyteller.training.sample run/s2.pt --tokenizer run/tokenizer.model
"""

import argparse
from pathlib import Path

import sentencepiece
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor

from pi_cluster.storyteller.training.data import BOS, END_INST, EOS, INST
from pi_cluster.storyteller.training.model import (
    DIM,
    GROUP,
    HEAD_DIM,
    N_HEADS,
    N_KV_HEADS,
    NORM_EPS,
    QUERY_ROWS,
    ROPE_THETA,
    WINDOW,
    Layer,
    Model,
    load_weights,
    rotate,
)

REQUESTS = (
    "Tell me a story about a brave fox and a lost kite.",
    "Tell me a story about a shy hedgehog and a broken clock.",
    "Tell me a story about a bear and a magic pot.",
    "Tell me a long story about a snail and a lantern.",
    "Tell me a short story about an owl, a mouse and a blue umbrella.",
    "Tell me a story about a kind whale.",
    "Who are you?",
    "How many layers do you have?",
    "What is the capital of France?",
)


class RollingCache:
    """Keys and values ``(N_KV_HEADS, <= WINDOW, HEAD_DIM)`` of one layer's last positions."""

    def __init__(self) -> None:
        self.keys = self.values = torch.empty(N_KV_HEADS, 0, HEAD_DIM)

    def append(self, key: Tensor, value: Tensor) -> None:
        """Add one position and forget what has left the window."""
        self.keys = torch.cat((self.keys, key[:, None]), 1)[:, -WINDOW:]
        self.values = torch.cat((self.values, value[:, None]), 1)[:, -WINDOW:]


def layer_step(layer: Layer, x: Tensor, cache: RollingCache, position: int) -> Tensor:
    """One layer for one position: ``x (1, DIM) -> (1, DIM)``."""
    frequencies = ROPE_THETA ** (-torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM)
    angles = position * frequencies
    normed = F.rms_norm(x, (DIM,), layer.attention_norm, NORM_EPS)
    heads = F.linear(normed, layer.qkv).view(-1, HEAD_DIM)
    queries_keys, value = heads.split((N_HEADS + N_KV_HEADS, N_KV_HEADS))
    query, key = rotate(queries_keys, angles.cos(), angles.sin()).split((N_HEADS, N_KV_HEADS))
    cache.append(key, value)
    query = query.view(N_KV_HEADS, GROUP, HEAD_DIM) * HEAD_DIM**-0.5
    weights = torch.softmax(torch.bmm(query, cache.keys.transpose(1, 2)), -1)
    x = x + F.linear(torch.bmm(weights, cache.values).reshape(1, QUERY_ROWS), layer.output)
    normed = F.rms_norm(x, (DIM,), layer.ffn_norm, NORM_EPS)
    gate, up = F.linear(normed, layer.gate_up).chunk(2, -1)
    return x + F.linear(F.silu(gate) * up, layer.down)


@torch.no_grad()
def continue_text(
    model: Model, ids: list[int], count: int, temperature: float = 0.0, seed: int = 0
) -> list[int]:
    """At most ``count`` ids after ``ids``, until the end of the story; greedy at temperature 0."""
    draw = torch.Generator().manual_seed(seed)
    caches = [RollingCache() for _ in model.layers]
    position, pending, said = 0, list(ids), []
    while len(said) < count:
        x = model.embedding[pending.pop(0)][None]
        for layer, cache in zip(model.layers, caches, strict=True):
            x = layer_step(layer, x, cache, position)
        position += 1
        if pending:
            continue
        logits = F.linear(F.rms_norm(x, (DIM,), model.norm, NORM_EPS), model.head)[0]
        if temperature == 0:
            chosen = int(logits.argmax())
        else:
            chances = torch.softmax(logits / temperature, -1)
            chosen = int(torch.multinomial(chances, 1, generator=draw))
        if chosen == EOS:
            break
        said.append(chosen)
        pending.append(chosen)
    return said


def main() -> None:
    """Print the answers to some requests, and the beginning of a plain story."""
    parser = argparse.ArgumentParser(description="Print samples of a training checkpoint.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--request", action="append")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(arguments.tokenizer))
    model = load_weights(torch.load(arguments.checkpoint, weights_only=True)["weights"])
    prompts = {
        request: [BOS, INST, *tokenizer.encode(request), END_INST]
        for request in arguments.request or REQUESTS
    }
    if not arguments.request:
        prompts["(plain)"] = [BOS, *tokenizer.encode("Once upon a time")]
    for request, ids in prompts.items():
        said = continue_text(model, ids, 500, arguments.temperature, arguments.seed)
        print(f">>> {request} [{len(said)} tokens]\n    {tokenizer.decode(said)}", flush=True)


if __name__ == "__main__":
    main()
