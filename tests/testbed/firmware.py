"""What a host boots with: runs a command in control groups, and again after each reboot.

    python firmware.py GROUP... -- COMMAND...

Each GROUP is the folder of a control group.
"""

import subprocess
import sys
from pathlib import Path

_REBOOT = 133  # what systemd-nspawn ends with when its guest reboots


def main(words: list[str]) -> int:
    """Returns what the command ended with when its guest was switched off."""
    border = words.index("--")
    for group in map(Path, words[:border]):
        (group / "cgroup.procs").write_text("0")
    while (code := subprocess.run(words[border + 1 :]).returncode) == _REBOOT:
        pass
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
