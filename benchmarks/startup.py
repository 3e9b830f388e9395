"""What commands cost before they do anything: CPU seconds, user and system, and time on the clock.

    python -m benchmarks.startup [--runs 9] [--bin FOLDER]

``--bin`` names the ``bin`` folder of another installation, such as one of a wheel: an editable one,
as development has it, finds modules by a program of its own, which costs a few hundredths more.

Commands run in turn, as many rounds as ``--runs`` says after one that only warms up, and the median
of each is shown. ``status`` and ``prompt`` ask a pipeline of one worker on this machine, the latter
for the embedded model's first token: their CPU seconds hold a few calls too, but neither what the
worker computes nor any waiting. Peers are shown where they are installed: a command of theirs that
loads no model. Prints a table and, as the last line, JSON.
"""

import json
import os
import platform
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from benchmarks.kernels.machine import cpu_name

_PEERS = (["ollama", "--version"], ["llama-cli", "--version"])


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run, in seconds."""

    cpu_s: float
    """Of the process, user and system."""
    wall_s: float


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of one command."""

    command: str
    cpu_s: float
    most_cpu_s: float
    wall_s: float


@click.command()
@click.option("--runs", type=click.IntRange(1), default=9, show_default=True)
@click.option(
    "--bin",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(sys.executable).parent,
    help="Where `python` and `pi-cluster` lie.  [default: of this Python]",
)
def main(runs: int, folder: Path) -> None:
    """Measure what commands cost before they do anything."""
    folder = folder.absolute()
    with tempfile.TemporaryDirectory() as scratch, _pipeline(folder, Path(scratch)) as cluster:
        environment, named = cluster
        program = str(folder / "pi-cluster")
        commands = {
            "python -c pass": [str(folder / "python"), "-c", "pass"],
            "pi-cluster --version": [program, "--version"],
            "pi-cluster --help": [program, "--help"],
            "pi-cluster up --help": [program, "up", "--help"],
            "pi-cluster status": [program, "status", *named],
            "pi-cluster prompt": [program, "prompt", "Hello", "--max-tokens", "1", *named],
        }
        commands |= {" ".join(words): words for words in _PEERS if shutil.which(words[0])}
        rows = measure(commands, runs, environment)
    machine = f"{cpu_name()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    click.echo(f"{machine}; medians of {runs} runs")
    click.echo("| command | CPU s | most | wall s |")
    click.echo("| --- | ---: | ---: | ---: |")
    for row in rows:
        figures = f"{row.cpu_s:.3f} | {row.most_cpu_s:.3f} | {row.wall_s:.3f}"
        click.echo(f"| `{row.command}` | {figures} |")
    click.echo(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}))


def measure(
    commands: Mapping[str, Sequence[str]], runs: int, environment: Mapping[str, str]
) -> list[Row]:
    """Run all commands in turn, ``runs`` times after one that does not count."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(1 + runs):
        for name, words in commands.items():
            costs[name].append(cost_of(words, environment))
    return [_row(name, found[1:]) for name, found in costs.items()]


def cost_of(words: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Run a command to its end. Raises ``CalledProcessError`` when it fails."""
    began = time.monotonic()
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(words, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return Cost(used.ru_utime + used.ru_stime, wall_s)


def _row(command: str, costs: Sequence[Cost]) -> Row:
    cpu = [cost.cpu_s for cost in costs]
    wall_s = statistics.median(cost.wall_s for cost in costs)
    return Row(command, statistics.median(cpu), max(cpu), wall_s)


@contextmanager
def _pipeline(folder: Path, scratch: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """One worker here with the embedded model: the environment and options that ask it."""
    homes = ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    environment = os.environ | {name: str(scratch / name) for name in homes}
    named = ["--cluster", f"startup-{secrets.token_hex(4)}"]
    program = str(folder / "pi-cluster")
    try:
        up = [program, "up", "--local", "1", *named]
        subprocess.run(up, env=environment, check=True, stderr=subprocess.DEVNULL)
        yield environment, named
    finally:
        down = [program, "down", *named]
        subprocess.run(down, env=environment, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
