"""Sockets in folders whose names are longer than a socket's may be."""

import socket

import pytest

from pi_cluster.cluster import unix_socket


@pytest.mark.parametrize("letters", [1, 150])
def test_a_socket_is_found_however_long_its_path_is(letters, tmp_path):
    folder = tmp_path / ("x" * letters)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        unix_socket.bind(listener, folder / "door")
        listener.listen()
        with unix_socket.connect(folder / "door", 5) as ours, listener.accept()[0] as theirs:
            theirs.sendall(b"here")
            assert ours.recv(10) == b"here"


def test_where_nobody_listens_the_system_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        unix_socket.connect(tmp_path / "door", 5)
