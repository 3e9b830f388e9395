/* The engine and the operations that Python calls one at a time. */
#include <stdlib.h>

#include "cache.h"
#include "rows.h"

struct engine *kernels_open(const char *variant, int threads) {
    struct engine *engine = malloc(sizeof *engine);
    if (!engine)
        return NULL;
    engine->variant = find_variant(variant);
    engine->pool = engine->variant ? pool_open(threads) : NULL;
    if (engine->pool)
        return engine;
    free(engine);
    return NULL;
}

void kernels_close(struct engine *engine) {
    pool_close(engine->pool);
    free(engine);
}

const char *kernels_name(const struct engine *engine) { return engine->variant->name; }

struct packing {
    const struct variant *variant;
    const float *from, *importance;
    const struct matrix *into;
};

static void pack_group(void *job, int group, int worker) {
    const struct packing *p = job;
    const struct matrix *into = p->into;
    int first = group * GROUP_ROWS, left = into->rows - first;
    uint8_t *out = (uint8_t *)into->data + group * group_bytes(into);
    const float *from = p->from + (int64_t)first * into->columns;
    int rows = left < GROUP_ROWS ? left : GROUP_ROWS;
    switch (into->format) {
    case FORMAT_Q4: p->variant->pack_q4(from, p->importance, rows, into->columns, out); break;
    case FORMAT_Q4N: p->variant->pack_q4n(from, p->importance, rows, into->columns, out); break;
    default: p->variant->pack_q8(from, rows, into->columns, out); break;
    }
    (void)worker;
}

void kernels_pack(struct engine *engine, const float *w, const float *importance,
                  const struct matrix *into) {
    struct packing packing = {engine->variant, w, importance, into};
    pool_run(engine->pool, pack_group, &packing, (into->rows + GROUP_ROWS - 1) / GROUP_ROWS);
}

void kernels_quantise(struct engine *engine, const float *x, int rows, int columns,
                      struct quantised_block *out) {
    quantise_rows(engine, x, rows, columns, out);
}

void kernels_linear(struct engine *engine, const struct matrix *w, const float *x, int rows,
                    struct quantised_block *blocks, float *out) {
    if (is_quantised(w->format))
        quantise_rows(engine, x, rows, w->columns, blocks);
    const struct linear product = {w, {x, blocks}, NULL, out, 0};
    linear_all(engine, &product, 1, rows);
}

void kernels_rms_norm(struct engine *engine, const float *x, const float *gain, int rows, int dim,
                      float eps, float *out) {
    norm_rows(engine, x, gain, rows, dim, eps, out, NULL);
}

void kernels_rope(float *x, const struct rotation *rotation, int rows, int heads, int head_dim) {
    for (int row = 0; row < rows; row++)
        for (int head = 0; head < heads; head++, x += head_dim) rope(x, rotation, row);
}

void kernels_swiglu(struct engine *engine, float *gate, const float *up, int64_t count) {
    engine->variant->swiglu(gate, up, (int)count);
}

int64_t kernels_cache_bytes(const struct heads *heads) {
    int64_t slots = heads->n_kv_heads * heads->capacity;
    return slots * (heads->head_dim + value_stride(heads)) * (int64_t)sizeof(uint16_t);
}

struct storing {
    const struct engine *engine;
    const struct heads *heads;
    const struct span *span;
    const float *keys;
    const float *values;
};

static void store_one(void *job, int head, int worker) {
    const struct storing *s = job;
    store_head(s->engine->variant, s->heads, head, s->span, s->keys, s->values);
    (void)worker;
}

void kernels_store(struct engine *engine, const struct heads *heads, const struct span *span,
                   const float *keys, const float *values) {
    struct storing storing = {engine, heads, span, keys, values};
    pool_run(engine->pool, store_one, &storing, heads->n_kv_heads);
}

void kernels_attend(struct engine *engine, const struct heads *heads, const struct span *span,
                    float *queries) {
    attend_spans(engine, heads, span, 1, queries);
}
