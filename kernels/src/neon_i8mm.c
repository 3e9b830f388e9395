/* NEON with the matrix product of bytes: two rows by two rows (Armv8.6; no Raspberry Pi has it). */
#include "tiles_dotprod.h"

#include "attention.h"
#include "pack.h"
#include "plain_rows.h"

/* From quads j and j + 1 of four weight rows: eight columns of rows 0 and 2, or of 1 and 3. */
INLINE uint8x16_t even_rows(uint8x16_t quad, uint8x16_t next) {
    return vreinterpretq_u8_u32(vtrn1q_u32(vreinterpretq_u32_u8(quad), vreinterpretq_u32_u8(next)));
}

INLINE uint8x16_t odd_rows(uint8x16_t quad, uint8x16_t next) {
    return vreinterpretq_u8_u32(vtrn2q_u32(vreinterpretq_u32_u8(quad), vreinterpretq_u32_u8(next)));
}

/* Weights for add_pairs: vectors j and j + 1 are columns 4 j to 4 j + 7 of even and of odd rows. */
#define DEFINE_LOAD_PAIRS(name, split)                                                             \
    INLINE void name(const uint8_t *quants, int8x16_t weight[QUADS]) {                             \
        for (int j = 0; j < QUADS / 2; j += 2) {                                                   \
            uint8x16_t quad = load_quad(quants, j), next = load_quad(quants, j + 1);               \
            struct nibbles even = split(even_rows(quad, next)), odd = split(odd_rows(quad, next)); \
            weight[j] = even.low;                                                                  \
            weight[j + 1] = odd.low;                                                               \
            weight[j + QUADS / 2] = even.high;                                                     \
            weight[j + QUADS / 2 + 1] = odd.high;                                                  \
        }                                                                                          \
    }

DEFINE_LOAD_PAIRS(load_q4_pairs, split)
DEFINE_LOAD_PAIRS(load_q4n_pairs, split_grid)
DEFINE_LOAD_PAIRS(load_nibble_pairs, split_unsigned)

INLINE void load_q8_pairs(const uint8_t *quants, int8x16_t weight[QUADS]) {
    for (int j = 0; j < QUADS; j += 2) {
        uint8x16_t quad = load_quad(quants, j), next = load_quad(quants, j + 1);
        weight[j] = vreinterpretq_s8_u8(even_rows(quad, next));
        weight[j + 1] = vreinterpretq_s8_u8(odd_rows(quad, next));
    }
}

/* Columns 16 i to 16 i + 7 of two rows of activations, then the next eight. */
INLINE void load_pair(const struct quantised_block *x, const struct quantised_block *y,
                      int8x16_t pair[QUADS / 2]) {
    for (int i = 0; i < QUADS / 2; i += 2) {
        int64x2_t of_x = vreinterpretq_s64_s8(vld1q_s8(x->quant + 8 * i));
        int64x2_t of_y = vreinterpretq_s64_s8(vld1q_s8(y->quant + 8 * i));
        pair[i] = vreinterpretq_s8_s64(vtrn1q_s64(of_x, of_y));
        pair[i + 1] = vreinterpretq_s8_s64(vtrn2q_s64(of_x, of_y));
    }
}

/* Four weight rows times block b of each row of activations; a last odd one is its own partner. */
INLINE void add_pairs(const int8x16_t weight[QUADS], const enum kind kind, float32x4_t scales,
                      float32x4_t offsets, const struct quantised_block *const x[], const int rows,
                      int b, float32x4_t total[]) {
    for (int t = 0; t < rows; t += 2) {
        int partner = t + 1 < rows ? t + 1 : t;
        int8x16_t pair[QUADS / 2];
        load_pair(&x[t][b], &x[partner][b], pair);
        int32x4_t even = vdupq_n_s32(0), odd = vdupq_n_s32(0);
        for (int i = 0; i < QUADS / 2; i++) {
            even = vmmlaq_s32(even, weight[2 * i], pair[i]);
            odd = vmmlaq_s32(odd, weight[2 * i + 1], pair[i]);
        }
        total[t] = add_dot(vtrn1q_s32(even, odd), kind, scales, offsets, &x[t][b], total[t]);
        if (partner != t)
            total[partner] = add_dot(vtrn2q_s32(even, odd), kind, scales, offsets, &x[partner][b],
                                     total[partner]);
    }
}

DEFINE_SLICES(q4_pairs, Q4_BLOCK_BYTES, load_q4_pairs, add_pairs, SHIFTED)
DEFINE_SLICES(q4n_pairs, Q4_BLOCK_BYTES, load_q4n_pairs, add_pairs, AS_IT_IS)
DEFINE_SLICES(q8_pairs, Q8_BLOCK_BYTES, load_q8_pairs, add_pairs, AS_IT_IS)

#define ADD_PAIRS(weight, ...) add_pairs(weight, WITH_OFFSET, __VA_ARGS__)
DEFINE_OFFSET_SLICES(q4_1_pairs, q4k_pairs, load_nibble_pairs, ADD_PAIRS)

/* One row waits for memory, and has no partner. */
DEFINE_TILE(q4_tile, q4_dots, q4_pairs)
DEFINE_TILE(q4n_tile, q4n_dots, q4n_pairs)
DEFINE_TILE(q8_tile, q8_dots, q8_pairs)
DEFINE_TILE(q4_1_tile, q4_1_dots, q4_1_pairs)
DEFINE_TILE(q4k_tile, q4k_dots, q4k_pairs)

const struct variant neon_i8mm_variant = {
    .name = "neon-i8mm",
    .tile_rows = 8,
#include "table.h"
};
