"""One tokenizer of every kind and family, small, with files as checkpoints have them."""

import json
from pathlib import Path
from typing import Any

import mistral_common

from pi_cluster.transformer.text.text_files import TextFiles

PARITY = Path(__file__).parents[1] / "parity"
STORYTELLER = Path(__file__).parents[2] / "storyteller" / "checkpoint" / "tokenizer.model"
MISTRAL = Path(mistral_common.__file__).parent / "data"
FAMILIES = sorted(path.stem for path in (PARITY / "tokenizers").iterdir())


def goldens() -> dict[str, Any]:
    """What `tests/parity/make_text_goldens.py` wrote."""
    content: dict[str, Any] = json.loads((PARITY / "golden_texts.json").read_text(encoding="utf-8"))
    return content


def family_files(folder: Path, name: str, golden: dict[str, Any]) -> TextFiles:
    """The files of one family, its configuration written into ``folder``."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(golden["config"]), encoding="utf-8")
    paths = {
        "tokenizer.json": PARITY / "tokenizers" / f"{name}.json",
        "tokenizer_config.json": path,
    }
    return TextFiles(paths, golden["vocab_size"], None)


def small_tekken(**config: Any) -> dict[str, Any]:
    """What a ``tekken.json`` of Mistral's holds, with few of its pieces."""
    values: dict[str, Any] = json.loads((MISTRAL / "tekken_240911.json").read_text("utf-8"))
    values["vocab"] = values["vocab"][:2_000]
    few = {"default_vocab_size": 1_100, "default_num_special_tokens": 100}
    values["config"] |= few | config
    return values
