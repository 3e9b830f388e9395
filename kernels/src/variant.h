/* What an instruction set contributes: one table of functions, chosen once at run time.
 *
 * All variants return the same bits. Two rules make that so, and sums.h and the integer
 * tiles of each variant keep them:
 *
 * 1. Quantised products. A block's integer dot product is exact in any order; blocks are then
 *    added from left to right, total = fma(weight_scale * activation_scale, dot, total). A block
 *    with a minimum then adds it, total = fma(minimum, activation_scale * sum, total), where sum is
 *    that of the activation's quants. Of Q4K, weight_scale is d * s and minimum is -(dmin * m),
 *    both exact: 11 bits times 6.
 * 2. Sums of floats. A sum along a row runs in 16 lanes, lane i taking entries i, i + 16, ...
 *    from left to right by fma, the last 16 padded with zeros; lanes are then added in halves
 *    (i and i + 8, i and i + 4, ...). Attention sums along head_dim and along the keys one by one.
 *
 * Nothing depends on the other rows of a batch, on how it is cut, or on who computes which part.
 * The compiler may not fuse or reorder (-ffp-contract=off, no -ffast-math), and no function of
 * the maths library that may differ between machines is called.
 */
#ifndef VARIANT_H
#define VARIANT_H

#include "formats.h"

enum { MAX_TILE_ROWS = 8, PANEL_TILE_ROWS = 4, MAX_HEAD_DIM = 256, KEY_TILE = 64 };

/* One key/value head of one sequence's rolling cache, in half precision; position p lives in slot
 * p % capacity. Keys: tiles of 64 slots, key[tile][dimension][slot]. Values: value[slot][stride]. */
struct head_cache {
    const uint16_t *keys;
    const uint16_t *values;
    int64_t capacity; /* a multiple of KEY_TILE */
    int32_t head_dim;
    int32_t value_stride;
};

/* A group of 16 weight rows times `rows` <= tile_rows rows of activations. */
typedef void quantised_tile(const uint8_t *group, int blocks,
                            const struct quantised_block *const x[], int rows,
                            float out[][GROUP_ROWS]);

/* A block of a group laid out for many rows of activations: its quants as bytes in the order of Q8,
 * w = scale * quant + offset. Only some formats have an offset, and a variant may leave the zero of
 * Q4 to its tile. */
struct panel_block {
    float scale[GROUP_ROWS];
    float offset[GROUP_ROWS];
    int8_t quant[BLOCK_COLUMNS * GROUP_ROWS];
};

typedef void unpack_panel(const uint8_t *group, int blocks, struct panel_block panel[]);

/* Adds a panel times `rows` <= PANEL_TILE_ROWS rows of activations to their totals. */
typedef void panel_tile(const struct panel_block panel[], int blocks,
                        const struct quantised_block *const x[], int rows,
                        float total[][GROUP_ROWS]);

/* What multiplies a quantised format. */
struct quantised {
    quantised_tile *tile;
    unpack_panel *unpack; /* NULL where panels are no faster than tiles */
    panel_tile *panel_tile;
};

struct variant {
    const char *name;
    int tile_rows; /* rows of activations that one pass over the weights serves */

    struct quantised q4, q8, q4_1, q4k, q4n;
    /* One weight row times `rows` <= tile_rows rows of activations. */
    void (*f16_row)(const uint16_t *weights, int columns, const float *const x[], int rows,
                    float out[]);
    void (*f32_row)(const float *weights, int columns, const float *const x[], int rows,
                    float out[]);

    void (*quantise)(const float *x, int blocks, struct quantised_block *out);
    void (*rms_norm)(const float *x, const float *gain, int dim, float eps, float *out);
    /* gate = silu(gate) * up */
    void (*swiglu)(float *gate, const float *up, int count);
    /* The queries of one row that share a key/value head, times `scale`; each is replaced by its
     * result. */
    void (*attend)(const struct head_cache *cache, float *queries, int count, float scale,
                   int64_t position, int64_t window);
    void (*to_half)(const float *x, int count, uint16_t *out);

    /* Sixteen rows of floats, `columns` apart, into one group; only rows < `rows` are read.
     * `importance` is that of kernels_pack. */
    void (*pack_q4)(const float *w, const float *importance, int rows, int columns, uint8_t *group);
    void (*pack_q4n)(const float *w, const float *importance, int rows, int columns, uint8_t *group);
    void (*pack_q8)(const float *w, int rows, int columns, uint8_t *group);
};

#if defined(__x86_64__)
/* How far ahead of its reads a tile asks for weights; set when the library is loaded. */
extern int prefetch_bytes;
extern const struct variant avx2_variant, avx512_variant;
#elif defined(__aarch64__)
extern const struct variant neon_variant, neon_dotprod_variant, neon_i8mm_variant;
#endif
extern const struct variant portable_variant;

/* The named variant if this CPU has it, the fastest if name is NULL or empty, else NULL. */
const struct variant *find_variant(const char *name);

#endif
