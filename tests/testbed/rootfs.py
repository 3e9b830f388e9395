"""Root file systems of Debian, each made once by mmdebstrap and kept in the cache.

Nobody writes to them: they are the lower layer of each host's disk.
"""

import fcntl
import hashlib
import json
import shutil
import subprocess
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

from pi_cluster.cluster.settings import folders
from tests.testbed.errors import TestbedError, need_root, need_tools

_WITHOUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")
_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """What ``mmdebstrap`` makes a root file system of."""

    suite: str
    architecture: str
    variant: str
    packages: tuple[str, ...]
    hooks: tuple[str, ...] = ()
    """Shell commands; ``"$1"`` is the root."""

    def command(self, root: Path) -> list[str]:
        """The command that makes it in the folder ``root``."""
        # Whether this machine runs i386 is not asked first: that would take another tool.
        return [
            *("mmdebstrap", "--mode=root", "--quiet", f"--variant={self.variant}"),
            "--skip=check/qemu",
            *(f"--architectures={self.architecture}", f"--include={','.join(self.packages)}"),
            '--aptopt=Acquire::Languages "none"',
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in _WITHOUT),
            *(f"--customize-hook={hook}" for hook in self.hooks),
            *(self.suite, str(root), *_archive()),
        ]


def _pi_os_lite(suite: str, architecture: str) -> Recipe:
    """Like Raspberry Pi OS Lite, but without pip and ensurepip: nothing may lean on them."""
    return Recipe(
        suite=suite,
        architecture=architecture,
        variant="minbase",
        packages=(
            *("systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd"),
            *("openssh-server", "sudo", "python3", "iproute2", "iputils-ping", "procps"),
            *("ca-certificates", "avahi-daemon", "libnss-mdns"),
        ),
        hooks=('chroot "$1" useradd --create-home --shell /bin/bash --groups sudo pi',),
    )


PI_OS_LITE = _pi_os_lite("bookworm", "amd64")
BULLSEYE = _pi_os_lite("bullseye", "amd64")
"""The release before, with Python 3.9."""
BOOKWORM_32_BIT = _pi_os_lite("bookworm", "i386")
"""Programs of 32 bit under this machine's 64-bit kernel, as Raspberry Pi OS has them on a Pi 4."""
WITH_FAKETIME = replace(PI_OS_LITE, packages=(*PI_OS_LITE.packages, "faketime"))
"""With a library that shows programs another time than the kernel's."""

# As Raspberry Pi OS Lite from Trixie on, with what `docs/getting-started.md` has installed there.
PI_OS_WITH_CLOUD_INIT = replace(
    PI_OS_LITE,
    packages=(*PI_OS_LITE.packages, "cloud-init", "python3-venv", "gcc", "libc6-dev"),
)


def emulated(suite: str) -> Recipe:
    """Debian for aarch64, enough to run Python in.

    The packages are unpacked and not configured, since their scripts would run emulated, for
    minutes; the hooks make what those that matter would have made.
    """
    return Recipe(
        suite=suite,
        architecture="arm64",
        variant="extract",
        packages=(
            *("base-files", "base-passwd", "bash", "dash", "coreutils", "libc-bin"),
            *("python3", "libstdc++6", "ca-certificates"),
        ),
        hooks=(
            'cp "$1/usr/share/base-passwd/passwd.master" "$1/etc/passwd"',
            'cp "$1/usr/share/base-passwd/group.master" "$1/etc/group"',
            'ln -sfn dash "$1/usr/bin/sh"',
            '[ -e "$1/bin" ] || ln -s usr/bin "$1/bin"',
            'mkdir -p "$1/proc" "$1/dev" "$1/sys" "$1/tmp" "$1/root" "$1/run"',
        ),
    )


def made(recipe: Recipe) -> Path:
    """The folder of this root file system, which is made if nobody has done so before.

    Raises ``TestbedError`` when it cannot be made.
    """
    need_root()
    need_tools("mmdebstrap")
    cache = folders().cache / "testbed"
    cache.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(json.dumps(asdict(recipe)).encode()).hexdigest()[:12]
    root = cache / f"{recipe.suite}-{recipe.architecture}-{digest}"
    # Whoever comes second waits until the first is done.
    with (cache / f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _make(recipe, root)
    return root


def _archive() -> list[str]:
    """The archive that this machine's own packages are from; none, where that is not Debian's.

    Left to itself, mmdebstrap takes later updates too, which mirrors often have half synced.
    """
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    done = subprocess.run([*words, "Label: Debian"], capture_output=True, text=True)
    return done.stdout.splitlines()[:1]


def _make(recipe: Recipe, root: Path) -> None:
    for remains in root.parent.glob(f"{root.name}.*/"):
        shutil.rmtree(remains)
    # Under its name only when it is whole.
    unfinished = Path(mkdtemp(prefix=f"{root.name}.", dir=root.parent))
    unfinished.chmod(0o755)
    done = subprocess.run(
        recipe.command(unfinished), stderr=subprocess.PIPE, text=True, timeout=_TIMEOUT_S
    )
    if done.returncode:
        shutil.rmtree(unfinished)
        raise TestbedError(
            f"mmdebstrap could not make Debian {recipe.suite} for {recipe.architecture}; "
            f"it needs Debian's package archive: {done.stderr.strip()[-2000:]}"
        )
    unfinished.rename(root)
