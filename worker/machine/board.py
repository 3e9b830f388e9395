"""The board a worker runs on: its model, its temperature, and what its firmware complains of."""

from pathlib import Path

from pi_cluster.worker.machine.system_files import ROOT, entries, read_number, read_text

_MAX_MODEL = 100
_UNDER_VOLTAGE = 0x1_0001  # now, and hence since boot
_PROCESSOR_ZONES = ("cpu", "soc", "x86_pkg")
_PLAUSIBLE_C = (-40.0, 150.0)  # a broken sensor tells -273 or 3 000


def model(root: Path = ROOT) -> str:
    """The board's name, as in ``Raspberry Pi 5 Model B Rev 1.0``; empty where nothing tells."""
    for place in ("proc/device-tree/model", "sys/class/dmi/id/product_name"):
        if text := read_text(root / place):
            return text[:_MAX_MODEL]
    return ""


def temperature_c(root: Path = ROOT) -> float:
    """Degrees Celsius of the processor; 0 where the system does not tell."""
    zones = entries(root / "sys/class/thermal", "thermal_zone*")
    for zone in sorted(zones, key=_is_not_of_processor):
        millidegrees = read_number(zone / "temp")
        if millidegrees is not None and _PLAUSIBLE_C[0] < millidegrees / 1000 < _PLAUSIBLE_C[1]:
            return millidegrees / 1000
    return 0.0


def throttled(root: Path = ROOT) -> int | None:
    """The flags that ``vcgencmd get_throttled`` shows: low half now, high half since boot.

    Where only the voltage monitor tells (kernels without Raspberry Pi's changes), an alarm
    becomes the two flags of under-voltage; without one nothing is known about the others: None.
    """
    # soc/soc:firmware on a Pi 4, soc@107c000000/soc@107c000000:firmware on a Pi 5.
    for file in entries(root / "sys/devices/platform", "soc*/soc*:firmware/get_throttled"):
        flags = read_number(file, 16)
        if flags is not None and 0 <= flags < 1 << 32:
            return flags
    for monitor in entries(root / "sys/class/hwmon", "hwmon*"):
        if read_text(monitor / "name") == "rpi_volt" and read_number(monitor / "in0_lcrit_alarm"):
            return _UNDER_VOLTAGE
    return None


def clock_share(root: Path = ROOT) -> float:
    """What part of its highest clock the processor has now; 0 where the system does not tell.

    Of the fastest core: one that has nothing to do is slow by itself.
    """
    shares = [0.0]
    for policy in entries(root / "sys/devices/system/cpu/cpufreq", "policy*"):
        now = read_number(policy / "scaling_cur_freq")
        highest = read_number(policy / "cpuinfo_max_freq")
        if now is not None and highest is not None and now > 0 and highest > 0:
            shares.append(min(1.0, now / highest))
    return max(shares)


def _is_not_of_processor(zone: Path) -> bool:
    kind = (read_text(zone / "type") or "").lower()
    return not any(word in kind for word in _PROCESSOR_ZONES)
