"""The embedded model's store: made once, shared, mended."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from pi_cluster.cluster.store.store import Store
from pi_cluster.deploy import embedded
from pi_cluster.deploy.embedded import embedded_store


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "pi-cluster"


def test_two_clusters_that_begin_at_once_get_one_whole_store(cache):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: embedded_store(), range(2))
    assert first == second and Store(first).verify() == []
    assert [path.name for path in cache.iterdir()] == [first.name]


def test_a_whole_store_is_used_as_it_is_and_a_damaged_one_is_made_anew(cache, monkeypatch):
    store = Store(embedded_store())
    monkeypatch.setattr(embedded, "_make", lambda *_: pytest.fail("made without need"))
    assert embedded_store() == store.path
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    store.path_of("layer-07.safetensors").write_bytes(b"torn")
    assert embedded_store() == store.path and store.verify() == []
