/* Sixteen lanes of float32 in plain C; the meaning that the other lanes_*.h files must match. */
#ifndef LANES_H
#define LANES_H

#include <math.h>

#include "half.h"

enum { WIDE = 1 }; /* vectors that attention keeps in registers for each of four queries */

typedef struct {
    float lane[16];
} lanes;

#define EACH_LANE(expression)                                                                      \
    lanes result;                                                                                  \
    for (int i = 0; i < 16; i++) result.lane[i] = (expression);                                    \
    return result

static inline lanes lanes_set(float x) { EACH_LANE(x); }
static inline lanes lanes_load(const float *p) { EACH_LANE(p[i]); }
static inline lanes lanes_load_half(const uint16_t *p) { EACH_LANE(float_from_half(p[i])); }
static inline lanes lanes_load_bytes(const uint8_t *p) { EACH_LANE((float)p[i]); }
static inline lanes lanes_add(lanes a, lanes b) { EACH_LANE(a.lane[i] + b.lane[i]); }
static inline lanes lanes_sub(lanes a, lanes b) { EACH_LANE(a.lane[i] - b.lane[i]); }
static inline lanes lanes_mul(lanes a, lanes b) { EACH_LANE(a.lane[i] * b.lane[i]); }
static inline lanes lanes_div(lanes a, lanes b) { EACH_LANE(a.lane[i] / b.lane[i]); }
static inline lanes lanes_fma(lanes a, lanes b, lanes c) {
    EACH_LANE(fmaf(a.lane[i], b.lane[i], c.lane[i]));
}
/* b where either is NaN. */
static inline lanes lanes_max(lanes a, lanes b) {
    EACH_LANE(a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]);
}
static inline lanes lanes_min(lanes a, lanes b) {
    EACH_LANE(a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]);
}
/* a < b ? yes : no; not where either is NaN. */
static inline lanes lanes_if_less(lanes a, lanes b, lanes yes, lanes no) {
    EACH_LANE(a.lane[i] < b.lane[i] ? yes.lane[i] : no.lane[i]);
}
static inline lanes lanes_abs(lanes a) {
    EACH_LANE(float_from_bits(bits_from_float(a.lane[i]) & 0x7fffffff));
}
/* Whole numbers n in -126..127, given as n + 0x1.8p23, to 2^n: the bits of n move to the exponent. */
static inline lanes lanes_power_of_two(lanes a) {
    EACH_LANE(float_from_bits((bits_from_float(a.lane[i]) + 127) << 23));
}
static inline void lanes_store(float *p, lanes a) { memcpy(p, a.lane, sizeof a.lane); }
static inline void lanes_store_half(uint16_t *p, lanes a) {
    for (int i = 0; i < 16; i++) p[i] = half_from_float(a.lane[i]);
}

#undef EACH_LANE
#endif
