/* Sums along a row: sixteen lanes from left to right, then the lanes in halves (variant.h, rule 2). */
#ifndef SUMS_H
#define SUMS_H

#include "variant.h"
/* after one of the lanes_*.h */

#define INLINE static inline __attribute__((always_inline))

/* The last, incomplete vector of a row, filled with zeros. */
INLINE lanes load_some(const float *p, int count) {
    float padded[16] = {0};
    memcpy(padded, p, (size_t)count * sizeof *p);
    return lanes_load(padded);
}

INLINE lanes load_some_half(const uint16_t *p, int count) {
    uint16_t padded[16] = {0};
    memcpy(padded, p, (size_t)count * sizeof *p);
    return lanes_load_half(padded);
}

INLINE void store_some(float *p, lanes x, int count) {
    float padded[16];
    lanes_store(padded, x);
    memcpy(p, padded, (size_t)count * sizeof *p);
}

INLINE float sum_of_lanes(lanes x) {
    float lane[16];
    lanes_store(lane, x);
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

INLINE float largest_lane(lanes x) {
    float lane[16];
    lanes_store(lane, x);
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lane[i] = lane[i] > lane[i + half] ? lane[i] : lane[i + half];
    return lane[0];
}

#endif
