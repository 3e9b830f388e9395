"""How `up` was called: what it goes by where the next call leaves something out."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Self

from pi_cluster.cluster import settings
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.planning.standby import MOST_REPLICAS

_MOST_LOCAL = 64
_OF_A_MODEL = ("context", "texts", "objective", "replicas", "draft_model")


@dataclass(frozen=True, slots=True)
class UpCall:
    """The model, the nodes and the limits that were asked for."""

    model: str = ""
    """An absolute path, or the name of a pulled model; the embedded one has none."""
    local: int = 0
    """Workers on this machine."""
    nodes: str = ""
    """As ``--nodes`` has them. Without these and without local ones, nodes are found."""
    context: int | None = None
    texts: int = settings.DEFAULT_TEXTS
    objective: Objective = Objective.THROUGHPUT
    replicas: int = 1
    """On how many nodes' disks each shard lies."""
    draft_model: str = ""
    """The small model that guesses here, as ``model`` has it; empty for none."""

    @property
    def words(self) -> list[str]:
        """The command line that says all of it."""
        words = ["up", *([self.model] if self.model else [])]
        words += ["--local", str(self.local)] if self.local else []
        words += ["--nodes", self.nodes] if self.nodes else []
        words += ["--context", str(self.context)] if self.context else []
        words += ["--texts", str(self.texts)] if self.texts != settings.DEFAULT_TEXTS else []
        words += ["--replicas", str(self.replicas)] if self.replicas != 1 else []
        words += ["--draft-model", self.draft_model] if self.draft_model else []
        is_usual = self.objective is Objective.THROUGHPUT
        return words if is_usual else [*words, "--objective", self.objective.value]

    def for_model_of(self, before: "UpCall | None", left_out: Collection[str]) -> "UpCall":
        """This call for the model of an earlier one, with its limits where they were left out."""
        if before is None:
            return self
        kept = {name: getattr(before, name) for name in _OF_A_MODEL if name in left_out}
        return replace(self, model=before.model, **kept)

    def on_nodes_of(self, before: "UpCall | None") -> "UpCall":
        """This call for the nodes of an earlier one."""
        return replace(self, local=before.local, nodes=before.nodes) if before else self

    def to_json(self) -> dict[str, Any]:
        """Values for ``json``."""
        return {
            "store": self.model or None,
            "local": self.local,
            "nodes": self.nodes,
            "context": self.context,
            "texts": self.texts,
            "objective": self.objective.value,
            "replicas": self.replicas,
            "draft_model": self.draft_model or None,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """From values of :meth:`to_json`. Raises ``ValueError`` or below for others."""
        local, context = int(values["local"]), values["context"]
        if not 0 <= local <= _MOST_LOCAL:
            raise ValueError(f"{local} local workers")
        replicas = int(values.get("replicas", 1))  # an older `up` knew none
        if not 1 <= replicas <= MOST_REPLICAS:
            raise ValueError(f"{replicas} replicas")
        return cls(
            model=str(values["store"] or ""),
            local=local,
            nodes=str(values["nodes"]),
            context=None if context is None else int(context),
            texts=int(values["texts"]),
            objective=Objective(values["objective"]),
            replicas=replicas,
            draft_model=str(values.get("draft_model") or ""),
        )
