/* The C interface, as kernels/library.py calls it. Nothing here checks its arguments: the Python
 * side has checked every size, format and pointer. All floats are float32, all rows contiguous. */
#ifndef KERNELS_H
#define KERNELS_H

#include "formats.h"

#if defined(__GNUC__)
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT
#endif

struct engine; /* a variant and a pool of threads */

/* What the layers of a stage have in common, and the widest of what any of them computes. */
struct shape {
    int32_t dim;
    int32_t most_queries; /* n_heads * head_dim */
    int32_t most_keys;    /* n_kv_heads * head_dim */
    int32_t most_hidden;
    float norm_eps;
};

/* How one layer attends, and where it has its part of each sequence's cache (cache.h). */
struct heads {
    int64_t window; /* 0: none */
    int64_t capacity;
    int64_t cache_offset; /* of the layer's part, in numbers of 16 bits */
    int32_t n_heads;
    int32_t n_kv_heads;
    int32_t head_dim;
    float query_scale;
};

/* One layer. What is NULL or -1 is not executed. The order, as transformer/layer.py has it:
 * a bias is added to the finished product, q and k are normalised head by head, then turned. */
struct layer {
    struct heads heads;
    const float *attention_norm;
    const float *ffn_norm;
    struct matrix wq, wk, wv, wo, w1, w2, w3;
    const float *bq, *bk, *bv, *bo;
    const float *q_norm, *k_norm; /* (head_dim) */
    int32_t rotation;             /* which of the step's */
};

/* Angles of a step's rows, of which the first 2 * pairs entries of a head are turned. */
struct rotation {
    const float *cos; /* (rows, pairs) */
    const float *sin;
    int32_t pairs;
};

/* Rows start_row up to stop_row of a step: consecutive positions of one sequence. */
struct span {
    uint16_t *cache; /* of that sequence, all layers */
    int64_t position; /* of the first row */
    int32_t start_row;
    int32_t stop_row;
};

struct step {
    float *hidden; /* (rows, dim), replaced by the result */
    const struct rotation *rotations;
    const struct span *spans;
    void *scratch; /* kernels_scratch_bytes, aligned to 64 */
    int32_t rows;
    int32_t n_spans;
};

/* Name of the index-th variant that this CPU has, fastest first; NULL after the last. */
EXPORT const char *kernels_variant(int index);

/* NULL if this CPU has no such variant (`variant` empty: the fastest), or no threads are left. */
EXPORT struct engine *kernels_open(const char *variant, int threads);
EXPORT void kernels_close(struct engine *engine);
EXPORT const char *kernels_name(const struct engine *engine);

/* `importance`: NULL, or for each column what the square of its error is multiplied by where a scale
 * is searched for, which is in Q4 and Q4N: from 0 to 1, which the largest of each block is. */
EXPORT void kernels_pack(struct engine *engine, const float *w, const float *importance,
                         const struct matrix *into);
EXPORT void kernels_rows(const struct matrix *w, const int64_t *indices, int count, float *out);
EXPORT void kernels_quantise(struct engine *engine, const float *x, int rows, int columns,
                             struct quantised_block *out);
/* `blocks` holds rows * columns / 32 quantised blocks if w is quantised, else it may be NULL. */
EXPORT void kernels_linear(struct engine *engine, const struct matrix *w, const float *x, int rows,
                           struct quantised_block *blocks, float *out);
EXPORT void kernels_rms_norm(struct engine *engine, const float *x, const float *gain, int rows,
                             int dim, float eps, float *out);
EXPORT void kernels_rope(float *x, const struct rotation *rotation, int rows, int heads,
                         int head_dim);
EXPORT void kernels_swiglu(struct engine *engine, float *gate, const float *up, int64_t count);

/* Of one layer of one sequence. */
EXPORT int64_t kernels_cache_bytes(const struct heads *heads);
EXPORT void kernels_store(struct engine *engine, const struct heads *heads, const struct span *span,
                          const float *keys, const float *values);
EXPORT void kernels_attend(struct engine *engine, const struct heads *heads,
                           const struct span *span, float *queries);

EXPORT int64_t kernels_scratch_bytes(const struct engine *engine, const struct shape *shape,
                                     int rows);
EXPORT void kernels_stage(struct engine *engine, const struct shape *shape,
                          const struct layer *layers, int n_layers, const struct step *step);

#endif
