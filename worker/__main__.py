"""``python -m pi_cluster.worker`` is ``pi-cluster worker``, without the other commands."""

import signal
import sys


def main() -> None:
    """Run a worker. Ctrl-C may come while it is being imported."""
    try:
        from pi_cluster.worker import cli

        code = cli.main()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more has nothing left to end
        if sys.stderr is not None:
            print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
