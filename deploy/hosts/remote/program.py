"""The program's loop: a message asks for an operation, a message answers."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from pi_cluster.deploy.hosts.remote import (
    coordinator_host,
    environments,
    files,
    framing,
    host_facts,
    layout,
    purge,
    worker_service,
)
from pi_cluster.deploy.hosts.remote.layout import Failure

Operation = Callable[..., Any]

_LOCK_PATIENCE_S = 60


def main(become: list[str]) -> None:
    """Answer until the operator goes. ``become`` starts this program anew, as another user."""
    # What an operation prints by mistake must not look like an answer.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    questions = sys.stdin.buffer
    with contextlib.suppress(framing.Ended, BrokenPipeError):
        framing.send(answers, {"hello": sys.version_info[:2]})
        while True:
            question = framing.receive(questions)
            if question["do"] == "become_root":
                framing.send(answers, {"done": None})
                # From here on the operator speaks to sudo, and then to this program again.
                os.dup2(answers.fileno(), 1)
                words = ["sudo", *question["with"], "--", *become]
                os.execvp("sudo", words)  # noqa: S606, S607
            framing.send(answers, _answer(question, questions))


def _answer(question: dict[str, Any], pipe: BinaryIO) -> dict[str, Any]:
    arguments = question.get("with", {})
    try:
        if question["do"] == "keep":
            environments.keep(arguments["wheel"], pipe, question["bytes"])
            return {"done": None}
        return {"done": OPERATIONS[question["do"]](**arguments)}
    except Failure as failure:
        return {"failure": str(failure)}
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return {"failure": f"{where}{error.strerror or error}"}


def _lock() -> None:
    """Keep others from setting up this host at the same time, until this program ends."""
    descriptor = files.open_own(layout.LOCKS, "setup.lock")
    # A run that was broken off goes on here until the end of its step.
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Failure(
                    "another `pi-cluster up` is setting up this host: wait for it, or end it"
                ) from None
            time.sleep(0.1)


def _write_receipt(cluster: str, receipt: dict[str, Any]) -> None:
    """Say what was installed, for everybody to read; the last step."""
    files.write(layout.receipt(cluster), json.dumps(receipt).encode())


OPERATIONS: dict[str, Operation] = {
    "facts": host_facts.facts,
    "sudo": host_facts.sudo,
    "lacking": environments.lacking,
    "make": environments.make,
    "switch": environments.switch,
    "tidy": environments.tidy,
    "prepare_user": worker_service.prepare_user,
    "prepare_data": worker_service.prepare_data,
    "write_unit": worker_service.write_unit,
    "start": worker_service.start,
    "as_service": worker_service.as_service,
    "health": worker_service.health,
    "journal": worker_service.journal,
    "offer": coordinator_host.offer,
    "known_record": coordinator_host.known_record,
    "accept": coordinator_host.accept,
    "forget": coordinator_host.forget,
    "purge": purge.purge,
    "lock": _lock,
    "receipt": _write_receipt,
}
"""What can be asked for, with its arguments by name; ``keep`` reads the pipe itself."""
