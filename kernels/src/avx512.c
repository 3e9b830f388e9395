/* AVX-512 with VNNI: one register holds a quad of columns of all sixteen rows. */
#include "lanes_avx512.h"

#include "attention.h"
#include "pack.h"
#include "plain_rows.h"

/* Found by measuring: into the second cache, since the buffers of the first are too few to hold
 * all lines that are under way, and a page ahead, since the hardware stops at its end. */
enum { PREFETCH_BYTES = 4096 };
enum { QUADS = BLOCK_COLUMNS / QUAD };

INLINE void prefetch(const uint8_t *block, int bytes) {
    const char *ahead = (const char *)block + PREFETCH_BYTES;
    for (int i = 0; i < bytes; i += 64) _mm_prefetch(ahead + i, _MM_HINT_T1);
}

INLINE __m512i quad_of(const struct quantised_block *x, int quad) {
    int32_t four;
    memcpy(&four, x->quant + quad * QUAD, sizeof four);
    return _mm512_set1_epi32(four);
}

/* VPDPBUSD multiplies unsigned by signed bytes, so weights come raised by `zero` and the sum of
 * the activations times `zero` is taken off again. Two sums run side by side for latency. */
INLINE lanes add_block(const __m512i weight[QUADS], int zero, lanes scales,
                       const struct quantised_block *x, lanes total) {
    __m512i even = _mm512_set1_epi32(-zero * x->sum), odd = _mm512_setzero_si512();
    for (int j = 0; j < QUADS; j += 2) {
        even = _mm512_dpbusd_epi32(even, weight[j], quad_of(x, j));
        odd = _mm512_dpbusd_epi32(odd, weight[j + 1], quad_of(x, j + 1));
    }
    lanes dot = _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd));
    return lanes_fma(lanes_mul(scales, lanes_set(x->scale)), dot, total);
}

INLINE void load_q4(const uint8_t *quants, __m512i weight[QUADS]) {
    const __m512i low = _mm512_set1_epi8(15);
    for (int j = 0; j < QUADS / 2; j++) {
        __m512i both = _mm512_loadu_si512(quants + j * QUADS_BYTES);
        weight[j] = _mm512_and_si512(both, low);
        weight[j + QUADS / 2] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
}

INLINE void load_q8(const uint8_t *quants, __m512i weight[QUADS]) {
    const __m512i raise = _mm512_set1_epi8((char)0x80);
    for (int j = 0; j < QUADS; j++)
        weight[j] = _mm512_xor_si512(_mm512_loadu_si512(quants + j * QUADS_BYTES), raise);
}

#define DEFINE_TILE(name, block_bytes, load, zero)                                                 \
    INLINE void name##_of(const int rows, const uint8_t *group, int blocks,                        \
                          const struct quantised_block *const x[], float out[][GROUP_ROWS]) {      \
        lanes total[MAX_TILE_ROWS];                                                                \
        for (int t = 0; t < rows; t++) total[t] = lanes_set(0.0f);                                 \
        for (int b = 0; b < blocks; b++, group += (block_bytes)) {                                 \
            __m512i weight[QUADS];                                                                 \
            prefetch(group, block_bytes);                                                          \
            lanes scales = lanes_load_half((const uint16_t *)group);                               \
            load(group + SCALES_BYTES, weight);                                                    \
            for (int t = 0; t < rows; t++)                                                         \
                total[t] = add_block(weight, zero, scales, &x[t][b], total[t]);                    \
        }                                                                                          \
        for (int t = 0; t < rows; t++) lanes_store(out[t], total[t]);                              \
    }                                                                                              \
    static void name(const uint8_t *group, int blocks, const struct quantised_block *const x[],    \
                     int rows, float out[][GROUP_ROWS]) {                                          \
        switch (rows) {                                                                            \
        case 1: name##_of(1, group, blocks, x, out); break;                                        \
        case 2: name##_of(2, group, blocks, x, out); break;                                        \
        case 3: name##_of(3, group, blocks, x, out); break;                                        \
        case 4: name##_of(4, group, blocks, x, out); break;                                        \
        case 5: name##_of(5, group, blocks, x, out); break;                                        \
        case 6: name##_of(6, group, blocks, x, out); break;                                        \
        case 7: name##_of(7, group, blocks, x, out); break;                                        \
        default: name##_of(8, group, blocks, x, out); break;                                       \
        }                                                                                          \
    }

DEFINE_TILE(q4_tile, Q4_BLOCK_BYTES, load_q4, Q4_ZERO)
DEFINE_TILE(q8_tile, Q8_BLOCK_BYTES, load_q8, 128)

const struct variant avx512_variant = {
    .name = "avx512",
    .tile_rows = 8,
#include "table.h"
};
