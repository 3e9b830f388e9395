"""``pi-cluster serve``: the pipeline for everybody who speaks HTTP."""

import click

from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.records.pipeline_record import load_record
from pi_cluster.deploy.calling import dialer_to_ask
from pi_cluster.deploy.commands.options import cluster_option
from pi_cluster.deploy.leading_out import leading_out
from pi_cluster.deploy.screen.output import note, notice
from pi_cluster.server.app import make_app
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.serving import ServerSettings, listen
from pi_cluster.server.serving import serve as run_server

_DEFAULTS = ServerSettings()


@click.command()
@click.option("--host", default=_DEFAULTS.host, show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=_DEFAULTS.port,
    show_default=True,
    help="0 takes a free one.",
)
@cluster_option
@leading_out
def serve(host: str, port: int, cluster: str) -> None:
    """Serve the model over HTTP: OpenAI's and Ollama's API, and a page to chat."""
    record = load_record(cluster)
    with (
        listen(ServerSettings(host, port)) as listener,
        PipelineClient(record, dialer_to_ask(cluster, record), on_notice=notice) as client,
    ):
        address, chosen = listener.getsockname()[:2]
        note(f"serving on http://{address}:{chosen}")
        run_server(make_app(Desk(client)), [listener])
