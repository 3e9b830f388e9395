/* Matrix times rows of activations, in any format. */
#ifndef LINEAR_H
#define LINEAR_H

#include "kernels.h"
#include "pool.h"
#include "variant.h"

struct engine {
    const struct variant *variant;
    struct pool *pool;
};

/* y = w x + bias, or with `add` y + (w x + bias): the bias is added to the finished product. */
struct linear {
    const struct matrix *w;
    struct operand x;
    const float *bias; /* (w->rows); NULL: none */
    float *y;          /* (rows, w->rows) */
    int add;
};

/* Outputs start up to stop (start a multiple of 16) for all rows. `y` is where the output of row
 * 0 and index `start` goes, whatever product->y is; rows of y are y_stride apart. */
void linear_strip(const struct variant *variant, const struct linear *product, int rows, int start,
                  int stop, float *y, int64_t y_stride);

/* Several products of the same number of rows, as one region of the pool. */
void linear_all(struct engine *engine, const struct linear *products, int count, int rows);

#endif
