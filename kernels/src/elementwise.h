/* Kernels over one row of float32: exponential, SwiGLU, RMSNorm, conversion to int8 and to half. */
#ifndef ELEMENTWISE_H
#define ELEMENTWISE_H

#include <math.h>

#include "sums.h"

/* Adding it rounds to a whole number, to nearest even, and leaves that number in the low bits. */
#define ROUNDER 0x1.8p23f
#define ROUNDER_BITS 0x4b400000

/* exp(x) for x <= 0 within 2 units in the last place; 0 below -87, where it leaves float32's
 * normal range. x = n ln 2 + r; the polynomial is a minimax fit of (exp(r) - 1 - r) / r^2. */
INLINE lanes exp_of_negative(lanes x) {
    lanes rounded = lanes_fma(x, lanes_set(0x1.715476p+0f), lanes_set(ROUNDER)); /* log2(e) */
    lanes n = lanes_sub(rounded, lanes_set(ROUNDER));
    /* ln 2 in two parts, since n times the first is exact. */
    lanes r = lanes_fma(n, lanes_set(-0x1.63p-1f), x);
    r = lanes_fma(n, lanes_set(0x1.bd0106p-13f), r);
    lanes p = lanes_set(0x1.6a2434p-10f);
    p = lanes_fma(p, r, lanes_set(0x1.1239e2p-7f));
    p = lanes_fma(p, r, lanes_set(0x1.5558f2p-5f));
    p = lanes_fma(p, r, lanes_set(0x1.555492p-3f));
    p = lanes_fma(p, r, lanes_set(0x1.fffffcp-2f));
    p = lanes_fma(lanes_mul(p, r), r, r);
    p = lanes_add(p, lanes_set(1.0f));
    lanes result = lanes_mul(p, lanes_power_of_two(rounded));
    return lanes_if_less(x, lanes_set(-87.0f), lanes_set(0.0f), result);
}

/* exp(-|x|) cannot overflow, whatever the sign of x. */
INLINE lanes silu(lanes x) {
    lanes zero = lanes_set(0.0f), one = lanes_set(1.0f);
    lanes small = exp_of_negative(lanes_sub(zero, lanes_abs(x)));
    lanes above = lanes_mul(x, lanes_if_less(x, zero, small, one));
    return lanes_div(above, lanes_add(one, small));
}

static void swiglu(float *gate, const float *up, int count) {
    int i = 0;
    for (; i + 16 <= count; i += 16)
        lanes_store(gate + i, lanes_mul(silu(lanes_load(gate + i)), lanes_load(up + i)));
    if (i < count) {
        lanes last = lanes_mul(silu(load_some(gate + i, count - i)), load_some(up + i, count - i));
        store_some(gate + i, last, count - i);
    }
}

static void rms_norm(const float *x, const float *gain, int dim, float eps, float *out) {
    lanes squares = lanes_set(0.0f);
    int i = 0;
    for (; i + 16 <= dim; i += 16) {
        lanes v = lanes_load(x + i);
        squares = lanes_fma(v, v, squares);
    }
    if (i < dim) {
        lanes v = load_some(x + i, dim - i);
        squares = lanes_fma(v, v, squares);
    }
    /* Square root and division are correctly rounded everywhere, unlike reciprocal estimates. */
    float scale = 1.0f / sqrtf(sum_of_lanes(squares) / (float)dim + eps);
    for (i = 0; i < dim; i++) out[i] = x[i] * scale * gain[i];
}

/* Below this a block counts as zero: its inverse scale would overflow. */
#define SMALLEST_MAGNITUDE 0x1p-100f

INLINE uint32_t largest_magnitude_bits(const float *x) {
    uint32_t largest = 0;
    for (int i = 0; i < BLOCK_COLUMNS; i++) {
        /* As whole numbers, infinities are above all numbers and NaNs above infinities. */
        uint32_t magnitude = bits_from_float(x[i]) & 0x7fffffff;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* A block with an infinity or a NaN becomes NaN, so that it is seen and not rounded away. */
static void quantise(const float *x, int blocks, struct quantised_block *out) {
    for (int b = 0; b < blocks; b++, x += BLOCK_COLUMNS, out++) {
        float largest = float_from_bits(largest_magnitude_bits(x));
        memset(out, 0, sizeof *out);
        if (!(largest < INFINITY)) {
            out->scale = NAN;
        } else if (largest >= SMALLEST_MAGNITUDE) {
            float inverse = 127.0f / largest;
            int32_t sum = 0;
            out->scale = largest / 127.0f;
            for (int i = 0; i < BLOCK_COLUMNS; i++) {
                float rounded = x[i] * inverse + ROUNDER;
                int32_t quant = (int32_t)bits_from_float(rounded) - ROUNDER_BITS;
                out->quant[i] = (int8_t)quant;
                sum += quant;
            }
            out->sum = out->scale * (float)sum;
            out->bias = -Q4_ZERO * sum;
        }
    }
}

static void to_half(const float *x, int count, uint16_t *out) {
    int i = 0;
    for (; i + 16 <= count; i += 16) lanes_store_half(out + i, lanes_load(x + i));
    if (i < count) {
        uint16_t last[16];
        lanes_store_half(last, load_some(x + i, count - i));
        memcpy(out + i, last, (size_t)(count - i) * sizeof *out);
    }
}

#endif
