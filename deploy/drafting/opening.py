"""A remembered draft model, opened to guess for the pipeline that it was chosen for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pi_cluster.cluster.errors import StoreError
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.drafting.draft_model import DraftModel
from pi_cluster.coordinator.drafting.drafter import DraftSource
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.records.recorded_draft import RecordedDraft
from pi_cluster.deploy.drafting.stage_engine import open_engine
from pi_cluster.kernels import KernelsError


@contextmanager
def open_draft(record: PipelineRecord, draft: RecordedDraft) -> Iterator[DraftSource]:
    """Guesses for the pipeline of a record, until the block ends.

    Raises ``StoreError`` where its store is not there, another one, or torn.
    """
    store = Store(Path(draft.store))
    if store.manifest.digest != draft.digest:
        raise StoreError(f"{store.path} holds another model by now: name it to `up` once more")
    try:
        opened = open_engine(store, record.model.vocab_size, record.limits.context, draft.threads)
        with opened as engine:
            yield DraftModel(engine)
    except KernelsError as error:
        raise StoreError(f"{store.path} cannot be computed with here: {error}") from error
