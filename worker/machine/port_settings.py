"""Two settings of a network port that only its driver tells, asked by ioctl without privileges."""

import ctypes
import fcntl
import socket
import struct

_MAX_NAME = 15  # IFNAMSIZ, less the NUL
_SIOCETHTOOL = 0x8946
_ETHTOOL_GEEE = 0x44
_EEE = struct.Struct("=10I")  # struct ethtool_eee of linux/ethtool.h
_EEE_ACTIVE = 4
_SIOCGIWPOWER = 0x8B2D  # of linux/wireless.h
_WIRELESS = struct.Struct(
    "=16s i B B H 8x"
)  # struct iwreq with an iw_param: value, fixed, disabled
_DISABLED = 3


def energy_efficient(port: str) -> bool | None:
    """Whether energy-efficient Ethernet is active on a link; None where there is no such thing."""
    value = ctypes.create_string_buffer(_EEE.pack(_ETHTOOL_GEEE, *[0] * 9), _EEE.size)
    # struct ifreq: the port's name, and where to put the answer.
    request = struct.pack("=16sQ16x", _name(port), ctypes.addressof(value))
    if _ask(_SIOCETHTOOL, request) is None:
        return None
    return bool(_EEE.unpack(value.raw)[_EEE_ACTIVE])


def power_saving(port: str) -> bool | None:
    """Whether a Wi-Fi port sleeps between beacons; None for wired ones and where it is not told."""
    answer = _ask(_SIOCGIWPOWER, _WIRELESS.pack(_name(port), 0, 0, 0, 0))
    return None if answer is None else not _WIRELESS.unpack(answer)[_DISABLED]


def _name(port: str) -> bytes:
    return port.encode(errors="replace")[:_MAX_NAME]


def _ask(call: int, request: bytes) -> bytes | None:
    """The request as the driver has filled it in, or None when it refuses."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            return fcntl.ioctl(asked, call, request)
    except OSError:
        return None
