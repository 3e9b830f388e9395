"""Libraries that give one process another world: a wrong clock, a firewall, a bad moment.

What they change is what the system calls would tell; everything above them is the real thing.
"""

import struct
import subprocess
from pathlib import Path

_CLOCK = r"""
#define _GNU_CLOCK
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const long long *offset_s;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("JUMPING_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *seen = mmap(NULL, sizeof *offset_s, PROT_READ, MAP_SHARED, file, 0);
  if (seen != MAP_FAILED) offset_s = seen;
  close(file);
}
int clock_gettime(clockid_t id, struct timespec *now) {
  int failed = (int)syscall(SYS_clock_gettime, id, now);
  if (id == CLOCK_REALTIME && offset_s) now->tv_sec += *offset_s;
  return failed;
}
time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}
"""

_FIREWALL = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int connect(int socket, const struct sockaddr *to, socklen_t size) {
  FILE *file = fopen(getenv("FIREWALL"), "r");
  int closed = 0;
  if (file) {
    if (fscanf(file, "%d", &closed) != 1) closed = 0;
    fclose(file);
  }
  int port = 0;
  if (to->sa_family == AF_INET) port = ntohs(((const struct sockaddr_in *)to)->sin_port);
  if (to->sa_family == AF_INET6) port = ntohs(((const struct sockaddr_in6 *)to)->sin6_port);
  if (port && port == closed) {
    errno = ECONNREFUSED;
    return -1;
  }
  return (int)syscall(SYS_connect, socket, to, size);
}
"""

_STOP = r"""
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <fcntl.h>
#include <unistd.h>

int unlink(const char *path) {
  const char *name = strrchr(path, '/'), *last = getenv("STOP_AT");
  if (access(last, F_OK) == 0 && name && strcmp(name, strrchr(last, '/')) == 0)
    kill(getpid(), SIGSTOP);
  return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
"""


class JumpingClock:
    """A wall clock for processes that are started in its environment: it jumps under them."""

    def __init__(self, library: str, path: Path, offset_s: int = 0) -> None:
        """``library`` is a `clock_library`; ``path`` is a file of this clock's own."""
        self._path = path
        self.set(offset_s)
        self.env = {"LD_PRELOAD": library, "JUMPING_CLOCK": str(path)}

    def set(self, offset_s: int) -> None:
        """Let it be ahead by so much, at once."""
        with self._path.open("r+b" if self._path.exists() else "wb") as file:
            file.write(struct.pack("<q", offset_s))


def clock_library(folder: Path) -> str:
    """What all clocks of one machine may share."""
    return _library(folder, "clock", _CLOCK)


def firewall(folder: Path, closed_port: Path) -> dict[str, str]:
    """The environment of a process that cannot connect to the port that a file holds, if any."""
    return {"LD_PRELOAD": _library(folder, "firewall", _FIREWALL), "FIREWALL": str(closed_port)}


def stopped_at(folder: Path, file: Path) -> dict[str, str]:
    """The environment of a process that stops when it removes any file of this one's name.

    It does so only while ``file`` itself is there.
    """
    return {"LD_PRELOAD": _library(folder, "stop", _STOP), "STOP_AT": str(file)}


def _library(folder: Path, name: str, source: str) -> str:
    library, code = folder / f"{name}.so", folder / f"{name}.c"
    code.write_text(source)
    words = ["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library), str(code)]
    subprocess.run(words, check=True)
    return str(library)
