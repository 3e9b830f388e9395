"""The frame of the `pi-cluster` command: subcommands, and errors as sentences.

Exit codes: 0, 1 for an error, 2 for wrong usage, 130 after Ctrl-C. `--help` and `--version` need
what is imported here and no more, which a test holds; a command brings what it needs itself.
"""

import signal
import sys
from collections.abc import Sequence

import click

from pi_cluster.cluster.version import VERSION
from pi_cluster.deploy.command_table import COMMANDS
from pi_cluster.deploy.lazy_group import LazyGroup
from pi_cluster.deploy.screen.guarded_stream import guard_terminals
from pi_cluster.deploy.screen.standard_streams import prepare_standard_streams


@click.group(
    cls=LazyGroup,
    places=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(VERSION, prog_name="pi-cluster")
@click.option("--debug", is_flag=True, help="Show tracebacks and logs.")
def cli(debug: bool) -> None:
    """Mistral 7B and its relatives, run by several Raspberry Pis as one."""
    if debug:
        import logging

        logging.basicConfig(level=logging.DEBUG)


def main() -> None:
    """Run the command line of this process, and exit with its code."""
    prepare_standard_streams()
    guard_terminals()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code."""
    debug = bool(arguments) and arguments[0] == "--debug"
    try:
        code = int(cli.main(list(arguments), standalone_mode=False) or 0)
        sys.stdout.flush()
        return code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _interrupted()
    except BrokenPipeError:
        return 1  # whoever reads our output has seen enough
    except Exception as error:
        from pi_cluster.deploy.failure import tell

        tell(error, debug)
        return 1


def _interrupted() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more has nothing left to end
    from pi_cluster.deploy.screen.output import INTERRUPTED, notes

    notes.print("interrupted")
    return INTERRUPTED
