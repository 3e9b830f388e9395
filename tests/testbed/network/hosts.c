#define _GNU_SOURCE
#include "hosts.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_ADDRESS = 10, MAX_KILLS = 200, KILL_INTERVAL_US = 10000 };

void fail(const char *what) {
    perror(what);
    exit(1);
}

static void bring_up(int control, const char *interface, const char *address) {
    struct ifreq request = {0};
    snprintf(request.ifr_name, IFNAMSIZ, "%s", interface);
    struct sockaddr_in *inet = (struct sockaddr_in *)&request.ifr_addr;
    inet->sin_family = AF_INET;
    inet_pton(AF_INET, address, &inet->sin_addr);
    if (ioctl(control, SIOCSIFADDR, &request) < 0) fail("SIOCSIFADDR");
    inet_pton(AF_INET, "255.255.255.0", &inet->sin_addr);
    if (ioctl(control, SIOCSIFNETMASK, &request) < 0) fail("SIOCSIFNETMASK");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(control, SIOCSIFFLAGS, &request) < 0) fail("SIOCSIFFLAGS");
}

// What a Pi's system chooses; the machine below may differ.
static void choose_cubic(void) {
    FILE *file = fopen("/proc/sys/net/ipv4/tcp_congestion_control", "w");
    if (!file || fputs("cubic", file) < 0 || fclose(file)) perror("no cubic (continuing)");
}

int open_host(int index, int *tap) {
    if (unshare(CLONE_NEWNET) < 0) fail("a network namespace");
    int namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    *tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    strcpy(request.ifr_name, "eth0");
    if (namespace < 0 || *tap < 0 || ioctl(*tap, TUNSETIFF, &request) < 0) fail("/dev/net/tun");
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char address[32];
    snprintf(address, sizeof address, "10.77.0.%d", FIRST_ADDRESS + index);
    bring_up(control, "lo", "127.0.0.1");
    bring_up(control, "eth0", address);
    close(control);
    choose_cubic();
    return namespace;
}

static int is_in_one_of(const int *namespaces, int count, const char *process) {
    char path[64];
    struct stat theirs, ours;
    snprintf(path, sizeof path, "/proc/%.20s/ns/net", process);
    if (stat(path, &theirs) < 0) return 0;
    for (int i = 0; i < count; i++) {
        if (!fstat(namespaces[i], &ours) && ours.st_ino == theirs.st_ino) return 1;
    }
    return 0;
}

// Again and again, since what is being killed may still start others.
void kill_all_in(const int *namespaces, int count) {
    for (int found = 1, tries = 0; found && tries < MAX_KILLS; tries++) {
        DIR *processes = opendir("/proc");
        if (!processes) fail("/proc");
        found = 0;
        for (struct dirent *entry; (entry = readdir(processes));) {
            pid_t id = atoi(entry->d_name);
            if (id <= 0 || id == getpid()) continue;
            if (!is_in_one_of(namespaces, count, entry->d_name)) continue;
            kill(id, SIGKILL);
            found = 1;
        }
        closedir(processes);
        if (found) usleep(KILL_INTERVAL_US);
    }
}
