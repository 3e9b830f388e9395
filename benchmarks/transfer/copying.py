"""The yardstick: files sent over plain TCP, nothing checked, nothing encrypted.

    python -m benchmarks.transfer.copying send | receive

Each end reads what it is to do as lines of JSON (``benchmarks/json_process.py``).
"""

import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.json_process import serve

_BLOCK_BYTES = 1 << 20


class Receiver:
    """Takes one connection and writes what comes into a file."""

    def listen(self, address: str) -> dict[str, Any]:
        """Open a port; returns its number."""
        self._listener = socket.create_server((address, 0))
        return {"port": self._listener.getsockname()[1]}

    def receive(self, path: str) -> dict[str, Any]:
        """Returns the bytes, once they are in the file."""
        block, total = memoryview(bytearray(_BLOCK_BYTES)), 0
        with self._listener, Path(path).open("wb", buffering=0) as file:
            connection, _ = self._listener.accept()
            with connection:
                while count := connection.recv_into(block):
                    file.write(block[:count])
                    total += count
                connection.sendall(b"!")
        return {"bytes": total}


class Sender:
    """Sends to several at once, a socket and a thread each."""

    def send(self, files: list[list[str]], addresses: list[list[Any]]) -> dict[str, Any]:
        """The files of each receiver, one after another; returns the seconds it takes."""
        began = time.perf_counter()
        with ThreadPoolExecutor(len(addresses)) as pool:
            list(pool.map(_send, files, addresses))
        return {"seconds": time.perf_counter() - began}


def _send(files: list[str], address: list[Any]) -> None:
    with socket.create_connection((address[0], address[1])) as connection:
        for path in files:
            with Path(path).open("rb") as file:
                connection.sendfile(file)
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(1) != b"!":
            raise ConnectionError("the receiver did not get everything")


if __name__ == "__main__":
    serve(Sender() if sys.argv[1] == "send" else Receiver())
