#include "linear.h"

#include <stddef.h>

/* Weights that one task covers: they stay in a core's own cache while all rows visit them. */
enum { STRIP_BYTES = 256 << 10, TASKS_PER_THREAD = 8, MAX_PRODUCTS = 3 };

static int smaller(int a, int b) { return a < b ? a : b; }

/* The product of one row with row i of the weights becomes its output. */
static void put(const struct linear *product, int i, float value, float *y) {
    if (product->bias) value += product->bias[i];
    *y = product->add ? *y + value : value;
}

static quantised_tile *tile_of(const struct variant *variant, int format) {
    switch (format) {
    case FORMAT_Q8: return variant->q8_tile;
    case FORMAT_Q4: return variant->q4_tile;
    case FORMAT_Q4_1: return variant->q4_1_tile;
    case FORMAT_Q4N: return variant->q4n_tile;
    default: return variant->q4k_tile;
    }
}

static void quantised_strip(const struct variant *variant, const struct linear *product, int rows,
                            int start, int stop, float *y, int64_t y_stride) {
    const struct matrix *w = product->w;
    const struct quantised_block *x = product->x.blocks;
    int blocks = w->columns / BLOCK_COLUMNS;
    quantised_tile *tile = tile_of(variant, w->format);
    const uint8_t *groups = (const uint8_t *)w->data + start / GROUP_ROWS * group_bytes(w);
    for (int row = 0; row < rows; row += variant->tile_rows) {
        const struct quantised_block *few[MAX_TILE_ROWS];
        float out[MAX_TILE_ROWS][GROUP_ROWS];
        int count = smaller(rows - row, variant->tile_rows);
        for (int t = 0; t < count; t++) few[t] = x + (int64_t)(row + t) * blocks;

        const uint8_t *group = groups;
        for (int i = start; i < stop; i += GROUP_ROWS, group += group_bytes(w)) {
            tile(group, blocks, few, count, out);
            for (int t = 0; t < count; t++)
                for (int r = 0; r < smaller(stop - i, GROUP_ROWS); r++)
                    put(product, i + r, out[t][r], y + (row + t) * y_stride + i - start + r);
        }
    }
}

static void plain_strip(const struct variant *variant, const struct linear *product, int rows,
                        int start, int stop, float *y, int64_t y_stride) {
    const struct matrix *w = product->w;
    const float *x = product->x.plain;
    for (int row = 0; row < rows; row += variant->tile_rows) {
        const float *few[MAX_TILE_ROWS];
        float out[MAX_TILE_ROWS];
        int count = smaller(rows - row, variant->tile_rows);
        for (int t = 0; t < count; t++) few[t] = x + (int64_t)(row + t) * w->columns;

        for (int i = start; i < stop; i++) {
            const char *weights = (const char *)w->data + i * row_bytes(w);
            if (w->format == FORMAT_F16)
                variant->f16_row((const uint16_t *)weights, w->columns, few, count, out);
            else
                variant->f32_row((const float *)weights, w->columns, few, count, out);
            for (int t = 0; t < count; t++)
                put(product, i, out[t], y + (row + t) * y_stride + i - start);
        }
    }
}

void linear_strip(const struct variant *variant, const struct linear *product, int rows, int start,
                  int stop, float *y, int64_t y_stride) {
    if (is_quantised(product->w->format))
        quantised_strip(variant, product, rows, start, stop, y, y_stride);
    else
        plain_strip(variant, product, rows, start, stop, y, y_stride);
}

struct region {
    const struct variant *variant;
    const struct linear *products;
    int rows;
    int strip[MAX_PRODUCTS]; /* outputs a task */
    int first_task[MAX_PRODUCTS + 1];
};

static int strip_rows(const struct matrix *w, int threads) {
    int64_t bytes = is_quantised(w->format) ? group_bytes(w) : GROUP_ROWS * row_bytes(w);
    int groups = (w->rows + GROUP_ROWS - 1) / GROUP_ROWS;
    int64_t fitting = STRIP_BYTES / bytes;
    int fair = groups / (threads * TASKS_PER_THREAD);
    int64_t strip = fitting < fair ? fitting : fair;
    return GROUP_ROWS * (strip > 1 ? (int)strip : 1);
}

static void run_strip(void *job, int task, int worker) {
    const struct region *region = job;
    int i = 0;
    while (task >= region->first_task[i + 1]) i++;
    const struct linear *product = &region->products[i];
    int start = (task - region->first_task[i]) * region->strip[i];
    int stop = smaller(start + region->strip[i], product->w->rows);
    linear_strip(region->variant, product, region->rows, start, stop, product->y + start,
                 product->w->rows);
    (void)worker;
}

void linear_all(struct engine *engine, const struct linear *products, int count, int rows) {
    struct region region = {.variant = engine->variant, .products = products, .rows = rows};
    for (int i = 0; i < count; i++) {
        int strip = strip_rows(products[i].w, pool_threads(engine->pool));
        region.strip[i] = strip;
        region.first_task[i + 1] = region.first_task[i] + (products[i].w->rows + strip - 1) / strip;
    }
    pool_run(engine->pool, run_strip, &region, region.first_task[count]);
}
