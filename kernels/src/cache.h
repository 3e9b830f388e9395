/* The rolling cache of one sequence: for each layer, keys of all heads, then values of all heads.
 * Position p lives in slot p % capacity; one head's part is struct head_cache (variant.h). */
#ifndef CACHE_H
#define CACHE_H

#include "kernels.h"
#include "linear.h"

/* A value's lanes are padded to whole vectors; the padding stays zero. */
static inline int value_stride(const struct heads *heads) { return (heads->head_dim + 15) / 16 * 16; }

static inline struct head_cache head_of(const struct heads *heads, const uint16_t *cache, int head) {
    const uint16_t *keys = cache + heads->cache_offset;
    const uint16_t *values = keys + heads->n_kv_heads * heads->capacity * heads->head_dim;
    return (struct head_cache){
        .keys = keys + head * heads->capacity * heads->head_dim,
        .values = values + head * heads->capacity * value_stride(heads),
        .capacity = heads->capacity,
        .head_dim = heads->head_dim,
        .value_stride = value_stride(heads),
    };
}

/* Store the rows of a span for one key/value head. `keys` and `values` point to the step's row 0;
 * their rows hold all heads. */
void store_head(const struct variant *variant, const struct heads *heads, int head,
                const struct span *span, const float *keys, const float *values);

/* Replace the queries of a span's rows by their attention; `queries` points to the step's row 0. */
void attend_spans(struct engine *engine, const struct heads *heads, const struct span *spans,
                  int n_spans, float *queries);

#endif
