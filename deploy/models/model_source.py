"""What people give as a model: a store, a checkpoint's folder, a GGUF file, or a pulled name.

What lies on disk under that path comes first; a name is looked for among the pulled models. A
checkpoint becomes a store in the user's cache on the way, in a folder that is named after what the
checkpoint's files are: the next time it is there.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pi_cluster.cluster.advice import line
from pi_cluster.cluster.errors import HubError, StoreError
from pi_cluster.cluster.shown import shown_line
from pi_cluster.cluster.store.store import JOURNAL_NAME, MANIFEST_NAME, Store
from pi_cluster.deploy.models.made_store import FORMATS, find_made, made_of
from pi_cluster.deploy.models.model_name import ModelName
from pi_cluster.deploy.models.pulled import PulledModel, changing, find_pulled, finished_store
from pi_cluster.deploy.models.sharding import shard_with_a_bar
from pi_cluster.deploy.screen import output
from pi_cluster.shard_tool.gguf.file_names import SUFFIX
from pi_cluster.shard_tool.sources.forms import find_gguf

_GGUF_MAGIC = b"GGUF"
_OF_CHECKPOINTS = ("config.json", "params.json", "adapter_config.json")
_WEIGHTS = (".safetensors", ".bin", ".pth", ".pt")
_PATH_BEGINNINGS = ("/", "./", "../", "~")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model that is there, in whatever form."""

    said: str
    """An absolute path, or the whole name of a pulled model: means the same in any folder."""
    path: Path
    is_store: bool
    """Else it is a checkpoint: a folder, or a file in GGUF."""
    pulled: PulledModel | None = None

    @property
    def store_path(self) -> Path:
        """Where its store lies, or will."""
        if self.pulled:
            return self.pulled.store_path
        return self.path if self.is_store else made_of(self.path)

    def store(self) -> Store:
        """Its store, made on the way if it was not there; raises what sharding does."""
        if self.is_store:
            return Store(self.path)
        out = self.store_path
        if finished_store(out) is None:
            if self.pulled:
                with changing(self.pulled.name):
                    shard_with_a_bar(self.path, out, self.pulled.formats, origin=self.pulled.origin)
            else:
                shard_with_a_bar(self.path, out, FORMATS)
                output.note(f"{self.path} has become a store, in {out}")
        return Store(out)

    def made_store(self) -> Store:
        """Its store, if that was made already; else raises ``StoreError``."""
        if not self.is_store and finished_store(self.store_path) is None:
            raise StoreError(
                f"{self.said} has not become a store yet: `{line('up', self.said)}` makes one"
            )
        return Store(self.store_path)


def find_source(text: str) -> ModelSource:
    """The model that ``text`` names.

    Raises ``StoreError`` if there is none, saying what there is instead or how it comes here, and
    ``HubError`` if several pulled models may be meant.
    """
    path = Path(text).expanduser().absolute()
    if path.exists():
        return _at(path)
    return find_recorded(text if not text.startswith(_PATH_BEGINNINGS) else str(path))


def find_recorded(said: str) -> ModelSource:
    """The model that was ``said``, as :class:`ModelSource` has it; raises as ``find_source``."""
    path = Path(said)
    if path.is_absolute() and path.exists():
        return _at(path)
    if made := find_made(said):
        return ModelSource(str(made.path), made.path, True)
    pulled = None if path.is_absolute() else find_pulled(said)
    if pulled is None:
        raise StoreError(_nowhere(said))
    if (store := pulled.store()) is not None:
        return ModelSource(str(pulled.name), store.path, True, pulled)
    if not pulled.has_checkpoint:
        raise StoreError(
            f"{pulled.name} was not pulled to its end, {output.size(pulled.lacking_bytes)} lack: "
            f"`{line('pull', str(pulled.name))}` goes on"
        )
    return ModelSource(str(pulled.name), pulled.source, False, pulled)


def _at(path: Path) -> ModelSource:
    if not path.is_dir():
        if not _is_gguf(path):
            raise StoreError(
                f"{path} is neither a store nor a checkpoint: those are folders, or a file in GGUF"
            )
        return ModelSource(str(path), path, False)
    if (path / MANIFEST_NAME).exists() or (path / JOURNAL_NAME).exists():
        return ModelSource(str(path), path, True)
    if gguf := find_gguf(path):
        return ModelSource(str(path), gguf, False)
    names = [one.name for one in path.iterdir()]
    is_store = not any(name in _OF_CHECKPOINTS or name.endswith(_WEIGHTS) for name in names)
    return ModelSource(str(path), path, is_store)  # opening it says what is wrong


def _nowhere(text: str) -> str:
    if Path(text).is_absolute():
        return (
            f"there is no store at {text}, nor a checkpoint: make a store with "
            f"`{line('shard', 'CHECKPOINT', '--out', text)}`"
        )
    with suppress(HubError):
        name = ModelName.parse(text)
        return (
            f"there is no {shown_line(text)} here, and no model of that name was pulled: pull it "
            f"first, `{line('pull', str(name))}`, or see what there is, `{line('models')}`"
        )
    return (
        f"there is neither a store nor a checkpoint {shown_line(text)!r} here, and no model of "
        f"that name was pulled: `{line('models')}` shows those that were"
    )


def _is_gguf(path: Path) -> bool:
    """By its beginning: a blob of Ollama's has no suffix."""
    with path.open("rb") as file:
        return file.read(len(_GGUF_MAGIC)) == _GGUF_MAGIC or path.suffix.lower() == SUFFIX
