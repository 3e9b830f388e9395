/* AVX-512 with VNNI: one register holds a quad of columns of all sixteen rows. */
#include "lanes_avx512.h"

#include "attention.h"
#include "pack.h"
#include "plain_rows.h"

/* Found by measuring: into the second cache, since the buffers of the first are too few to hold
 * all lines under way, and a page and a half ahead, since the hardware stops at its end. */
enum { PREFETCH_BYTES = 6144 };
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

/* Quads j and j + 4 of a block, raised to be unsigned: VPDPBUSD multiplies unsigned by signed. */
struct two_quads {
    __m512i first, second;
};

INLINE struct two_quads load_q4(const uint8_t *quants, int j) {
    const __m512i low = _mm512_set1_epi8(15);
    __m512i both = _mm512_loadu_si512(quants + j * QUADS_BYTES);
    return (struct two_quads){_mm512_and_si512(both, low),
                              _mm512_and_si512(_mm512_srli_epi16(both, 4), low)};
}

INLINE struct two_quads load_q8(const uint8_t *quants, int j) {
    const __m512i raise = _mm512_set1_epi8((char)0x80);
    const uint8_t *second = quants + (j + QUADS / 2) * QUADS_BYTES;
    return (struct two_quads){
        _mm512_xor_si512(_mm512_loadu_si512(quants + j * QUADS_BYTES), raise),
        _mm512_xor_si512(_mm512_loadu_si512(second), raise)};
}

/* What raising the weights by `zero` adds is taken off at the start. The rows take turns within a
 * quad, so that many sums are under way and none waits for its last product; few rows have two. */
#define DEFINE_TILE(name, block_bytes, load, zero)                                                 \
    INLINE void name##_of(const int rows, const uint8_t *group, int blocks,                        \
                          const struct quantised_block *const x[], float out[][GROUP_ROWS]) {      \
        const int chains = rows <= 2 ? 2 : 1;                                                      \
        lanes total[MAX_TILE_ROWS];                                                                \
        __m512i dot[MAX_TILE_ROWS][2];                                                             \
        for (int t = 0; t < rows; t++) total[t] = lanes_set(0.0f);                                 \
        for (int b = 0; b < blocks; b++, group += (block_bytes)) {                                 \
            prefetch(group, block_bytes);                                                          \
            lanes scales = lanes_load_half((const uint16_t *)group);                               \
            for (int t = 0; t < rows; t++) {                                                       \
                dot[t][1] = _mm512_setzero_si512();                                                \
                dot[t][0] = _mm512_set1_epi32(x[t][b].bias * ((zero) / Q4_ZERO));                  \
            }                                                                                      \
            for (int j = 0; j < QUADS / 2; j++) {                                                  \
                struct two_quads w = load(group + SCALES_BYTES, j);                                \
                for (int t = 0; t < rows; t++)                                                     \
                    dot[t][0] = _mm512_dpbusd_epi32(dot[t][0], w.first, quad_of(&x[t][b], j));     \
                for (int t = 0; t < rows; t++)                                                     \
                    dot[t][chains - 1] = _mm512_dpbusd_epi32(                                      \
                        dot[t][chains - 1], w.second, quad_of(&x[t][b], j + QUADS / 2));           \
            }                                                                                      \
            for (int t = 0; t < rows; t++) {                                                       \
                __m512i sum = chains == 2 ? _mm512_add_epi32(dot[t][0], dot[t][1]) : dot[t][0];    \
                lanes scale = lanes_mul(scales, lanes_set(x[t][b].scale));                         \
                total[t] = lanes_fma(scale, _mm512_cvtepi32_ps(sum), total[t]);                    \
            }                                                                                      \
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
