/* Tiles that multiply from panels with AVX2: sixteen weight rows by up to four rows of activations.
 * A part of avx2.c, whose quads it shares. */
#ifndef PANEL_AVX2_H
#define PANEL_AVX2_H

#define NIBBLES_LESS 0

INLINE void look_up_grid(const uint8_t *nibbles, int8_t *quant) {
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i grid = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)q4n_grid));
    for (int i = 0; i < NIBBLES_BYTES; i += 32) {
        __m256i both = _mm256_loadu_si256((const __m256i *)(nibbles + i));
        __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
        both = _mm256_and_si256(both, low);
        _mm256_storeu_si256((__m256i *)(quant + i), _mm256_shuffle_epi8(grid, both));
        high = _mm256_shuffle_epi8(grid, high);
        _mm256_storeu_si256((__m256i *)(quant + NIBBLES_BYTES + i), high);
    }
}

#include "panel.h"

/* What the quants of a panel are, and what is added besides. */
enum kind { NIBBLES_WITH_ZERO, NIBBLES_WITH_OFFSET, SIGNED };

/* Products of eight rows with a quad of x, on top of those of the quads before it: of nibbles in 16
 * bits, as in nibble_dots; of signed bytes in 32 bits, as in q8_dots. */
INLINE __m256i add_quad(__m256i dot, const enum kind kind, __m256i weight, __m256i quad) {
    if (kind != SIGNED)
        return _mm256_add_epi16(dot, _mm256_maddubs_epi16(weight, quad));
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weight), _mm256_sign_epi8(quad, weight));
    return _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* A block of all sixteen rows, which share the quads of x. Rows of activations take turns, so that
 * many sums are under way at once; a compiler that knew the sums would undo that. */
INLINE void panel_dots(const int rows, const enum kind kind, const int8_t *quants,
                       const struct quantised_block *const x[], int b,
                       __m256i dot[HALVES][PANEL_TILE_ROWS]) {
    const uint8_t *first = (const uint8_t *)quants, *second = first + QUADS_BYTES / HALVES;
    for (int t = 0; t < rows; t++) dot[0][t] = dot[1][t] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int j = 0; j < QUADS; j++)
#pragma GCC unroll 4
        for (int t = 0; t < rows; t++) {
            __m256i quad = quad_of(x[t][b].quant, j);
            dot[0][t] = add_quad(dot[0][t], kind, load_quad(first, j), quad);
            dot[1][t] = add_quad(dot[1][t], kind, load_quad(second, j), quad);
            __asm__("" : "+x"(dot[0][t]), "+x"(dot[1][t]));
        }
}

/* A block's dot products of eight rows, scaled and added to their totals. */
INLINE void add_dot(__m256i dot, const enum kind kind, const float *scales, const float *offsets,
                    const struct quantised_block *x, float *total) {
    if (kind != SIGNED)
        dot = _mm256_madd_epi16(dot, _mm256_set1_epi16(1));
    if (kind == NIBBLES_WITH_ZERO)
        dot = _mm256_add_epi32(dot, _mm256_set1_epi32(x->bias));
    __m256 scale = _mm256_mul_ps(_mm256_loadu_ps(scales), _mm256_set1_ps(x->scale));
    __m256 sum = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(dot), _mm256_loadu_ps(total));
    if (kind == NIBBLES_WITH_OFFSET)
        sum = _mm256_fmadd_ps(_mm256_loadu_ps(offsets), _mm256_set1_ps(x->sum), sum);
    _mm256_storeu_ps(total, sum);
}

/* The dot products take all registers, so totals stay in memory, though a compiler would rather
 * have the dot products there. */
INLINE void add_panel(const int rows, const enum kind kind, const struct panel_block panel[],
                      int blocks, const struct quantised_block *const x[],
                      float total[][GROUP_ROWS]) {
    for (int b = 0; b < blocks; b++, panel++) {
        __m256i dot[HALVES][PANEL_TILE_ROWS];
        panel_dots(rows, kind, panel->quant, x, b, dot);
        for (int t = 0; t < rows; t++)
            for (int h = 0; h < HALVES; h++)
                add_dot(dot[h][t], kind, panel->scale + 8 * h, panel->offset + 8 * h, &x[t][b],
                        total[t] + 8 * h);
        __asm__ volatile("" ::: "memory");
    }
}

#define DEFINE_PANEL_TILE(name, kind)                                                              \
    static void name(const struct panel_block panel[], int blocks,                                 \
                     const struct quantised_block *const x[], int rows,                            \
                     float total[][GROUP_ROWS]) {                                                  \
        WITH_CONSTANT_ROWS(add_panel, rows, kind, panel, blocks, x, total)                         \
    }

DEFINE_PANEL_TILE(q4_panel, NIBBLES_WITH_ZERO)
DEFINE_PANEL_TILE(offset_panel, NIBBLES_WITH_OFFSET)
DEFINE_PANEL_TILE(signed_panel, SIGNED)

#endif
