"""Certificates for nodes over SSH: the key is made on the host and never leaves it."""

import base64
import json

from cluster.authority import ClusterAuthority
from cluster.certificates import Identity, Role
from cluster.errors import HostError
from deploy.remote_host import RemoteHost

_COMMAND = ["-m", "deploy", "node-certificate"]


def certify(remote: RemoteHost, cluster: str, data_dir: str, authority: ClusterAuthority) -> str:
    """Have the node make a key, sign its request, and install the certificate; returns its id.

    What is asked and answered goes over SSH, so it is from whom it seems to be.
    """

    def run(*words: str, stdin: str = "") -> str:
        said = remote.ask("as_service", cluster=cluster, words=[*_COMMAND, *words], stdin=stdin)
        return str(said)

    answer = run("request", "--data-dir", data_dir)
    try:
        values = json.loads(answer)
        node_id, request = str(values["node_id"]), base64.b64decode(values["signing_request"])
    except (ValueError, TypeError, KeyError):
        raise HostError(
            f"{remote.host.label}: what it answers is no signing request: see whether "
            "/opt/pi-cluster there was changed, and run the same command again"
        ) from None
    given = authority.issue(request, Identity(cluster, Role.NODE, node_id), remote.host.host)
    run("install", "--data-dir", data_dir, "--cluster", cluster, stdin=given.to_json())
    return node_id
