"""Options that several subcommands share."""

import sys
from pathlib import Path

import click
from click.core import ParameterSource

from pi_cluster.cluster import settings
from pi_cluster.cluster.store.manifest import OUTER_WEIGHTS, USUAL_WEIGHTS, WEIGHTS
from pi_cluster.coordinator.patience import DEFAULT_WAIT_S
from pi_cluster.coordinator.planning.standby import MOST_REPLICAS

model_argument = click.argument("model", required=False)
"""A store, a checkpoint or a pulled model, as ``deploy/models/model_source.py`` finds it."""

cluster_option = click.option(
    "--cluster", default=settings.DEFAULT_CLUSTER, show_default=True, help="Name of the cluster."
)

wait_option = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 86_400),
    default=DEFAULT_WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait while the pipeline answers another.",
)

heal_timeout_option = click.option(
    "--heal-timeout",
    "heal_timeout_s",
    type=click.FloatRange(0, 86_400),
    default=settings.HEAL_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to mend a pipeline that has lost a node; 0 does not.",
)

give_up_after_option = click.option(
    "--give-up-after",
    "give_up_after_s",
    type=click.FloatRange(settings.LEAST_GIVE_UP_AFTER_S, settings.MOST_GIVE_UP_AFTER_S),
    default=settings.GIVE_UP_AFTER_S,
    show_default=True,
    metavar="SECONDS",
    help="How long a node may be silent before it counts as lost.",
)

direct_option = click.option(
    "--direct", is_flag=True, help="Ask the nodes, also where a server runs that could be asked."
)

journal_option = click.option(
    "--no-journal",
    "keeps_journal",
    flag_value=False,
    default=True,
    help="Keep nothing of an unfinished answer on this machine's disk.",
)

NEWEST = "newest"
resume_option = click.option(
    "--resume",
    is_flag=False,
    flag_value=NEWEST,
    metavar="[ID]",
    help="Go on with an unfinished answer of the nodes, by default the newest.",
)

nodes_option = click.option(
    "--nodes", metavar="HOST:PORT,...", help="Use these workers instead of mDNS."
)

hosts_option = click.option(
    "--hosts",
    metavar="HOST,...|FILE",
    help="Set hosts up by SSH, as far as they are not, and use their workers: USER@HOST,... or a "
    "FILE.toml of them.",
)

wheels_option = click.option(
    "--wheels",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with the wheels for the hosts, instead of building and downloading them.",
)

sudo_password_option = click.option(
    "--ask-sudo-password", is_flag=True, help="Ask once for the password that sudo wants there."
)

insecure_option = click.option(
    "--insecure", is_flag=True, help="Call nodes on other machines without certificates."
)

context_option = click.option(
    "--context",
    type=click.IntRange(1),
    help="Longest text in tokens, for models without a sliding window.",
)

texts_option = click.option(
    "--texts",
    type=click.IntRange(1, settings.MAX_SEQUENCES),
    default=settings.DEFAULT_TEXTS,
    show_default=True,
    help="Full-length texts that the caches have room for.",
)

replicas_option = click.option(
    "--replicas",
    type=click.IntRange(1, MOST_REPLICAS),
    default=1,
    show_default=True,
    help="Disks that each layer lies on, so that a lost node's are there already.",
)

weights_option = click.option(
    "--weights",
    type=click.Choice(WEIGHTS),
    metavar="FORMAT",
    default=USUAL_WEIGHTS,
    show_default=True,
    help=f"Of the layers: {', '.join(WEIGHTS)}. q4m is q4n, with q8 where it tells most.",
)

outer_weights_option = click.option(
    "--outer-weights",
    type=click.Choice(OUTER_WEIGHTS),
    metavar="FORMAT",
    help="Of embedding and head: any but q4m.  [default: f16 and f32 as the layers, else q8]",
)


def refuse_beside_resume(context: click.Context, allowed: set[str]) -> None:
    """What was asked stands in the journal: raise ``UsageError`` for what would change it."""
    for parameter in context.command.params:
        name = parameter.name or ""
        was_given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if was_given and name not in allowed | {"resume"}:
            said = parameter.opts[0] if isinstance(parameter, click.Option) else "TEXT"
            raise click.UsageError(f"--resume goes on with what was asked: leave {said} out")


def left_out(context: click.Context) -> list[str]:
    """Names of the parameters that were not given."""
    unset = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    return [name for name in context.params if context.get_parameter_source(name) in unset]


def ask_password() -> str:
    """The password for ``--ask-sudo-password``: typed without being shown, or a line of a pipe."""
    if sys.stdin.isatty():
        return str(click.prompt("sudo password of the hosts", hide_input=True, err=True))
    return sys.stdin.readline().removesuffix("\n")
