"""What happened to a cluster's pipeline, and when: one line of JSON for each event, in order."""

import json
import logging
import os
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pi_cluster.cluster import settings

log = logging.getLogger(__name__)

_NAME = "events.jsonl"


class EventKind(StrEnum):
    """What can happen."""

    UP = "up"
    DOWN = "down"
    NODE_LOST = "node_lost"
    NODE_BACK = "node_back"
    NODE_SET_ASIDE = "node_set_aside"
    NODE_SLOW = "node_slow"
    NODE_HOT = "node_hot"
    MEMORY_SHORT = "memory_short"
    HEALED = "healed"
    HEAL_FAILED = "heal_failed"
    TAKEN_IN = "taken_in"


class EventLog:
    """Events of one cluster, as this machine has seen them. For any number of threads."""

    def __init__(self, cluster: str) -> None:
        self.path = settings.cluster_state(cluster) / _NAME

    def note(self, kind: EventKind, said: str, details: Mapping[str, Any] | None = None) -> None:
        """Write an event down. ``said`` is a sentence for people, ``details`` are JSON values.

        It never fails whoever tells of it: what cannot be written is logged.
        """
        event = {"unix_s": time.time(), "kind": kind.value, "said": said} | dict(details or {})
        line = json.dumps(event, ensure_ascii=False).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, line)
            finally:
                os.close(file)
        except OSError as error:
            log.warning("an event could not be written down: %s", error)
