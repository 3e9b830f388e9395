"""What to do next, as commands that work in the state in which they are advised.

`up` goes by how it was called last where it is told no more, so the shortest line brings a pipeline
back; local workers are named all the same, since it is on this machine that they start.
"""

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.trust.holdings import has_credentials, is_initialised
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.coordinator.records.access import still_insecure
from pi_cluster.coordinator.records.known_hosts import load_hosts
from pi_cluster.coordinator.records.up_call import UpCall


def up_again(cluster: str, call: UpCall | None, insecure: bool = False) -> str:
    """The line that brings back what was up."""
    # With other nodes beside them, local workers are started by an `up` that names neither.
    is_local = call is not None and call.local and not call.nodes
    words = ["up", "--local", str(call.local)] if call and is_local else ["up"]
    return command(cluster, *words, *_insecurely(cluster, insecure))


def up_anew(cluster: str, call: UpCall, insecure: bool = False) -> str:
    """The line that brings up the same once it has been forgotten."""
    return command(cluster, *call.words, *_insecurely(cluster, insecure))


def may_only_ask(cluster: str) -> bool:
    """Whether this user has a grant, and somebody else operates the cluster."""
    folder = settings.cluster_config(cluster)
    return is_initialised(folder) and not has_credentials(folder, Role.OPERATOR)


def bring_one_up(cluster: str) -> str:
    """How a pipeline comes up where none is remembered."""
    if may_only_ask(cluster):
        return f"its operator runs `{command(cluster, 'up')}`, and gives you a new grant"
    here = f"`{command(cluster, 'up', '--local', '3')}` on this machine alone"
    if load_hosts(cluster):
        return f"bring one up with `{command(cluster, 'up')}`"
    folder = settings.cluster_config(cluster)
    on_pis = f"`{command(cluster, 'up', '--hosts', 'USER@HOST,...')}` on Pis"
    if not is_initialised(folder):
        return f"bring one up with {here}; or `{command(cluster, 'init')}`, and then {on_pis}"
    from pi_cluster.cluster.trust.authority import ClusterAuthority

    if any(one.role is Role.NODE for one in ClusterAuthority(folder, cluster).good):
        return f"bring one up with `{command(cluster, 'up')}` on nodes that have joined, or {here}"
    return f"bring one up with {here}, or {on_pis}"


def _insecurely(cluster: str, insecure: bool) -> list[str]:
    """A choice that is made anew each time, and that certificates end."""
    return ["--insecure"] if still_insecure(cluster, insecure) else []
