"""How an error ends a command: as a sentence on standard error, with what was noted to it."""

import sys
import traceback

from pi_cluster.cluster.errors import ClusterError, SystemFailure
from pi_cluster.cluster.system_failure import system_failure
from pi_cluster.deploy.screen.output import notes
from pi_cluster.transformer.errors import ModelError

_SERVING = {"prometheus_client": "prometheus-client"} | {
    name: name for name in ("llguidance", "msgspec", "starlette", "uvicorn")
}
"""Modules of the extra ``serve``, and the packages that have them."""


def tell(error: Exception, debug: bool) -> None:
    """Show it; with ``debug`` its traceback too."""
    if debug:
        traceback.print_exc()
    told = _in_our_words(error)
    if told is not None:
        notes.print(f"error: {with_notes(told)}", markup=False, soft_wrap=True)
        return
    notes.print(
        f"internal error: {type(error).__name__}: {error}\n"
        "this is a fault of pi-cluster; `pi-cluster --debug ...` shows where",
        markup=False,
        soft_wrap=True,
    )


def with_notes(error: BaseException) -> str:
    """An error as it is shown: its message and, below, its notes."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def _in_our_words(error: Exception) -> Exception | None:
    """An error that is made for people; None when it is a fault of the program."""
    if isinstance(error, ClusterError | ModelError):
        return error
    if isinstance(error, OSError) and error.errno:
        return system_failure(error)
    if isinstance(error, ModuleNotFoundError):
        lacking = _SERVING.get((error.name or "").partition(".")[0])
        packages = " ".join(_SERVING.values())
        if lacking:
            return SystemFailure(
                f"to serve takes {lacking}, which is not installed beside pi-cluster: "
                f"`{sys.executable} -m pip install {packages}`"
            )
    from pi_cluster.kernels import KernelsError

    return error if isinstance(error, KernelsError) else None
