"""What a cluster of real Pis reaches: one command for whoever has some.

    .venv/bin/python -m benchmarks.on_pi [--cluster NAME] [--minutes N] [--out FILE] [--quick]

Run it where you run `pi-cluster`, in a clone, while the model is up on all of your nodes. It brings
the same model up on all of them, on one, two, four..., measures each, and leaves all nodes as they
were. Prints tables to post, in Markdown, and writes the same to a file as JSON after each figure;
Ctrl-C ends it with what there is. `docs/on-pi.md` says more.
"""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from benchmarks.on_pi.figures import QUICK, USUAL
from benchmarks.on_pi.measuring import Measuring
from benchmarks.on_pi.report import Report, commit_of_clone
from pi_cluster.cluster import settings
from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.errors import ClusterError
from pi_cluster.coordinator.records.advice import up_again
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.deploy.asking.exclusive import server_held
from pi_cluster.deploy.failure import tell, with_notes
from pi_cluster.deploy.screen.output import INTERRUPTED, notice
from pi_cluster.transformer.errors import ModelError

_TO_MEASURE = 0.9  # of the minutes: what is left brings all nodes back
_SERVER_WAIT_S = 60.0


class TimeIsUp(KeyboardInterrupt):
    """Ends whatever is under way, as Ctrl-C would."""


@click.command()
@click.option("--cluster", default=settings.DEFAULT_CLUSTER, show_default=True, metavar="NAME")
@click.option("--minutes", type=click.IntRange(1, 24 * 60), default=60, show_default=True)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Of the JSON.  [default: on-pi-DATE.json]",
)
@click.option("--quick", is_flag=True, help="A trial with few tokens, to see that all works.")
def main(cluster: str, minutes: int, out: Path | None, quick: bool) -> None:
    """Measure the model that is up on all, one, two, four... of its nodes, and print tables."""
    path = out or Path(time.strftime("on-pi-%Y%m%d-%H%M%S.json"))
    report = Report(time.strftime("%Y-%m-%d %H:%M"), quick, commit_of_clone())
    try:
        settings.check_cluster_name(cluster)
        code = _measured(cluster, minutes, report, path, quick)
    except (ClusterError, ModelError, OSError) as error:
        tell(error, debug=False)
        code = 1
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _measured(cluster: str, minutes: int, report: Report, path: Path, quick: bool) -> int:
    """Measure as far as time goes, print, and bring back what was up; returns the exit code."""
    record = load_record(cluster)
    back = up_again(cluster, record.call, record.insecure)
    notice(f"should this be killed, `{back}` brings back what was up")
    measuring = Measuring(record, QUICK if quick else USUAL, report, lambda: _keep(report, path))
    code = 0
    with server_held(cluster, _SERVER_WAIT_S):
        try:
            with _ending_after(minutes * 60 * _TO_MEASURE):
                measuring.run()
        except TimeIsUp:
            report.remarks.append(f"ended after {minutes * _TO_MEASURE:.0f} minutes")
        except KeyboardInterrupt:
            report.remarks.append("interrupted")
            code = INTERRUPTED
        finally:
            # First of all, lest whoever loses patience loses this too.
            _show(report, path)
            code = max(code, _brought_back(measuring, back))
    return code or int(any(one.is_failure for one in report.rounds))


def _keep(report: Report, path: Path) -> None:
    write_bytes(path, report.to_json().encode())


def _show(report: Report, path: Path) -> None:
    if report.boards:
        _keep(report, path)
        click.echo(report.to_markdown())
        notice(f"the same as JSON: {path}")


def _brought_back(measuring: Measuring, back: str) -> int:
    try:
        measuring.bring_back()
    except (ClusterError, ModelError) as error:
        notice(f"the pipeline is not as it was: {with_notes(error)}\n`{back}` brings it back")
        return 1
    except KeyboardInterrupt:
        notice(f"the pipeline is not as it was: `{back}` brings it back")
        return INTERRUPTED
    return 0


@contextlib.contextmanager
def _ending_after(seconds: float) -> Iterator[None]:
    """Within the block `TimeIsUp` is raised after so long, whatever this thread waits for."""

    def end(*_: object) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    main()
