/* Threads that share the tasks of one region of work after another. */
#ifndef POOL_H
#define POOL_H

struct pool;

/* One task of a region. `worker` is 0 for the caller and below pool_threads for the others. */
typedef void (*task_function)(void *job, int task, int worker);

/* `threads` counts the caller too. NULL if the system has no memory or threads to give. */
struct pool *pool_open(int threads);
void pool_close(struct pool *pool);
int pool_threads(const struct pool *pool);

/* Run tasks 0..tasks-1 in any order, on any thread; returns when all are done. */
void pool_run(struct pool *pool, task_function function, void *job, int tasks);

#endif
