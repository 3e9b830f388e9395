"""Folders that look as ``/`` does to a worker on several machines, written file by file."""

from pathlib import Path


def write_files(root: Path, files: dict[str, str]) -> Path:
    """Write files by their path below ``root``; a path that ends in a slash is a folder."""
    for name, text in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return root


def _port(name: str, **values: str) -> dict[str, str]:
    return {f"sys/class/net/{name}/{key}": f"{value}\n" for key, value in values.items()}


_LOOPBACK = _port("lo", type="772", operstate="unknown", carrier="1", carrier_changes="0")


def pi_5(root: Path) -> Path:
    """A Pi 5 as a hardened systemd service sees it: cable at Gigabit, Wi-Fi off, all well."""
    return write_files(
        root,
        {
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/meminfo": "MemTotal:        8256016 kB\nSwapTotal:       204784 kB\n"
            "SwapFree:        204784 kB\n",
            "proc/vmstat": "nr_free_pages 1016\noom_kill 0\n",
            "proc/uptime": "93600.25 371000.00\n",
            "proc/self/status": "Name:\tpython3\nSeccomp:\t2\nSeccomp_filters:\t3\n",
            "proc/self/cgroup": "0::/system.slice/pi-cluster-default.service\n",
            "sys/fs/cgroup/system.slice/memory.max": "max\n",
            "sys/fs/cgroup/system.slice/pi-cluster-default.service/memory.max": "6442450944\n",
            "etc/os-release": 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\n'
            'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
            "run/systemd/timesync/synchronized": "",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48850\n",
            "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "0\n",
            **_LOOPBACK,
            **_port(
                "eth0",
                type="1",
                operstate="up",
                carrier="1",
                speed="1000",
                duplex="full",
                carrier_changes="2",
            ),
            "sys/class/net/wlan0/wireless/": "",
            **_port("wlan0", type="1", operstate="down", carrier_changes="1"),
        },
    )


def pi_4(root: Path) -> Path:
    """A Pi 4 in trouble: hot, under-voltage, Wi-Fi beside a bad cable, memory run out."""
    return write_files(
        root,
        {
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/meminfo": "SwapTotal:       102396 kB\nSwapFree:         2396 kB\n",
            "proc/vmstat": "oom_kill 3\n",
            "proc/uptime": "7200.00 1.00\n",
            "proc/self/status": "Seccomp:\t0\n",
            "proc/self/cgroup": "4:memory:/system.slice/pi.service\n1:name=systemd:/x\n0::/x\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/system.slice/pi.service/memory.limit_in_bytes": "1073741824\n",
            "usr/lib/os-release": "PRETTY_NAME='Debian GNU/Linux 11 (bullseye)'\n",
            "run/systemd/timesync/": "",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "82277\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
            **_LOOPBACK,
            **_port(
                "eth0",
                type="1",
                operstate="up",
                speed="100",
                duplex="half",
                carrier_changes="40",
            ),
            "sys/class/net/wlan0/phy80211/": "",
            **_port("wlan0", type="1", operstate="up", carrier_changes="4"),
        },
    )


def pc(root: Path) -> Path:
    """A laptop: several thermal zones, a bridge of containers, no firmware of a Pi."""
    return write_files(
        root,
        {
            "sys/class/dmi/id/product_name": "ThinkPad T14\n",
            "proc/meminfo": "SwapTotal:       0 kB\nSwapFree:         0 kB\n",
            "etc/os-release": "PRETTY_NAME='Ubuntu 24.04.1 LTS'\n",
            "sys/class/thermal/thermal_zone0/type": "acpitz\n",
            "sys/class/thermal/thermal_zone0/temp": "27800\n",
            "sys/class/thermal/thermal_zone1/type": "x86_pkg_temp\n",
            "sys/class/thermal/thermal_zone1/temp": "61000\n",
            "sys/class/hwmon/hwmon0/name": "nvme\n",
            **_LOOPBACK,
            **_port("docker0", type="1", operstate="up", speed="-1"),
            **_port("veth12ab", type="1", operstate="up", speed="10000"),
            **_port("enp0s31f6", type="1", operstate="down", speed="-1", duplex="unknown"),
            **_port("tun0", type="65534", operstate="unknown", carrier="1", speed="10"),
            **_port("wlp3s0", type="1", operstate="up"),
            "sys/class/net/wlp3s0/wireless/": "",
        },
    )


def container(root: Path) -> Path:
    """A container that shows next to nothing."""
    return write_files(root, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"})


def machine_of_a_group(
    root: Path, *, version: int, limit: int, used: int, files: int, stalled: float = 0.0
) -> Path:
    """A worker in a control group with a memory limit; bytes, and percent of ten seconds."""
    if version == 1:
        written = {
            "memory.limit_in_bytes": f"{limit}\n",
            "memory.usage_in_bytes": f"{used}\n",
            "memory.stat": f"active_file 7\ntotal_active_file {files}\ntotal_inactive_file 0\n",
        }
        line, folder = "4:memory:/system.slice/pi.service\n0::/\n", "memory/system.slice/pi.service"
    else:
        written = {
            "memory.max": f"{limit}\n",
            "memory.current": f"{used}\n",
            "memory.stat": f"anon 1\nfile_mapped 5\ninactive_file {files}\nactive_file 0\n",
            "memory.pressure": f"some avg10=99.00 total=9\nfull avg10={stalled:.2f} total=9\n",
        }
        line, folder = "0::/system.slice/pi.service\n", "system.slice/pi.service"
    placed = {f"sys/fs/cgroup/{folder}/{name}": text for name, text in written.items()}
    return write_files(root, {"proc/self/cgroup": line} | placed)
