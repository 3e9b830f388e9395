"""The client of a server: it asks for many, and stays when the pipeline does not."""

from collections.abc import Callable

from pi_cluster.cluster import settings
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.asking.hold import DraftModels, no_draft_models
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.scheduling.scheduler import SchedulerSettings

WAIT_S = 120.0  # people look at a heartbeat meanwhile; programs give up after 300 s and more
REST_AFTER_S = 60.0  # a chat's next turn finds its caches, whatever others would like to ask


def serving_client(
    record: PipelineRecord,
    dialer: Dialer,
    on_notice: Callable[[str], None],
    max_waiting: int,
    heal_timeout_s: float = settings.HEAL_TIMEOUT_S,
    give_up_after_s: float = settings.GIVE_UP_AFTER_S,
    draft_models: DraftModels = no_draft_models,
) -> PipelineClient:
    """A client that waits for nodes and for other programs, and rests only when nobody asks.

    A node that is silent for longer than ``give_up_after_s`` is given up, and a lost pipeline
    mended for up to ``heal_timeout_s``. More than ``max_waiting`` requests that wait for room raise
    ``QueueFull``. ``draft_models`` open what guesses beside the usual drafters.
    """
    return PipelineClient(
        *(record, dialer, WAIT_S, on_notice, ", and ask again then"),
        scheduling=SchedulerSettings(max_waiting=max_waiting, rest_after_s=REST_AFTER_S),
        is_lasting=True,
        heal_timeout_s=heal_timeout_s,
        give_up_after_s=give_up_after_s,
        draft_models=draft_models,
    )
