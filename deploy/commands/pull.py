"""``pi-cluster pull``: from a name on a hub to a store on this machine."""

import click

from pi_cluster.deploy.commands.options import outer_weights_option, weights_option
from pi_cluster.deploy.models.model_name import ModelName
from pi_cluster.deploy.models.pulling import Pull
from pi_cluster.transformer.formats import WeightFormats


@click.command()
@click.argument("name")
@weights_option
@outer_weights_option
@click.option("--keep", is_flag=True, help="Keep the files as they were fetched, too.")
def pull(name: str, weights: str, outer_weights: str | None, keep: bool) -> None:
    """Fetch a model by its name, and cut it into a store.

    NAME is ORG/REPO as on huggingface.co, ORG/REPO@REVISION, ORG/REPO:Q4_K_M for one quantisation
    of a repository of GGUF files, or an address from a browser. Only what the model needs is
    fetched, and removed once its store is whole. Interrupted, the same command goes on where it
    stopped; run again later, it fetches what is newer. `up NAME` then brings it up.
    """
    Pull(ModelName.parse(name), WeightFormats.choose(weights, outer_weights), keep).carry_out()
