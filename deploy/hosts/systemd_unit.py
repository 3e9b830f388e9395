"""The systemd unit of a worker: `templates/worker.service.jinja`, filled in."""

import re
from collections.abc import Iterable, Mapping
from importlib import resources

from jinja2 import Environment, StrictUndefined

from pi_cluster.cluster.errors import HostError
from pi_cluster.deploy.hosts.remote import layout
from pi_cluster.worker.command_line import WorkerCommand

_PLAIN = re.compile(r"[A-Za-z0-9@,._/:=-]+")
_HOMES = ("/home/", "/root/")
_TEMPLATE = "templates/worker.service.jinja"


def quoted(word: str) -> str:
    """A word as systemd reads it: nothing in it is a variable, a specifier or another word."""
    if _PLAIN.fullmatch(word):
        return word
    if not word.isprintable():
        raise HostError(f"{word!r} cannot stand in a systemd unit: use letters, digits and spaces")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def worker_unit(worker: WorkerCommand) -> str:
    """The unit's text."""
    source = (resources.files(__package__) / _TEMPLATE).read_text("utf-8")
    environment = Environment(  # noqa: S701  # a unit is no HTML
        undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(source).render(
        unit_name=layout.unit_name(worker.cluster),
        cluster=worker.cluster,
        user=layout.SYSTEM_USER,
        command=" ".join(map(quoted, worker.words)),
        is_at_home=worker.python.startswith(_HOMES),
        data_dir=worker.data_dir,
        memory_bytes=worker.memory_bytes,
    )


def cluster_on_port(services: Iterable[Mapping[str, str]], port: int) -> str | None:
    """The cluster whose worker listens there; ``services`` as `remote/worker_service.py` tells."""
    for service in services:
        cluster = layout.cluster_of_unit(service["name"])
        if cluster and re.search(rf"--listen \S+:{port}\b", service["unit"]):
            return cluster
    return None
