"""Who is asked: a server where there is one, else the nodes."""

from typing import TYPE_CHECKING

from pi_cluster.deploy.asking.asker import Asker
from pi_cluster.deploy.asking.server import ServerAsker
from pi_cluster.deploy.asking.server_link import link_to_server

if TYPE_CHECKING:
    from pi_cluster.deploy.asking.nodes import NodesAsker


def asker_of(
    cluster: str,
    wait_s: float,
    heal_timeout_s: float,
    give_up_after_s: float,
    *,
    directly: bool,
    journal_as: str | None,
) -> Asker:
    """A server, unless ``directly``. Then nothing is imported that computes or knows the wire.

    ``wait_s`` is how long to wait while the pipeline answers others. A server mends what it loses
    as it was told to, and for one that is killed ``heal_timeout_s`` is waited. Of nodes it is done
    for up to ``heal_timeout_s``, once one is silent for longer than ``give_up_after_s``. What nodes
    answer is kept for ``--resume`` of the command ``journal_as``, unless that is None.
    """
    if not directly and (link := link_to_server(cluster)):
        return ServerAsker(link, wait_s, heal_timeout_s)
    return nodes_asker(cluster, wait_s, heal_timeout_s, give_up_after_s, journal_as=journal_as)


def nodes_asker(
    cluster: str,
    wait_s: float,
    heal_timeout_s: float,
    give_up_after_s: float,
    *,
    journal_as: str | None,
) -> "NodesAsker":
    """The nodes, whether a server runs or not; see `asker_of`."""
    from pi_cluster.deploy.asking.nodes import NodesAsker

    return NodesAsker(cluster, wait_s, heal_timeout_s, give_up_after_s, journal_as)
