"""Mistral 7B and its relatives, run by several Raspberry Pis as one.

What programs use of it stands in ``__all__``, and is described in docs/python-api.md. Each name is
imported when it is first used: importing this package costs next to nothing.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if sys.platform == "win32":
    raise ImportError("pi-cluster does not run on Windows itself: install and run it within WSL")

if TYPE_CHECKING:
    from pi_cluster.cluster.errors import (
        AccessError,
        ClusterError,
        NodeLost,
        PipelineBusy,
        PipelineClosed,
        StateError,
    )
    from pi_cluster.coordinator.asking.answer import Answer
    from pi_cluster.coordinator.asking.async_stream import AsyncAnswerStream
    from pi_cluster.coordinator.asking.stream import AnswerStream, as_they_come
    from pi_cluster.coordinator.async_client import AsyncPipelineClient
    from pi_cluster.coordinator.calling.tools import Tool, ToolCall
    from pi_cluster.coordinator.client import PipelineClient
    from pi_cluster.coordinator.finish_reason import FinishReason
    from pi_cluster.coordinator.pipeline.status import PipelineStatus, StageStatus
    from pi_cluster.transformer.errors import ModelError, PromptError, SettingsError

_PLACES = {
    "cluster.errors": (
        *("AccessError", "ClusterError", "NodeLost", "PipelineBusy", "PipelineClosed"),
        "StateError",
    ),
    "coordinator.asking.answer": ("Answer",),
    "coordinator.asking.async_stream": ("AsyncAnswerStream",),
    "coordinator.asking.stream": ("AnswerStream", "as_they_come"),
    "coordinator.async_client": ("AsyncPipelineClient",),
    "coordinator.calling.tools": ("Tool", "ToolCall"),
    "coordinator.client": ("PipelineClient",),
    "coordinator.finish_reason": ("FinishReason",),
    "coordinator.pipeline.status": ("PipelineStatus", "StageStatus"),
    "transformer.errors": ("ModelError", "PromptError", "SettingsError"),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}

__all__ = [
    "AccessError",
    "Answer",
    "AnswerStream",
    "AsyncAnswerStream",
    "AsyncPipelineClient",
    "ClusterError",
    "FinishReason",
    "ModelError",
    "NodeLost",
    "PipelineBusy",
    "PipelineClient",
    "PipelineClosed",
    "PipelineStatus",
    "PromptError",
    "SettingsError",
    "StageStatus",
    "StateError",
    "Tool",
    "ToolCall",
    "as_they_come",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
