/* The tiles of Q4_1 and Q4K in slices of four weight rows, for all variants of NEON. */
#ifndef OFFSET_SLICES_H
#define OFFSET_SLICES_H

#include <stddef.h>

#include "q4k.h"
#include "sums.h"

/* They lie together, and one load brings both. */
INLINE float32x2_t scale_and_sum(const struct quantised_block *x) {
    _Static_assert(offsetof(struct quantised_block, sum) == sizeof x->scale, "sum follows scale");
    return vld1_f32(&x->scale);
}

/* Of four rows in each block of a Q4K one: w = scale * nibble + offset. */
struct slice_scales {
    float32x4_t scale[Q4K_BLOCKS], offset[Q4K_BLOCKS];
};

/* Byte k of each of four rows, for k = 0..3: planes hold them 16 rows apart. */
INLINE uint8x16_t load_plane(const uint8_t *plane) {
    uint32x4_t four = vdupq_n_u32(0);
    four = vld1q_lane_u32((const uint32_t *)plane, four, 0);
    four = vld1q_lane_u32((const uint32_t *)(plane + GROUP_ROWS), four, 1);
    four = vld1q_lane_u32((const uint32_t *)(plane + 2 * GROUP_ROWS), four, 2);
    four = vld1q_lane_u32((const uint32_t *)(plane + 3 * GROUP_ROWS), four, 3);
    return vreinterpretq_u8_u32(four);
}

INLINE void times_levels(float32x4_t factor, uint8x16_t levels, float32x4_t out[4]) {
    uint16x8_t low = vmovl_u8(vget_low_u8(levels)), high = vmovl_high_u8(levels);
    out[0] = vmulq_f32(factor, vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))));
    out[1] = vmulq_f32(factor, vcvtq_f32_u32(vmovl_high_u16(low)));
    out[2] = vmulq_f32(factor, vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))));
    out[3] = vmulq_f32(factor, vcvtq_f32_u32(vmovl_high_u16(high)));
}

/* As unpack_levels, for rows row..row + 3. */
INLINE void open_slice(const uint8_t *block, int row, struct slice_scales *out) {
    const uint8_t *packed = block + 2 * SCALES_BYTES + row;
    uint8x16_t first = load_plane(packed), second = load_plane(packed + Q4K_PLANE_BYTES);
    uint8x16_t both = load_plane(packed + 2 * Q4K_PLANE_BYTES);
    const uint8x16_t six = vdupq_n_u8(63), four = vdupq_n_u8(15), top = vdupq_n_u8(48);
    float32x4_t d = load_half((const uint16_t *)block + row);
    float32x4_t negative = vnegq_f32(load_half((const uint16_t *)block + GROUP_ROWS + row));
    times_levels(d, vandq_u8(first, six), out->scale);
    times_levels(negative, vandq_u8(second, six), out->offset);
    uint8x16_t tops = vandq_u8(vshrq_n_u8(first, 2), top);
    times_levels(d, vorrq_u8(vandq_u8(both, four), tops), out->scale + 4);
    tops = vandq_u8(vshrq_n_u8(second, 2), top);
    times_levels(negative, vorrq_u8(vshrq_n_u8(both, 4), tops), out->offset + 4);
}

/* Some slices of four weight rows; `load` lays nibbles out for `add`, which multiplies them. */
#define DEFINE_OFFSET_SLICES(q4_1_name, q4k_name, load, add)                                       \
    INLINE void q4_1_name(const int rows, const int slices, int slice, const uint8_t *group,       \
                          int blocks, const struct quantised_block *const x[],                     \
                          float out[][GROUP_ROWS]) {                                               \
        float32x4_t total[SLICES][MAX_TILE_ROWS];                                                  \
        clear_totals(rows, slices, total);                                                         \
        for (int b = 0; b < blocks; b++, group += Q4_1_BLOCK_BYTES) {                              \
            if (slice == 0)                                                                        \
                prefetch(group, Q4_1_BLOCK_BYTES);                                                 \
            for (int i = 0; i < slices; i++) {                                                     \
                int8x16_t weight[QUADS];                                                           \
                int row = (slice + i) * SLICE_ROWS;                                                \
                float32x4_t scales = load_half((const uint16_t *)group + row);                     \
                float32x4_t minima = load_half((const uint16_t *)group + GROUP_ROWS + row);        \
                load(group + Q4_1_HEADER_BYTES + row * QUAD, weight);                              \
                add(weight, scales, minima, x, rows, b, total[i]);                                 \
            }                                                                                      \
        }                                                                                          \
        store_totals(rows, slices, slice, total, out);                                             \
    }                                                                                              \
    INLINE void q4k_name(const int rows, const int slices, int slice, const uint8_t *group,        \
                         int blocks, const struct quantised_block *const x[],                      \
                         float out[][GROUP_ROWS]) {                                                \
        float32x4_t total[SLICES][MAX_TILE_ROWS];                                                  \
        clear_totals(rows, slices, total);                                                         \
        for (int b = 0; b < blocks; group += Q4K_HEADER_BYTES) {                                   \
            struct slice_scales scales[SLICES];                                                    \
            if (slice == 0)                                                                        \
                prefetch(group, Q4K_HEADER_BYTES);                                                 \
            for (int i = 0; i < slices; i++)                                                       \
                open_slice(group, (slice + i) * SLICE_ROWS, &scales[i]);                           \
            for (int k = 0; k < Q4K_BLOCKS; k++, b++, group += NIBBLES_BYTES) {                    \
                if (slice == 0)                                                                    \
                    prefetch(group + Q4K_HEADER_BYTES, NIBBLES_BYTES);                             \
                for (int i = 0; i < slices; i++) {                                                 \
                    int8x16_t weight[QUADS];                                                       \
                    load(group + Q4K_HEADER_BYTES + (slice + i) * SLICE_ROWS * QUAD, weight);      \
                    add(weight, scales[i].scale[k], scales[i].offset[k], x, rows, b, total[i]);    \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        store_totals(rows, slices, slice, total, out);                                             \
    }

INLINE void clear_totals(const int rows, const int slices, float32x4_t total[][MAX_TILE_ROWS]) {
    for (int i = 0; i < slices; i++)
        for (int t = 0; t < rows; t++) total[i][t] = vdupq_n_f32(0.0f);
}

INLINE void store_totals(const int rows, const int slices, int slice,
                         float32x4_t total[][MAX_TILE_ROWS], float out[][GROUP_ROWS]) {
    for (int i = 0; i < slices; i++)
        for (int t = 0; t < rows; t++)
            vst1q_f32(out[t] + (slice + i) * SLICE_ROWS, total[i][t]);
}

#endif
