"""``python -m worker`` is ``pi-cluster worker``."""

import sys

from worker.cli import worker

if __name__ == "__main__":
    sys.exit(worker.main(prog_name="python -m worker"))
