/* Sixteen lanes of float32 in four NEON registers. See lanes_portable.h for the meanings. */
#ifndef LANES_H
#define LANES_H

#include <arm_neon.h>

#include "half.h"

enum { WIDE = 1 };

typedef struct {
    float32x4_t a, b, c, d;
} lanes;

#define ALL1(call, x) ((lanes){call((x).a), call((x).b), call((x).c), call((x).d)})
#define ALL2(call, x, y)                                                                           \
    ((lanes){call((x).a, (y).a), call((x).b, (y).b), call((x).c, (y).c), call((x).d, (y).d)})

static inline lanes lanes_set(float x) {
    float32x4_t v = vdupq_n_f32(x);
    return (lanes){v, v, v, v};
}
static inline lanes lanes_load(const float *p) {
    return (lanes){vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}
static inline float32x4_t load_half(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
static inline lanes lanes_load_half(const uint16_t *p) {
    return (lanes){load_half(p), load_half(p + 4), load_half(p + 8), load_half(p + 12)};
}
static inline lanes lanes_load_bytes(const uint8_t *p) {
    uint16x8_t low = vmovl_u8(vld1_u8(p)), high = vmovl_u8(vld1_u8(p + 8));
    return (lanes){vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))),
                   vcvtq_f32_u32(vmovl_high_u16(low)),
                   vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))),
                   vcvtq_f32_u32(vmovl_high_u16(high))};
}
static inline lanes lanes_add(lanes x, lanes y) { return ALL2(vaddq_f32, x, y); }
static inline lanes lanes_sub(lanes x, lanes y) { return ALL2(vsubq_f32, x, y); }
static inline lanes lanes_mul(lanes x, lanes y) { return ALL2(vmulq_f32, x, y); }
static inline lanes lanes_div(lanes x, lanes y) { return ALL2(vdivq_f32, x, y); }
static inline lanes lanes_abs(lanes x) { return ALL1(vabsq_f32, x); }
static inline lanes lanes_fma(lanes x, lanes y, lanes z) {
    return (lanes){vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c),
                   vfmaq_f32(z.d, x.d, y.d)};
}
/* Compared and selected: vmaxq_f32 treats NaN and zeros of either sign in its own way. */
static inline float32x4_t larger(float32x4_t x, float32x4_t y) {
    return vbslq_f32(vcgtq_f32(x, y), x, y);
}
static inline float32x4_t smaller(float32x4_t x, float32x4_t y) {
    return vbslq_f32(vcltq_f32(x, y), x, y);
}
static inline lanes lanes_max(lanes x, lanes y) { return ALL2(larger, x, y); }
static inline lanes lanes_min(lanes x, lanes y) { return ALL2(smaller, x, y); }
static inline lanes lanes_if_less(lanes x, lanes y, lanes yes, lanes no) {
    return (lanes){vbslq_f32(vcltq_f32(x.a, y.a), yes.a, no.a),
                   vbslq_f32(vcltq_f32(x.b, y.b), yes.b, no.b),
                   vbslq_f32(vcltq_f32(x.c, y.c), yes.c, no.c),
                   vbslq_f32(vcltq_f32(x.d, y.d), yes.d, no.d)};
}
static inline float32x4_t power_of_two(float32x4_t x) {
    int32x4_t n = vaddq_s32(vreinterpretq_s32_f32(x), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(n, 23));
}
static inline lanes lanes_power_of_two(lanes x) { return ALL1(power_of_two, x); }
static inline void lanes_store(float *p, lanes x) {
    vst1q_f32(p, x.a);
    vst1q_f32(p + 4, x.b);
    vst1q_f32(p + 8, x.c);
    vst1q_f32(p + 12, x.d);
}
static inline void store_half(uint16_t *p, float32x4_t x) {
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x)));
}
static inline void lanes_store_half(uint16_t *p, lanes x) {
    store_half(p, x.a);
    store_half(p + 4, x.b);
    store_half(p + 8, x.c);
    store_half(p + 12, x.d);
}

#undef ALL1
#undef ALL2
#endif
