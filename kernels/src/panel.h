/* Unpacking blocks of a group into a panel, for the variants that multiply from panels. A variant
 * defines before it includes this:
 *   look_up_grid   the entries of q4n_grid that the nibbles of a block stand for
 *   NIBBLES_LESS   what is taken off a nibble of Q4: its zero, or nothing if the tile does that
 */
#ifndef PANEL_H
#define PANEL_H

#include "q4k.h"
#include "sums.h"

INLINE void unpack_scales(const uint8_t *halves, float out[GROUP_ROWS]) {
    lanes_store(out, lanes_load_half((const uint16_t *)halves));
}

/* Compilers turn this into vectors. */
INLINE void unpack_nibbles(const uint8_t *nibbles, const int less, int8_t *quant) {
    for (int i = 0; i < NIBBLES_BYTES; i++) {
        quant[i] = (int8_t)((nibbles[i] & 15) - less);
        quant[NIBBLES_BYTES + i] = (int8_t)((nibbles[i] >> 4) - less);
    }
}

static void unpack_q4(const uint8_t *group, int blocks, struct panel_block panel[]) {
    for (int b = 0; b < blocks; b++, group += Q4_BLOCK_BYTES) {
        unpack_scales(group, panel[b].scale);
        unpack_nibbles(group + SCALES_BYTES, NIBBLES_LESS, panel[b].quant);
    }
}

static void unpack_q4n(const uint8_t *group, int blocks, struct panel_block panel[]) {
    for (int b = 0; b < blocks; b++, group += Q4_BLOCK_BYTES) {
        unpack_scales(group, panel[b].scale);
        look_up_grid(group + SCALES_BYTES, panel[b].quant);
    }
}

static void unpack_q8(const uint8_t *group, int blocks, struct panel_block panel[]) {
    for (int b = 0; b < blocks; b++, group += Q8_BLOCK_BYTES) {
        unpack_scales(group, panel[b].scale);
        memcpy(panel[b].quant, group + SCALES_BYTES, sizeof panel[b].quant);
    }
}

static void unpack_q4_1(const uint8_t *group, int blocks, struct panel_block panel[]) {
    for (int b = 0; b < blocks; b++, group += Q4_1_BLOCK_BYTES) {
        unpack_scales(group, panel[b].scale);
        unpack_scales(group + SCALES_BYTES, panel[b].offset);
        unpack_nibbles(group + Q4_1_HEADER_BYTES, 0, panel[b].quant);
    }
}

/* `blocks` is a multiple of 8. */
static void unpack_q4k(const uint8_t *group, int blocks, struct panel_block panel[]) {
    for (const struct panel_block *end = panel + blocks; panel < end; group += Q4K_HEADER_BYTES) {
        struct q4k_levels levels;
        unpack_levels(group + 2 * SCALES_BYTES, &levels);
        lanes d = lanes_load_half((const uint16_t *)group);
        lanes dmin = lanes_load_half((const uint16_t *)(group + SCALES_BYTES));
        lanes negative = lanes_mul(dmin, lanes_set(-1.0f));
        for (int k = 0; k < Q4K_BLOCKS; k++, panel++, group += NIBBLES_BYTES) {
            lanes_store(panel->scale, lanes_mul(d, lanes_load_bytes(levels.scale[k])));
            lanes_store(panel->offset, lanes_mul(negative, lanes_load_bytes(levels.minimum[k])));
            unpack_nibbles(group + Q4K_HEADER_BYTES, 0, panel->quant);
        }
    }
}

/* For the inside of a variant's table: the tiles of panels of Q4, of signed bytes, and of nibbles
 * with an offset. */
#define PANELS(of_q4, of_bytes, of_offsets)                                                        \
    .q4.unpack = unpack_q4, .q4.panel_tile = of_q4,                                                \
    .q4n.unpack = unpack_q4n, .q4n.panel_tile = of_bytes,                                          \
    .q8.unpack = unpack_q8, .q8.panel_tile = of_bytes,                                             \
    .q4_1.unpack = unpack_q4_1, .q4_1.panel_tile = of_offsets,                                     \
    .q4k.unpack = unpack_q4k, .q4k.panel_tile = of_offsets,

#endif
