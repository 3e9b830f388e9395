"""A store's whole model as one stage on this machine, by the kernels that workers use."""

from collections.abc import Iterator
from contextlib import contextmanager

from pi_cluster.cluster import settings
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.store import Store
from pi_cluster.kernels import Engine
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.stage import Stage
from pi_cluster.worker.stage.loading import load_stage


@contextmanager
def local_stage(store: Store, limits: Limits, threads: int | None = None) -> Iterator[Stage]:
    """All layers of a store's model; see ``load_stage`` for errors. By default all cores compute.

    Its weights are mapped, so it may be larger than this machine's memory: each step then reads
    what is not there again. Nobody may be computing with it when the block ends.
    """
    layers = LayerRange(0, store.manifest.n_layers)
    with Engine(settings.kernel_variant(), threads) as engine:
        yield load_stage(store.manifest, layers, limits, store, engine).stage
