"""Folders, limits and waiting times. The only module that reads the environment."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from pi_cluster.cluster.errors import StateError

DEFAULT_CLUSTER = "default"
DEFAULT_PORT = 7711  # free of well-known services; a firewall rule can name it

MAX_STEP_ROWS = 512  # the largest step a stage accepts; its room in every rolling buffer
MAX_SEQUENCES = 128  # texts at once: many short ones fit where few long ones do
DEFAULT_TEXTS = 4  # full-length texts that the caches have room for; each costs it on every stage
DEFAULT_CONTEXT = 4096  # without a window the cache is all of the context, so it starts modest

MAX_MESSAGE_BYTES = 64 << 20  # gRPC's own 4 MiB would refuse a chunk of 512 rows of a 7B
MAX_REQUEST_BYTES = 32 << 20  # what a worker receives: 512 rows of 16 384 numbers
SHARD_PART_BYTES = 240 << 10  # just below worker/allocator.py's LARGE_BYTES: mapping costs
MAX_SHARD_PART_BYTES = 1 << 20  # that are taken
MAX_ECHO_BYTES = 1 << 20  # in either direction: enough to know a link by
MAX_CALLS = 64  # at once; those of one caller are bounded more tightly (worker/trust/places.py)
# What a node has not taken yet is lost when it is interrupted, and gRPC would let megabytes lie
# there. It is enough to fill Gigabit for 2 ms, or 100 Mbit/s for 20 ms, until the node answers.
WINDOW_BYTES = 256 << 10
MAX_STREAMS = 256  # of one connection; calls that have ended count until Python lets go of them
MOST_NEIGHBOURS = 32  # whom a node may ask for a shard that got damaged
MAX_EPOCH = 1 << 62  # a node that tells of a later one leaves no room for those to come
MAX_QUEUED_STEPS = 64  # a peer that sends more is held back by flow control

CONNECT_TIMEOUT_S = 5.0
EXPLAIN_TIMEOUT_S = 1.0  # a failed call is looked into again; what is silent stays so
HANDSHAKE_TIMEOUT_MS = 5_000  # whoever connects and says nothing is let go; ours wait no longer
FIRST_MESSAGE_TIMEOUT_S = 20.0  # of a call, a megabyte over slow Wi-Fi; ours follow at once
IDLE_TIMEOUT_MS = 600_000  # a connection without calls; sessions are calls, and may rest
# Of one worker; some ten are in use. gRPC counts strangers that say nothing too, at 20 KiB each,
# and half of the 1024 files that a process may have open must be left.
MAX_CONNECTIONS = 512
CALL_TIMEOUT_S = 10.0
MEASURE_TIMEOUT_S = 60.0  # two seconds on a Pi, more on one that has other things to do
EXAMINE_TIMEOUT_S = 45.0  # another one's examination first, and a slow disk
TRANSFER_STALL_S = 30.0  # a shard that has not come on for so long will not
# An eighth to a quarter of what a microSD card reads; and hashing it takes less than a tenth of one
# core, also of a Pi 4, which has no instructions for SHA-256.
VERIFY_BYTES_PS = 10e6
VERIFY_DAYS = 7.0  # from one check of the loaded shards to the next
# A quarter of a 7B is read from a microSD card in about 25 s; a node that does not answer meanwhile
# is given up sooner (cluster/wire/attended.py).
LOAD_TIMEOUT_S = 600.0
UNLOAD_TIMEOUT_S = 120.0  # a step that runs is waited for
ASK_EVERY_S = 0.5  # whether a node of a session is there (cluster/wire/pulse.py)
ASK_AGAIN_S = 1.0  # over another connection, when it does not answer at once
ANSWER_TIMEOUT_S = 5.0  # a node that swaps may take so long, and yet is there
SILENCE_TOLD_S = 2.5  # then whoever waits is told who is silent, within 3 s of its last sign
GIVE_UP_AFTER_S = 8.0  # of silence: a hiccup of up to this ends nothing
# Connections outlive no more silence than this; and cables that are out for more than 12 s are
# out for up to 25 s to TCP, which sends again in growing steps.
MOST_GIVE_UP_AFTER_S = 20.0
LEAST_GIVE_UP_AFTER_S = 3.0  # else who is silent would be given up before anybody is told
# A gap that ends just in time is no loss, though the first question after it takes up to a second.
FIRST_ANSWER_S = 1.0
SESSION_HELD_S = 11.0  # for a silent coordinator that does not say how long it waits itself
MOST_SESSION_HELD_S = 60.0
KEEPALIVE_TIME_MS = 5_000  # a connection is given up after this and the next
# Far above the silence that is borne: when a cable was out for 8 s, TCP sends again after 8 more,
# and on Linux gRPC lets it give up after this time as well.
KEEPALIVE_TIMEOUT_MS = 20_000
PING_TIMEOUT_MS = 20_000  # gRPC's own default of 60_000 outlives keepalive_timeout_ms
STEP_PATIENCE_S = 100.0  # a large chunk on slow arithmetic; only then a stage can be replaced
HEAL_TIMEOUT_S = 600.0  # somebody may have to find the plug of a node that nobody stands in for
BUSY_WAIT_S = 2.0  # the previous session may still be freeing its caches
STOP_GRACE_S = 2.0

DISCOVERY_S = 2.5  # a host answers mDNS in 0.1 s, a late joiner in 1.2 s
LOCAL_DISCOVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a user's data lives, by the XDG base directory specification."""

    data: Path
    """Shards of local workers."""
    state: Path
    """The record of each cluster's pipeline, and logs."""
    cache: Path
    """What can be made again: the embedded model's store."""
    config: Path
    """Keys and certificates of the clusters that this user operates or may ask."""


def folders() -> Folders:
    """The folders of this user; they are made when first written to."""
    return Folders(
        data=_xdg("XDG_DATA_HOME", ".local/share"),
        state=_xdg("XDG_STATE_HOME", ".local/state"),
        cache=_xdg("XDG_CACHE_HOME", ".cache"),
        config=_xdg("XDG_CONFIG_HOME", ".config"),
    )


def cluster_state(cluster: str) -> Path:
    """The folder that holds a cluster's record and logs."""
    return folders().state / check_cluster_name(cluster)


def cluster_config(cluster: str) -> Path:
    """The folder that holds this user's keys and certificates for a cluster."""
    return folders().config / check_cluster_name(cluster)


def local_worker_data(cluster: str, index: int) -> Path:
    """The data directory of a worker started by ``up --local``."""
    return folders().data / check_cluster_name(cluster) / f"local-{index}"


def worker_data(cluster: str) -> Path:
    """The data directory of a worker that names none."""
    return folders().data / check_cluster_name(cluster) / "worker"


def check_cluster_name(name: str) -> str:
    """Return ``name``, or raise ``StateError`` when it could not be a folder or an mDNS label."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", name):
        raise StateError(
            f"{name!r} is not a cluster name: use up to 32 letters, digits, '-' and '_', "
            "beginning with a letter or a digit"
        )
    return name


def server_url() -> str:
    """The server that ``PI_CLUSTER_URL`` names, which commands ask instead of nodes; or nothing."""
    return os.environ.get("PI_CLUSTER_URL", "").strip()


def server_key() -> str:
    """What that server knows this user by, from ``PI_CLUSTER_API_KEY``; or nothing."""
    return os.environ.get("PI_CLUSTER_API_KEY", "").strip()


def kernel_variant() -> str | None:
    """The kernels that ``PI_CLUSTER_KERNELS`` asks for; None takes the fastest."""
    return os.environ.get("PI_CLUSTER_KERNELS") or None


def has_plain_terminal() -> bool:
    """Whether ``TERM`` says that the terminal is no more than a printer: an editor's, a log."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def _xdg(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    # The specification says to ignore a relative path.
    base = Path(value) if value.startswith("/") else _home() / default
    return base / "pi-cluster"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise StateError(
            "this user has no home folder to keep files in: set HOME, or XDG_CONFIG_HOME, "
            "XDG_STATE_HOME, XDG_DATA_HOME and XDG_CACHE_HOME"
        ) from None


def keep_grpc_quiet() -> None:
    """gRPC logs to standard error what it then reports as errors; people see those in our words.

    A worker's log keeps them, limited and harmless (`worker/log_limit.py`): nothing else tells why
    it refused a handshake. gRPC reads the variable while it is imported, so `deploy/__init__.py`
    calls this before anything else of the command can import gRPC. A program that uses us as a
    library decides for itself: this changes its environment, and that of what it starts.
    """
    is_worker = Path(sys.argv[0]).parts[-2:] == ("worker", "__main__.py")  # -m pi_cluster.worker
    if not is_worker and sys.argv[1:2] not in (["--debug"], ["worker"], ["join"]):
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
