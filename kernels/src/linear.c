#include "linear.h"

#include <stddef.h>
#include <string.h>

/* Weights that one task covers: they stay in a core's own cache while all rows visit them. */
enum { STRIP_BYTES = 256 << 10, TASKS_PER_THREAD = 8, MAX_PRODUCTS = 3 };

/* A panel fills half of a first cache of 32 KiB; PANEL_BLOCKS is a multiple of Q4K_BLOCKS. The totals
 * of PANEL_GROUPS groups and PANEL_ROWS rows lie on the stack: 64 KiB. */
enum { PANEL_BLOCKS = 24, PANEL_GROUPS = 4, PANEL_ROWS = 256, LEAST_PANEL_ROWS = 16 };

static int smaller(int a, int b) { return a < b ? a : b; }

/* The product of one row with row i of the weights becomes its output. */
static void put(const struct linear *product, int i, float value, float *y) {
    if (product->bias) value += product->bias[i];
    *y = product->add ? *y + value : value;
}

/* `count` in equal shares of at most `most`, so that no small one is left over. */
static int even_share(int count, int most) {
    int shares = (count + most - 1) / most;
    return (count + shares - 1) / shares;
}

static const uint8_t *group_at(const struct matrix *w, int row) {
    return (const uint8_t *)w->data + row / GROUP_ROWS * group_bytes(w);
}

static const struct quantised *kernels_of(const struct variant *variant, int format) {
    switch (format) {
    case FORMAT_Q8: return &variant->q8;
    case FORMAT_Q4: return &variant->q4;
    case FORMAT_Q4_1: return &variant->q4_1;
    case FORMAT_Q4N: return &variant->q4n;
    default: return &variant->q4k;
    }
}

/* What a group's totals become, from output i on. */
static void put_group(const struct linear *product, int i, int rows, float total[][GROUP_ROWS],
                      float *y, int64_t y_stride) {
    int outputs = smaller(product->w->rows - i, GROUP_ROWS);
    for (int t = 0; t < rows; t++)
        for (int r = 0; r < outputs; r++) put(product, i + r, total[t][r], y + t * y_stride + r);
}

/* Few rows: a group is multiplied as it is read. */
static void tile_strip(const struct variant *variant, const struct linear *product, int rows,
                       int start, int stop, float *y, int64_t y_stride) {
    const struct matrix *w = product->w;
    int blocks = w->columns / BLOCK_COLUMNS;
    quantised_tile *tile = kernels_of(variant, w->format)->tile;
    for (int row = 0; row < rows; row += variant->tile_rows) {
        const struct quantised_block *few[MAX_TILE_ROWS];
        float total[MAX_TILE_ROWS][GROUP_ROWS];
        int count = smaller(rows - row, variant->tile_rows);
        for (int t = 0; t < count; t++) few[t] = product->x.blocks + (int64_t)(row + t) * blocks;
        for (int i = start; i < stop; i += GROUP_ROWS) {
            tile(group_at(w, i), blocks, few, count, total);
            put_group(product, i, count, total, y + row * y_stride + i - start, y_stride);
        }
    }
}

/* Some blocks of a group times many rows, which all visit them while they lie unpacked in the first
 * cache. */
static void add_blocks(const struct quantised *kernels, const uint8_t *from, int count,
                       const struct quantised_block *x, int blocks, int rows,
                       float total[][GROUP_ROWS]) {
    struct panel_block panel[PANEL_BLOCKS];
    kernels->unpack(from, count, panel);
    for (int row = 0; row < rows; row += PANEL_TILE_ROWS) {
        const struct quantised_block *few[PANEL_TILE_ROWS];
        int left = smaller(rows - row, PANEL_TILE_ROWS);
        for (int t = 0; t < left; t++) few[t] = x + (int64_t)(row + t) * blocks;
        kernels->panel_tile(panel, count, few, left, total + row);
    }
}

/* Many rows, few groups: the same blocks of all groups follow each other, so that the activations
 * which they multiply stay in the second cache. Each total takes its blocks from left to right. */
static void panel_strip(const struct variant *variant, const struct linear *product, int row,
                        int rows, int start, int stop, float *y, int64_t y_stride) {
    const struct matrix *w = product->w;
    const struct quantised *kernels = kernels_of(variant, w->format);
    int blocks = w->columns / BLOCK_COLUMNS;
    const struct quantised_block *x = product->x.blocks + (int64_t)row * blocks;
    float total[PANEL_GROUPS][PANEL_ROWS][GROUP_ROWS];
    for (int i = start, g = 0; i < stop; i += GROUP_ROWS, g++)
        memset(total[g], 0, (size_t)rows * sizeof *total[g]);
    for (int b = 0; b < blocks; b += PANEL_BLOCKS) {
        int count = smaller(blocks - b, PANEL_BLOCKS);
        for (int i = start, g = 0; i < stop; i += GROUP_ROWS, g++)
            add_blocks(kernels, group_at(w, i) + b * block_bytes(w->format), count, x + b, blocks,
                       rows, total[g]);
    }
    for (int i = start, g = 0; i < stop; i += GROUP_ROWS, g++)
        put_group(product, i, rows, total[g], y + i - start, y_stride);
}

static void quantised_strip(const struct variant *variant, const struct linear *product, int rows,
                            int start, int stop, float *y, int64_t y_stride) {
    if (rows < LEAST_PANEL_ROWS || !kernels_of(variant, product->w->format)->unpack) {
        tile_strip(variant, product, rows, start, stop, y, y_stride);
        return;
    }
    int step = even_share(rows, PANEL_ROWS);
    for (int row = 0; row < rows; row += step)
        for (int i = start; i < stop; i += PANEL_GROUPS * GROUP_ROWS)
            panel_strip(variant, product, row, smaller(rows - row, step), i,
                        smaller(i + PANEL_GROUPS * GROUP_ROWS, stop),
                        y + row * y_stride + i - start, y_stride);
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
