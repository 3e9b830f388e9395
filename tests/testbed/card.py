"""A fresh microSD card: Debian as an imager leaves it for its first boot."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.testbed.sandbox import Sandbox

USER = "pi"
_USER_ID = 1000  # of the first user that Debian makes
_HOST_KEY = "etc/ssh/ssh_host_ed25519_key"

# Programs read /proc/meminfo, which nspawn cannot cover from outside.
_MEMORY_UNIT = """[Unit]
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
ExecStart=/bin/mount --bind /usr/local/share/meminfo /proc/meminfo

[Install]
WantedBy=sysinit.target
"""


@dataclass(frozen=True, slots=True)
class CardSettings:
    """What is chosen for a card before it is written."""

    sudo_password: str = ""
    """What ``sudo`` asks the user for; without one it asks for nothing, as on Raspberry Pi OS."""
    free_bytes: int = 0
    """Room on the card beyond the system; 0 for as much as this machine has."""
    shown_memory_bytes: int = 0
    """What ``/proc/meminfo`` tells, half of it available; 0 tells what this machine has."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Texts to write on it, by their paths, as in ``etc/pip.conf``."""


def write_card(
    sandbox: Sandbox, base: Path, folder: Path, settings: CardSettings, public_key: str
) -> Path:
    """Lay a fresh system over ``base``, keeping what it writes in ``folder``.

    Returns its root, which only the sandbox sees.
    """
    root, layers = folder / "root", folder / "layers"
    root.mkdir()
    layers.mkdir()
    if settings.free_bytes:
        size = f"size={settings.free_bytes}"
        sandbox.run("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(layers))
    for name in ("upper", "work"):
        sandbox.path(layers / name).mkdir()
    options = f"lowerdir={base},upperdir={layers / 'upper'},workdir={layers / 'work'}"
    sandbox.run("mount", "-t", "overlay", "-o", options, "overlay", str(root))
    _personalise(sandbox, sandbox.path(root), settings, public_key)
    if settings.sudo_password:
        accounts = f"{USER}:{settings.sudo_password}\n"
        sandbox.run("chroot", str(root), "/usr/sbin/chpasswd", text=accounts)
    return root


def host_key(sandbox: Sandbox, root: Path) -> str:
    """The public key by which the host of this card proves who it is."""
    kind, key, *_ = sandbox.path(root / f"{_HOST_KEY}.pub").read_text().split()
    return f"{kind} {key}"


def _personalise(sandbox: Sandbox, root: Path, settings: CardSettings, public_key: str) -> None:
    network = sandbox.network
    (root / "etc/hostname").write_text(f"{network.name(sandbox.host)}\n")
    (root / "etc/hosts").write_text(network.hosts_file())
    (root / "etc/machine-id").write_text("")  # systemd makes one at the first boot
    for old in (root / "etc/ssh").glob("ssh_host_*"):
        old.unlink()
    _make_key(root / _HOST_KEY)
    _authorise(root / "home" / USER / ".ssh", public_key)
    if not settings.sudo_password:
        rule = root / "etc/sudoers.d/010_pi-nopasswd"
        rule.write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
        rule.chmod(0o440)
    for name, text in settings.files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    if settings.shown_memory_bytes:
        (root / "usr/local/share/meminfo").write_text(_meminfo(settings.shown_memory_bytes))
        units = root / "etc/systemd/system"
        (units / "shown-memory.service").write_text(_MEMORY_UNIT)
        (units / "sysinit.target.wants").mkdir(exist_ok=True)
        (units / "sysinit.target.wants/shown-memory.service").symlink_to("../shown-memory.service")


def _make_key(file: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(file)]
    subprocess.run(command, check=True)


def _authorise(folder: Path, public_key: str) -> None:
    folder.mkdir(mode=0o700)
    keys = folder / "authorized_keys"
    keys.write_text(f"{public_key}\n")
    keys.chmod(0o600)
    for path in (folder, keys):
        os.chown(path, _USER_ID, _USER_ID)


def _meminfo(total_bytes: int) -> str:
    kilobytes = total_bytes // 1024
    amounts = {
        "MemTotal": kilobytes,
        "MemFree": kilobytes // 4,
        "MemAvailable": kilobytes // 2,
        "Buffers": kilobytes // 64,
        "Cached": kilobytes // 4,
        "SwapTotal": 0,
        "SwapFree": 0,
    }
    return "".join(f"{name + ':':<16}{amount:>8} kB\n" for name, amount in amounts.items())
