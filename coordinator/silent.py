"""Somebody who is silent, in words for whoever waits for them."""

from collections.abc import Sequence
from dataclasses import dataclass

from pi_cluster.cluster.errors import NodeLost
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.trouble import listed

NOBODY: tuple[str, ...] = ()
"""The ids of the silent when no node answers: it may be none of them."""

OWN_NETWORK = "see whether this computer's network is up, and theirs"


@dataclass(frozen=True, slots=True)
class Silent:
    """Somebody whom others wait for."""

    does_not: str
    """A sentence's beginning: who has not answered, or does not reach whom."""
    does_again: str
    node_ids: tuple[str, ...]
    look_at: str
    seconds: float
    in_brief: str = ""
    """As that of a loss, where no single node is to blame."""

    def told(self, give_up_after_s: float) -> str:
        """The sentence for whoever waits."""
        return f"{self.does_not} for {self.seconds:.0f} s; waiting up to {give_up_after_s:g} s"

    @property
    def lost(self) -> NodeLost:
        """What a session is lost to that broke meanwhile."""
        said = f"{self.does_not} for {self.seconds:.0f} s: {self.look_at}"
        return NodeLost(said, self.node_ids, in_brief=self.in_brief)


def all_lost(silent: Sequence[Silent]) -> NodeLost:
    """The error of several who fell silent together, and are given up."""
    *others, last = silent
    words = "".join(f"{one.does_not}, " for one in others)
    ids = dict.fromkeys(node_id for one in silent for node_id in one.node_ids)
    longest_s = max(one.seconds for one in silent)
    briefs = [one.in_brief for one in silent]
    in_brief = listed(briefs) if all(briefs) else ""
    return NodeLost(f"{words}{last.lost}", tuple(ids), awaited_s=longest_s, in_brief=in_brief)


def stopped(stages: Sequence[StageAddress]) -> NodeLost:
    """The error of nodes whose workers have ended."""
    names = ", ".join(stage.label for stage in stages)
    ids = [stage.node_id for stage in stages]
    return NodeLost(f"{names} stopped answering: look at that node", ids)


def all_silent(stages: Sequence[StageAddress], seconds: float) -> Silent:
    """No node answers."""
    names = ", ".join(stage.name for stage in stages)
    return Silent(
        f"none of the {len(stages)} nodes ({names}) has answered",
        "the nodes answer",
        NOBODY,
        OWN_NETWORK,
        seconds,
        f"all {len(stages)} nodes fell silent",
    )


def node_silent(stage: StageAddress, seconds: float) -> Silent:
    """One node does not answer."""
    return Silent(
        f"{stage.label} has not answered",
        f"{stage.name} answers",
        (stage.node_id,),
        "look at that node",
        seconds,
    )


def link_silent(stage: StageAddress, following: StageAddress, seconds: float) -> Silent:
    """Two nodes answer us, and not each other."""
    return Silent(
        f"{stage.label} has not reached {following.label}",
        f"{stage.name} reaches {following.name}",
        (stage.node_id, following.node_id),
        "look at the network between these two",
        seconds,
        f"{stage.name} and {following.name} lost each other",
    )
