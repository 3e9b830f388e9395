"""Faults of every kind strike nodes, network, server and asker while answers are under way.

    python -m tests.faults [--faults 300] [--seed 1] [--kinds killed,frozen] [--longest 60]

The plan is drawn from the seed first; its homes of 3 and of 4 nodes are struck side by side. Each
answer is compared with the undisturbed one, id by id. Ends with 1 if an answer differs or fails, if
anything hangs or leaks, and with 2 where no faults can be made. Needs root.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from tests.faults.campaign import campaign
from tests.faults.plan import Kind, draw_rounds
from tests.faults.possible import check_possible
from tests.testbed.network.network import NetworkError


def main() -> None:
    """Run a campaign and print its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default="", help="names of kinds, as killed,frozen: all")
    parser.add_argument("--longest", type=float, default=60.0, help="seconds that a fault lasts")
    parser.add_argument("--table", type=Path, help="a file that has the table so far")
    options = parser.parse_args()
    try:
        check_possible()
    except NetworkError as error:
        print(f"no faults can be made here, so NOTHING WAS TESTED: {error}", file=sys.stderr)
        sys.exit(2)
    names = [name.upper() for name in options.kinds.split(",") if name]
    kinds = [Kind[name] for name in names] or list(Kind)
    # Told to end, this process still has those end that strike.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    begun = time.monotonic()
    rounds = draw_rounds(options.seed, options.faults, kinds, options.longest)
    tally = campaign(rounds, options.table)
    print(tally.table())
    print(f"{tally.total.sentence()}; seed {options.seed}, {time.monotonic() - begun:.0f} s")
    sys.exit(0 if tally.total.is_good else 1)


if __name__ == "__main__":
    main()
