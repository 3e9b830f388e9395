"""What a node holds of the model: damaged, or not looked at for long."""

from collections.abc import Iterator

from pi_cluster.cluster.settings import VERIFY_DAYS
from pi_cluster.deploy.doctor.facts import Examined
from pi_cluster.deploy.doctor.findings import Finding, problem, warning
from pi_cluster.deploy.screen.output import ago

_DAY_S = 86_400
LONG_UNVERIFIED_S = 2 * VERIFY_DAYS * _DAY_S  # one round was missed, and that is no weekend

_CARD = (
    "the next `up` sends it again. If that happens a second time, the card or the memory is "
    "failing: back up, try another card"
)


def damaged(node: Examined) -> Iterator[Finding]:
    """Shards that are known to hold other bytes than were sent."""
    for shard in node.about.damaged_shards:
        name = shard.name or f"shard {shard.sha256[:12]}"
        yield problem(node.name, f"{name} {shard.problem}; nothing computes on it", _CARD)


def unverified(node: Examined) -> Iterator[Finding]:
    """Weights that have not been compared with their digests for too long."""
    ago_s = node.about.stage.verified_ago_s
    if ago_s > LONG_UNVERIFIED_S:
        yield warning(
            node.name,
            f"its weights were verified {ago(ago_s)}, and should be every {VERIFY_DAYS:.0f} days",
            "pi-cluster verify --nodes; the worker's log there tells why it does not do so",
        )
