#include "cache.h"

void store_head(const struct variant *variant, const struct heads *heads, int head,
                const struct span *span, const float *keys, const float *values) {
    struct head_cache cache = head_of(heads, span->cache, head);
    uint16_t *all_keys = (uint16_t *)cache.keys, *all_values = (uint16_t *)cache.values;
    int head_dim = heads->head_dim;
    for (int row = span->start_row; row < span->stop_row; row++) {
        int64_t slot = (span->position + row - span->start_row) % heads->capacity;
        int64_t from = ((int64_t)row * heads->n_kv_heads + head) * head_dim;
        uint16_t key[MAX_HEAD_DIM];
        variant->to_half(values + from, head_dim, all_values + slot * cache.value_stride);
        variant->to_half(keys + from, head_dim, key);
        uint16_t *tile = all_keys + slot / KEY_TILE * KEY_TILE * head_dim + slot % KEY_TILE;
        for (int d = 0; d < head_dim; d++) tile[d * KEY_TILE] = key[d];
    }
}

struct attention_job {
    const struct variant *variant;
    const struct heads *heads;
    const struct span *spans;
    float *queries;
    int rows;
};

/* Tasks run head by head, so that neighbouring ones read the same part of a cache. */
static void attend_row(void *job, int task, int worker) {
    const struct attention_job *a = job;
    const struct heads *heads = a->heads;
    int head = task / a->rows, row = a->spans->start_row + task % a->rows;
    const struct span *span = a->spans;
    while (row >= span->stop_row) span++;

    struct head_cache cache = head_of(heads, span->cache, head);
    int shared = heads->n_heads / heads->n_kv_heads;
    int64_t first = (int64_t)row * heads->n_heads + (int64_t)head * shared;
    a->variant->attend(&cache, a->queries + first * heads->head_dim, shared, heads->query_scale,
                       span->position + row - span->start_row, heads->window);
    (void)worker;
}

void attend_spans(struct engine *engine, const struct heads *heads, const struct span *spans,
                  int n_spans, float *queries) {
    struct attention_job job = {engine->variant, heads, spans, queries, 0};
    job.rows = spans[n_spans - 1].stop_row - spans->start_row;
    pool_run(engine->pool, attend_row, &job, job.rows * heads->n_kv_heads);
}
