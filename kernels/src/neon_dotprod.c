/* NEON with the dot product instruction (Cortex-A76, the Raspberry Pi 5). */
#include "lanes_neon.h"

#include "attention.h"
#include "pack.h"
#include "plain_rows.h"

enum { PREFETCH_BYTES = 1152, QUADS = BLOCK_COLUMNS / QUAD, SLICE_ROWS = 4, SLICES = 4 };

INLINE void prefetch(const uint8_t *block, int bytes) {
    for (int i = 0; i < bytes; i += 64) __builtin_prefetch(block + PREFETCH_BYTES + i);
}

INLINE float32x4_t add_block(const int8x16_t weight[QUADS], const int shift, float32x4_t scales,
                             const struct quantised_block *x, float32x4_t total) {
    int8x16_t first = vld1q_s8(x->quant), second = vld1q_s8(x->quant + 16);
    int32x4_t even = vdupq_n_s32(0), odd = vdupq_n_s32(0);
    even = vdotq_laneq_s32(even, weight[0], first, 0);
    odd = vdotq_laneq_s32(odd, weight[4], second, 0);
    even = vdotq_laneq_s32(even, weight[1], first, 1);
    odd = vdotq_laneq_s32(odd, weight[5], second, 1);
    even = vdotq_laneq_s32(even, weight[2], first, 2);
    odd = vdotq_laneq_s32(odd, weight[6], second, 2);
    even = vdotq_laneq_s32(even, weight[3], first, 3);
    odd = vdotq_laneq_s32(odd, weight[7], second, 3);
    int32x4_t sum = vaddq_s32(even, odd);
    float32x4_t dot = shift ? vcvtq_n_f32_s32(sum, 4) : vcvtq_f32_s32(sum);
    return vfmaq_f32(total, vmulq_n_f32(scales, x->scale), dot);
}

/* A nibble with its top bit flipped is n - 8 in two's complement. In the high half of a byte it
 * is 16 (n - 8), which the conversion to float divides by 16 again, exactly: no zero to take off. */
INLINE void load_q4(const uint8_t *quants, int8x16_t weight[QUADS]) {
    const uint8x16_t flip = vdupq_n_u8(0x88), high = vdupq_n_u8(0xf0);
    for (int j = 0; j < QUADS / 2; j++) {
        uint8x16_t both = veorq_u8(vld1q_u8(quants + j * QUADS_BYTES), flip);
        weight[j] = vreinterpretq_s8_u8(vshlq_n_u8(both, 4));
        weight[j + QUADS / 2] = vreinterpretq_s8_u8(vandq_u8(both, high));
    }
}

INLINE void load_q8(const uint8_t *quants, int8x16_t weight[QUADS]) {
    for (int j = 0; j < QUADS; j++) weight[j] = vreinterpretq_s8_u8(vld1q_u8(quants + j * QUADS_BYTES));
}

/* Some slices of four rows. All four at once read memory in one go; one at a time has the
 * registers to serve eight rows of activations, with the group then coming from the cache. */
#define DEFINE_TILE(name, block_bytes, load, shift)                                                \
    INLINE void name##_of(const int rows, const int slices, int slice, const uint8_t *group,       \
                          int blocks, const struct quantised_block *const x[],                     \
                          float out[][GROUP_ROWS]) {                                               \
        float32x4_t total[MAX_TILE_ROWS][SLICES];                                                  \
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
                for (int t = 0; t < rows; t++)                                                     \
                    total[t][i] = add_block(weight, shift, scales, &x[t][b], total[t][i]);         \
            }                                                                                      \
        }                                                                                          \
        for (int t = 0; t < rows; t++)                                                             \
            for (int i = 0; i < slices; i++)                                                       \
                vst1q_f32(out[t] + (slice + i) * SLICE_ROWS, total[t][i]);                         \
    }                                                                                              \
    static void name(const uint8_t *group, int blocks, const struct quantised_block *const x[],    \
                     int rows, float out[][GROUP_ROWS]) {                                          \
        switch (rows) {                                                                            \
        case 1: name##_of(1, SLICES, 0, group, blocks, x, out); return;                            \
        case 2: name##_of(2, SLICES, 0, group, blocks, x, out); return;                            \
        case 3: name##_of(3, SLICES, 0, group, blocks, x, out); return;                            \
        case 4: name##_of(4, SLICES, 0, group, blocks, x, out); return;                            \
        }                                                                                          \
        for (int slice = 0; slice < SLICES; slice++) {                                             \
            switch (rows) {                                                                        \
            case 5: name##_of(5, 1, slice, group, blocks, x, out); break;                          \
            case 6: name##_of(6, 1, slice, group, blocks, x, out); break;                          \
            case 7: name##_of(7, 1, slice, group, blocks, x, out); break;                          \
            default: name##_of(8, 1, slice, group, blocks, x, out); break;                         \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_TILE(q4_tile, Q4_BLOCK_BYTES, load_q4, 1)
DEFINE_TILE(q8_tile, Q8_BLOCK_BYTES, load_q8, 0)

const struct variant neon_dotprod_variant = {
    .name = "neon-dotprod",
    .tile_rows = 8,
#include "table.h"
};
