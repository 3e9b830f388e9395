"""The draft model that a pipeline's record names, computing while somebody asks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.coordinator.drafting.drafter import DraftSource
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.records.recorded_draft import RecordedDraft
from pi_cluster.transformer.errors import ModelError


class DraftsHere:
    """Opens the draft model of a pipeline, for as long as one session lasts.

    Without it answers are the same, and slower. So what is wrong with it is told, and ends nothing.
    """

    def __init__(
        self,
        on_notice: Callable[[str], None],
        given: Callable[[PipelineRecord], RecordedDraft | None] | None = None,
    ) -> None:
        """``on_notice`` is told, in a sentence, why there are no drafts where there should be.

        It is the draft model that the record names, or that is ``given`` instead.
        """
        self._on_notice = on_notice
        self._of_record = given or (lambda record: record.draft)

    @contextmanager
    def __call__(self, record: PipelineRecord) -> Iterator[Sequence[DraftSource]]:
        """Those that guess for the pipeline of a record, beside the usual ones."""
        with ExitStack() as opened:
            sources = list[DraftSource]()
            try:
                if draft := self._of_record(record):
                    from pi_cluster.deploy.drafting.opening import open_draft

                    sources.append(opened.enter_context(open_draft(record, draft)))
            except (ClusterError, ModelError) as error:
                self._on_notice(f"answering without a draft model: {error}")
            yield sources
