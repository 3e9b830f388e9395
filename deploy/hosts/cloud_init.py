"""What a fresh Raspberry Pi does on its first start, to join a cluster by itself."""

import json
import shlex

from pi_cluster.cluster import settings
from pi_cluster.cluster.trust.tokens import Token
from pi_cluster.deploy.hosts.local_service import PROGRAM
from pi_cluster.deploy.hosts.remote import coordinator_host

_TOKEN_FILE = "/root/pi-cluster.token"  # noqa: S105  a path


def user_data(token: Token, cluster: str, source: str) -> str:
    """cloud-init user-data: install pi-cluster with pip, and join by a token.

    The token lies in a file for root alone until the node waits, since command lines can be seen
    by everybody. A command that fails is the last one: cloud-init tells of it, and begins anew
    with the same token when it is told to.
    """
    name = [] if cluster == settings.DEFAULT_CLUSTER else ["--cluster", cluster]
    commands = [
        shlex.join(["python3", "-m", "venv", str(PROGRAM)]),
        shlex.join([f"{PROGRAM}/bin/pip", "install", "--only-binary", ":all:", source]),
        shlex.join(["ln", "-sf", f"{PROGRAM}/bin/pi-cluster", str(coordinator_host.COMMAND)]),
        f"{shlex.join([f'{PROGRAM}/bin/pi-cluster', 'join', '-', *name])} < {_TOKEN_FILE}",
        f"rm -f {_TOKEN_FILE}",
    ]
    # JSON's strings are YAML's too, whatever stands in them.
    lines = [
        "#cloud-config",
        "packages: [python3-venv]",
        "write_files:",
        f"  - path: {_TOKEN_FILE}",
        '    permissions: "0600"',
        f"    content: {json.dumps(token.text)}",
        "runcmd:",
        f"  - {json.dumps(' && '.join(commands))}",
    ]
    return "\n".join(lines) + "\n"
