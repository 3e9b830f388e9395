"""The form in which a pipeline's record is written, and its checks when it is read back."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pi_cluster.cluster.errors import StateError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.cluster.wire.peer import MOST_ADDRESSES, Peer, told_peer
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.planning.prediction import Prediction
from pi_cluster.coordinator.planning.standby import Copies, layer_files
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord, RecordedStage
from pi_cluster.coordinator.records.recorded_draft import RecordedDraft
from pi_cluster.coordinator.records.up_call import UpCall
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.transformer.limits import Limits


def record_to_json(record: PipelineRecord) -> dict[str, Any]:
    """All of it but its manifest, which is named by its digest."""
    return {
        "epoch": record.epoch,
        "store_digest": record.manifest.digest,
        "limits": asdict(record.limits),
        "objective": record.objective.value,
        "prediction": asdict(record.prediction),
        "stages": [_stage_json(stage) for stage in record.stages],
        "unused": list(record.unused),
        "insecure": record.insecure,
        "call": record.call.to_json() if record.call else None,
        "store": record.store,
        "copies": [asdict(one) for one in record.copies],
        "absent": [_peer_json(peer) for peer in record.absent],
        "draft": record.draft.to_json() if record.draft else None,
    }


def record_from_json(folder: Path, manifest: Manifest, values: dict[str, Any]) -> PipelineRecord:
    """The record that lies in ``folder`` with the manifest of its store.

    Raises ``StateError`` when it belongs to another manifest; what else is wrong with it raises as
    Python does.
    """
    if manifest.digest != values["store_digest"]:
        raise StateError("it belongs to another manifest")
    return PipelineRecord(
        folder=folder,
        epoch=int(values["epoch"]),
        manifest=manifest,
        limits=Limits(**values["limits"]),
        objective=Objective(values["objective"]),
        prediction=_prediction(values["prediction"]),
        stages=tuple(_stage(stage) for stage in values["stages"]),
        unused=tuple(map(str, values["unused"])),
        insecure=values.get("insecure") is True,
        call=UpCall.from_json(values["call"]) if values.get("call") else None,
        store=str(values.get("store") or ""),
        absent=tuple(map(_peer, values.get("absent", ()))),
        copies=tuple(_copies(one, manifest) for one in values.get("copies", ())),
        draft=RecordedDraft.from_json(values["draft"]) if values.get("draft") else None,
    )


def _prediction(values: dict[str, Any]) -> Prediction:
    lists = {name: tuple(values[name]) for name in ("stage_s", "links_s")}
    return Prediction(**(values | lists))


def _peer_json(peer: Peer) -> dict[str, Any]:
    return {"node_id": peer.node_id, "name": peer.name, "addresses": list(peer.addresses)}


def _peer(values: dict[str, Any]) -> Peer:
    address, *others = map(str, values["addresses"][:MOST_ADDRESSES])
    return told_peer(address, others, str(values["node_id"]), str(values["name"]))


def _copies(values: dict[str, Any], manifest: Manifest) -> Copies:
    layers = tuple(map(int, values["layers"]))
    if not layer_files(manifest).keys() >= set(layers):
        raise ValueError(f"copies of layers {layers}, of which the model has not all")
    return Copies(str(values["node_id"]), str(values["name"]), layers)


def _stage_json(stage: RecordedStage) -> dict[str, Any]:
    where = stage.where
    return {
        "node_id": where.node_id,
        "name": where.name,
        "address": where.address,
        "other_addresses": list(where.others),
        "layers": [where.layers.start, where.layers.stop],
        "weight_bytes": stage.weight_bytes,
        "memory_bytes": stage.memory_bytes,
    }


def _stage(values: dict[str, Any]) -> RecordedStage:
    where = StageAddress(
        str(values["node_id"]),
        str(values["name"]),
        str(values["address"]),
        LayerRange(*values["layers"]),
        tuple(map(str, values.get("other_addresses", ())))[: MOST_ADDRESSES - 1],
    )
    return RecordedStage(where, int(values["weight_bytes"]), int(values["memory_bytes"]))
