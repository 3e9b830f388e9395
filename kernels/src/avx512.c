/* AVX-512 with VNNI: one register holds a quad of columns of all sixteen rows. */
#include "lanes_avx512.h"

#include "attention.h"
#include "pack.h"
#include "plain_rows.h"
#include "prefetch_x86.h"

enum { QUADS = BLOCK_COLUMNS / QUAD };

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

/* The grid plus 128 is 1 to 241. */
INLINE struct two_quads load_q4n(const uint8_t *quants, int j) {
    const __m512i raise = _mm512_set1_epi8((char)0x80);
    __m512i grid = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)q4n_grid));
    __m512i raised = _mm512_xor_si512(grid, raise);
    struct two_quads levels = load_q4(quants, j);
    return (struct two_quads){_mm512_shuffle_epi8(raised, levels.first),
                              _mm512_shuffle_epi8(raised, levels.second)};
}

INLINE struct two_quads load_q8(const uint8_t *quants, int j) {
    const __m512i raise = _mm512_set1_epi8((char)0x80);
    const uint8_t *second = quants + (j + QUADS / 2) * QUADS_BYTES;
    return (struct two_quads){
        _mm512_xor_si512(_mm512_loadu_si512(quants + j * QUADS_BYTES), raise),
        _mm512_xor_si512(_mm512_loadu_si512(second), raise)};
}

/* Dot products of a block, on top of what `dot` begins with. The rows take turns within a quad, so
 * that many sums are under way and none waits for its last product; few rows have two. */
#define ADD_DOTS(rows, chains, load, quants, x, b, dot)                                            \
    for (int j = 0; j < QUADS / 2; j++) {                                                          \
        struct two_quads w = load(quants, j);                                                      \
        for (int t = 0; t < rows; t++)                                                             \
            dot[t][0] = _mm512_dpbusd_epi32(dot[t][0], w.first, quad_of(&x[t][b], j));             \
        for (int t = 0; t < rows; t++)                                                             \
            dot[t][chains - 1] = _mm512_dpbusd_epi32(dot[t][chains - 1], w.second,                 \
                                                     quad_of(&x[t][b], j + QUADS / 2));            \
    }                                                                                              \
    for (int t = 0; t < rows; t++)                                                                 \
        if (chains == 2)                                                                           \
            dot[t][0] = _mm512_add_epi32(dot[t][0], dot[t][1])

INLINE int chains_for(const int rows) { return rows <= 2 ? 2 : 1; }

#define WITH_CONSTANT_ROWS(function, rows, ...)                                                    \
    switch (rows) {                                                                                \
    case 1: function(1, __VA_ARGS__); break;                                                       \
    case 2: function(2, __VA_ARGS__); break;                                                       \
    case 3: function(3, __VA_ARGS__); break;                                                       \
    case 4: function(4, __VA_ARGS__); break;                                                       \
    case 5: function(5, __VA_ARGS__); break;                                                       \
    case 6: function(6, __VA_ARGS__); break;                                                       \
    case 7: function(7, __VA_ARGS__); break;                                                       \
    default: function(8, __VA_ARGS__); break;                                                      \
    }

/* What raising the weights by `zero` adds is taken off at the start. */
#define DEFINE_TILE(name, block_bytes, load, zero)                                                 \
    INLINE void name##_of(const int rows, const uint8_t *group, int blocks,                        \
                          const struct quantised_block *const x[], float out[][GROUP_ROWS]) {      \
        const int chains = chains_for(rows);                                                       \
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
            ADD_DOTS(rows, chains, load, group + SCALES_BYTES, x, b, dot);                         \
            for (int t = 0; t < rows; t++) {                                                       \
                lanes scale = lanes_mul(scales, lanes_set(x[t][b].scale));                         \
                total[t] = lanes_fma(scale, _mm512_cvtepi32_ps(dot[t][0]), total[t]);              \
            }                                                                                      \
        }                                                                                          \
        for (int t = 0; t < rows; t++) lanes_store(out[t], total[t]);                              \
    }                                                                                              \
    static void name(const uint8_t *group, int blocks, const struct quantised_block *const x[],    \
                     int rows, float out[][GROUP_ROWS]) {                                          \
        WITH_CONSTANT_ROWS(name##_of, rows, group, blocks, x, out)                                 \
    }

DEFINE_TILE(q4_tile, Q4_BLOCK_BYTES, load_q4, Q4_ZERO)
DEFINE_TILE(q4n_tile, Q4_BLOCK_BYTES, load_q4n, 128)
DEFINE_TILE(q8_tile, Q8_BLOCK_BYTES, load_q8, 128)

INLINE void add_block(const int rows, const uint8_t *quants, lanes scales, lanes offsets,
                      const struct quantised_block *const x[], int b, lanes total[]) {
    const int chains = chains_for(rows);
    __m512i dot[MAX_TILE_ROWS][2];
    for (int t = 0; t < rows; t++) dot[t][0] = dot[t][1] = _mm512_setzero_si512();
    ADD_DOTS(rows, chains, load_q4, quants, x, b, dot);
    for (int t = 0; t < rows; t++) {
        lanes scale = lanes_mul(scales, lanes_set(x[t][b].scale));
        total[t] = lanes_fma(scale, _mm512_cvtepi32_ps(dot[t][0]), total[t]);
        total[t] = lanes_fma(offsets, lanes_set(x[t][b].sum), total[t]);
    }
}

#include "offset_tiles.h"

const struct variant avx512_variant = {
    .name = "avx512",
    .tile_rows = 8,
#include "table.h"
};
