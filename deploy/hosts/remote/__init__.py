"""What runs on a host while it is set up: a program that is sent over SSH and leaves no trace.

Standard library only, and nothing newer than Python 3.7, so that a host with an old Python can say
so. It is not installed there: `deploy/hosts/remote_host.py` sends these files, in the order of
``MODULES``, to a waiting `python3`, and then asks one operation after the other.

Every operation can be repeated, and a power cut in the middle of one leaves what the next run
recognises as unfinished: files appear under their name only when they are synced, a virtual
environment counts only with its marker, `current` is replaced in one step.
"""

MODULES = (
    "framing",
    "files",
    "layout",
    "worker_service",
    "host_facts",
    "environments",
    "coordinator_host",
    "purge",
    "program",
)
"""In the order in which they import each other."""
