"""Commands that messages advise, as they can be pasted."""

import shlex

from cluster import settings


def command(cluster: str, *words: str) -> str:
    """``pi-cluster`` with these words, for this cluster: the default one need not be named."""
    named = () if cluster == settings.DEFAULT_CLUSTER else ("--cluster", cluster)
    return shlex.join(["pi-cluster", *words, *named])
