"""Models that may guess for each other, and those that are refused with a reason."""

import shutil

import pytest

from pi_cluster.cluster.errors import DraftUnfit
from pi_cluster.cluster.store.store import Store
from pi_cluster.deploy.drafting.pairs import KNOWN_PAIRS, check_pair
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.small_tokenizers import PARITY, STORYTELLER
from tests.support.stores import shard


def made(folder, vocab_size, tokenizer=None):
    write_hugging_face_checkpoint(folder / "checkpoint", small_config(vocab_size=vocab_size))
    if tokenizer:
        name = "tokenizer.json" if tokenizer.suffix == ".json" else "tokenizer.model"
        shutil.copyfile(tokenizer, folder / "checkpoint" / name)
    shard(folder / "checkpoint", folder / "store", "f32")
    return Store(folder / "store")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    qwen = PARITY / "tokenizers" / "qwen-3.json"
    return {
        "stories": made(tmp_path_factory.mktemp("stories"), 2048, STORYTELLER),
        "padded": made(tmp_path_factory.mktemp("padded"), 2112, STORYTELLER),
        "qwen": made(tmp_path_factory.mktemp("qwen"), 4096, qwen),
        "mute": made(tmp_path_factory.mktemp("mute"), 2048),
    }


def check(stores, name, draft):
    one, other = stores[name], stores[draft]
    check_pair(name, one.path, one.manifest, draft, other.path, other.manifest)


@pytest.mark.parametrize(
    "pair", [("stories", "stories"), ("stories", "padded"), ("padded", "stories")]
)
def test_models_of_the_same_tokens_fit_whatever_their_heads_are_padded_to(stores, pair):
    check(stores, *pair)


@pytest.mark.parametrize("pair", [("stories", "qwen"), ("qwen", "stories")])
def test_models_of_other_tokens_are_refused_with_the_pairs_that_fit(stores, pair):
    with pytest.raises(DraftUnfit) as refused:
        check(stores, *pair)
    said = str(refused.value)
    assert said.startswith(f"{pair[1]} cannot guess for {pair[0]}: token ")
    assert all(small in said and large in said for small, large in KNOWN_PAIRS.items())


@pytest.mark.parametrize("pair", [("stories", "mute"), ("mute", "stories")])
def test_a_model_whose_tokens_nobody_knows_is_refused_by_its_name(stores, pair):
    with pytest.raises(DraftUnfit, match="mute has no tokenizer that can be read"):
        check(stores, *pair)


def test_a_tokenizer_that_is_torn_is_named(stores, tmp_path):
    shutil.copytree(stores["stories"].path, tmp_path / "store")
    (tmp_path / "store" / "tokenizer.model").write_bytes(b"torn")
    torn = Store(tmp_path / "store")
    with pytest.raises(
        DraftUnfit, match=r"the tokenizer of torn cannot be read: .*tokenizer\.model"
    ):
        check(stores | {"torn": torn}, "stories", "torn")
