#include "rows.h"

#include <string.h>

#include "half.h"
#include "q4k.h"

struct rows {
    const struct variant *variant;
    const float *x;
    const float *gain;
    float *plain;
    struct quantised_block *blocks;
    int columns;
    float eps;
};

static void quantise_row(void *job, int row, int worker) {
    const struct rows *r = job;
    int blocks = r->columns / BLOCK_COLUMNS;
    r->variant->quantise(r->x + (int64_t)row * r->columns, blocks, r->blocks + (int64_t)row * blocks);
    (void)worker;
}

static void norm_row(void *job, int row, int worker) {
    const struct rows *r = job;
    int64_t at = (int64_t)row * r->columns;
    int blocks = r->columns / BLOCK_COLUMNS;
    r->variant->rms_norm(r->x + at, r->gain, r->columns, r->eps, r->plain + at);
    if (r->blocks)
        r->variant->quantise(r->plain + at, blocks, r->blocks + (int64_t)row * blocks);
    (void)worker;
}

void quantise_rows(struct engine *engine, const float *x, int rows, int columns,
                   struct quantised_block *out) {
    struct rows job = {.variant = engine->variant, .x = x, .blocks = out, .columns = columns};
    pool_run(engine->pool, quantise_row, &job, rows);
}

void norm_rows(struct engine *engine, const float *x, const float *gain, int rows, int dim,
               float eps, float *plain, struct quantised_block *blocks) {
    struct rows job = {engine->variant, x, gain, plain, blocks, dim, eps};
    pool_run(engine->pool, norm_row, &job, rows);
}

void rope(float *head, const struct rotation *rotation, int64_t row) {
    int pairs = rotation->pairs;
    const float *cos = rotation->cos + row * pairs, *sin = rotation->sin + row * pairs;
    for (int i = 0; i < pairs; i++) {
        float even = head[2 * i], odd = head[2 * i + 1];
        head[2 * i] = even * cos[i] - odd * sin[i];
        head[2 * i + 1] = even * sin[i] + odd * cos[i];
    }
}

static float half_at(const uint8_t *halves, int row) {
    uint16_t half;
    memcpy(&half, halves + row * sizeof half, sizeof half);
    return float_from_half(half);
}

/* Entry i of a row's 32: what is stored of it, and a nibble's half of the byte. */
static int byte_at(const uint8_t *quants, int row, int i) {
    return quants[i / QUAD * QUADS_BYTES + row * QUAD + i % QUAD];
}

static int nibble_at(const uint8_t *quants, int row, int i) {
    const int half = BLOCK_COLUMNS / 2;
    return i < half ? byte_at(quants, row, i) & 15 : byte_at(quants, row, i - half) >> 4;
}

/* One row of a block of 32 columns, or of 256: see formats.h. */
static void unpack_q8(const uint8_t *block, int row, float *out) {
    float scale = half_at(block, row);
    for (int i = 0; i < BLOCK_COLUMNS; i++)
        out[i] = scale * (float)(int8_t)byte_at(block + SCALES_BYTES, row, i);
}

static void unpack_q4(const uint8_t *block, int row, float *out) {
    float scale = half_at(block, row);
    for (int i = 0; i < BLOCK_COLUMNS; i++)
        out[i] = scale * (float)(nibble_at(block + SCALES_BYTES, row, i) - Q4_ZERO);
}

static void unpack_q4n(const uint8_t *block, int row, float *out) {
    float scale = half_at(block, row);
    for (int i = 0; i < BLOCK_COLUMNS; i++)
        out[i] = scale * (float)q4n_grid[nibble_at(block + SCALES_BYTES, row, i)];
}

static void unpack_q4_1(const uint8_t *block, int row, float *out) {
    float scale = half_at(block, row), minimum = half_at(block + SCALES_BYTES, row);
    for (int i = 0; i < BLOCK_COLUMNS; i++)
        out[i] = scale * (float)nibble_at(block + Q4_1_HEADER_BYTES, row, i) + minimum;
}

static void unpack_q4k(const uint8_t *block, int row, float *out) {
    float d = half_at(block, row), dmin = half_at(block + SCALES_BYTES, row);
    struct q4k_levels levels;
    unpack_levels(block + 2 * SCALES_BYTES, &levels);
    const uint8_t *quants = block + Q4K_HEADER_BYTES;
    for (int b = 0; b < Q4K_BLOCKS; b++, quants += NIBBLES_BYTES, out += BLOCK_COLUMNS) {
        float scale = d * (float)levels.scale[b][row], less = dmin * (float)levels.minimum[b][row];
        for (int i = 0; i < BLOCK_COLUMNS; i++)
            out[i] = scale * (float)nibble_at(quants, row, i) - less;
    }
}

static void unpack_row(const uint8_t *group, int format, int row, int columns, float *out) {
    int blocks = format == FORMAT_Q4K ? Q4K_BLOCKS : 1;
    for (int i = 0; i < columns; i += blocks * BLOCK_COLUMNS) {
        switch (format) {
        case FORMAT_Q8: unpack_q8(group, row, out + i); break;
        case FORMAT_Q4: unpack_q4(group, row, out + i); break;
        case FORMAT_Q4N: unpack_q4n(group, row, out + i); break;
        case FORMAT_Q4_1: unpack_q4_1(group, row, out + i); break;
        default: unpack_q4k(group, row, out + i); break;
        }
        group += blocks * block_bytes(format);
    }
}

void kernels_rows(const struct matrix *w, const int64_t *indices, int count, float *out) {
    for (int i = 0; i < count; i++, out += w->columns) {
        const uint8_t *data = w->data;
        if (is_quantised(w->format)) {
            const uint8_t *group = data + indices[i] / GROUP_ROWS * group_bytes(w);
            unpack_row(group, w->format, (int)(indices[i] % GROUP_ROWS), w->columns, out);
            continue;
        }
        const uint8_t *row = data + indices[i] * row_bytes(w);
        for (int c = 0; c < w->columns; c++) {
            uint16_t half;
            memcpy(&half, row + c * sizeof half, sizeof half);
            if (w->format == FORMAT_F16)
                out[c] = float_from_half(half);
            else
                memcpy(&out[c], row + c * sizeof *out, sizeof *out);
        }
    }
}
