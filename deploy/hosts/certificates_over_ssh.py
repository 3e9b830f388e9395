"""Certificates for nodes over SSH: the key is made on the host and never leaves it."""

import base64
import json

from pi_cluster.cluster.errors import AccessError, HostError
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.key_proof import KeyProof
from pi_cluster.deploy.hosts.remote_host import RemoteHost

_COMMAND = ["-m", "pi_cluster.deploy", "node-certificate"]


def certify(remote: RemoteHost, cluster: str, data_dir: str, authority: ClusterAuthority) -> str:
    """Have the node make a key, sign its request, and install the certificate; returns its id.

    What is asked and answered goes over SSH, so it comes from that host. Under which id the host
    may have a certificate, its key decides: an id of another node is refused.
    """

    def run(*words: str, stdin: str = "") -> str:
        said = remote.ask("as_service", cluster=cluster, words=[*_COMMAND, *words], stdin=stdin)
        return str(said)

    answer = run("request", "--data-dir", data_dir)
    try:
        values = json.loads(answer)
        node_id, request = str(values["node_id"]), base64.b64decode(values["signing_request"])
        proof = KeyProof.from_json(str(values["proof"])) if "proof" in values else None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise HostError(
            f"{remote.host.label}: what it answers is no signing request: see whether "
            "/opt/pi-cluster there was changed, and run the same command again"
        ) from None
    try:
        identity = Identity(cluster, Role.NODE, node_id)
        given = authority.issue(request, identity, remote.host.host, proof)
    except AccessError as error:
        raise HostError(
            f"{remote.host.label}: {error}; there that is "
            f"`sudo rm -r {data_dir}/node.json {data_dir}/credentials`"
        ) from None
    run("install", "--data-dir", data_dir, "--cluster", cluster, stdin=given.to_json())
    return node_id
