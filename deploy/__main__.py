"""``python -m pi_cluster.deploy`` is ``pi-cluster``, and this is where both begin."""

import signal
import sys


def main() -> None:
    """Entry point of the ``pi-cluster`` script. Ctrl-C may come while it is being imported."""
    try:
        from pi_cluster.deploy import cli

        cli.main()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more has nothing left to end
        if sys.stderr is not None:
            print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
