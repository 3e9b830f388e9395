/* Work on rows one by one, a task each. */
#ifndef ROWS_H
#define ROWS_H

#include "linear.h"

/* RMSNorm of each row into `plain`, and quantised into `blocks` unless that is NULL. */
void norm_rows(struct engine *engine, const float *x, const float *gain, int rows, int dim,
               float eps, float *plain, struct quantised_block *blocks);

void quantise_rows(struct engine *engine, const float *x, int rows, int columns,
                   struct quantised_block *out);

/* Turn the neighbouring pairs of one head by the angles of a row, in place. */
void rope(float *head, const struct rotation *rotation, int64_t row);

#endif
