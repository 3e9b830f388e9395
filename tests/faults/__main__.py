"""Faults of every kind strike nodes, network, server and asker while answers are under way.

    python -m tests.faults [--faults 300] [--seed 1] [--kinds killed,frozen] [--longest 60]

The plan is drawn from the seed first. Then each answer is compared with the undisturbed one, id by
id. Ends with 1 if an answer differs or fails, if anything hangs or leaks. Needs root.
"""

import argparse
import sys
import time

from tests.faults.campaign import run
from tests.faults.plan import Kind, draw_rounds
from tests.faults.tally import Tally


def main() -> None:
    """Run a campaign and print its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default="", help="names of kinds, as killed,frozen: all")
    parser.add_argument("--longest", type=float, default=60.0, help="seconds that a fault lasts")
    options = parser.parse_args()
    names = [name.upper() for name in options.kinds.split(",") if name]
    kinds = [Kind[name] for name in names] or list(Kind)
    tally, begun = Tally(), time.monotonic()
    try:
        run(draw_rounds(options.seed, options.faults, kinds, options.longest), tally)
    finally:
        print(tally.table())
        took_s = time.monotonic() - begun
        print(f"{tally.sentence()}; seed {options.seed}, {took_s:.0f} s")
    sys.exit(0 if tally.is_good else 1)


if __name__ == "__main__":
    main()
