/* AVX2: a quad of columns of eight rows in a register, so a block is worked on in two halves. */
#include "lanes_avx2.h"

#include "attention.h"
#include "pack.h"
#include "plain_rows.h"
#include "prefetch_x86.h"

enum { QUADS = BLOCK_COLUMNS / QUAD, HALVES = 2 };

INLINE __m256i quad_of(const int8_t *quants, int quad) {
    int32_t four;
    memcpy(&four, quants + quad * QUAD, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Both halves read the same activations. A compiler that knows keeps all quads for the second
 * half, which are more than there are registers; reading them again is cheaper. */
INLINE const int8_t *read_anew(const int8_t *quants) {
    __asm__ volatile("" : "+r"(quants));
    return quants;
}

INLINE __m256i load_quad(const uint8_t *quants, int quad) {
    return _mm256_loadu_si256((const __m256i *)(quants + quad * QUADS_BYTES));
}

/* Dot products of eight rows, in 32 bits. Sums of pairs stay in 16 bits for the whole block: eight
 * of them reach 8 * 2 * 15 * 127 = 30480. */
INLINE void nibble_dots(const int rows, const uint8_t *quants,
                        const struct quantised_block *const x[], int block, __m256i dot[]) {
    const __m256i low = _mm256_set1_epi8(15), one = _mm256_set1_epi16(1);
    __m256i weight[QUADS];
    for (int j = 0; j < QUADS / 2; j++) {
        __m256i both = load_quad(quants, j);
        weight[j] = _mm256_and_si256(both, low);
        weight[j + QUADS / 2] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
    }
    for (int t = 0; t < rows; t++) {
        const int8_t *of_x = read_anew(x[t][block].quant);
        __m256i pairs = _mm256_maddubs_epi16(weight[0], quad_of(of_x, 0));
        for (int j = 1; j < QUADS; j++)
            pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(weight[j], quad_of(of_x, j)));
        dot[t] = _mm256_madd_epi16(pairs, one);
    }
}

/* Nibbles are unsigned; what zero adds is taken off. */
INLINE void q4_dots(const int rows, const uint8_t *quants, const struct quantised_block *const x[],
                    int block, __m256i dot[]) {
    nibble_dots(rows, quants, x, block, dot);
    for (int t = 0; t < rows; t++)
        dot[t] = _mm256_add_epi32(dot[t], _mm256_set1_epi32(x[t][block].bias));
}

/* Signed weights: their sign moves to the activations, and a pair reaches 2 * 128 * 127 = 32512. */
INLINE void q8_dots(const int rows, const uint8_t *quants, const struct quantised_block *const x[],
                    int block, __m256i dot[]) {
    const __m256i one = _mm256_set1_epi16(1);
    const int8_t *of_x[4];
    for (int t = 0; t < rows; t++) {
        of_x[t] = read_anew(x[t][block].quant);
        dot[t] = _mm256_setzero_si256();
    }
    for (int j = 0; j < QUADS; j++) {
        __m256i weight = load_quad(quants, j), magnitude = _mm256_abs_epi8(weight);
        for (int t = 0; t < rows; t++) {
            __m256i quad = _mm256_sign_epi8(quad_of(of_x[t], j), weight);
            __m256i pairs = _mm256_maddubs_epi16(magnitude, quad);
            dot[t] = _mm256_add_epi32(dot[t], _mm256_madd_epi16(pairs, one));
        }
    }
}

/* As q8_dots. Of the grid, a pair reaches 2 * 127 * 127 = 32258. */
INLINE void q4n_dots(const int rows, const uint8_t *quants,
                     const struct quantised_block *const x[], int block, __m256i dot[]) {
    const __m256i low = _mm256_set1_epi8(15), one = _mm256_set1_epi16(1);
    const __m256i grid = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)q4n_grid));
    const __m256i magnitudes = _mm256_abs_epi8(grid);
    const int8_t *of_x[4];
    for (int t = 0; t < rows; t++) {
        of_x[t] = read_anew(x[t][block].quant);
        dot[t] = _mm256_setzero_si256();
    }
    for (int j = 0; j < QUADS / 2; j++) {
        __m256i both = load_quad(quants, j);
        __m256i first = _mm256_and_si256(both, low);
        __m256i second = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
        for (int t = 0; t < rows; t++) {
            __m256i quad = quad_of(of_x[t], j), other = quad_of(of_x[t], j + QUADS / 2);
            quad = _mm256_sign_epi8(quad, _mm256_shuffle_epi8(grid, first));
            other = _mm256_sign_epi8(other, _mm256_shuffle_epi8(grid, second));
            quad = _mm256_maddubs_epi16(_mm256_shuffle_epi8(magnitudes, first), quad);
            other = _mm256_maddubs_epi16(_mm256_shuffle_epi8(magnitudes, second), other);
            quad = _mm256_add_epi32(_mm256_madd_epi16(quad, one), _mm256_madd_epi16(other, one));
            dot[t] = _mm256_add_epi32(dot[t], quad);
        }
    }
}

#define WITH_CONSTANT_ROWS(function, rows, ...)                                                    \
    switch (rows) {                                                                                \
    case 1: function(1, __VA_ARGS__); break;                                                       \
    case 2: function(2, __VA_ARGS__); break;                                                       \
    case 3: function(3, __VA_ARGS__); break;                                                       \
    default: function(4, __VA_ARGS__); break;                                                      \
    }

#define DEFINE_TILE(name, block_bytes, dots)                                                       \
    INLINE void name##_of(const int rows, const uint8_t *group, int blocks,                        \
                          const struct quantised_block *const x[], float out[][GROUP_ROWS]) {      \
        __m256 total[4][HALVES];                                                                   \
        for (int t = 0; t < rows; t++) total[t][0] = total[t][1] = _mm256_setzero_ps();            \
        for (int b = 0; b < blocks; b++, group += (block_bytes)) {                                 \
            prefetch(group, block_bytes);                                                          \
            for (int h = 0; h < HALVES; h++) {                                                     \
                __m256i dot[4];                                                                    \
                __m256 scales = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)group + h));      \
                dots(rows, group + SCALES_BYTES + h * QUADS_BYTES / HALVES, x, b, dot);            \
                for (int t = 0; t < rows; t++) {                                                   \
                    __m256 scale = _mm256_mul_ps(scales, _mm256_set1_ps(x[t][b].scale));           \
                    total[t][h] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(dot[t]), total[t][h]); \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        for (int t = 0; t < rows; t++)                                                             \
            for (int h = 0; h < HALVES; h++) _mm256_storeu_ps(out[t] + 8 * h, total[t][h]);        \
    }                                                                                              \
    static void name(const uint8_t *group, int blocks, const struct quantised_block *const x[],    \
                     int rows, float out[][GROUP_ROWS]) {                                          \
        WITH_CONSTANT_ROWS(name##_of, rows, group, blocks, x, out)                                 \
    }

DEFINE_TILE(q4_tile, Q4_BLOCK_BYTES, q4_dots)
DEFINE_TILE(q4n_tile, Q4_BLOCK_BYTES, q4n_dots)
DEFINE_TILE(q8_tile, Q8_BLOCK_BYTES, q8_dots)

INLINE __m256 add_products(__m256 total, __m256 scales, __m256 offsets, __m256i dot,
                           const struct quantised_block *x) {
    __m256 scale = _mm256_mul_ps(scales, _mm256_set1_ps(x->scale));
    total = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(dot), total);
    return _mm256_fmadd_ps(offsets, _mm256_set1_ps(x->sum), total);
}

INLINE void add_block(const int rows, const uint8_t *quants, lanes scales, lanes offsets,
                      const struct quantised_block *const x[], int b, lanes total[]) {
    __m256i dot[4];
    nibble_dots(rows, quants, x, b, dot);
    for (int t = 0; t < rows; t++)
        total[t].low = add_products(total[t].low, scales.low, offsets.low, dot[t], &x[t][b]);
    nibble_dots(rows, quants + QUADS_BYTES / HALVES, x, b, dot);
    for (int t = 0; t < rows; t++)
        total[t].high = add_products(total[t].high, scales.high, offsets.high, dot[t], &x[t][b]);
}

#include "offset_tiles.h"

#include "panel_avx2.h"

const struct variant avx2_variant = {
    .name = "avx2",
    .tile_rows = 4,
#include "table.h"
    PANELS(q4_panel, signed_panel, offset_panel)
};
