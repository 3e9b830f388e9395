"""All rounds, one after the other, written into a report as they go."""

from collections.abc import Callable
from pathlib import PurePath

from benchmarks.on_pi.boards import look_at_boards, look_at_health, measure_ways
from benchmarks.on_pi.figures import (
    USERS,
    Effort,
    differing,
    measure_decode,
    measure_prefill,
    warm_up,
)
from benchmarks.on_pi.report import Model, Report, Round
from benchmarks.on_pi.rounds import all_nodes, bring_up_on, counts
from pi_cluster.cluster.errors import ClusterError, PlanError
from pi_cluster.coordinator.pipeline.nodes import Node, ask_nodes
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.deploy.calling import dialer_for
from pi_cluster.deploy.failure import with_notes
from pi_cluster.deploy.screen.output import count, notice
from pi_cluster.transformer.errors import ModelError


class Measuring:
    """Measures a cluster whose pipeline is up; ``keep`` is called whenever more is known."""

    def __init__(
        self, record: PipelineRecord, effort: Effort, report: Report, keep: Callable[[], None]
    ) -> None:
        self._cluster = record.folder.name
        self._peers = all_nodes(record)
        self._dialer = dialer_for(self._cluster, record.insecure)
        self._effort = effort
        self._report = report
        self._keep = keep
        self._is_as_before = True
        report.model = _model(record)

    def run(self) -> None:
        """Look at the nodes, then measure round by round; a round that fails ends itself alone.

        Raises ``ClusterError`` where a node does not answer at the beginning.
        """
        nodes = ask_nodes(self._peers, self._cluster, self._dialer)
        self._report.boards = tuple(look_at_boards(nodes, self._dialer))
        notice("measuring the network")
        self._report.ways = tuple(measure_ways(nodes, self._dialer))
        self._keep()
        for some in counts(len(nodes)):
            measured = Round(some)
            self._report.rounds.append(measured)
            try:
                self._round(measured, nodes[:some])
            except PlanError as error:
                measured.problem = "does not fit"
                notice(f"{some} of {len(nodes)} nodes: {with_notes(error)}")
            except (ClusterError, ModelError) as error:
                measured.problem, measured.is_failure = "failed", True
                self._report.remarks.append(f"not to its end on {count(some, 'node')}: it failed")
                notice(f"{some} of {len(nodes)} nodes: {with_notes(error)}")
            self._keep()

    def bring_back(self) -> None:
        """Bring the model up on all nodes again, where a round has left it otherwise."""
        if not self._is_as_before:
            notice("bringing back what was up")
            bring_up_on(self._cluster, self._peers, for_good=True)

    def _round(self, measured: Round, nodes: list[Node]) -> None:
        self._is_as_before = False
        record = bring_up_on(self._cluster, [node.peer for node in nodes])
        self._is_as_before = len(nodes) == len(self._peers)
        measured.layers = tuple(len(stage.layers) for stage in record.addresses)
        warm_up(self._cluster)
        measured.before = tuple(look_at_health(nodes, self._dialer))
        try:
            self._figures(measured)
        finally:
            measured.after = tuple(look_at_health(nodes, self._dialer))

    def _figures(self, measured: Round) -> None:
        on = count(measured.nodes, "node")
        notice(f"{on}: prefill")
        measured.prefill = measure_prefill(self._cluster, self._effort)
        self._keep()
        for users in USERS:
            for drafts in (False, True):
                how = "with drafts" if drafts else "without drafts"
                notice(f"{on}: decode, {count(users, 'user')}, {how}")
                decode = measure_decode(self._cluster, self._effort, users, drafts)
                measured.decodes.append(decode)
                self._keep()
            without, with_them = measured.decodes[-2:]
            if differing(without, with_them):
                self._report.remarks.append(
                    f"FAULT: on {on}, {count(users, 'user')} got another text with drafts"
                )
                measured.is_failure = True


def _model(record: PipelineRecord) -> Model:
    manifest = record.manifest
    said = record.call.model if record.call else ""
    formats = sorted({manifest.weights, *manifest.formats_of_matrices})
    weights = [manifest.layer_file(layer).size_bytes for layer in range(manifest.n_layers)]
    token_bytes = sum(weights) + manifest.head_file.size_bytes
    return Model(
        name=PurePath(said).name or "the embedded storyteller",
        layers=manifest.n_layers,
        formats=", ".join(formats),
        size_bytes=token_bytes + manifest.embedding_file.size_bytes,
        token_bytes=token_bytes,
    )
