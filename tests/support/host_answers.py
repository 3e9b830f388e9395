"""What a host answers over SSH in which nothing is the matter."""

from typing import Any

NOW = 1_800_000_000.0
MIB = 1 << 20


def a_pi() -> dict[str, Any]:
    """The facts of a Pi 4 with a fresh card, as JSON has them; the caller may change them."""
    return {
        "system": "Debian GNU/Linux 12 (bookworm)",
        "machine": "aarch64",
        "pointer_bits": 64,
        "python": [3, 11, 2],
        "implementation": "CPython",
        "glibc": [2, 36],
        "memory_bytes": 3_900 * MIB,
        "disks": {
            "program": {"device": 1, "free_bytes": 20_000 * MIB},
            "wheels": {"device": 1, "free_bytes": 20_000 * MIB},
            "data": {"device": 1, "free_bytes": 20_000 * MIB},
        },
        "clock_unix_s": NOW + 3,
        "throttled": 0,
        "has_systemd": True,
        "is_root": False,
        "addresses": ["192.168.1.10", "fd00::10"],
        "installed": {
            "receipt": {},
            "environment": "",
            "unit": "",
            "is_active": False,
            "is_enabled": False,
        },
        "other_services": [],
    }
