"""``pi-cluster models``: the models that were pulled, what they take, and how they go."""

import json

import click

from pi_cluster.cluster.advice import command, line
from pi_cluster.cluster.errors import StateError, VersionError
from pi_cluster.deploy.models.listing import ModelLook, clusters_with, look_at
from pi_cluster.deploy.models.pulled import (
    changing,
    find_pulled,
    models_folder,
    pulled_models,
    remove,
)
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.tables import FittedTable, names, numbers, whole, words


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_models(as_json: bool) -> None:
    """Show the models that were pulled: size, format and state."""
    pulled, problems = pulled_models()
    looks = []
    for model in pulled:
        try:
            looks.append(look_at(model))
        except VersionError as error:
            problems.append(str(error))
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
    """Remove a pulled model from this machine's disk."""
    model = find_pulled(name)
    if model is None:
        raise StateError(f"no model {name!r} was pulled: `{line('models')}` shows those that were")
    with changing(model.name):
        for cluster in clusters_with(model):
            raise StateError(
                f"{model.name} is up in cluster {cluster!r}: bring it down first, "
                f"`{command(cluster, 'down')}`"
            )
        freed = remove(model)
    output.notes.print(f"{model.name} is removed: {output.size(freed)} freed", markup=False)


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
            str(look.model.name),
            look.formats,
            output.size(look.size_bytes),
            str(look.layers or ""),
            str(look.context or ""),
            look.state,
        ]
        for look in looks
    ]
    total = output.size(sum(look.size_bytes for look in looks))
    return FittedTable(columns, rows, caption=[f"{total} in {models_folder()}"])
