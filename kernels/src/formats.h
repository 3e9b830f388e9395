/* How weights and activations lie in memory. Everything is little-endian.
 *
 * A matrix has `rows` outputs and `columns` inputs. Formats F32 and F16 are plain: row after row.
 * The others cut each row into blocks of 32 columns, w = scale * q with a half-precision scale, and
 * interleave 16 rows, so that one vector holds four neighbouring columns of each of 16 rows (or of
 * 8, or of 4) and every lane accumulates its own row. Rows are padded with zeros to 16.
 *
 *   matrix      = group of rows 0..15, group of rows 16..31, ...
 *   group       = blocks of columns 0..31, of columns 32..63, ...
 *   block       = 16 scales (f16, one a row, 32 bytes), then the quants:
 *     Q8 (544 B)  quant[j][r][c] for j = 0..7, r = 0..15, c = 0..3: int8 of row r, column 4 j + c
 *     Q4 (288 B)  quant[j][r][c] for j = 0..3: low nibble of row r, column 4 j + c,
 *                 high nibble of row r, column 16 + 4 j + c; a nibble n stands for n - 8
 *     Q4N         the bytes of Q4, but a nibble n stands for q4n_grid[n]
 *
 *   Q4_1 adds a minimum to each block, w = scale * n + minimum, and takes no zero off its nibbles:
 *     (320 B)     16 scales, 16 minima (f16), then nibbles as those of Q4
 *   Q4K joins 8 blocks that share two halves a row, w = (d * s) * n - (dmin * m), 0 <= s, m < 64:
 *     (2304 B)    16 d, 16 dmin (f16), packed[i][r] for i = 0..11, then the nibbles of 8 blocks
 *     The twelve bytes of a row hold s and m of its blocks k = 0..7:
 *       k < 4     s: low 6 bits of byte k;                m: low 6 bits of byte 4 + k
 *       k >= 4    s: low nibble of byte 4 + k, above it   m: high nibble of byte 4 + k, above it
 *                    the top 2 bits of byte k - 4            the top 2 bits of byte k
 *
 * The values are those of ggml's Q8_0, Q4_0, IQ4_NL, Q4_1 and Q4_K; only their order differs.
 */
#ifndef FORMATS_H
#define FORMATS_H

#include <stdint.h>

enum { GROUP_ROWS = 16, BLOCK_COLUMNS = 32, QUAD = 4 /* neighbouring columns in one 32-bit lane */ };
enum { SCALES_BYTES = GROUP_ROWS * 2 };
enum { QUADS_BYTES = GROUP_ROWS * QUAD }; /* one quad of columns of all 16 rows: a cache line */
enum { Q8_BLOCK_BYTES = SCALES_BYTES + GROUP_ROWS * BLOCK_COLUMNS };
enum { Q4_BLOCK_BYTES = SCALES_BYTES + GROUP_ROWS * BLOCK_COLUMNS / 2 };
enum { Q4_ZERO = 8 };
enum { NIBBLES_BYTES = GROUP_ROWS * BLOCK_COLUMNS / 2 };
enum { Q4_1_HEADER_BYTES = 2 * SCALES_BYTES };
enum { Q4_1_BLOCK_BYTES = Q4_1_HEADER_BYTES + NIBBLES_BYTES };
enum { Q4K_BLOCKS = 8, Q4K_PLANE_BYTES = 4 * GROUP_ROWS };
enum { Q4K_HEADER_BYTES = 2 * SCALES_BYTES + 3 * Q4K_PLANE_BYTES };
enum { Q4K_BYTES = Q4K_HEADER_BYTES + Q4K_BLOCKS * NIBBLES_BYTES };

enum format {
    FORMAT_F32 = 0,
    FORMAT_F16 = 1,
    FORMAT_Q8 = 2,
    FORMAT_Q4 = 3,
    FORMAT_Q4_1 = 4,
    FORMAT_Q4K = 5,
    FORMAT_Q4N = 6
};

/* Denser around zero, where most weights are. ggml's IQ4_NL (kvalues_iq4nl in ggml-common.h). */
enum { GRID_LEVELS = 16 };
static const int8_t q4n_grid[GRID_LEVELS] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                             1,    13,   25,  38,  53,  69,  89,  113};

struct matrix {
    const void *data;
    int32_t format;
    int32_t rows;
    int32_t columns;
};

/* 32 neighbouring activations of one row: x = scale * quant, -127 <= quant <= 127. */
struct quantised_block {
    float scale;
    float sum;    /* scale times the sum of the quants: what the minimum of a block multiplies */
    int32_t bias; /* -Q4_ZERO times the sum of the quants: takes off what unsigned nibbles add */
    int8_t quant[BLOCK_COLUMNS];
};

/* Rows of activations in the forms that the formats multiply: plain for F32 and F16, blocks for
 * the others. A form that no matrix asks for may be NULL. Rows follow each other without gaps. */
struct operand {
    const float *plain;
    const struct quantised_block *blocks;
};

static inline int is_quantised(int format) { return format >= FORMAT_Q8; }

/* Of 32 columns; of Q4K an eighth of what its 8 blocks take together. */
static inline int64_t block_bytes(int format) {
    switch (format) {
    case FORMAT_Q8: return Q8_BLOCK_BYTES;
    case FORMAT_Q4:
    case FORMAT_Q4N: return Q4_BLOCK_BYTES;
    case FORMAT_Q4_1: return Q4_1_BLOCK_BYTES;
    default: return Q4K_BYTES / Q4K_BLOCKS;
    }
}

static inline int64_t row_bytes(const struct matrix *w) {
    return w->columns * (int64_t)(w->format == FORMAT_F16 ? 2 : 4);
}

static inline int64_t group_bytes(const struct matrix *w) {
    return w->columns / BLOCK_COLUMNS * block_bytes(w->format);
}

#endif
