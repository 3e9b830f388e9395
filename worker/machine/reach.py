"""Whether this machine can connect to others, in words."""

import errno
import socket
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout

from pi_cluster.cluster.wire.addresses import in_order_of_sense
from pi_cluster.cluster.wire.interfaces import own_interfaces
from pi_cluster.cluster.wire.peer import split_address

CONNECT_S = 2.0
_NAMES_S = 3.0  # a resolver asks several servers, each for seconds
_AT_ONCE = 32


def reach(addresses: Sequence[str], connect_s: float = CONNECT_S) -> list[str]:
    """Connect to each ``host:port`` and hang up: why that failed, or empty where it went well.

    Takes about five seconds at most for 32 addresses. Raises ``ClusterError`` for an address that
    is none.
    """
    ours = own_interfaces()
    ways = [in_order_of_sense([address], ours)[:1] or [address] for address in addresses]
    pairs = [split_address(way) for (way,) in ways]
    if not pairs:
        return []
    rounds = 1 + (len(pairs) - 1) // _AT_ONCE
    deadline = time.monotonic() + rounds * (connect_s + _NAMES_S)
    pool = ThreadPoolExecutor(min(_AT_ONCE, len(pairs)), "reach")
    try:
        futures = [pool.submit(why_not, host, port, connect_s) for host, port in pairs]
        return [_answer(future, deadline) for future in futures]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def why_not(host: str, port: int, connect_s: float = CONNECT_S) -> str:
    """Why nobody accepts a TCP connection there; empty when somebody does."""
    try:
        with socket.create_connection((host.strip("[]"), port), connect_s):
            return ""
    except socket.gaierror:
        return "no such name"
    except ConnectionRefusedError:
        return "refused: nothing listens on that port"
    except TimeoutError:
        return "no answer: the machine is off, or a firewall drops the connection"
    except OSError as error:
        if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return "no route: it is on another network, off, or behind a firewall"
        return error.strerror or str(error)
    except UnicodeError:
        return "no such name"


def _answer(future: Future[str], deadline: float) -> str:
    try:
        return future.result(max(0.0, deadline - time.monotonic()))
    except FutureTimeout:
        return "no answer: the name could not be looked up in time"
