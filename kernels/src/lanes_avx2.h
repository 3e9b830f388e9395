/* Sixteen lanes of float32 in two AVX registers. See lanes_portable.h for the meanings. */
#ifndef LANES_H
#define LANES_H

#include <immintrin.h>

#include "half.h"

enum { WIDE = 1 };

typedef struct {
    __m256 low, high;
} lanes;

#define BOTH(call) ((lanes){call(a.low, b.low), call(a.high, b.high)})

static inline lanes lanes_set(float x) { return (lanes){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline lanes lanes_load(const float *p) {
    return (lanes){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
static inline lanes lanes_load_half(const uint16_t *p) {
    return (lanes){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
                   _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8)))};
}
static inline __m256 load_bytes(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
static inline lanes lanes_load_bytes(const uint8_t *p) {
    return (lanes){load_bytes(p), load_bytes(p + 8)};
}
static inline lanes lanes_add(lanes a, lanes b) { return BOTH(_mm256_add_ps); }
static inline lanes lanes_sub(lanes a, lanes b) { return BOTH(_mm256_sub_ps); }
static inline lanes lanes_mul(lanes a, lanes b) { return BOTH(_mm256_mul_ps); }
static inline lanes lanes_div(lanes a, lanes b) { return BOTH(_mm256_div_ps); }
static inline lanes lanes_max(lanes a, lanes b) { return BOTH(_mm256_max_ps); }
static inline lanes lanes_min(lanes a, lanes b) { return BOTH(_mm256_min_ps); }
static inline lanes lanes_fma(lanes a, lanes b, lanes c) {
    return (lanes){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
static inline lanes lanes_if_less(lanes a, lanes b, lanes yes, lanes no) {
    return (lanes){
        _mm256_blendv_ps(no.low, yes.low, _mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ)),
        _mm256_blendv_ps(no.high, yes.high, _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ))};
}
static inline lanes lanes_abs(lanes a) {
    lanes b = lanes_set(-0.0f);
    return (lanes){_mm256_andnot_ps(b.low, a.low), _mm256_andnot_ps(b.high, a.high)};
}
static inline __m256 power_of_two(__m256 a) {
    __m256i n = _mm256_add_epi32(_mm256_castps_si256(a), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(n, 23));
}
static inline lanes lanes_power_of_two(lanes a) {
    return (lanes){power_of_two(a.low), power_of_two(a.high)};
}
static inline void lanes_store(float *p, lanes a) {
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.high);
}
static inline void lanes_store_half(uint16_t *p, lanes a) {
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(a.low, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(p + 8), _mm256_cvtps_ph(a.high, _MM_FROUND_TO_NEAREST_INT));
}

#undef BOTH
#endif
