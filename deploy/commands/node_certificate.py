"""``pi-cluster node-certificate``: a node's half of being certified by hand or over SSH."""

import base64
import json
import sys
from pathlib import Path

import click

from pi_cluster.cluster.trust.certificates import MAX_PEM_BYTES
from pi_cluster.cluster.trust.issued import Certification
from pi_cluster.deploy.commands.options import cluster_option
from pi_cluster.worker.trust.node_credentials import install_certification, request_with_proof

_data_dir = click.option(
    "--data-dir", type=click.Path(path_type=Path), required=True, help="Of the worker."
)


@click.command()
@_data_dir
def request(data_dir: Path) -> None:
    """Print a node's id and its signing request, as JSON.

    The request is PKCS #10, in DER and base64; a key is made for it. Where it has a key already, a
    proof of that goes along: its id belongs to that key.
    """
    node_id, signing_request, proof = request_with_proof(data_dir)
    encoded = base64.b64encode(signing_request).decode()
    values = {"node_id": node_id, "signing_request": encoded}
    if proof:
        values["proof"] = proof.to_json()
    click.echo(json.dumps(values))


@click.command()
@_data_dir
@cluster_option
def install(data_dir: Path, cluster: str) -> None:
    """Install the JSON object that standard input gives.

    It has PEM texts: certificate, authorities, revocations.
    """
    given = Certification.from_json(sys.stdin.buffer.read(4 * MAX_PEM_BYTES))
    install_certification(data_dir, cluster, given)
