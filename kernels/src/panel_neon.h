/* What the variants of NEON have in common that multiply from panels, slices of four weight rows at
 * a time. */
#ifndef PANEL_NEON_H
#define PANEL_NEON_H

#define NIBBLES_LESS Q4_ZERO

INLINE void look_up_grid(const uint8_t *nibbles, int8_t *quant) {
    const int8x16_t grid = vld1q_s8(q4n_grid);
    for (int i = 0; i < NIBBLES_BYTES; i += 16) {
        uint8x16_t both = vld1q_u8(nibbles + i);
        vst1q_s8(quant + i, vqtbl1q_s8(grid, vandq_u8(both, vdupq_n_u8(15))));
        vst1q_s8(quant + NIBBLES_BYTES + i, vqtbl1q_s8(grid, vshrq_n_u8(both, 4)));
    }
}

#include "panel.h"

/* Quad j of four weight rows. */
INLINE int8x16_t panel_quad(const int8_t *quants, int slice, int j) {
    return vld1q_s8(quants + slice * SLICE_ROWS * QUAD + j * QUADS_BYTES);
}

/* A block's dot products of four weight rows, scaled and added to their totals. */
INLINE float32x4_t add_panel_dot(float32x4_t total, int32x4_t dot, const int has_offset,
                                 const struct panel_block *panel, int row,
                                 const struct quantised_block *x) {
    float32x4_t scale = vmulq_n_f32(vld1q_f32(panel->scale + row), x->scale);
    total = vfmaq_f32(total, scale, vcvtq_f32_s32(dot));
    return has_offset ? vfmaq_n_f32(total, vld1q_f32(panel->offset + row), x->sum) : total;
}

/* Some slices of four weight rows, from `row` on, by up to `at_once` rows of activations. */
#define DEFINE_PANEL_TILE(name, slices, at_once, dots, has_offset)                                 \
    INLINE void name##_of(const int rows, const struct panel_block panel[], int blocks,            \
                          const struct quantised_block *const x[], int row,                        \
                          float out[][GROUP_ROWS]) {                                               \
        float32x4_t total[slices][PANEL_TILE_ROWS];                                                \
        for (int s = 0; s < slices; s++)                                                           \
            for (int t = 0; t < rows; t++) total[s][t] = vld1q_f32(out[t] + row + s * SLICE_ROWS); \
        for (int b = 0; b < blocks; b++, panel++) {                                                \
            int32x4_t dot[slices][PANEL_TILE_ROWS];                                                \
            dots(rows, panel->quant + row * QUAD, x, b, dot);                                      \
            for (int s = 0; s < slices; s++)                                                       \
                for (int t = 0; t < rows; t++)                                                     \
                    total[s][t] = add_panel_dot(total[s][t], dot[s][t], has_offset, panel,         \
                                                row + s * SLICE_ROWS, &x[t][b]);                   \
        }                                                                                          \
        for (int s = 0; s < slices; s++)                                                           \
            for (int t = 0; t < rows; t++) vst1q_f32(out[t] + row + s * SLICE_ROWS, total[s][t]);  \
    }                                                                                              \
    static void name(const struct panel_block panel[], int blocks,                                 \
                     const struct quantised_block *const x[], int rows, float out[][GROUP_ROWS]) { \
        for (int row = 0; row < GROUP_ROWS; row += (slices) * SLICE_ROWS)                          \
            for (int t = 0; t < rows; t += (at_once)) {                                            \
                if (rows - t >= (at_once))                                                         \
                    name##_of(at_once, panel, blocks, x + t, row, out + t);                        \
                else if (rows - t == 3)                                                            \
                    name##_of(3, panel, blocks, x + t, row, out + t);                              \
                else if (rows - t == 2)                                                            \
                    name##_of(2, panel, blocks, x + t, row, out + t);                              \
                else                                                                               \
                    name##_of(1, panel, blocks, x + t, row, out + t);                              \
            }                                                                                      \
    }

#endif
