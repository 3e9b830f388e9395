"""A pipeline that another machine brought up: what its nodes tell is enough to ask it."""

from dataclasses import fields, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cluster.cluster import settings
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.healing.told_pipeline import followed, is_being_replaced, told_peers
from pi_cluster.coordinator.pipeline.nodes import Node
from pi_cluster.coordinator.planning.draft_placing import PlacedDraft
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.planning.prediction import Prediction
from pi_cluster.coordinator.records.kept_record import (
    load_record,
    prepare_record,
    put_in_place,
    replace_record,
)
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord, RecordedStage
from pi_cluster.coordinator.records.recorded_draft import RecordedDraft
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.transformer.limits import Limits
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.stores import shard

LAYERS = 6
EPOCH = 4
LIMITS = Limits(max_step_rows=64, max_sequences=4, context=256, cache_positions=1024)
OTHER_LIMITS = Limits(max_step_rows=64, max_sequences=2, context=512, cache_positions=2048)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A pipeline of pi1 and pi2, three layers each, while pi3 had nothing to do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        folder = settings.cluster_state("home")
        folder.mkdir(parents=True)
        checkpoint = tmp_path_factory.mktemp("model")
        write_hugging_face_checkpoint(checkpoint / "c", small_config(n_layers=LAYERS))
        manifest = shard(checkpoint / "c", checkpoint / "s", "q4")
        stages = [
            StageAddress(f"pi{n}", f"pi{n}", f"10.0.0.{n}:7711", LayerRange(3 * n - 3, 3 * n))
            for n in (1, 2)
        ]
        made = PipelineRecord(
            folder=folder,
            epoch=EPOCH,
            manifest=manifest,
            limits=LIMITS,
            objective=Objective.THROUGHPUT,
            prediction=Prediction(10.0, 20.0, 30.0, (0.01, 0.03), (0.001, 0.002, 0.001)),
            stages=tuple(RecordedStage(stage, 1000, 2000) for stage in stages),
            unused=("pi3",),
        )
        prepare_record(made, Store(checkpoint / "s"))
        put_in_place(made)
        yield made


def pipeline(record, bounds, names, epoch=EPOCH + 1, limits=OTHER_LIMITS):
    """What nodes of these names tell, each of which serves the layers between two bounds."""
    nodes = []
    for index, (name, (start, stop)) in enumerate(zip(names, pairwise(bounds), strict=True)):
        stage = pb.StageStatus(
            epoch=epoch,
            store_digest=record.manifest.digest,
            layers=pb.LayerRange(start=start, stop=stop),
            max_step_rows=limits.max_step_rows,
            max_sequences=limits.max_sequences,
            context=limits.context,
            cache_positions=limits.cache_positions,
            next_node_id=names[index + 1] if index + 1 < len(names) else "",
            previous_node_id=names[index - 1] if index else "",
        )
        speed = pb.NodeSpeed(
            read_bytes_ps=1e9, macs_ps=1e9, machine_read_bytes_ps=1e9, machine_macs_ps=1e9
        )
        about = pb.NodeDescription(
            node_id=name, name=name, cluster="home", machine_id=name, stage=stage, speed=speed
        )
        nodes.append(Node(f"10.0.1.{index}:7711", about, ("pi.local:7711",)))
    return nodes


def test_another_plan_of_the_same_store_is_followed_with_its_limits(record):
    nodes = pipeline(record, [0, 1, 4, LAYERS], ["pi2", "pi3", "pi9"])
    newer = followed(record, reversed(nodes))
    assert newer is not None
    assert (newer.epoch, newer.limits, newer.unused) == (EPOCH + 1, OTHER_LIMITS, ("pi1",))
    assert newer.addresses == tuple(
        StageAddress(*pair, f"10.0.1.{index}:7711", LayerRange(*ends), ("pi.local:7711",))
        for index, (pair, ends) in enumerate(
            [(("pi2", "pi2"), (0, 1)), (("pi3", "pi3"), (1, 4)), (("pi9", "pi9"), (4, LAYERS))]
        )
    )
    assert (len(newer.prediction.stage_s), len(newer.prediction.links_s)) == (3, 4)
    assert all(stage.weight_bytes < stage.memory_bytes for stage in newer.stages)
    assert (newer.manifest, newer.folder, newer.call) == (
        record.manifest,
        record.folder,
        record.call,
    )


def test_a_pipeline_that_is_followed_or_mended_keeps_its_draft_model(record, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(record.folder.parents[1]))
    placed = PlacedDraft("here", 0.012, 900, 800)
    drafted = replace(record, draft=RecordedDraft("small", "/a/store", "abc", 2, placed))
    newer = followed(drafted, pipeline(record, [0, LAYERS], ["pi1"]))
    assert newer is not None
    assert newer.draft == drafted.draft
    assert record.in_place_of(drafted).draft == drafted.draft
    replace_record(drafted)
    assert load_record("home").draft == drafted.draft
    replace_record(record)
    assert load_record("home").draft is None


def test_what_was_followed_is_remembered(record, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(record.folder.parents[1]))
    newer = followed(record, pipeline(record, [0, 2, LAYERS], ["pi2", "pi1"]))
    assert newer is not None
    replace_record(newer)
    assert load_record("home") == newer


@given(st.data())
def test_it_takes_every_stage_in_whatever_order_they_answer(record, data):
    cuts = data.draw(st.sets(st.integers(1, LAYERS - 1)))
    bounds = [0, *sorted(cuts), LAYERS]
    names = [f"pi{n}" for n in data.draw(st.permutations(range(len(bounds) - 1)))]
    nodes = pipeline(record, bounds, names)
    shuffled = data.draw(st.permutations(nodes))
    newer = followed(record, shuffled)
    assert newer is not None
    assert [stage.node_id for stage in newer.addresses] == names
    missing = data.draw(st.integers(0, len(nodes) - 1))
    rest = [*nodes[:missing], *nodes[missing + 1 :]]
    assert followed(record, rest) is None
    assert is_being_replaced(record, rest) is bool(rest)


def changed(nodes, index, change):
    """These, one of which tells something else."""
    about = pb.NodeDescription()
    about.CopyFrom(nodes[index].about)
    change(about)
    return [*nodes[:index], replace(nodes[index], about=about), *nodes[index + 1 :]]


@pytest.mark.parametrize(
    ("index", "change"),
    [
        (1, lambda about: setattr(about.stage, "store_digest", "0" * 64)),
        (1, lambda about: setattr(about.stage, "epoch", EPOCH + 2)),
        (1, lambda about: setattr(about.stage, "context", 128)),
        (1, lambda about: setattr(about.stage, "previous_node_id", "pi8")),
        (1, lambda about: setattr(about.stage.layers, "start", 3)),
        (1, lambda about: setattr(about.stage.layers, "stop", LAYERS + 1)),
        (1, lambda about: setattr(about, "cluster", "another")),
        (1, lambda about: about.ClearField("stage")),
        (0, lambda about: setattr(about.stage, "next_node_id", "pi8")),
        (0, lambda about: setattr(about.stage.layers, "start", 1)),
    ],
)
def test_stages_that_do_not_fit_together_are_not_followed(record, index, change):
    nodes = pipeline(record, [0, 2, LAYERS], ["pi1", "pi2"])
    assert followed(record, nodes)
    assert followed(record, changed(nodes, index, change)) is None


@pytest.mark.parametrize("epoch", [EPOCH - 1, EPOCH, settings.MAX_EPOCH, 2**64 - 1])
def test_a_pipeline_that_is_not_later_or_leaves_none_to_come_replaces_nothing(record, epoch):
    nodes = pipeline(record, [0, 2, LAYERS], ["pi1", "pi2"], epoch)
    assert followed(record, nodes) is None and not is_being_replaced(record, nodes)


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_one_that_tells_no_limits_could_not_be_asked(record, name):
    none = replace(OTHER_LIMITS, **{name: 0})
    nodes = pipeline(record, [0, 3, LAYERS], ["pi2", "pi1"], limits=none)
    assert followed(record, nodes) is None and not is_being_replaced(record, nodes)


def test_the_latest_whole_pipeline_counts_while_a_later_one_is_loaded(record):
    whole = pipeline(record, [0, 2, LAYERS], ["pi1", "pi2"])
    before = pipeline(record, [0, 5, LAYERS], ["pi5", "pi6"], EPOCH)
    begun = pipeline(record, [0, 3, LAYERS], ["pi3", "pi4"], EPOCH + 2)
    newer = followed(record, [*whole, begun[0], *before])
    assert newer is not None and newer.epoch == EPOCH + 1
    newer = followed(record, [*whole, *begun])
    assert newer is not None and newer.epoch == EPOCH + 2


def test_of_two_nodes_with_the_same_layers_the_one_counts_that_steps_are_sent_to(record):
    nodes = pipeline(record, [0, 2, LAYERS], ["pi1", "pi2"])
    left_over = pipeline(record, [0, 2, LAYERS], ["pi1", "pi3"])[1]
    newer = followed(record, [left_over, *nodes])
    assert newer is not None
    assert [stage.node_id for stage in newer.addresses] == ["pi1", "pi2"]


def test_two_whole_pipelines_of_one_epoch_are_no_answer(record):
    nodes = pipeline(record, [0, 2, LAYERS], ["pi1", "pi2"])
    others = pipeline(record, [0, 3, LAYERS], ["pi3", "pi4"])
    assert followed(record, nodes) and followed(record, [*nodes, *others]) is None


def test_a_node_that_tells_no_speed_is_taken_for_a_slow_one(record):
    nodes = pipeline(record, [0, 3, LAYERS], ["pi1", "pi2"])
    without = changed(nodes, 1, lambda about: about.ClearField("speed"))
    newer = followed(record, without)
    assert newer is not None
    assert newer.prediction.stage_s[1] == pytest.approx(0.03, rel=0.2)


def test_what_a_node_tells_of_others_is_called_only_where_it_is_an_address(record):
    nodes = pipeline(record, [0, LAYERS], ["pi1"])
    nodes[0].about.stage.neighbours.extend(
        [
            pb.Neighbour(name="pi2", node_id="pi2", address="10.0.0.2:7711"),
            pb.Neighbour(name="pi3", node_id="pi3", address="no address"),
            pb.Neighbour(name="pi4", address="10.0.0.4:7711"),
            pb.Neighbour(name="pi5", node_id="pi5", address="a" * 300 + ":1"),
            pb.Neighbour(name="again", node_id="pi2", address="10.0.0.9:7711"),
        ]
    )
    assert [(one.node_id, one.address) for one in told_peers(nodes, ())] == [
        ("pi2", "10.0.0.2:7711")
    ]
