/* One row of f32 or f16 weights times several rows of activations. */
#ifndef PLAIN_ROWS_H
#define PLAIN_ROWS_H

#include "sums.h"

#define DEFINE_PLAIN_ROW(name, weight, load, load_part)                                            \
    INLINE void name##_of(const int rows, const weight *w, int columns, const float *const x[],    \
                          float out[]) {                                                           \
        lanes total[4];                                                                            \
        for (int t = 0; t < rows; t++) total[t] = lanes_set(0.0f);                                 \
        int i = 0;                                                                                 \
        for (; i + 16 <= columns; i += 16) {                                                       \
            lanes v = load(w + i);                                                                 \
            for (int t = 0; t < rows; t++) total[t] = lanes_fma(v, lanes_load(x[t] + i), total[t]); \
        }                                                                                          \
        if (i < columns) {                                                                         \
            lanes v = load_part(w + i, columns - i);                                               \
            for (int t = 0; t < rows; t++)                                                         \
                total[t] = lanes_fma(v, load_some(x[t] + i, columns - i), total[t]);               \
        }                                                                                          \
        for (int t = 0; t < rows; t++) out[t] = sum_of_lanes(total[t]);                            \
    }                                                                                              \
    static void name(const weight *w, int columns, const float *const x[], int rows, float out[]) { \
        for (; rows >= 4; rows -= 4, x += 4, out += 4) name##_of(4, w, columns, x, out);           \
        for (; rows > 0; rows--, x++, out++) name##_of(1, w, columns, x, out);                     \
    }

DEFINE_PLAIN_ROW(f32_row, float, lanes_load, load_some)
DEFINE_PLAIN_ROW(f16_row, uint16_t, lanes_load_half, load_some_half)

#undef DEFINE_PLAIN_ROW
#endif
