"""The form of an answer's file: a line is one record, ``crc32 of the JSON, a space, the JSON``.

The first says what was asked, each other one which ids were answered. What a power cut has torn
ends what is read.
"""

import json
import os
import zlib
from collections.abc import Mapping
from typing import Any

from pi_cluster.coordinator.keeping.what_was_asked import Asking, are_ids

MOST_FILE_BYTES = 32 << 20


def line(record: Mapping[str, Any]) -> bytes:
    """A record as it is written."""
    # A lone surrogate becomes its escape, which JSON reads back.
    data = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    encoded = data.encode("utf-8", "backslashreplace")
    return b"%08x %s\n" % (zlib.crc32(encoded), encoded)


def read(file: int) -> tuple[Asking | None, list[int], int]:
    """What was asked, what was answered, and how many bytes that takes; up to the first fault."""
    asking: Asking | None = None
    ids: list[int] = []
    good_bytes = 0
    for data in os.pread(file, MOST_FILE_BYTES, 0).splitlines(keepends=True):
        told = _record(data)
        if asking is None:
            asking = Asking.from_json(told)
            if asking is None:
                break
        elif isinstance(told, dict) and are_ids(told.get("ids")):
            ids += told["ids"]
        else:
            break
        good_bytes += len(data)
    return asking, ids, good_bytes


def _record(written: bytes) -> object:
    """What a line says; None for one that is torn or changed."""
    checked, data = written[:8], written[9:-1]
    if written[8:9] != b" " or written[-1:] != b"\n" or checked != b"%08x" % zlib.crc32(data):
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
