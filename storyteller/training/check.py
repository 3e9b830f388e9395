"""Check an exported model with transformers: validation loss, quantised too, and samples.

    python -m storyteller.training.check storyteller/checkpoint

Eager attention, float32 computed from the bfloat16 weights. (The golden values that the tests
compare with are made by ``tests/parity/make_goldens.py``.)
"""

import argparse
import os
from pathlib import Path

import sentencepiece
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

from pi_cluster.storyteller.training.data import BOS, END_INST, EOS, INST, validation_rows
from pi_cluster.storyteller.training.model import VOCAB_SIZE
from pi_cluster.storyteller.training.sample import REQUESTS

os.environ["HF_HUB_OFFLINE"] = "1"  # transformers reads it when it is imported

from transformers import LlamaTokenizer, MistralForCausalLM

DOCUMENTS, SEED = 200, 999000
BLOCK = 32


def load(folder: Path) -> MistralForCausalLM:
    """The exported model in float32."""
    model = MistralForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return model.eval()


@torch.no_grad()
def validation_loss(
    model: MistralForCausalLM, tokenizer: sentencepiece.SentencePieceProcessor
) -> float:
    """Mean loss in nats per token that the model says, over documents it was not trained on."""
    rows, counts = validation_rows(tokenizer, DOCUMENTS, SEED)
    total = counted = 0.0
    for start in range(0, DOCUMENTS, 4):
        part = rows[start : start + 4]
        logits = model(part[:, :-1]).logits
        losses = F.cross_entropy(
            logits.reshape(-1, VOCAB_SIZE), part[:, 1:].reshape(-1), reduction="none"
        )
        count = counts[start : start + 4].reshape(-1)
        total += float((losses * count).sum())
        counted += float(count.sum())
    return total / counted


@torch.no_grad()
def quantise(model: MistralForCausalLM, bits: int, head: bool) -> MistralForCausalLM:
    """Round the linear layers in place: symmetric, in blocks of 32 inputs with a float16 scale.

    8 bits: -127..127, scale absmax / 127. 4 bits: -8..7, scale signed absmax / -8.
    """
    for name, parameter in model.named_parameters():
        skipped = "embed_tokens" in name or ("lm_head" in name and not head)
        if parameter.dim() != 2 or skipped:
            continue
        blocks = parameter.data.view(-1, BLOCK)
        if bits == 8:
            scale, lowest, highest = blocks.abs().amax(1, keepdim=True) / 127, -127, 127
        else:
            largest = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
            scale, lowest, highest = largest / -8, -8, 7
        scale = scale.half().float()
        divisor = torch.where(scale == 0, torch.ones_like(scale), scale)
        rounded = (blocks / divisor).round().clamp(lowest, highest) * scale
        parameter.copy_(rounded.view_as(parameter))
    return model


def check_chat_template(folder: Path, tokenizer: sentencepiece.SentencePieceProcessor) -> None:
    """The chat template must give the ids the model was trained on."""
    rendering = LlamaTokenizer.from_pretrained(folder)
    text = rendering.apply_chat_template([{"role": "user", "content": REQUESTS[0]}], tokenize=False)
    ids = rendering(text, add_special_tokens=False).input_ids
    pieces = tokenizer.encode(REQUESTS[0])
    spaced = [BOS, INST, *pieces, tokenizer.piece_to_id("▁"), END_INST]
    print("chat template:", "as trained" if ids == spaced else f"gives {ids}, not {spaced}")


def print_samples(
    model: MistralForCausalLM, tokenizer: sentencepiece.SentencePieceProcessor
) -> None:
    """Answers to some requests, greedy and at temperature 0.7."""
    warm = {"do_sample": True, "temperature": 0.7, "top_k": 0}
    for settings in ({"do_sample": False}, warm):
        torch.manual_seed(1)
        for request in REQUESTS:
            ids = torch.tensor([[BOS, INST, *tokenizer.encode(request), END_INST]])
            said = model.generate(
                ids, max_new_tokens=600, pad_token_id=0, eos_token_id=EOS, **settings
            )[0, ids.shape[1] :].tolist()
            text = tokenizer.decode([number for number in said if number != EOS])
            temperature = settings.get("temperature", 0)
            print(f">>> [T={temperature}] {request} [{len(said)} tokens]\n    {text}", flush=True)


def main() -> None:
    """Run all checks on one folder."""
    parser = argparse.ArgumentParser(description="Check an exported storyteller.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    check_chat_template(folder, tokenizer)
    base = validation_loss(load(folder), tokenizer)
    print(f"bf16: loss {base:.4f}", flush=True)
    for bits, head in ((8, True), (4, True), (4, False)):
        loss = validation_loss(quantise(load(folder), bits, head), tokenizer)
        kept = "" if head else ", head kept"
        print(f"{bits} bits{kept}: loss {loss:.4f} ({loss - base:+.4f})", flush=True)
    print_samples(load(folder), tokenizer)


if __name__ == "__main__":
    main()
