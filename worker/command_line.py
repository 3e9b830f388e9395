"""How a worker is started from outside: the words of its command line."""

import sys
from dataclasses import dataclass

from pi_cluster.cluster import settings


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """The options of a worker, as a service, `up --local` or a benchmark starts it."""

    cluster: str
    data_dir: str
    python: str = sys.executable
    """Of the environment that holds the program."""
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
        # -P: a folder called "pi_cluster" where somebody happens to stand is not imported instead.
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
