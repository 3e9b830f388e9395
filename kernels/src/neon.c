/* Plain NEON (Cortex-A72, the Raspberry Pi 4): products of bytes in 16 bits. */
#include "lanes_neon.h"

#include "attention.h"
#include "pack.h"
#include "plain_rows.h"

enum { PREFETCH_BYTES = 1152, QUADS = BLOCK_COLUMNS / QUAD, SLICE_ROWS = 4, SLICES = 4 };

INLINE void prefetch(const uint8_t *block, int bytes) {
    for (int i = 0; i < bytes; i += 64) __builtin_prefetch(block + PREFETCH_BYTES + i);
}

INLINE int8x16_t quad_of(const struct quantised_block *x, int quad) {
    int32_t four;
    memcpy(&four, x->quant + quad * QUAD, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/* Nibbles as they are, 0..15; or bytes as they are. */
INLINE void load_nibbles(const uint8_t *quants, int8x16_t weight[QUADS]) {
    for (int j = 0; j < QUADS / 2; j++) {
        uint8x16_t both = vld1q_u8(quants + j * QUADS_BYTES);
        weight[j] = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
        weight[j + QUADS / 2] = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
    }
}

/* What nibbles stand for in the grid. */
INLINE void load_q4n(const uint8_t *quants, int8x16_t weight[QUADS]) {
    const int8x16_t grid = vld1q_s8(q4n_grid);
    load_nibbles(quants, weight);
    for (int j = 0; j < QUADS; j++)
        weight[j] = vqtbl1q_s8(grid, vreinterpretq_u8_s8(weight[j]));
}

INLINE void load_q8(const uint8_t *quants, int8x16_t weight[QUADS]) {
    for (int j = 0; j < QUADS; j++) weight[j] = vreinterpretq_s8_u8(vld1q_u8(quants + j * QUADS_BYTES));
}

/* Four rows; a 16-bit lane takes 8 products of at most 15 * 127, in all 15240. */
INLINE int32x4_t nibble_dot(const int8x16_t weight[QUADS], const struct quantised_block *x) {
    int8x16_t quad = quad_of(x, 0);
    int16x8_t low = vmull_s8(vget_low_s8(weight[0]), vget_low_s8(quad));
    int16x8_t high = vmull_high_s8(weight[0], quad);
    for (int j = 1; j < QUADS; j++) {
        quad = quad_of(x, j);
        low = vmlal_s8(low, vget_low_s8(weight[j]), vget_low_s8(quad));
        high = vmlal_high_s8(high, weight[j], quad);
    }
    return vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
}

/* The nibbles' zero is taken off at the end. */
INLINE int32x4_t q4_dot(const int8x16_t weight[QUADS], const struct quantised_block *x) {
    return vaddq_s32(nibble_dot(weight, x), vdupq_n_s32(x->bias));
}

/* Four rows; a 16-bit lane takes two products of at most 128 * 127 before it moves to 32 bits. */
INLINE int32x4_t q8_dot(const int8x16_t weight[QUADS], const struct quantised_block *x) {
    int32x4_t low = vdupq_n_s32(0), high = vdupq_n_s32(0);
    for (int j = 0; j < QUADS; j += 2) {
        int8x16_t first = quad_of(x, j), second = quad_of(x, j + 1);
        int16x8_t a = vmull_s8(vget_low_s8(weight[j]), vget_low_s8(first));
        int16x8_t b = vmull_high_s8(weight[j], first);
        low = vpadalq_s16(low, vmlal_s8(a, vget_low_s8(weight[j + 1]), vget_low_s8(second)));
        high = vpadalq_s16(high, vmlal_high_s8(b, weight[j + 1], second));
    }
    return vpaddq_s32(low, high);
}

/* All four slices at once read memory in one go; one at a time has the registers for three and four
 * rows of activations, with the weights then coming from the cache. */
#define WITH_CONSTANT_ROWS(function, rows, ...)                                                    \
    switch (rows) {                                                                                \
    case 1: function(1, SLICES, 0, __VA_ARGS__); return;                                           \
    case 2: function(2, SLICES, 0, __VA_ARGS__); return;                                           \
    }                                                                                              \
    for (int slice = 0; slice < SLICES; slice++) {                                                 \
        if (rows == 3)                                                                             \
            function(3, 1, slice, __VA_ARGS__);                                                    \
        else                                                                                       \
            function(4, 1, slice, __VA_ARGS__);                                                    \
    }

/* Some slices of four rows. */
#define DEFINE_TILE(name, block_bytes, load, dot)                                                  \
    INLINE void name##_of(const int rows, const int slices, int slice, const uint8_t *group,       \
                          int blocks, const struct quantised_block *const x[],                     \
                          float out[][GROUP_ROWS]) {                                               \
        float32x4_t total[4][SLICES];                                                              \
        for (int t = 0; t < rows; t++)                                                             \
            for (int i = 0; i < slices; i++) total[t][i] = vdupq_n_f32(0.0f);                      \
        for (int b = 0; b < blocks; b++, group += (block_bytes)) {                                 \
            if (slice == 0)                                                                        \
                prefetch(group, block_bytes);                                                      \
            for (int i = 0; i < slices; i++) {                                                     \
                int8x16_t weight[QUADS];                                                           \
                int row = (slice + i) * SLICE_ROWS;                                                \
                float32x4_t scales = load_half((const uint16_t *)group + row);                     \
                load(group + SCALES_BYTES + row * QUAD, weight);                                   \
                for (int t = 0; t < rows; t++) {                                                   \
                    float32x4_t scale = vmulq_n_f32(scales, x[t][b].scale);                        \
                    float32x4_t product = vcvtq_f32_s32(dot(weight, &x[t][b]));                    \
                    total[t][i] = vfmaq_f32(total[t][i], scale, product);                          \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        for (int t = 0; t < rows; t++)                                                             \
            for (int i = 0; i < slices; i++)                                                       \
                vst1q_f32(out[t] + (slice + i) * SLICE_ROWS, total[t][i]);                         \
    }                                                                                              \
    static void name(const uint8_t *group, int blocks, const struct quantised_block *const x[],    \
                     int rows, float out[][GROUP_ROWS]) {                                          \
        WITH_CONSTANT_ROWS(name##_of, rows, group, blocks, x, out)                                 \
    }

DEFINE_TILE(q4_tile, Q4_BLOCK_BYTES, load_nibbles, q4_dot)
DEFINE_TILE(q4n_tile, Q4_BLOCK_BYTES, load_q4n, q8_dot)
DEFINE_TILE(q8_tile, Q8_BLOCK_BYTES, load_q8, q8_dot)

#include "offset_slices.h"

INLINE void add_block(const int8x16_t weight[QUADS], float32x4_t scales, float32x4_t offsets,
                      const struct quantised_block *const x[], const int rows, int b,
                      float32x4_t total[]) {
    for (int t = 0; t < rows; t++) {
        float32x2_t of_x = scale_and_sum(&x[t][b]);
        float32x4_t product = vcvtq_f32_s32(nibble_dot(weight, &x[t][b]));
        total[t] = vfmaq_f32(total[t], vmulq_lane_f32(scales, of_x, 0), product);
        total[t] = vfmaq_lane_f32(total[t], offsets, of_x, 1);
    }
}

DEFINE_OFFSET_SLICES(q4_1_of, q4k_of, load_nibbles, add_block)

static void q4_1_tile(const uint8_t *group, int blocks, const struct quantised_block *const x[],
                      int rows, float out[][GROUP_ROWS]) {
    WITH_CONSTANT_ROWS(q4_1_of, rows, group, blocks, x, out)
}

static void q4k_tile(const uint8_t *group, int blocks, const struct quantised_block *const x[],
                     int rows, float out[][GROUP_ROWS]) {
    WITH_CONSTANT_ROWS(q4k_of, rows, group, blocks, x, out)
}

#include "panel_neon.h"

enum { PANEL_SLICES = 2 };

/* As nibble_dot; a nibble less its zero is no larger. */
INLINE void panel_nibble_dots(const int rows, const int8_t *quants,
                              const struct quantised_block *const x[], int b,
                              int32x4_t dot[PANEL_SLICES][PANEL_TILE_ROWS]) {
    int16x8_t low[PANEL_SLICES][PANEL_TILE_ROWS], high[PANEL_SLICES][PANEL_TILE_ROWS];
    for (int s = 0; s < PANEL_SLICES; s++)
        for (int t = 0; t < rows; t++) low[s][t] = high[s][t] = vdupq_n_s16(0);
#pragma GCC unroll 8
    for (int j = 0; j < QUADS; j++)
        for (int t = 0; t < rows; t++) {
            int8x16_t quad = quad_of(&x[t][b], j);
            for (int s = 0; s < PANEL_SLICES; s++) {
                int8x16_t weight = panel_quad(quants, s, j);
                low[s][t] = vmlal_s8(low[s][t], vget_low_s8(weight), vget_low_s8(quad));
                high[s][t] = vmlal_high_s8(high[s][t], weight, quad);
            }
        }
    for (int s = 0; s < PANEL_SLICES; s++)
        for (int t = 0; t < rows; t++)
            dot[s][t] = vpaddq_s32(vpaddlq_s16(low[s][t]), vpaddlq_s16(high[s][t]));
}

/* As q8_dot. */
INLINE void panel_byte_dots(const int rows, const int8_t *quants,
                            const struct quantised_block *const x[], int b,
                            int32x4_t dot[PANEL_SLICES][PANEL_TILE_ROWS]) {
    int32x4_t low[PANEL_SLICES][PANEL_TILE_ROWS], high[PANEL_SLICES][PANEL_TILE_ROWS];
#pragma GCC unroll 4
    for (int j = 0; j < QUADS; j += 2)
        for (int t = 0; t < rows; t++) {
            int8x16_t quad = quad_of(&x[t][b], j), next_quad = quad_of(&x[t][b], j + 1);
            for (int s = 0; s < PANEL_SLICES; s++) {
                int8x16_t weight = panel_quad(quants, s, j), next = panel_quad(quants, s, j + 1);
                int16x8_t a = vmull_s8(vget_low_s8(weight), vget_low_s8(quad));
                int16x8_t c = vmull_high_s8(weight, quad);
                a = vmlal_s8(a, vget_low_s8(next), vget_low_s8(next_quad));
                c = vmlal_high_s8(c, next, next_quad);
                low[s][t] = j ? vpadalq_s16(low[s][t], a) : vpaddlq_s16(a);
                high[s][t] = j ? vpadalq_s16(high[s][t], c) : vpaddlq_s16(c);
            }
        }
    for (int s = 0; s < PANEL_SLICES; s++)
        for (int t = 0; t < rows; t++) dot[s][t] = vpaddq_s32(low[s][t], high[s][t]);
}

/* Of more rows of activations at once, not all sums would find a register. */
DEFINE_PANEL_TILE(q4_panel, PANEL_SLICES, 2, panel_nibble_dots, 0)
DEFINE_PANEL_TILE(byte_panel, PANEL_SLICES, 1, panel_byte_dots, 0)
DEFINE_PANEL_TILE(offset_panel, PANEL_SLICES, 2, panel_nibble_dots, 1)

const struct variant neon_variant = {
    .name = "neon",
    .tile_rows = 4,
#include "table.h"
    PANELS(q4_panel, byte_panel, offset_panel)
};
