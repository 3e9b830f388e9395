"""Everything that can go wrong between the operator, the nodes and the files.

* ClusterError
  + CheckpointError    a checkpoint cannot be read         fix or fetch the checkpoint again
  + StoreError         a shard file is missing or torn     run the command named in the message
    + ShardChanged     other bytes arrived than were sent  send it again from its beginning
  + DraftUnfit         a model cannot guess for another    take one of the pairs that it names
  + PlanError          the nodes cannot hold the model     add memory, nodes, or fewer bits
  + NodeError          a node refused what it was asked    the message carries the node's reason
    + NodeLost         a node stopped answering            look at that node, then `up`
      - SessionExpired they heard nothing of us            ask again, the session begins anew
      - NodeStuck      it answers, and its step never ends restart its worker
    + PipelineBusy     another coordinator holds it        wait, or end the other one
    + QueueFull        too many requests wait for it       try again later
    + PutBack          a text lost its place in the caches  ask again, it goes on
    + ShardDamaged     a node's shard has lost its bytes   `up` sends it again
    + StaleEpoch       another `up` replaced the pipeline  `up`
  + SessionYielded     another took a resting pipeline     ask again, the session begins anew
  + PipelineClosed     this program let go meanwhile       connect anew
  + AccessError        a certificate is not good enough  the message names the way in
  + HostError          a host cannot be set up by SSH    the message carries the cause
  + HubError           a model cannot be fetched         the message names the way
    + HubUnreachable   the hub does not answer           try again; what has come is kept
  + SystemFailure      the system refused (disk, file)  the message names it and what to do there
  + ServerRefused    a server does not do what it should  the message is the server's
  + VersionError       two sides speak different versions  update the older side
  + StateError         no pipeline, or its record is torn  `up`
    + ModelReplaced    another model is up meanwhile       ask that one anew

Every message names the thing and, where it is known there, the next step; it is shown to people as
it stands. How a pipeline comes back is known where its record is, and added there as a note.
"""

from collections.abc import Sequence


class ClusterError(Exception):
    """Root of this tree."""


class CheckpointError(ClusterError):
    """A checkpoint is incomplete, torn, or not one this project reads."""


class StoreError(ClusterError):
    """A store or one of its files is missing, damaged or cannot be written."""


class ShardChanged(StoreError):
    """A shard arrived whose bytes are not those that its digest stands for."""


class DraftUnfit(ClusterError):
    """A draft model's ids do not mean what those of the model mean that it is to guess for."""


class PlanError(ClusterError):
    """The nodes cannot hold the model; the message carries the figures."""


class NodeError(ClusterError):
    """A node refused what it was asked to do."""


class NodeLost(NodeError):
    """A node stopped answering."""

    def __init__(
        self,
        message: str,
        node_ids: Sequence[str] = (),
        *,
        awaited_s: float = 0.0,
        in_brief: str = "",
    ) -> None:
        """``node_ids`` are of those who may be lost; of two, one does not reach the other.

        ``awaited_s``: for how long it had been waited for when it was given up. ``in_brief``: a
        sentence's beginning, where it was something else than that these stopped answering.
        """
        super().__init__(message)
        self.node_ids = tuple(node_ids)
        self.awaited_s = awaited_s
        self.in_brief = in_brief

    @property
    def was_awaited(self) -> bool:
        """Whether it was silent or stuck, and given up only after it had been waited for."""
        return self.awaited_s > 0


class SessionExpired(NodeLost):
    """The nodes heard nothing of the coordinator for too long, and let go of what they held."""


class NodeStuck(NodeLost):
    """A node answers, but computes a step for longer than any slowness explains."""


class PipelineBusy(NodeError):
    """Another coordinator is using the pipeline."""


class QueueFull(NodeError):
    """More requests wait for the pipeline than the coordinator remembers."""

    def __init__(self, message: str, free_in_s: float | None = None) -> None:
        """``free_in_s`` is when about one of them will wait no more, if that is known."""
        super().__init__(message)
        self.free_in_s = free_in_s


class PutBack(NodeError):
    """A text gave up its place for want of memory on a node, and nothing is wrong with it."""


class ShardDamaged(NodeError):
    """A node let go of its stage, since a shard that it maps is not what was sent."""


class StaleEpoch(NodeError):
    """The pipeline was replaced since this coordinator learned of it."""


class SessionYielded(ClusterError):
    """Another coordinator took the pipeline while this one rested."""


class PipelineClosed(ClusterError):
    """A program closed its own client before the answer had ended."""


class AccessError(ClusterError):
    """A key or certificate is missing, worthless, or does not allow what was asked."""


class HostError(ClusterError):
    """A host cannot be reached by SSH, or is not fit for what it should do."""


class HubError(ClusterError):
    """A hub of models does not give what was asked of it."""


class HubUnreachable(HubError):
    """There is no way to the hub now, or it broke off."""


class SystemFailure(ClusterError):
    """An operating system refused what was asked of it: a full disk, a read-only card."""


class ServerRefused(ClusterError):
    """A server of a pipeline does not do what it was asked to."""


class ServerUnready(ServerRefused):
    """A server cannot do it yet, as it has no pipeline or too much to do."""


class VersionError(ClusterError):
    """A store or a peer follows a version of a format or protocol that is not known here."""


class StateError(ClusterError):
    """There is no running pipeline, or the record of it cannot be read."""


class BeingChanged(StateError):
    """Another program brings a pipeline up or down, or mends it; one does at a time."""


class KeptNowhere(StateError):
    """No unfinished answer of that name, or none that could be gone on with, is kept."""


class ServerGone(StateError):
    """A server has ended, or cannot be reached, while it was asked."""


class ModelReplaced(StateError):
    """Another model was brought up since the question was encoded for the one before."""
