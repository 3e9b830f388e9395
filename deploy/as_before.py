"""The pipeline that is up, as what `up` and `plan` go by where they are told no more."""

from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import StateError, StoreError
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.records.kept_record import has_record, load_record
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.records.up_call import UpCall
from pi_cluster.deploy.embedded import embedded_store
from pi_cluster.deploy.models.model_source import find_recorded
from pi_cluster.deploy.screen import output


def what_is_up(cluster: str) -> PipelineRecord | None:
    """What `up` remembers; None, with a warning, where that cannot be read."""
    if not has_record(cluster):
        return None
    try:
        return load_record(cluster)
    except StateError as error:
        output.warn([str(error)])
        return None


def open_store(call: UpCall, before: UpCall | None, cluster: str) -> Store:
    """The store of a call, which may be that of the model that is up; made, if need be.

    Raises ``StoreError`` where it is not there, ``VersionError`` where it is too new, and what
    sharding raises.
    """
    if not call.model:
        return Store(embedded_store())
    try:
        return find_recorded(call.model).store()
    except StoreError as error:
        if before is None or call.model != before.model:
            raise
        raise StoreError(
            f"the model that is up came from {call.model}. {error}\n"
            f"If it lies elsewhere now, name it: {command(cluster, 'up', 'MODEL')}. To begin anew "
            f"with the embedded one: {command(cluster, 'down')}, then {command(cluster, 'up')}"
        ) from None
