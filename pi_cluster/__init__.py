"""Mistral 7B and its relatives, run by several Raspberry Pis as one."""

import sys

if sys.platform == "win32":
    raise ImportError("pi-cluster does not run on Windows itself: install and run it within WSL")
