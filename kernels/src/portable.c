/* The variant for any CPU, and the meaning that the others must match. */
#include "lanes_portable.h"

#include "attention.h"
#include "pack.h"
#include "plain_rows.h"

static int32_t q4_dot(const uint8_t *quants, int row, const struct quantised_block *x) {
    int32_t dot = 0;
    for (int i = 0; i < BLOCK_COLUMNS / 2; i++) {
        int both = quants[i / QUAD * QUADS_BYTES + row * QUAD + i % QUAD];
        dot += ((both & 15) - Q4_ZERO) * x->quant[i];
        dot += ((both >> 4) - Q4_ZERO) * x->quant[i + BLOCK_COLUMNS / 2];
    }
    return dot;
}

static int32_t q4n_dot(const uint8_t *quants, int row, const struct quantised_block *x) {
    int32_t dot = 0;
    for (int i = 0; i < BLOCK_COLUMNS / 2; i++) {
        int both = quants[i / QUAD * QUADS_BYTES + row * QUAD + i % QUAD];
        dot += q4n_grid[both & 15] * x->quant[i];
        dot += q4n_grid[both >> 4] * x->quant[i + BLOCK_COLUMNS / 2];
    }
    return dot;
}

static int32_t q8_dot(const uint8_t *quants, int row, const struct quantised_block *x) {
    int32_t dot = 0;
    for (int i = 0; i < BLOCK_COLUMNS; i++)
        dot += (int8_t)quants[i / QUAD * QUADS_BYTES + row * QUAD + i % QUAD] * x->quant[i];
    return dot;
}

#define DEFINE_TILE(name, block_bytes, block_dot)                                                  \
    static void name(const uint8_t *group, int blocks, const struct quantised_block *const x[],    \
                     int rows, float out[][GROUP_ROWS]) {                                          \
        memset(out, 0, (size_t)rows * sizeof *out);                                                \
        for (int b = 0; b < blocks; b++, group += (block_bytes)) {                                 \
            float scale[GROUP_ROWS];                                                               \
            lanes_store(scale, lanes_load_half((const uint16_t *)group));                          \
            for (int t = 0; t < rows; t++)                                                         \
                for (int r = 0; r < GROUP_ROWS; r++) {                                             \
                    int32_t dot = block_dot(group + SCALES_BYTES, r, &x[t][b]);                    \
                    out[t][r] = fmaf(scale[r] * x[t][b].scale, (float)dot, out[t][r]);             \
                }                                                                                  \
        }                                                                                          \
    }

DEFINE_TILE(q4_tile, Q4_BLOCK_BYTES, q4_dot)
DEFINE_TILE(q4n_tile, Q4_BLOCK_BYTES, q4n_dot)
DEFINE_TILE(q8_tile, Q8_BLOCK_BYTES, q8_dot)

static int32_t nibble_dot(const uint8_t *quants, int row, const struct quantised_block *x) {
    int32_t dot = 0;
    for (int i = 0; i < BLOCK_COLUMNS / 2; i++) {
        int both = quants[i / QUAD * QUADS_BYTES + row * QUAD + i % QUAD];
        dot += (both & 15) * x->quant[i] + (both >> 4) * x->quant[i + BLOCK_COLUMNS / 2];
    }
    return dot;
}

static void add_block(int rows, const uint8_t *quants, lanes scales, lanes offsets,
                      const struct quantised_block *const x[], int b, lanes total[]) {
    for (int t = 0; t < rows; t++)
        for (int r = 0; r < GROUP_ROWS; r++) {
            float *sum = &total[t].lane[r];
            float dot = (float)nibble_dot(quants, r, &x[t][b]);
            *sum = fmaf(scales.lane[r] * x[t][b].scale, dot, *sum);
            *sum = fmaf(offsets.lane[r], x[t][b].sum, *sum);
        }
}

#define prefetch(from, bytes)
#define WITH_CONSTANT_ROWS(function, rows, ...) function(rows, __VA_ARGS__);
#include "offset_tiles.h"

const struct variant portable_variant = {
    .name = "portable",
    .tile_rows = 8,
#include "table.h"
};
