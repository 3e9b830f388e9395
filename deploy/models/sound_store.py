"""A store of which every byte is compared with what its manifest vouches for."""

from pi_cluster.cluster.advice import line
from pi_cluster.cluster.errors import StoreError
from pi_cluster.cluster.store.store import Store
from pi_cluster.deploy.models.model_source import ModelSource
from pi_cluster.deploy.screen import output


def sound_store(source: ModelSource) -> Store:
    """Read all of a source's store, with a bar. Raises ``StoreError`` naming what is damaged."""
    opened = source.made_store()
    with output.bars() as progress:
        damage = opened.verify(output.FileBar(progress))
    if not damage:
        return opened
    lines = [f"{opened.path} is damaged:"]
    if source.pulled:
        lines += [f"  {one.file_name} {one.problem}" for one in damage]
        lines.append(f"`{line('pull', source.said)}` mends it")
    else:
        lines += [f"  {one}" for one in damage]
    raise StoreError("\n".join(lines))
