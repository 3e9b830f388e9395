"""How this process calls itself to others."""

import os
import pwd
import socket


def who_am_i() -> str:
    """``user@host (pid)``, for messages to others who want the same pipeline."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # one without an account, as in containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"
