"""``python -m pi_cluster.worker`` is ``pi-cluster worker``."""

import sys

from pi_cluster.worker.cli import main

if __name__ == "__main__":
    sys.exit(main())
