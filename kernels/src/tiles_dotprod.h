/* The tile of the variants that multiply bytes straight into 32 bits, and its parts. */
#ifndef TILES_DOTPROD_H
#define TILES_DOTPROD_H

#include "lanes_neon.h"
#include "sums.h"

enum { PREFETCH_BYTES = 1152, QUADS = BLOCK_COLUMNS / QUAD, SLICE_ROWS = 4, SLICES = 4 };

INLINE void prefetch(const uint8_t *block, int bytes) {
    for (int i = 0; i < bytes; i += 64) __builtin_prefetch(block + PREFETCH_BYTES + i);
}

#include "offset_slices.h"

/* Quad j of four weight rows. */
INLINE uint8x16_t load_quad(const uint8_t *quants, int j) {
    return vld1q_u8(quants + j * QUADS_BYTES);
}

struct nibbles {
    int8x16_t low, high;
};

/* A nibble with its top bit flipped is n - 8 in two's complement. In the high half of a byte it
 * is 16 (n - 8), which the conversion to float divides by 16 again, exactly: no zero to take off. */
INLINE struct nibbles split(uint8x16_t both) {
    both = veorq_u8(both, vdupq_n_u8(0x88));
    return (struct nibbles){vreinterpretq_s8_u8(vshlq_n_u8(both, 4)),
                            vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(0xf0)))};
}

/* What a dot product is added as: itself, 16 times too large, or with an offset after it. */
enum kind { AS_IT_IS, SHIFTED, WITH_OFFSET };

INLINE float32x4_t add_dot(int32x4_t dot, const enum kind kind, float32x4_t scales,
                           float32x4_t offsets, const struct quantised_block *x,
                           float32x4_t total) {
    if (kind == WITH_OFFSET) {
        float32x2_t of_x = scale_and_sum(x);
        total = vfmaq_f32(total, vmulq_lane_f32(scales, of_x, 0), vcvtq_f32_s32(dot));
        return vfmaq_lane_f32(total, offsets, of_x, 1);
    }
    float32x4_t exact = kind == SHIFTED ? vcvtq_n_f32_s32(dot, 4) : vcvtq_f32_s32(dot);
    return vfmaq_f32(total, vmulq_n_f32(scales, x->scale), exact);
}

/* Weights for add_dots: vector j is quad j. */
INLINE void load_q4(const uint8_t *quants, int8x16_t weight[QUADS]) {
    for (int j = 0; j < QUADS / 2; j++) {
        struct nibbles quads = split(load_quad(quants, j));
        weight[j] = quads.low;
        weight[j + QUADS / 2] = quads.high;
    }
}

INLINE void load_q8(const uint8_t *quants, int8x16_t weight[QUADS]) {
    for (int j = 0; j < QUADS; j++) weight[j] = vreinterpretq_s8_u8(load_quad(quants, j));
}

/* Nibbles that stand for themselves, 0..15. */
INLINE struct nibbles split_unsigned(uint8x16_t both) {
    return (struct nibbles){vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15))),
                            vreinterpretq_s8_u8(vshrq_n_u8(both, 4))};
}

/* Nibbles that stand for what the grid has. */
INLINE struct nibbles split_grid(uint8x16_t both) {
    const int8x16_t grid = vld1q_s8(q4n_grid);
    return (struct nibbles){vqtbl1q_s8(grid, vandq_u8(both, vdupq_n_u8(15))),
                            vqtbl1q_s8(grid, vshrq_n_u8(both, 4))};
}

INLINE void load_q4n(const uint8_t *quants, int8x16_t weight[QUADS]) {
    for (int j = 0; j < QUADS / 2; j++) {
        struct nibbles quads = split_grid(load_quad(quants, j));
        weight[j] = quads.low;
        weight[j + QUADS / 2] = quads.high;
    }
}

INLINE void load_nibbles(const uint8_t *quants, int8x16_t weight[QUADS]) {
    for (int j = 0; j < QUADS / 2; j++) {
        struct nibbles quads = split_unsigned(load_quad(quants, j));
        weight[j] = quads.low;
        weight[j + QUADS / 2] = quads.high;
    }
}

/* Four weight rows times block b of each row of activations. */
INLINE void add_dots(const int8x16_t weight[QUADS], const enum kind kind, float32x4_t scales,
                     float32x4_t offsets, const struct quantised_block *const x[], const int rows,
                     int b, float32x4_t total[]) {
    for (int t = 0; t < rows; t++) {
        int8x16_t first = vld1q_s8(x[t][b].quant), second = vld1q_s8(x[t][b].quant + 16);
        int32x4_t even = vdupq_n_s32(0), odd = vdupq_n_s32(0);
        even = vdotq_laneq_s32(even, weight[0], first, 0);
        odd = vdotq_laneq_s32(odd, weight[4], second, 0);
        even = vdotq_laneq_s32(even, weight[1], first, 1);
        odd = vdotq_laneq_s32(odd, weight[5], second, 1);
        even = vdotq_laneq_s32(even, weight[2], first, 2);
        odd = vdotq_laneq_s32(odd, weight[6], second, 2);
        even = vdotq_laneq_s32(even, weight[3], first, 3);
        odd = vdotq_laneq_s32(odd, weight[7], second, 3);
        total[t] = add_dot(vaddq_s32(even, odd), kind, scales, offsets, &x[t][b], total[t]);
    }
}

/* Some slices of four weight rows; `add` multiplies what `load` has laid out for it. */
#define DEFINE_SLICES(name, block_bytes, load, add, kind)                                          \
    INLINE void name(const int rows, const int slices, int slice, const uint8_t *group,            \
                     int blocks, const struct quantised_block *const x[],                          \
                     float out[][GROUP_ROWS]) {                                                    \
        float32x4_t total[SLICES][MAX_TILE_ROWS];                                                  \
        for (int i = 0; i < slices; i++)                                                           \
            for (int t = 0; t < rows; t++) total[i][t] = vdupq_n_f32(0.0f);                        \
        for (int b = 0; b < blocks; b++, group += (block_bytes)) {                                 \
            if (slice == 0)                                                                        \
                prefetch(group, block_bytes);                                                      \
            for (int i = 0; i < slices; i++) {                                                     \
                int8x16_t weight[QUADS];                                                           \
                int row = (slice + i) * SLICE_ROWS;                                                \
                float32x4_t scales = load_half((const uint16_t *)group + row);                     \
                load(group + SCALES_BYTES + row * QUAD, weight);                                   \
                add(weight, kind, scales, scales, x, rows, b, total[i]);                           \
            }                                                                                      \
        }                                                                                          \
        for (int i = 0; i < slices; i++)                                                           \
            for (int t = 0; t < rows; t++)                                                         \
                vst1q_f32(out[t] + (slice + i) * SLICE_ROWS, total[i][t]);                         \
    }

DEFINE_SLICES(q4_dots, Q4_BLOCK_BYTES, load_q4, add_dots, SHIFTED)
DEFINE_SLICES(q4n_dots, Q4_BLOCK_BYTES, load_q4n, add_dots, AS_IT_IS)
DEFINE_SLICES(q8_dots, Q8_BLOCK_BYTES, load_q8, add_dots, AS_IT_IS)

#define ADD_DOTS(weight, ...) add_dots(weight, WITH_OFFSET, __VA_ARGS__)
DEFINE_OFFSET_SLICES(q4_1_dots, q4k_dots, load_nibbles, ADD_DOTS)

/* All four slices at once read memory in one go; fewer have the registers to serve up to eight rows
 * of activations, with the group then coming from the cache. */
#define DEFINE_TILE(name, one_row, more_rows)                                                      \
    static void name(const uint8_t *group, int blocks, const struct quantised_block *const x[],    \
                     int rows, float out[][GROUP_ROWS]) {                                          \
        switch (rows) {                                                                            \
        case 1: one_row(1, SLICES, 0, group, blocks, x, out); return;                              \
        case 2: more_rows(2, SLICES, 0, group, blocks, x, out); return;                            \
        case 3:                                                                                    \
            more_rows(3, 2, 0, group, blocks, x, out);                                             \
            more_rows(3, 2, 2, group, blocks, x, out);                                             \
            return;                                                                                \
        case 4:                                                                                    \
            more_rows(4, 2, 0, group, blocks, x, out);                                             \
            more_rows(4, 2, 2, group, blocks, x, out);                                             \
            return;                                                                                \
        }                                                                                          \
        for (int slice = 0; slice < SLICES; slice++) {                                             \
            switch (rows) {                                                                        \
            case 5: more_rows(5, 1, slice, group, blocks, x, out); break;                          \
            case 6: more_rows(6, 1, slice, group, blocks, x, out); break;                          \
            case 7: more_rows(7, 1, slice, group, blocks, x, out); break;                          \
            default: more_rows(8, 1, slice, group, blocks, x, out); break;                         \
            }                                                                                      \
        }                                                                                          \
    }

#endif
