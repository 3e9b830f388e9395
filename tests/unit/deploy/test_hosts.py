"""``--hosts``: a list, or a file; what is wrong in it is named."""

import pytest

from pi_cluster.cluster.errors import HostError
from pi_cluster.coordinator.records.known_hosts import Host, HostRole
from pi_cluster.deploy.hosts.host_list import parse_memory, read_hosts


def hosts_in(tmp_path, text):
    path = tmp_path / "cluster.toml"
    path.write_text(text)
    return read_hosts(str(path))


def test_a_list_names_user_host_and_port():
    assert read_hosts("pi@pi1.local, pi2.local:2222 ,root@192.168.1.7,[fe80::1]:22") == [
        Host("pi1.local", "pi"),
        Host("pi2.local", port=2222),
        Host("192.168.1.7", "root"),
        Host("fe80::1", port=22),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no host name"),
        ("pi@", "no host name"),
        ("@pi1", "no user name"),
        ("pi@pi1:port", "'port' is no port"),
        ("pi@pi1:0", "0 is no port"),
        ("pi@pi1:70000", "70000 is no port"),
        ("-oProxyCommand=id", "no host name"),
        ("-l@pi1", "no user name"),
        ("pi@pi 1", "no host name"),
        ("pi1,pi2,PI1", "PI1 stands in"),
        (",".join(f"pi{n}" for n in range(65)), "names 65 hosts"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(text, reason):
    with pytest.raises(HostError, match=reason):
        read_hosts(text)


def test_a_file_names_all_that_can_be_said_of_a_host(tmp_path):
    key = tmp_path / "key"
    key.touch()
    text = f"""
        [[hosts]]
        host = "pi1.local"
        user = "pi"
        port = 2222
        key = "{key}"
        threads = 3
        memory = "6G"
        data_dir = "/mnt/ssd/"

        [[hosts]]
        host = "laptop"
        role = "coordinator"
    """
    assert hosts_in(tmp_path, text) == [
        Host("pi1.local", "pi", 2222, str(key), 3, 6 << 30, "/mnt/ssd"),
        Host("laptop", role=HostRole.COORDINATOR),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[hosts]]\nhost = \nport = 1", "line 2"),
        ("", r"no \[\[hosts\]\] table"),
        ("hosts = [1]", r"no \[\[hosts\]\] table"),
        ('cluster = "x"', "unknown key 'cluster'"),
        ('[[hosts]]\nuser = "pi"', "host 1 has no name"),
        ('[[hosts]]\nhost = "a"\n[[hosts]]\nhost = "b"\nmemroy = "1G"', r"host 2 \(b\).*'memroy'"),
        ('[[hosts]]\nhost = "a"\nport = "22"', "port is '22', and must be a whole number"),
        ('[[hosts]]\nhost = "a"\nthreads = true', "threads is True"),
        ('[[hosts]]\nhost = "a"\nthreads = 0', "0 threads"),
        ('[[hosts]]\nhost = "a"\nmemory = "6 apples"', "no amount of memory"),
        ('[[hosts]]\nhost = "a"\nmemory = "1M"', "too little"),
        ('[[hosts]]\nhost = "a"\nrole = "king"', "no role"),
        ('[[hosts]]\nhost = "a"\nkey = "/nowhere/key"', "no file /nowhere/key"),
        ('[[hosts]]\nhost = "a"\ndata_dir = "ssd"', "absolute path"),
        ('[[hosts]]\nhost = "a"\ndata_dir = "/mnt/../etc"', "absolute path"),
        ('[[hosts]]\nhost = "a"\ndata_dir = "/"', "absolute path"),
        ('[[hosts]]\nhost = "a"\ndata_dir = "/mnt/my disk"', "absolute path"),
        ('[[hosts]]\nhost = "a"\ndata_dir = "/home/pi"', "lies in /home"),
        ('[[hosts]]\nhost = "a"\n[[hosts]]\nhost = "a"', "twice"),
        ('[[hosts]]\nhost = "a"\nrole = "coordinator"', "names no worker"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, text, reason):
    with pytest.raises(HostError, match=reason) as raised:
        hosts_in(tmp_path, text)
    assert "cluster.toml" in str(raised.value)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(HostError, match=r"nowhere\.toml: No such file"):
        read_hosts("nowhere.toml")


@pytest.mark.parametrize(
    ("text", "size"), [("6G", 6 << 30), ("1500 MiB", 1500 << 20), ("2147483648", 2 << 30)]
)
def test_memory_is_counted_in_1024s(text, size):
    assert parse_memory(text) == size
