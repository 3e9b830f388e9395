#include "rows.h"

#include <string.h>

#include "half.h"

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

/* Row r of group: see formats.h. */
static void unpack_row(const uint8_t *group, int format, int r, int columns, float *out) {
    for (int b = 0; b < columns / BLOCK_COLUMNS; b++, out += BLOCK_COLUMNS) {
        const uint8_t *block = group + b * block_bytes(format);
        uint16_t half;
        memcpy(&half, block + r * sizeof half, sizeof half);
        float scale = float_from_half(half);
        const uint8_t *quants = block + SCALES_BYTES + r * QUAD;
        for (int i = 0; i < BLOCK_COLUMNS; i++) {
            int j = format == FORMAT_Q4 ? i % (BLOCK_COLUMNS / 2) : i;
            int stored = quants[j / QUAD * QUADS_BYTES + j % QUAD];
            if (format == FORMAT_Q4)
                out[i] = scale * (float)((i == j ? stored & 15 : stored >> 4) - Q4_ZERO);
            else
                out[i] = scale * (float)(int8_t)stored;
        }
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
