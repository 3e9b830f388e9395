"""The storyteller as a trainable module: Mistral's arithmetic, arranged for rows of training text.

Query, key and value matrices are fused into one, gate and up matrices into another, and attention
is banded: the text is cut into blocks of ``WINDOW`` positions, and each block of queries sees its
own block of keys and the one before. That gives the sliding window without a square mask.
"""

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor, nn

N_LAYERS, N_LAYERS_SMALL = 32, 8
DIM, HIDDEN_DIM, VOCAB_SIZE = 128, 320, 2048
N_HEADS, N_KV_HEADS, HEAD_DIM = 4, 2, 32
WINDOW, ROPE_THETA, NORM_EPS = 128, 10000.0, 1e-5

QUERY_ROWS, KEY_ROWS = N_HEADS * HEAD_DIM, N_KV_HEADS * HEAD_DIM
GROUP = N_HEADS // N_KV_HEADS


class Layer(nn.Module):
    """The weights of one layer; ``layer_forward`` computes with them."""

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.attention_norm = nn.Parameter(torch.ones(DIM))
        self.ffn_norm = nn.Parameter(torch.ones(DIM))
        self.qkv = random_matrix(QUERY_ROWS + 2 * KEY_ROWS, DIM, DIM**-0.5)
        self.gate_up = random_matrix(2 * HIDDEN_DIM, DIM, DIM**-0.5)
        self.output = random_matrix(DIM, QUERY_ROWS, (QUERY_ROWS * 2 * n_layers) ** -0.5)
        self.down = random_matrix(DIM, HIDDEN_DIM, (HIDDEN_DIM * 2 * n_layers) ** -0.5)


class Model(nn.Module):
    """The whole model. With 8 layers, embedding and head are one: names are copied sooner."""

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.embedding = random_matrix(VOCAB_SIZE, DIM, 0.02)
        self.head = random_matrix(VOCAB_SIZE, DIM, 0.02)
        self.norm = nn.Parameter(torch.ones(DIM))
        self.layers = nn.ModuleList(Layer(n_layers) for _ in range(n_layers))
        if n_layers == N_LAYERS_SMALL:
            self.head = self.embedding
        self.tables: dict[tuple[int, torch.dtype], tuple[Tensor, Tensor, Tensor]] = {}
        self.layer_forward, self.head_loss = layer_forward, head_loss

    def compile_parts(self) -> None:
        """Compile the layer and the loss, each once for all layers."""
        self.layer_forward = torch.compile(layer_forward, dynamic=False)
        self.head_loss = torch.compile(head_loss, dynamic=False)

    def trunk(self, ids: Tensor) -> Tensor:
        """Hidden states before the final norm: ``ids (B, T)`` -> ``(B, T, DIM)``."""
        length, dtype = ids.shape[1], self.embedding.dtype
        if (length, dtype) not in self.tables:
            self.tables[length, dtype] = rope_and_mask(length, dtype)
        x = F.embedding(ids, self.embedding)
        for layer in self.layers:
            weights = (
                layer.attention_norm,
                layer.qkv,
                layer.output,
                layer.ffn_norm,
                layer.gate_up,
                layer.down,
            )
            x = self.layer_forward(x, *weights, *self.tables[length, dtype])
        return x

    def loss(self, rows: Tensor, counts: Tensor) -> Tensor:
        """Mean loss of ``rows (B, T + 1)`` over the tokens whose ``counts (B, T)`` is 1."""
        hidden = self.trunk(rows[:, :-1].contiguous())
        return self.head_loss(hidden, self.norm, self.head, rows[:, 1:].contiguous(), counts)

    def logits(self, ids: Tensor) -> Tensor:
        """``ids (B, T)`` -> ``(B, T, VOCAB_SIZE)``."""
        return F.linear(F.rms_norm(self.trunk(ids), (DIM,), self.norm, NORM_EPS), self.head)


def random_matrix(rows: int, columns: int, spread: float) -> nn.Parameter:
    """A matrix of normal numbers with standard deviation ``spread``."""
    return nn.Parameter(torch.randn(rows, columns) * spread)


def rope_and_mask(length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Tables for rows of ``length`` positions, and the mask to add to scores.

    Shapes: cosines and sines ``(length, HEAD_DIM / 2)``, mask ``(blocks, 1, WINDOW, 2 WINDOW)``.
    """
    frequencies = ROPE_THETA ** (-torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM)
    angles = torch.outer(torch.arange(length).float(), frequencies)
    query = torch.arange(WINDOW)[:, None] + WINDOW
    key = torch.arange(2 * WINDOW)[None]
    hidden = ~((key <= query) & (query - key < WINDOW))
    mask = torch.zeros(length // WINDOW, 1, WINDOW, 2 * WINDOW)
    mask = mask.masked_fill(hidden, float("-inf"))
    mask[0, :, :, :WINDOW] = float("-inf")  # the first block has none before it
    return angles.cos().to(dtype), angles.sin().to(dtype), mask.to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions, half-split: pair ``i`` is ``x[i], x[i + HEAD_DIM / 2]``."""
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


def with_previous_block(x: Tensor) -> Tensor:
    """Keys or values ``(B, KV, T, HEAD_DIM)`` -> ``(B * KV * blocks, 2 WINDOW, HEAD_DIM)``."""
    batch, heads, length, _ = x.shape
    blocks = length // WINDOW
    x = x.reshape(batch, heads, blocks, WINDOW, HEAD_DIM)
    before = F.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :blocks]
    return torch.cat((before, x), 3).reshape(-1, 2 * WINDOW, HEAD_DIM)


def banded_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Sliding-window attention: ``q (B, heads, T, HEAD_DIM)`` -> ``(B, T, heads * HEAD_DIM)``."""
    batch, _, length, _ = q.shape
    blocks = length // WINDOW
    stack = batch * N_KV_HEADS * blocks
    q = q.reshape(batch, N_KV_HEADS, GROUP, blocks, WINDOW, HEAD_DIM).transpose(2, 3)
    q = q.reshape(stack, GROUP * WINDOW, HEAD_DIM) * HEAD_DIM**-0.5
    scores = torch.bmm(q, with_previous_block(k).transpose(1, 2))
    scores = scores.view(batch * N_KV_HEADS, blocks, GROUP, WINDOW, 2 * WINDOW) + mask
    weights = torch.softmax(scores, -1).view(stack, GROUP * WINDOW, 2 * WINDOW)
    mixed = torch.bmm(weights, with_previous_block(v))
    mixed = mixed.view(batch, N_KV_HEADS, blocks, GROUP, WINDOW, HEAD_DIM).transpose(2, 3)
    mixed = mixed.reshape(batch, N_HEADS, length, HEAD_DIM).transpose(1, 2)
    return mixed.reshape(batch, length, QUERY_ROWS)


def layer_forward(
    x: Tensor,
    attention_norm: Tensor,
    qkv: Tensor,
    output: Tensor,
    ffn_norm: Tensor,
    gate_up: Tensor,
    down: Tensor,
    cos: Tensor,
    sin: Tensor,
    mask: Tensor,
) -> Tensor:
    """One layer, ``(B, T, DIM) -> (B, T, DIM)``. Weights come one by one, to compile only once."""
    batch, length, _ = x.shape
    normed = F.rms_norm(x, (DIM,), attention_norm, NORM_EPS)
    heads = F.linear(normed, qkv).view(batch, length, -1, HEAD_DIM).transpose(1, 2)
    queries_keys, v = heads.split((N_HEADS + N_KV_HEADS, N_KV_HEADS), 1)
    q, k = rotate(queries_keys, cos, sin).split((N_HEADS, N_KV_HEADS), 1)
    x = x + F.linear(banded_attention(q, k, v, mask), output)
    normed = F.rms_norm(x, (DIM,), ffn_norm, NORM_EPS)
    gate, up = F.linear(normed, gate_up).chunk(2, -1)
    return x + F.linear(F.silu(gate) * up, down)


def head_loss(x: Tensor, norm: Tensor, head: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """Cross entropy of ``targets (B, T)``, averaged over the tokens that count."""
    logits = F.linear(F.rms_norm(x, (DIM,), norm, NORM_EPS), head)
    losses = F.cross_entropy(
        logits.view(-1, VOCAB_SIZE).float(), targets.reshape(-1), reduction="none"
    )
    return (losses * counts.reshape(-1)).sum() / counts.sum().clamp(min=1)


def untie(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give tied weights a head of their own; untied ones stay as they are."""
    return {**weights, "head": weights.get("head", weights["embedding"])}


def grow(small: dict[str, Tensor]) -> Model:
    """8 layers -> 32: three copies follow each, which do nothing as their outputs are zero."""
    model = Model(N_LAYERS)
    weights = model.state_dict()
    for name in weights:
        if not name.startswith("layers."):
            weights[name] = small[name].float()
            continue
        _, number, part = name.split(".")
        source, copy = divmod(int(number), N_LAYERS // N_LAYERS_SMALL)
        tensor = small[f"layers.{source}.{part}"].float()
        silent = copy and part in ("output", "down")
        weights[name] = torch.zeros_like(tensor) if silent else tensor
    model.load_state_dict(weights)
    return model


def load_weights(weights: dict[str, Tensor]) -> Model:
    """A model of as many layers as ``weights`` has, in bfloat16 rounding but float32."""
    numbers = {int(name.split(".")[1]) for name in weights if name.startswith("layers.")}
    model = Model(1 + max(numbers))
    rounded = {name: tensor.bfloat16().float() for name, tensor in untie(weights).items()}
    model.load_state_dict(rounded)
    return model
