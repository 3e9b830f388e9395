/* The tiles of Q4_1 and Q4K where a vector, or a pair, holds all sixteen rows. A variant defines,
 * before it includes this:
 *   prefetch             as for the other tiles
 *   add_block            adds a block of nibbles times `rows` rows of activations to their totals,
 *                        w = scale * nibble + offset
 *   WITH_CONSTANT_ROWS   calls a function with a number of rows that the compiler knows
 */
#ifndef OFFSET_TILES_H
#define OFFSET_TILES_H

#include "q4k.h"
#include "sums.h"

INLINE void q4_1_of(const int rows, const uint8_t *group, int blocks,
                    const struct quantised_block *const x[], float out[][GROUP_ROWS]) {
    lanes total[MAX_TILE_ROWS];
    for (int t = 0; t < rows; t++) total[t] = lanes_set(0.0f);
    for (int b = 0; b < blocks; b++, group += Q4_1_BLOCK_BYTES) {
        prefetch(group, Q4_1_BLOCK_BYTES);
        lanes scales = lanes_load_half((const uint16_t *)group);
        lanes minima = lanes_load_half((const uint16_t *)(group + SCALES_BYTES));
        add_block(rows, group + Q4_1_HEADER_BYTES, scales, minima, x, b, total);
    }
    for (int t = 0; t < rows; t++) lanes_store(out[t], total[t]);
}

INLINE void q4k_of(const int rows, const uint8_t *group, int blocks,
                   const struct quantised_block *const x[], float out[][GROUP_ROWS]) {
    lanes total[MAX_TILE_ROWS];
    for (int t = 0; t < rows; t++) total[t] = lanes_set(0.0f);
    for (int b = 0; b < blocks; group += Q4K_HEADER_BYTES) {
        struct q4k_levels levels;
        prefetch(group, Q4K_HEADER_BYTES);
        unpack_levels(group + 2 * SCALES_BYTES, &levels);
        lanes d = lanes_load_half((const uint16_t *)group);
        lanes dmin = lanes_load_half((const uint16_t *)(group + SCALES_BYTES));
        lanes negative = lanes_mul(dmin, lanes_set(-1.0f));
        for (int k = 0; k < Q4K_BLOCKS; k++, b++, group += NIBBLES_BYTES) {
            prefetch(group + Q4K_HEADER_BYTES, NIBBLES_BYTES);
            lanes scales = lanes_mul(d, lanes_load_bytes(levels.scale[k]));
            lanes offsets = lanes_mul(negative, lanes_load_bytes(levels.minimum[k]));
            add_block(rows, group + Q4K_HEADER_BYTES, scales, offsets, x, b, total);
        }
    }
    for (int t = 0; t < rows; t++) lanes_store(out[t], total[t]);
}

static void q4_1_tile(const uint8_t *group, int blocks, const struct quantised_block *const x[],
                      int rows, float out[][GROUP_ROWS]) {
    WITH_CONSTANT_ROWS(q4_1_of, rows, group, blocks, x, out)
}

static void q4k_tile(const uint8_t *group, int blocks, const struct quantised_block *const x[],
                     int rows, float out[][GROUP_ROWS]) {
    WITH_CONSTANT_ROWS(q4k_of, rows, group, blocks, x, out)
}

#endif
