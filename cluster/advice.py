"""Commands that messages advise, as they can be pasted."""

import shlex

from pi_cluster.cluster import settings


def line(*words: str) -> str:
    """``pi-cluster`` with these words, where no cluster is concerned."""
    return shlex.join(["pi-cluster", *words])


def command(cluster: str, *words: str) -> str:
    """``pi-cluster`` with these words, for this cluster: the default one need not be named."""
    named = () if cluster == settings.DEFAULT_CLUSTER else ("--cluster", cluster)
    return line(*words, *named)
