"""``pi-cluster models``: those that were pulled or made by `up`, what they take, how they go."""

import json

import click

from pi_cluster.cluster.advice import command, line
from pi_cluster.cluster.errors import StateError
from pi_cluster.deploy.models.listing import ModelLook, clusters_with, look_at_all
from pi_cluster.deploy.models.made_store import MadeStore, find_made, stores_folder
from pi_cluster.deploy.models.pulled import (
    PulledModel,
    changing,
    find_pulled,
    models_folder,
    remove,
)
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.tables import FittedTable, names, numbers, whole, words


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_models(as_json: bool) -> None:
    """Show the models on this machine: size, format and state.

    Those that were pulled come first. Then come stores that `up` made of a checkpoint; each is
    named after the checkpoint and, behind a `+`, what its files were.
    """
    looks, problems = look_at_all()
    output.warn(problems)
    if as_json:
        click.echo(json.dumps({"models": [look.to_json() for look in looks]}))
    elif looks:
        output.answers.print(_table(looks))
    else:
        folder, pull = models_folder(), line("pull", "ORG/REPO")
        output.notes.print(
            f"no model was pulled to {folder}: `{pull}` fetches one", markup=False, soft_wrap=True
        )


@click.command()
@click.argument("name")
def rm(name: str) -> None:
    """Remove a model from this machine's disk.

    NAME is that of a pulled model, with or without ORG/, or of a store that `up` made.
    """
    if made := find_made(name):
        _refuse_what_is_up(made)
        freed = made.remove()
    else:
        model = find_pulled(name)
        if model is None:
            raise StateError(
                f"no model {name!r} was pulled: `{line('models')}` shows those that were"
            )
        name = str(model.name)
        with changing(model.name):
            _refuse_what_is_up(model)
            freed = remove(model)
    output.notes.print(f"{name} is removed: {output.size(freed)} freed", markup=False)


def _refuse_what_is_up(model: PulledModel | MadeStore) -> None:
    for cluster in clusters_with(model):
        raise StateError(
            f"{model.name} is up in cluster {cluster!r}: bring it down first, "
            f"`{command(cluster, 'down')}`"
        )


def _table(looks: list[ModelLook]) -> FittedTable:
    columns = [
        names("model"),
        whole("format"),
        numbers("size"),
        numbers("layers"),
        numbers("context"),
        words("state"),
    ]
    rows = [
        [
            look.name,
            "+".join(look.formats),
            output.size(look.size_bytes),
            str(look.layers or ""),
            str(look.context or ""),
            look.state,
        ]
        for look in looks
    ]
    caption = [
        f"{output.size(sum(sizes))} in {folder}"
        for folder, is_pulled in ((models_folder(), True), (stores_folder(), False))
        if (sizes := [look.size_bytes for look in looks if bool(look.pulled) == is_pulled])
    ]
    return FittedTable(columns, rows, caption=caption)
