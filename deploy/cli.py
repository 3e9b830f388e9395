"""The frame of the `pi-cluster` command: subcommands, and errors as sentences.

Exit codes: 0, 1 for an error, 2 for wrong usage, 130 after Ctrl-C.
"""

import logging
import signal
import sys
import traceback
from collections.abc import Sequence

import click

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.system_failure import system_failure
from pi_cluster.cluster.version import VERSION
from pi_cluster.deploy.commands.authority import authority
from pi_cluster.deploy.commands.bench import bench
from pi_cluster.deploy.commands.chat import chat
from pi_cluster.deploy.commands.doctor import doctor
from pi_cluster.deploy.commands.grant import accept, grant
from pi_cluster.deploy.commands.init import init
from pi_cluster.deploy.commands.join import join
from pi_cluster.deploy.commands.leave import leave
from pi_cluster.deploy.commands.node import node
from pi_cluster.deploy.commands.node_certificate import node_certificate
from pi_cluster.deploy.commands.plan import plan
from pi_cluster.deploy.commands.prompt import prompt
from pi_cluster.deploy.commands.shard import shard
from pi_cluster.deploy.commands.status import down, status
from pi_cluster.deploy.commands.token import token
from pi_cluster.deploy.commands.up import up
from pi_cluster.deploy.commands.verify import verify
from pi_cluster.deploy.leading_out import with_notes
from pi_cluster.deploy.screen.guarded_stream import guard_terminals
from pi_cluster.deploy.screen.output import INTERRUPTED, notes
from pi_cluster.deploy.screen.standard_streams import prepare_standard_streams
from pi_cluster.kernels import KernelsError
from pi_cluster.transformer.errors import ModelError
from pi_cluster.worker.cli import worker


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="pi-cluster")
@click.option("--debug", is_flag=True, help="Show tracebacks and logs.")
def cli(debug: bool) -> None:
    """Mistral 7B and its relatives, run by several Raspberry Pis as one."""
    if debug:
        logging.basicConfig(level=logging.DEBUG)


_COMMANDS = (
    *(init, up, plan, prompt, chat, status, doctor, down, bench),
    *(shard, verify, worker, token, join, leave, node, authority, grant, accept),
    node_certificate,
)
for _command in _COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """Entry point of the ``pi-cluster`` script."""
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
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more has nothing left to end
        notes.print("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        return 1  # whoever reads our output has seen enough
    except (ClusterError, ModelError, KernelsError) as error:
        return _fail(error, debug)
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            return _fail(system_failure(error), debug)
        if debug:
            traceback.print_exc()
        notes.print(
            f"internal error: {type(error).__name__}: {error}\n"
            "this is a fault of pi-cluster; `pi-cluster --debug ...` shows where",
            markup=False,
            soft_wrap=True,
        )
        return 1


def _fail(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    notes.print(f"error: {with_notes(error)}", markup=False, soft_wrap=True)
    return 1
