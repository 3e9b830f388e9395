"""The way out of an error that ended a question to the pipeline, added where it is shown.

What happened is known where it happened, maybe on a node; how the pipeline comes back only here,
where its record is.
"""

import functools
from collections.abc import Sequence

from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import (
    ClusterError,
    NodeLost,
    NodeStuck,
    SessionExpired,
    ShardDamaged,
    StaleEpoch,
    StoreError,
)
from pi_cluster.cluster.store.store import find_problem
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.wire.dialing import Dialer, PlainDialer
from pi_cluster.coordinator.pipeline.watching import PipelineWatch, StageLook
from pi_cluster.coordinator.records.access import still_insecure
from pi_cluster.coordinator.records.advice import may_only_ask, up_again
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.deploy.calling import dialer_for
from pi_cluster.deploy.known_local_workers import why_ended
from pi_cluster.deploy.screen.status_view import troubles
from pi_cluster.transformer.errors import ModelError

_LOOK_TIMEOUT_S = 2.0  # a person waits to be told


def add_way_out(error: ClusterError | ModelError, cluster: str) -> None:
    """Note the next step, if the error is one that another `up` helps against."""
    if step := _next_step(error, cluster):
        error.add_note(step)


def after_a_try(cluster: str, record: PipelineRecord, dialer: Dialer) -> str:
    """Why no token went round a pipeline that is loaded, as far as its stages know."""
    again = f"`{command(cluster, 'doctor')}` tells more; then run the same command again"
    return "\n".join(troubles(_look(cluster, record, dialer), again)) or again


def bring_back(cluster: str, record: PipelineRecord) -> str:
    """What to run so that the recorded pipeline is up again."""
    up = up_again(cluster, record.call, record.insecure)
    if may_only_ask(cluster):
        return f"its operator runs `{up}`, and gives you a new grant where nodes have moved"
    return f"run `{up}`"


def way_out(cluster: str, record: PipelineRecord, looks: Sequence[StageLook]) -> str:
    """What to do about the stages that are not well."""
    way = bring_back(cluster, record)
    states = {look.state for look in looks if not look.is_well}
    if states <= {"not running", "nothing loaded", "replaced by another up"}:
        return f"to bring the pipeline back, {way}"
    return f"`{command(cluster, 'doctor')}` tells more; to plan anew with who answers, {way}"


def _next_step(error: ClusterError | ModelError, cluster: str) -> str:
    try:
        if isinstance(error, SessionExpired | NodeStuck):
            return ""  # it says so itself: we were away, or somebody has to restart a worker
        if isinstance(error, NodeLost):
            return "\n".join(_found_wrong(cluster, load_record(cluster)))
        if isinstance(error, StaleEpoch | ShardDamaged):
            return f"to bring the pipeline up again, {bring_back(cluster, load_record(cluster))}"
        if isinstance(error, StoreError | ModelError) and (record := _if_torn(cluster)):
            return f"to have what `up` had put there again, {bring_back(cluster, record)}"
    except ClusterError as another:
        return str(another)
    return ""


def _if_torn(cluster: str) -> PipelineRecord | None:
    """The record, if the tokenizer that lies beside it is not what the store has."""
    record = load_record(cluster)
    files = record.manifest.tokenizer_files
    return record if any(find_problem(record.folder, file) for file in files) else None


def _found_wrong(cluster: str, record: PipelineRecord) -> list[str]:
    """What a look at all stages tells, a moment after one was lost."""
    if still_insecure(cluster, record.insecure):
        dialer: Dialer = PlainDialer(beyond_loopback=True, cluster=cluster)  # it was warned of
    else:
        dialer = dialer_for(cluster, role=Role.COORDINATOR)
    looks = _look(cluster, record, dialer)
    if all(look.is_well for look in looks):
        return ["all nodes answer now: ask again"]
    return troubles(looks, way_out(cluster, record, looks))


def _look(cluster: str, record: PipelineRecord, dialer: Dialer) -> list[StageLook]:
    with PipelineWatch(dialer, functools.partial(why_ended, cluster), _LOOK_TIMEOUT_S) as watching:
        return watching.look(record)
