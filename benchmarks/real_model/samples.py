"""The text that the model is measured on: prose, code and records, written for this repository."""

from pathlib import Path

from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.text_model import TextModel

POSITIONS = 2_000
_FOLDER = Path(__file__).parents[1] / "virtual" / "texts"
_NAMES = ("summary.txt", "code.txt", "records.txt")


def text() -> str:
    """About 2 600 tokens of SmolLM2's."""
    return "\n\n".join((_FOLDER / name).read_text() for name in _NAMES)


def sample_ids(store: Path) -> list[int]:
    """The first ``POSITIONS`` ids of the text and one more, which is only to be guessed."""
    ids = TextModel(store, Store(store).manifest).raw_ids(text())
    assert len(ids) > POSITIONS, f"the text has {len(ids)} tokens"
    return ids[: POSITIONS + 1]
