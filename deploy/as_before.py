"""The pipeline that is up, as what `up` and `plan` go by where they are told no more."""

from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import StateError, StoreError
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord, has_record, load_record
from pi_cluster.coordinator.records.up_call import UpCall
from pi_cluster.deploy.embedded import embedded_store
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
    """The store of a call, which may be that of the model that is up.

    Raises ``StoreError`` where it is not there, ``VersionError`` where it is too new.
    """
    try:
        return Store(call.store or embedded_store())
    except StoreError as error:
        if not call.store or before is None or call.store != before.store:
            raise
        raise StoreError(
            f"the model that is up came from {call.store}. {error}\n"
            f"If it lies elsewhere now, name it: {command(cluster, 'up', 'STORE')}. To begin anew "
            f"with the embedded one: {command(cluster, 'down')}, then {command(cluster, 'up')}"
        ) from None
