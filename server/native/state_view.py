"""The cluster's state, put together from what nodes told and what this server counts."""

import time
from collections.abc import Callable, Iterable

from pi_cluster.cluster.version import VERSION
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.pipeline.status import PipelineStatus, StageStatus
from pi_cluster.coordinator.records.advice import up_again
from pi_cluster.coordinator.records.kept_record import is_changing
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.asking.headcount import Headcount, headcount
from pi_cluster.server.asking.looks import Looks
from pi_cluster.server.asking.visit import Visit
from pi_cluster.server.native.state import (
    ClusterState,
    Condition,
    GuessCounts,
    HealCounts,
    RequestCounts,
    ServedModel,
    StageState,
    TokenCounts,
)
from pi_cluster.server.native.state_loads import Loads

_REPLACED = "replaced by another up"
_CHANGING = "the pipeline is being brought up anew"


class StateView:
    """What can be seen of one desk's cluster."""

    def __init__(self, desk: Desk, looks: Looks, visits: Callable[[], Iterable[Visit]]) -> None:
        """``visits`` gives the requests that are here."""
        self._desk = desk
        self._looks = looks
        self._visits = visits
        self._loads = Loads()

    @property
    def count(self) -> Headcount:
        """How many ask now."""
        return headcount(self._visits())

    async def now(self, fresh_s: float) -> ClusterState:
        """The cluster as it was at most ``fresh_s`` ago; asks the nodes where that is longer."""
        status, problem = await self._looks.latest(fresh_s)
        client, card, count = self._desk.client, self._desk.card, self.count
        loads = self._loads.of(client.counters, time.monotonic())
        condition, note = _condition(client, status, problem, count)
        counters = client.counters
        return ClusterState(
            unix_s=time.time(),
            version=VERSION,
            cluster=client.cluster,
            epoch=status.epoch if status else None,
            condition=condition,
            note=note,
            model=ServedModel(
                *(card.id, card.config.n_layers, client.record.model.context, card.can_think)
            ),
            stages=[
                _stage(one, loads.get(one.node_id)) for one in (status.stages if status else ())
            ],
            requests=RequestCounts(
                *(count.running, count.waiting, client.occupancy.expected_wait_s)
            ),
            tokens=TokenCounts(
                prompt=counters.prompt_rows,
                cached=counters.cached_tokens,
                generated=counters.generated_tokens,
            ),
            heals=HealCounts(
                healed=sum(counters.heals.values()),
                not_healed=counters.not_healed,
                seconds=sum(counters.heal_seconds.values()),
            ),
            guesses=[
                GuessCounts(by, right := counters.right_by[by], right + counters.wrong_by[by])
                for by in sorted({*counters.right_by, *counters.wrong_by})
            ],
        )


def _condition(
    client: PipelineClient, status: PipelineStatus | None, problem: str, count: Headcount
) -> tuple[Condition, str]:
    unwell = [stage for stage in status.stages if not stage.is_well] if status else []
    if status and not unwell:
        return "ready", ""
    if is_changing(client.cluster):
        return "healing", _CHANGING
    if status is None:
        return "lost", problem
    again = up_again(client.cluster, client.record.call, client.record.insecure)
    if any(stage.state == _REPLACED for stage in unwell):
        return "replaced", f"another machine has brought up the pipeline anew: run `{again}` here"
    told = "; ".join(stage.problem or f"{stage.node}: {stage.state}" for stage in unwell)
    note = f"{told}. Answers go on when that is mended, or after `{again}`."
    return ("healing" if count.running or count.waiting else "lost"), note


def _stage(stage: StageStatus, load: float | None) -> StageState:
    # What is computed for another program is not known here.
    is_known = bool(load) or stage.rows_ps == 0
    first, last = map(int, stage.layers.split(":"))
    return StageState(
        node=stage.node,
        layers=(first, last),
        state=stage.state,
        is_well=stage.is_well,
        why=stage.problem,
        load=(load or 0.0) if is_known else None,
        rows_ps=stage.rows_ps,
        temperature_c=stage.temperature_c,
        memory_bytes=stage.memory_bytes or None,
        free_memory_bytes=stage.free_memory_bytes if stage.memory_bytes else None,
        stage_bytes=(stage.weight_bytes + stage.cache_bytes) or None,
    )
