// A learning Ethernet switch in user space, with a network namespace at each port.
//
//     switch PORTS DELAY_US JITTER_US LOSS BITS_PER_S QUEUE_MS
//
// Each port's link delays, drops and serialises frames, once on the way up to the switch and once
// on the way down. Port p is the interface eth0, 10.77.0.(10 + p), of a namespace without a name:
// the switch holds it open, prints "ready FD..." with the descriptors by which others enter it, and
// ends when its standard input does. First it kills what still runs in the namespaces, so that
// nothing is left of the network, whatever ended it.
//
// A line on standard input is a command, and is answered with a line:
//
//     plugged PORT 0|1    take a port's cable out, or put it in         -> ok
//     group PORT NUMBER   frames pass only between ports of one group   -> ok
//     loss PORT SHARE     lose that share of a link's frames, each way  -> ok
//     bytes               -> for each port those that its host has sent, and been delivered
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_tun.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "hosts.h"

enum { MAX_PORTS = 32, FRAME_BYTES = 2048, HEADER_BYTES = 14, BURST = 64 };
enum { ALL_PORTS = -1, COMMAND_BYTES = 64 };
// Preamble, checksum and gap between frames, which take their time on the wire too.
enum { WIRE_OVERHEAD_BYTES = 24 };

typedef struct {
    uint64_t busy_until, last_out;
    double loss;
} Direction;

typedef struct {
    int tap, plugged, group;
    Direction up, down;
    uint64_t sent_bytes, delivered_bytes;
    unsigned char mac[6];
} Port;

typedef struct {
    uint64_t time, number;
    int from, to, bytes, on_the_way_up;
    unsigned char data[FRAME_BYTES];
} Frame;

static struct {
    double delay_ns, jitter_ns, loss, bits_per_s, queue_ns;
} profile;
static Port ports[MAX_PORTS];
static int port_count;
static Frame **heap;  // the next frame to arrive somewhere comes first
static int heap_size, heap_room;
static uint64_t frames_seen;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double normal(void) {
    return sqrt(-2 * log(1 - drand48())) * cos(2 * M_PI * drand48());
}

static int earlier(const Frame *a, const Frame *b) {
    return a->time < b->time || (a->time == b->time && a->number < b->number);
}

static void swap(int i, int j) {
    Frame *frame = heap[i];
    heap[i] = heap[j];
    heap[j] = frame;
}

static void push(Frame *frame) {
    if (heap_size == heap_room) {
        heap_room = heap_room ? 2 * heap_room : 1024;
        if (!(heap = realloc(heap, (size_t)heap_room * sizeof *heap))) fail("realloc");
    }
    frame->number = frames_seen++;
    heap[heap_size] = frame;
    for (int i = heap_size++; i && earlier(heap[i], heap[(i - 1) / 2]); i = (i - 1) / 2) {
        swap(i, (i - 1) / 2);
    }
}

static Frame *pop(void) {
    Frame *first = heap[0];
    heap[0] = heap[--heap_size];
    for (int i = 0;;) {
        int least = i;
        for (int child = 2 * i + 1; child <= 2 * i + 2 && child < heap_size; child++) {
            if (earlier(heap[child], heap[least])) least = child;
        }
        if (least == i) return first;
        swap(i, least);
        i = least;
    }
}

// Sends a frame over one direction of a link: when it arrives, or 0 if it is lost.
static uint64_t arrival(uint64_t time, int bytes, Direction *link) {
    if (drand48() < link->loss) return 0;
    uint64_t done = time;
    if (profile.bits_per_s > 0) {
        uint64_t start = link->busy_until > time ? link->busy_until : time;
        if ((double)(start - time) > profile.queue_ns) return 0;
        done = start + (uint64_t)((bytes + WIRE_OVERHEAD_BYTES) * 8e9 / profile.bits_per_s);
        link->busy_until = done;
    }
    double delay = profile.delay_ns + profile.jitter_ns * normal();
    if (delay < profile.delay_ns / 2) delay = profile.delay_ns / 2;
    uint64_t out = done + (uint64_t)delay;
    // A link keeps the order of its frames, however the delay varies.
    if (out < link->last_out) out = link->last_out;
    return link->last_out = out;
}

static void send_down(Frame *frame, int port) {
    int together = ports[frame->from].group == ports[port].group;
    uint64_t time = together ? arrival(frame->time, frame->bytes, &ports[port].down) : 0;
    if (!time) {
        free(frame);
        return;
    }
    frame->time = time;
    frame->to = port;
    frame->on_the_way_up = 0;
    push(frame);
}

static int port_of(const unsigned char *mac) {
    for (int i = 0; i < port_count; i++) {
        if (!memcmp(ports[i].mac, mac, sizeof ports[i].mac)) return i;
    }
    return ALL_PORTS;
}

static void forward(Frame *frame) {
    int to = port_of(frame->data);
    if (to != ALL_PORTS) {
        send_down(frame, to);
        return;
    }
    for (int i = 0; i < port_count; i++) {
        if (i == frame->from) continue;
        Frame *copy = malloc(sizeof *copy);
        if (!copy) fail("malloc");
        *copy = *frame;
        send_down(copy, i);
    }
    free(frame);
}

static void deliver_due_frames(void) {
    while (heap_size && heap[0]->time <= now_ns()) {
        Frame *frame = pop();
        if (frame->on_the_way_up) {
            forward(frame);
            continue;
        }
        Port *port = &ports[frame->to];
        // A full interface drops the frame, as a real one does.
        if (port->plugged && write(port->tap, frame->data, (size_t)frame->bytes) > 0) {
            port->delivered_bytes += (uint64_t)frame->bytes;
        }
        free(frame);
    }
}

static void receive(int port) {
    for (int i = 0; i < BURST; i++) {
        Frame *frame = malloc(sizeof *frame);
        if (!frame) fail("malloc");
        frame->bytes = (int)read(ports[port].tap, frame->data, FRAME_BYTES);
        frame->from = port;
        frame->on_the_way_up = 1;
        if (frame->bytes < HEADER_BYTES) {
            free(frame);
            return;
        }
        if (!ports[port].plugged) {
            free(frame);
            continue;
        }
        ports[port].sent_bytes += (uint64_t)frame->bytes;
        memcpy(ports[port].mac, frame->data + sizeof ports[port].mac, sizeof ports[port].mac);
        frame->time = arrival(now_ns(), frame->bytes, &ports[port].up);
        if (frame->time) push(frame);
        else free(frame);
    }
}

static const char *obey(const char *line) {
    int index;
    unsigned value;
    if (!strcmp(line, "bytes\n")) {
        for (int i = 0; i < port_count; i++) {
            printf("%ju %ju ", (uintmax_t)ports[i].sent_bytes, (uintmax_t)ports[i].delivered_bytes);
        }
        return "";
    }
    if (sscanf(line, "plugged %d %u", &index, &value) == 2 && index >= 0 && index < port_count) {
        ports[index].plugged = value != 0;
        // The host sees it as it would see a cable: eth0 has no carrier.
        return ioctl(ports[index].tap, TUNSETCARRIER, &value) < 0 ? strerror(errno) : "ok";
    }
    if (sscanf(line, "group %d %u", &index, &value) == 2 && index >= 0 && index < port_count) {
        ports[index].group = (int)value;
        return "ok";
    }
    double share;
    if (sscanf(line, "loss %d %lf", &index, &share) == 2 && index >= 0 && index < port_count) {
        ports[index].up.loss = ports[index].down.loss = share;
        return "ok";
    }
    return "not a command";
}

// Whether there may be more. Whoever commands waits for each answer, so a line comes as a whole.
static int answer_command(void) {
    char line[COMMAND_BYTES];
    ssize_t bytes = read(STDIN_FILENO, line, sizeof line - 1);
    if (bytes <= 0) return 0;
    line[bytes] = 0;
    puts(obey(line));
    fflush(stdout);
    return 1;
}

static void wait_for_work(struct pollfd *polled) {
    struct timespec timeout, *limit = NULL;
    if (heap_size) {
        uint64_t now = now_ns(), wait = heap[0]->time > now ? heap[0]->time - now : 0;
        timeout = (struct timespec){(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
        limit = &timeout;
    }
    if (ppoll(polled, (nfds_t)port_count + 1, limit, NULL) < 0) fail("ppoll");
}

int main(int count, char **words) {
    if (count != 7) return 2;
    port_count = atoi(words[1]);
    if (port_count < 1 || port_count > MAX_PORTS) return 2;
    profile.delay_ns = 1e3 * atof(words[2]);
    profile.jitter_ns = 1e3 * atof(words[3]);
    profile.loss = atof(words[4]);
    profile.bits_per_s = atof(words[5]);
    profile.queue_ns = 1e6 * atof(words[6]);
    int namespaces[MAX_PORTS];
    struct pollfd polled[MAX_PORTS + 1];
    printf("ready");
    for (int i = 0; i < port_count; i++) {
        ports[i].plugged = 1;
        ports[i].up.loss = ports[i].down.loss = profile.loss;
        namespaces[i] = open_host(i, &ports[i].tap);
        polled[i] = (struct pollfd){.fd = ports[i].tap, .events = POLLIN};
        printf(" %d", namespaces[i]);
    }
    polled[port_count] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    puts("");
    fflush(stdout);
    prctl(PR_SET_TIMERSLACK, 1000);
    struct sched_param urgent = {.sched_priority = 10};
    if (sched_setscheduler(0, SCHED_FIFO, &urgent) < 0) perror("SCHED_FIFO (continuing)");
    while (!polled[port_count].revents || answer_command()) {
        deliver_due_frames();
        wait_for_work(polled);
        for (int i = 0; i < port_count; i++) {
            if (polled[i].revents & POLLIN) receive(i);
        }
    }
    kill_all_in(namespaces, port_count);
    return 0;
}
