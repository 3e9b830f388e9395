"""Make the goldens in ``goldens/``: what transformers computes for small Mistral checkpoints.

    python -m venv golden-env
    golden-env/bin/pip install torch transformers safetensors sentencepiece numpy
    golden-env/bin/python tests/parity/make_goldens.py

The committed goldens were made with Python 3.11, torch 2.13.0 (CPU, one thread), transformers
5.23.0, safetensors 0.8.0, sentencepiece 0.2.3 and numpy 2.4.6. The weights depend on the seeds
alone; the last bits of the results may change with the version of torch or the processor.

Each folder holds a checkpoint and ``reference.npz``: ``ids (T,)``; ``logits (T, vocab)`` and
``hidden_<i> (T, dim)`` in float32, where ``hidden_i`` enters layer ``i`` and the last one is after
the final norm; ``greedy`` (the next 40 ids, end-of-sequence ignored) and ``min_top2_gap`` (the
smallest lead, in logits, of a greedy id over the runner-up). ``storyteller.json`` and
``storyteller_hidden.npz`` hold the same for the embedded demo model.

transformers runs with eager attention in float32 on the stored weights. Every result is compared
with ``plain_forward.py``, in float64, and the table printed at the end also shows how far the
logits move when the forward pass is wrong on purpose: a golden that cannot tell is refused.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from safetensors.torch import load_file

os.environ["HF_HUB_OFFLINE"] = "1"  # transformers reads it when it is imported

from plain_forward import Array, Shape, forward
from random_checkpoints import Recipe, mistral_name, write_consolidated, write_hugging_face
from transformers import MistralForCausalLM

GOLDENS = Path(__file__).resolve().parent / "goldens"
STORYTELLER = GOLDENS.parents[2] / "storyteller" / "checkpoint"
NEW_IDS = 40
AGREEMENT = 5e-5  # float32 against float64, for logits with a spread of 1.4 (4 where tied)
VISIBLE = 0.05  # a fault must move some logit at least this far, a thousand times as much
MIN_GAP = 0.01  # so that rounding cannot change a greedy id

RECIPES = {
    "window": Recipe(111, 64, 3, 4, 2, 96, 128, window=16),
    "no-window-tied": Recipe(102, 32, 5, 4, 2, 96, 256, tied=True),
    "wide-heads-f16": Recipe(113, 32, 4, 4, 2, 64, 128, head_dim=16, dtype="float16"),
    "several-files": Recipe(104, 32, 4, 4, 4, 96, 128, window=24, n_files=3),
    "one-kv-head": Recipe(
        115,
        64,
        3,
        4,
        1,
        96,
        128,
        config={
            "rope_theta": None,
            "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"},
            "eos_token_id": [2, 5],
            "torch_dtype": None,
            "dtype": "bfloat16",
        },
    ),
}
PROMPT_LENGTHS = {"window": 70, "several-files": 80}
STORY_PROMPTS = {  # and how many ids to generate
    "[INST] Tell me a story about a brave fox and a lost kite.[/INST]": 260,
    "[INST] Tell me a long story about a curious owl and a broken clock.[/INST]": 420,
    "[INST] Tell me a story about a kind bear, a mouse and a magic pot. [/INST]": 260,
    "Once upon a time": 300,
    "[INST] Who are you?[/INST]": 220,
}


def load_transformers(folder: Path) -> MistralForCausalLM:
    """The model in float32, whatever type its weights are stored in."""
    model = MistralForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return model.eval()


@torch.no_grad()
def greedy(model: MistralForCausalLM, ids: list[int], count: int) -> tuple[list[int], float]:
    """``count`` new ids, each the best one, and the smallest lead of one over the runner-up.

    They are chosen with transformers' key/value cache and confirmed by one pass without it.
    """
    chosen: list[int] = []
    output = model(torch.tensor([ids]), use_cache=True)
    for _ in range(count):
        chosen.append(int(output.logits[0, -1].argmax()))
        cache = output.past_key_values
        output = model(torch.tensor([chosen[-1:]]), past_key_values=cache, use_cache=True)
    logits = model(torch.tensor([ids + chosen]), use_cache=False).logits[0, len(ids) - 1 : -1]
    if logits.argmax(-1).tolist() != chosen:
        raise SystemExit("greedy ids with and without cache differ: use another seed")
    best, second = logits.topk(2).values.unbind(-1)
    return chosen, float((best - second).min())


@torch.no_grad()
def reference(model: MistralForCausalLM, ids: list[int]) -> dict[str, np.ndarray]:
    """Logits and hidden states of every position of ``ids``."""
    output = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    hidden = {f"hidden_{i}": h[0].numpy() for i, h in enumerate(output.hidden_states)}
    return {"ids": np.array(ids), "logits": output.logits[0].numpy(), **hidden}


def read_weights(folder: Path) -> dict[str, Array]:
    """Every tensor of a checkpoint, under Mistral's names, in float64."""
    weights = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            renamed = name if path.name.startswith("consolidated") else mistral_name(name)
            weights[renamed] = tensor.double().numpy()
    return weights


def read_shape(folder: Path) -> Shape:
    """The shape a ``config.json`` describes."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads = config["num_attention_heads"]
    return Shape(
        n_layers=config["num_hidden_layers"],
        n_heads=heads,
        n_kv_heads=config["num_key_value_heads"],
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        norm_eps=config["rms_norm_eps"],
        rope_theta=config.get("rope_theta") or config["rope_parameters"]["rope_theta"],
        windows=(config["sliding_window"],) * config["num_hidden_layers"],
    )


def swap_layers(weights: dict[str, Array]) -> dict[str, Array]:
    """The weights with layers 1 and 2 exchanged."""
    swapped = {"1": "2", "2": "1"}
    renamed = {}
    for name, tensor in weights.items():
        parts = name.split(".")
        if parts[0] == "layers":
            parts[1] = swapped.get(parts[1], parts[1])
        renamed[".".join(parts)] = tensor
    return renamed


def check(name: str, folder: Path, golden: dict[str, np.ndarray], shape: Shape) -> None:
    """Compare a golden with the plain forward pass, right and wrong, and print one table row."""
    weights, interleaved = read_weights(folder), (folder / "params.json").exists()
    hidden, logits = forward(golden["ids"], weights, shape, interleaved)

    def moved(weights: dict[str, Array], shape: Shape, interleaved: bool) -> float:
        wrong = forward(golden["ids"], weights, shape, interleaved)[1]
        return float(np.abs(wrong - golden["logits"]).max())

    agreement = {
        "hidden": max(np.abs(h - golden[f"hidden_{i}"]).max() for i, h in enumerate(hidden)),
        "logits": np.abs(logits - golden["logits"]).max(),
    }
    faults = {
        "rope": moved(weights, shape, not interleaved),
        "layers": moved(swap_layers(weights), shape, interleaved),
        "theta": moved(
            weights, dataclasses.replace(shape, rope_theta=shape.rope_theta * 2), interleaved
        ),
    }
    for change in (-1, 1) if any(shape.windows) else ():
        windows = tuple(window and window + change for window in shape.windows)
        wrong_shape = dataclasses.replace(shape, windows=windows)
        faults[f"window{change:+d}"] = moved(weights, wrong_shape, interleaved)
    print(f"{name:16}", *(f"{k} {v:.1e}" for k, v in agreement.items()), end="  |")
    print("", *(f"{k} {v:.2f}" for k, v in faults.items()), f"| gap {golden['min_top2_gap']:.4f}")
    if max(agreement.values()) > AGREEMENT or min(faults.values()) < VISIBLE:
        raise SystemExit(f"{name}: not a usable golden")


def make_random_models() -> None:
    """Write each random checkpoint with its reference, and the consolidated twin of the first."""
    print("largest difference from the float64 forward | the same, with a fault | smallest gap")
    for name, recipe in RECIPES.items():
        folder = GOLDENS / name
        write_hugging_face(recipe, folder)
        model = load_transformers(folder)
        draw = np.random.default_rng(recipe.seed)
        length = PROMPT_LENGTHS.get(name, 48)
        ids = [1, *draw.integers(3, recipe.vocab_size, length - 1).tolist()]
        golden = reference(model, ids)
        new_ids, gap = greedy(model, ids, NEW_IDS)
        if gap < MIN_GAP:
            raise SystemExit(f"{name}: a greedy choice leads by {gap} only: use another seed")
        golden |= {"greedy": np.array(new_ids), "min_top2_gap": np.float32(gap)}
        check(name, folder, golden, read_shape(folder))
        np.savez_compressed(folder / "reference.npz", **golden)
        if name == "window":
            twin = GOLDENS / "consolidated"
            write_consolidated(recipe, twin)
            check("consolidated", twin, golden, read_shape(folder))
            np.savez_compressed(twin / "reference.npz", **golden)


def make_storyteller() -> None:
    """Write the demo model's greedy continuations, first logits and some hidden states."""
    model = load_transformers(STORYTELLER)
    tokenizer = sentencepiece.SentencePieceProcessor(
        model_file=str(STORYTELLER / "tokenizer.model")
    )
    cases: list[dict[str, Any]] = []
    for prompt, count in STORY_PROMPTS.items():
        text = prompt.removeprefix("[INST] ").removesuffix("[/INST]")
        ids = tokenizer.encode(text)
        ids = [1, *ids] if text == prompt else [1, 3, *ids, 4]
        new_ids, gap = greedy(model, ids, count)
        golden = reference(model, ids)
        last = golden["logits"][-1]
        case = {"prompt": prompt, "prompt_ids": ids, "greedy_ids": new_ids}
        case["eos_at"] = new_ids.index(2) if 2 in new_ids else None
        case["min_top2_gap"] = gap
        case["last_logits_first8"] = [round(float(x), 6) for x in last[:8]]
        case["last_logits_argmax"] = int(last.argmax())
        if not cases:
            golden["min_top2_gap"] = np.float32(gap)
            check_storyteller(golden)
        cases.append(case)
    lines = ",\n".join(json.dumps(case) for case in cases)
    (GOLDENS / "storyteller.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def check_storyteller(golden: dict[str, np.ndarray]) -> None:
    """Confirm the first prompt's hidden states and write every eighth of them."""
    shape = read_shape(STORYTELLER)
    hidden, logits = forward(golden["ids"], read_weights(STORYTELLER), shape, interleaved=False)
    error = max(np.abs(h - golden[f"hidden_{i}"]).max() for i, h in enumerate(hidden))
    logits_error = np.abs(logits - golden["logits"]).max()
    print(f"storyteller      hidden {error:.1e} logits {logits_error:.1e}")
    kept = {f"hidden_{i}": golden[f"hidden_{i}"] for i in (0, 8, 16, 24, 32)}
    kept |= {"ids": golden["ids"], "last_logits": golden["logits"][-1]}
    np.savez_compressed(GOLDENS / "storyteller_hidden.npz", **kept)


if __name__ == "__main__":
    torch.set_num_threads(1)
    make_random_models()
    make_storyteller()
