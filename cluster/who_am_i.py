"""How this process calls itself to others."""

import os
import socket

import psutil


def who_am_i() -> str:
    """``user@host (pid)``, for messages to others who want the same pipeline."""
    return f"{psutil.Process().username()}@{socket.gethostname()} (process {os.getpid()})"
