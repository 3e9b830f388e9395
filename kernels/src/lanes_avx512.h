/* Sixteen lanes of float32 in one AVX-512 register. See lanes_portable.h for the meanings. */
#ifndef LANES_H
#define LANES_H

#include <immintrin.h>

#include "half.h"

enum { WIDE = 4 };

typedef __m512 lanes;

static inline lanes lanes_set(float x) { return _mm512_set1_ps(x); }
static inline lanes lanes_load(const float *p) { return _mm512_loadu_ps(p); }
static inline lanes lanes_load_half(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
static inline lanes lanes_load_bytes(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
static inline lanes lanes_add(lanes a, lanes b) { return _mm512_add_ps(a, b); }
static inline lanes lanes_sub(lanes a, lanes b) { return _mm512_sub_ps(a, b); }
static inline lanes lanes_mul(lanes a, lanes b) { return _mm512_mul_ps(a, b); }
static inline lanes lanes_div(lanes a, lanes b) { return _mm512_div_ps(a, b); }
static inline lanes lanes_fma(lanes a, lanes b, lanes c) { return _mm512_fmadd_ps(a, b, c); }
static inline lanes lanes_max(lanes a, lanes b) { return _mm512_max_ps(a, b); }
static inline lanes lanes_min(lanes a, lanes b) { return _mm512_min_ps(a, b); }
static inline lanes lanes_if_less(lanes a, lanes b, lanes yes, lanes no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
static inline lanes lanes_abs(lanes a) { return _mm512_abs_ps(a); }
static inline lanes lanes_power_of_two(lanes a) {
    __m512i n = _mm512_add_epi32(_mm512_castps_si512(a), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(n, 23));
}
static inline void lanes_store(float *p, lanes a) { _mm512_storeu_ps(p, a); }
static inline void lanes_store_half(uint16_t *p, lanes a) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

#endif
