"""How fast this process reaches a worker, by its ``Echo``."""

import time

from pi_cluster.cluster import settings
from pi_cluster.cluster.speed import Link
from pi_cluster.cluster.wire.client import NodeClient

_ROUND_TRIPS = 10
_ROUND_TRIP_BYTES = 16
_TRANSFER_BYTES = (1 << 16, 1 << 18, 1 << 20, 1 << 20, 1 << 20)
_ENOUGH_S = 0.7  # of which round trips take at most half; a slow link shows in few transfers
_SHORTEST_S = 1e-6


def measure_link(client: NodeClient) -> Link:
    """Half of the fastest round trip of a few bytes, and the rate of the fastest transfer.

    Takes under a second unless a single message takes longer. Raises ``NodeError`` or below.
    """
    client.echo(_ROUND_TRIP_BYTES, _ROUND_TRIP_BYTES, settings.CONNECT_TIMEOUT_S)
    began = time.perf_counter()
    round_trip_s = _timed_echo(client, _ROUND_TRIP_BYTES, _ROUND_TRIP_BYTES)
    for _ in range(_ROUND_TRIPS - 1):
        if time.perf_counter() - began > _ENOUGH_S / 2:
            break
        again_s = _timed_echo(client, _ROUND_TRIP_BYTES, _ROUND_TRIP_BYTES)
        round_trip_s = min(round_trip_s, again_s)
    bytes_ps = 0.0
    for size in _TRANSFER_BYTES:
        left_s = _ENOUGH_S - (time.perf_counter() - began)
        if bytes_ps and round_trip_s + size / bytes_ps > left_s:
            break
        transfer_s = max(_timed_echo(client, size, 0) - round_trip_s, _SHORTEST_S)
        bytes_ps = max(bytes_ps, size / transfer_s)
    return Link(round_trip_s / 2, bytes_ps)


def _timed_echo(client: NodeClient, sent_bytes: int, answer_bytes: int) -> float:
    began = time.perf_counter()
    client.echo(sent_bytes, answer_bytes)
    return time.perf_counter() - began
