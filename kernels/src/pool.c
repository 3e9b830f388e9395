/* A thread that waits spins briefly, since the next region of a layer follows within microseconds,
 * and then sleeps, since two spinning threads on one core are ruinous. Tasks are claimed one by
 * one, so a thread that the system has put aside holds up nothing but the task it claimed.
 *
 * Threads do not survive fork(): in a child the caller does all tasks itself. */
#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

enum { SPIN_NS = 40000 };

struct member {
    struct pool *pool;
    pthread_t thread;
    int number;
};

struct pool {
    /* The region: written before `unclaimed`, which publishes it, and stable until `unfinished` is
     * zero, which whoever has claimed a task prevents. */
    task_function function;
    void *job;
    atomic_int unclaimed;
    atomic_int unfinished;

    pthread_mutex_t region; /* held by the caller: one region at a time */
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_cond_t done;
    atomic_int sleepers;
    atomic_int caller_sleeps;
    atomic_int stopping;

    pid_t owner;
    int threads;
    struct member members[];
};

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* unlike yield, it does pause */
#endif
}

static int has_work(struct pool *pool) {
    return atomic_load(&pool->unclaimed) > 0 || atomic_load(&pool->stopping);
}

static int is_done(struct pool *pool) { return atomic_load(&pool->unfinished) == 0; }

static int spin_until(struct pool *pool, int (*condition)(struct pool *)) {
    int64_t deadline = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 16; i++) {
            if (condition(pool))
                return 1;
            relax();
        }
    } while (now_ns() < deadline);
    return 0;
}

/* A sleeper announces itself before it looks again, and who has news looks for sleepers after
 * telling it; so one of the two always sees the other. */
static void sleep_until(struct pool *pool, int (*condition)(struct pool *), atomic_int *asleep,
                        pthread_cond_t *news) {
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(asleep, 1);
    while (!condition(pool)) pthread_cond_wait(news, &pool->lock);
    atomic_fetch_sub(asleep, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void wake(struct pool *pool, atomic_int *asleep, pthread_cond_t *news) {
    if (atomic_load(asleep) == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(news);
    pthread_mutex_unlock(&pool->lock);
}

static void do_tasks(struct pool *pool, int worker) {
    while (atomic_load(&pool->unclaimed) > 0) {
        int task = atomic_fetch_sub(&pool->unclaimed, 1) - 1;
        if (task < 0)
            return;
        pool->function(pool->job, task, worker);
        if (atomic_fetch_sub(&pool->unfinished, 1) == 1)
            wake(pool, &pool->caller_sleeps, &pool->done);
    }
}

static void *member_main(void *argument) {
    struct member *self = argument;
    struct pool *pool = self->pool;
    while (!atomic_load(&pool->stopping)) {
        do_tasks(pool, self->number);
        if (!spin_until(pool, has_work))
            sleep_until(pool, has_work, &pool->sleepers, &pool->work);
    }
    return NULL;
}

void pool_run(struct pool *pool, task_function function, void *job, int tasks) {
    if (tasks <= 1 || pool->threads == 1 || pool->owner != getpid()) {
        for (int task = 0; task < tasks; task++) function(job, task, 0);
        return;
    }
    pthread_mutex_lock(&pool->region);
    pool->function = function;
    pool->job = job;
    atomic_store(&pool->unfinished, tasks);
    atomic_store(&pool->unclaimed, tasks);
    wake(pool, &pool->sleepers, &pool->work);
    do_tasks(pool, 0);
    if (!spin_until(pool, is_done))
        sleep_until(pool, is_done, &pool->caller_sleeps, &pool->done);
    pthread_mutex_unlock(&pool->region);
}

/* Signals are for the interpreter's own threads. */
static int start_member(struct member *member) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&member->thread, NULL, member_main, member);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

struct pool *pool_open(int threads) {
    struct pool *pool = calloc(1, sizeof *pool + (size_t)threads * sizeof *pool->members);
    if (!pool)
        return NULL;
    pthread_mutex_init(&pool->region, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->owner = getpid();
    pool->threads = 1;
    while (pool->threads < threads) {
        struct member *member = &pool->members[pool->threads];
        *member = (struct member){.pool = pool, .number = pool->threads};
        if (start_member(member)) {
            pool_close(pool);
            return NULL;
        }
        pool->threads++;
    }
    return pool;
}

void pool_close(struct pool *pool) {
    /* In a child of fork() there is nobody to join, and a lock may be held by nobody for ever. */
    if (pool->owner == getpid()) {
        atomic_store(&pool->stopping, 1);
        wake(pool, &pool->sleepers, &pool->work);
        for (int i = 1; i < pool->threads; i++) pthread_join(pool->members[i].thread, NULL);
        pthread_mutex_destroy(&pool->region);
        pthread_mutex_destroy(&pool->lock);
        pthread_cond_destroy(&pool->work);
        pthread_cond_destroy(&pool->done);
    }
    free(pool);
}

int pool_threads(const struct pool *pool) { return pool->threads; }
