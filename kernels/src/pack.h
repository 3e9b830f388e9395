/* Quantising weights: sixteen rows of float32 into a group. Each lane works on a row of its own.
 *
 * Of an error, the squares are summed over a block's columns, each times the column's importance.
 * Where that is one, the multiplication changes no bit. llama.cpp multiplies by sqrt(2 mean(w w) +
 * w w), too; on the weights of two small models, with activations of another text than the one that
 * importance was taken from, that was no nearer. */
#ifndef PACK_H
#define PACK_H

#include "elementwise.h"

#define LARGEST_HALF 65504.0f

/* One block of a group, turned so that a vector holds one column of all rows. */
struct turned {
    float column[BLOCK_COLUMNS][GROUP_ROWS];
    const float *importance; /* of each column */
};

INLINE void turn(const float *w, int rows, int columns, struct turned *out) {
    memset(out, 0, sizeof *out);
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < BLOCK_COLUMNS; i++) out->column[i][r] = w[(int64_t)r * columns + i];
}

/* That of the columns of block b; one where none is given. */
INLINE const float *importance_of(const float *importance, int b) {
    static const float alike[BLOCK_COLUMNS] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                               1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    return importance ? importance + b * BLOCK_COLUMNS : alike;
}

/* The entry of largest magnitude of each row, with its sign. */
INLINE lanes extremes(const struct turned *w) {
    lanes extreme = lanes_set(0.0f);
    for (int i = 0; i < BLOCK_COLUMNS; i++) {
        lanes v = lanes_load(w->column[i]);
        extreme = lanes_if_less(lanes_abs(extreme), lanes_abs(v), v, extreme);
    }
    return extreme;
}

/* What a scale becomes when it is stored in half precision. */
INLINE lanes as_stored(lanes scale) {
    uint16_t half[GROUP_ROWS];
    scale = lanes_max(lanes_min(scale, lanes_set(LARGEST_HALF)), lanes_set(-LARGEST_HALF));
    lanes_store_half(half, scale);
    return lanes_load_half(half);
}

INLINE lanes inverse_or_zero(lanes scale) {
    lanes smallest = lanes_set(0x1p-25f); /* less than any half but zero */
    lanes inverse = lanes_div(lanes_set(1.0f), scale);
    return lanes_if_less(lanes_abs(scale), smallest, lanes_set(0.0f), inverse);
}

/* The nearest whole number of scales, within low..high. */
INLINE lanes nearest(lanes w, lanes inverse, float low, float high) {
    lanes level = lanes_mul(w, inverse);
    level = lanes_min(lanes_max(level, lanes_set(low)), lanes_set(high));
    lanes rounder = lanes_set(ROUNDER);
    return lanes_sub(lanes_add(level, rounder), rounder);
}

enum { Q4_LOWEST = -8, Q4_HIGHEST = 7 };

INLINE lanes squared_error(const struct turned *w, lanes scale) {
    lanes inverse = inverse_or_zero(scale), error = lanes_set(0.0f);
    for (int i = 0; i < BLOCK_COLUMNS; i++) {
        lanes v = lanes_load(w->column[i]);
        lanes miss = lanes_sub(v, lanes_mul(nearest(v, inverse, Q4_LOWEST, Q4_HIGHEST), scale));
        error = lanes_fma(miss, lanes_mul(miss, lanes_set(w->importance[i])), error);
    }
    return error;
}

/* The scale of least squared error for the levels l that `scale` leads to: sum w l / sum l l. */
INLINE lanes refined(const struct turned *w, lanes scale) {
    lanes inverse = inverse_or_zero(scale);
    lanes products = lanes_set(0.0f), squares = lanes_set(0.0f);
    for (int i = 0; i < BLOCK_COLUMNS; i++) {
        lanes v = lanes_load(w->column[i]);
        lanes level = nearest(v, inverse, Q4_LOWEST, Q4_HIGHEST);
        lanes weighed = lanes_mul(level, lanes_set(w->importance[i]));
        products = lanes_fma(v, weighed, products);
        squares = lanes_fma(level, weighed, squares);
    }
    lanes zero = lanes_set(0.0f);
    return lanes_if_less(zero, squares, lanes_div(products, squares), zero);
}

/* The level that the entry of largest magnitude is mapped to, for a start. Beyond -8 and 7 it is
 * cut off, which can pay when it stands alone. */
static const float q4_starts[] = {-8.0f, -9.0f, -8.75f, -8.5f, -8.25f, -7.75f, -7.5f, -7.25f, -7.0f,
                                  -6.5f, 8.0f,  7.75f,  7.5f,  7.25f,  7.0f,   6.75f, 6.5f,   6.0f};

INLINE lanes best_q4_scale(const struct turned *w) {
    lanes extreme = extremes(w), best = lanes_set(0.0f), least = lanes_set(INFINITY);
    for (unsigned i = 0; i < sizeof q4_starts / sizeof *q4_starts; i++) {
        lanes scale = as_stored(lanes_div(extreme, lanes_set(q4_starts[i])));
        scale = as_stored(refined(w, scale));
        lanes error = squared_error(w, scale);
        best = lanes_if_less(error, least, scale, best);
        least = lanes_min(error, least);
    }
    return best;
}

/* Columns i and 16 + i of a block, raised by `zero`. */
INLINE void put_nibbles(lanes low, lanes high, int zero, int i, uint8_t *quants) {
    float of_low[GROUP_ROWS], of_high[GROUP_ROWS];
    lanes_store(of_low, low);
    lanes_store(of_high, high);
    for (int r = 0; r < GROUP_ROWS; r++)
        quants[i / QUAD * QUADS_BYTES + r * QUAD + i % QUAD] =
            (uint8_t)(((int)of_low[r] + zero) | ((int)of_high[r] + zero) << 4);
}

static void pack_q4(const float *w, const float *importance, int rows, int columns,
                    uint8_t *group) {
    struct turned block;
    for (int b = 0; b < columns / BLOCK_COLUMNS; b++, group += Q4_BLOCK_BYTES) {
        turn(w + b * BLOCK_COLUMNS, rows, columns, &block);
        block.importance = importance_of(importance, b);
        lanes scale = best_q4_scale(&block), inverse = inverse_or_zero(scale);
        lanes_store_half((uint16_t *)group, scale);
        for (int i = 0; i < BLOCK_COLUMNS / 2; i++) {
            lanes low = lanes_load(block.column[i]);
            lanes high = lanes_load(block.column[i + BLOCK_COLUMNS / 2]);
            put_nibbles(nearest(low, inverse, Q4_LOWEST, Q4_HIGHEST),
                        nearest(high, inverse, Q4_LOWEST, Q4_HIGHEST), Q4_ZERO, i,
                        group + SCALES_BYTES);
        }
    }
}

/* Entry i of `values`, for the entry i of the grid that is nearest to w in scales. */
INLINE lanes at_nearest(lanes w, lanes inverse, const int8_t values[GRID_LEVELS]) {
    lanes level = lanes_mul(w, inverse), nearest = lanes_set((float)values[0]);
    for (int i = 1; i < GRID_LEVELS; i++) {
        lanes midpoint = lanes_set(0.5f * (float)(q4n_grid[i - 1] + q4n_grid[i]));
        nearest = lanes_if_less(midpoint, level, lanes_set((float)values[i]), nearest);
    }
    return nearest;
}

static const int8_t q4n_nibbles[GRID_LEVELS] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                8, 9, 10, 11, 12, 13, 14, 15};

/* With the levels that a scale leads to: the scale of least squared error, sum w l / sum l l, and
 * by how much less the error then is than sum w w. No level is zero, so there is always one. */
struct fit {
    lanes scale, gain;
};

INLINE struct fit fitted(const struct turned *w, lanes scale) {
    lanes inverse = inverse_or_zero(scale);
    lanes products = lanes_set(0.0f), squares = lanes_set(0.0f);
    for (int i = 0; i < BLOCK_COLUMNS; i++) {
        lanes v = lanes_load(w->column[i]), level = at_nearest(v, inverse, q4n_grid);
        lanes weighed = lanes_mul(level, lanes_set(w->importance[i]));
        products = lanes_fma(v, weighed, products);
        squares = lanes_fma(level, weighed, squares);
    }
    return (struct fit){lanes_div(products, squares),
                        lanes_div(lanes_mul(products, products), squares)};
}

INLINE lanes q4n_squared_error(const struct turned *w, lanes scale) {
    lanes inverse = inverse_or_zero(scale), error = lanes_set(0.0f);
    for (int i = 0; i < BLOCK_COLUMNS; i++) {
        lanes v = lanes_load(w->column[i]);
        lanes miss = lanes_sub(v, lanes_mul(at_nearest(v, inverse, q4n_grid), scale));
        error = lanes_fma(miss, lanes_mul(miss, lanes_set(w->importance[i])), error);
    }
    return error;
}

/* As q4_starts. */
static const float q4n_starts[] = {-127.0f, -143.0f, -138.0f, -132.0f, -122.0f, -117.0f,
                                   -111.0f, -105.0f, 113.0f,  127.0f,  122.0f,  118.0f,
                                   108.0f,  103.0f,  98.0f,   92.0f};

/* The best of the starts by the error with the levels of each; then, if it is better, with the
 * levels that this scale leads to. */
INLINE lanes best_q4n_scale(const struct turned *w) {
    lanes extreme = extremes(w), best = lanes_set(0.0f), most = lanes_set(0.0f);
    for (unsigned i = 0; i < sizeof q4n_starts / sizeof *q4n_starts; i++) {
        lanes scale = as_stored(lanes_div(extreme, lanes_set(q4n_starts[i])));
        struct fit fit = fitted(w, scale);
        best = lanes_if_less(most, fit.gain, fit.scale, best);
        most = lanes_max(most, fit.gain);
    }
    best = as_stored(best);
    lanes again = as_stored(fitted(w, best).scale);
    return lanes_if_less(q4n_squared_error(w, again), q4n_squared_error(w, best), again, best);
}

static void pack_q4n(const float *w, const float *importance, int rows, int columns,
                     uint8_t *group) {
    struct turned block;
    for (int b = 0; b < columns / BLOCK_COLUMNS; b++, group += Q4_BLOCK_BYTES) {
        turn(w + b * BLOCK_COLUMNS, rows, columns, &block);
        block.importance = importance_of(importance, b);
        lanes scale = best_q4n_scale(&block), inverse = inverse_or_zero(scale);
        lanes_store_half((uint16_t *)group, scale);
        for (int i = 0; i < BLOCK_COLUMNS / 2; i++) {
            lanes low = lanes_load(block.column[i]);
            lanes high = lanes_load(block.column[i + BLOCK_COLUMNS / 2]);
            put_nibbles(at_nearest(low, inverse, q4n_nibbles),
                        at_nearest(high, inverse, q4n_nibbles), 0, i, group + SCALES_BYTES);
        }
    }
}

static void pack_q8(const float *w, int rows, int columns, uint8_t *group) {
    struct turned block;
    for (int b = 0; b < columns / BLOCK_COLUMNS; b++, group += Q8_BLOCK_BYTES) {
        turn(w + b * BLOCK_COLUMNS, rows, columns, &block);
        lanes scale = as_stored(lanes_div(lanes_abs(extremes(&block)), lanes_set(127.0f)));
        lanes inverse = inverse_or_zero(scale);
        lanes_store_half((uint16_t *)group, scale);
        uint8_t *quants = group + SCALES_BYTES;
        for (int i = 0; i < BLOCK_COLUMNS; i++) {
            float level[GROUP_ROWS];
            lanes_store(level, nearest(lanes_load(block.column[i]), inverse, -127, 127));
            for (int r = 0; r < GROUP_ROWS; r++)
                quants[i / QUAD * QUADS_BYTES + r * QUAD + i % QUAD] = (uint8_t)(int)level[r];
        }
    }
}

#endif
