// The hosts at the switch: network namespaces without names, and what runs in them.
#ifndef HOSTS_H
#define HOSTS_H

void fail(const char *what);

// Makes the namespace of a port, with its interface, and enters it. Returns the descriptor that
// keeps it, and in *tap the one through which its interface sends and receives frames.
int open_host(int index, int *tap);

// Kills every other process in these namespaces.
void kill_all_in(const int *namespaces, int count);

#endif
