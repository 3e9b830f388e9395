"""A healer may have a node serve what an operator has named to it, and nothing else."""

from dataclasses import replace

import pytest

from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.worker.trust.named_shards import NamedShards
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.stores import shard

HEALER = Identity("home", Role.HEALER, "laptop")


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    """Of two stores that have no shard in common."""
    folder = tmp_path_factory.mktemp("stores")
    write_hugging_face_checkpoint(folder / "c", small_config(n_layers=2))
    return [shard(folder / "c", folder / weights, weights) for weights in ("q4", "f32")]


def digests(manifest):
    return [file.sha256 for file in manifest.files]


def refused(named, manifest):
    with pytest.raises(AccessError, match="takes an operator"):
        named.check(HEALER, digests(manifest)[:1])
    with pytest.raises(AccessError, match="takes an operator"):
        named.check_store(HEALER, manifest, ())


def test_nothing_is_named_at_first(manifests):
    refused(NamedShards(), manifests[0])


def test_what_an_operator_asked_after_may_be_found_fetched_and_loaded(manifests, tmp_path):
    first, second = manifests
    named = NamedShards(tmp_path)
    named.name(digests(first))
    named.name(digests(first)[1:2])  # a receiver's own part: the rest stays named
    for known in (named, NamedShards(tmp_path)):
        known.check(HEALER, digests(first))
        known.check_store(HEALER, first, digests(first)[:1])
        refused(known, second)
        with pytest.raises(AccessError):
            known.check_store(HEALER, first, digests(second)[:1])


def test_another_store_takes_the_place_of_the_one_before(manifests, tmp_path):
    first, second = manifests
    named = NamedShards(tmp_path)
    named.name_store(first)
    named.name(digests(second))
    named.check_store(HEALER, second, ())
    refused(named, first)
    refused(NamedShards(tmp_path), first)


def test_the_same_weights_under_another_manifest_are_another_store(manifests, tmp_path):
    first, _ = manifests
    other = replace(first, bos_id=(first.bos_id or 0) + 1)
    assert digests(other) == digests(first) and other.digest != first.digest
    named = NamedShards(tmp_path)
    named.name_store(first)
    named.name(digests(first))
    for known in (named, NamedShards(tmp_path)):
        known.check_store(HEALER, first, ())
        with pytest.raises(AccessError, match="takes an operator"):
            known.check_store(HEALER, other, ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"version": 1}',
        '{"version": 9, "sha256": [], "store": ""}',
        '{"version": 1, "sha256": ["short"], "store": ""}',
        '{"version": 1, "sha256": [7], "store": ""}',
        '{"version": 1, "sha256": 7, "store": ""}',
    ],
)
def test_a_torn_file_names_nothing_and_is_written_anew(manifests, tmp_path, text):
    (tmp_path / "named-shards.json").write_text(text)
    named = NamedShards(tmp_path)
    refused(named, manifests[0])
    named.name_store(manifests[0])
    NamedShards(tmp_path).check_store(HEALER, manifests[0], ())


def test_a_full_disk_costs_the_memory_alone(manifests, tmp_path, caplog):
    named = NamedShards(tmp_path / "gone")
    named.name_store(manifests[0])
    named.check_store(HEALER, manifests[0], ())
    assert "no healer may bring layers here" in caplog.text
