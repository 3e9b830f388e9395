"""The systemd unit of a worker: `templates/worker.service.jinja`, filled in."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, StrictUndefined

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import HostError
from pi_cluster.deploy.hosts.remote import layout

_PLAIN = re.compile(r"[A-Za-z0-9@,._/:=-]+")
_NAME = re.compile(r"pi-cluster-([A-Za-z0-9][A-Za-z0-9_-]{0,31})\.service")
_HOMES = ("/home/", "/root/")
_TEMPLATE = "templates/worker.service.jinja"


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """How the service runs its worker."""

    cluster: str
    python: str
    """Of the environment that holds the program."""
    data_dir: str
    threads: int | None = None
    memory_bytes: int | None = None
    insecure: bool = False
    listen: str = f"0.0.0.0:{settings.DEFAULT_PORT}"
    name: str = ""
    """Shown to people; empty is the host's name."""
    announce: bool = True

    @property
    def words(self) -> list[str]:
        """The command line."""
        words = [self.python, "-P", "-m", "pi_cluster.worker", "--cluster", self.cluster]
        words += ["--listen", self.listen, "--data-dir", self.data_dir]
        if self.threads:
            words += ["--threads", str(self.threads)]
        if self.memory_bytes:
            words += ["--memory", str(self.memory_bytes)]
        if self.name:
            words += ["--name", self.name]
        if not self.announce:
            words.append("--no-mdns")
        if self.insecure:
            words.append("--insecure")
        return words


def _quoted(word: str) -> str:
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
        command=" ".join(map(_quoted, worker.words)),
        is_at_home=worker.python.startswith(_HOMES),
        data_dir=worker.data_dir,
        memory_bytes=worker.memory_bytes,
    )


def cluster_on_port(services: Iterable[Mapping[str, str]], port: int) -> str | None:
    """The cluster whose worker listens there; ``services`` as `remote/worker_service.py` tells."""
    for service in services:
        name = _NAME.fullmatch(service["name"])
        if name and re.search(rf"--listen \S+:{port}\b", service["unit"]):
            return name[1]
    return None
