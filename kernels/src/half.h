/* Half precision in plain C, for CPUs without it and for single values. Rounds to nearest even. */
#ifndef HALF_H
#define HALF_H

#include <stdint.h>
#include <string.h>

static inline float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_from_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t magnitude = half & 0x7fff;
    if (magnitude < 0x0400) /* subnormal: a whole number of steps of 2^-24 */
        return float_from_bits(sign | bits_from_float((float)magnitude * 0x1p-24f));
    uint32_t bits = (magnitude << 13) + ((127 - 15) << 23);
    if (magnitude > 0x7c00)
        bits |= 0x7fc00000; /* hardware makes every NaN a quiet one */
    else if (magnitude == 0x7c00)
        bits = 0x7f800000;
    return float_from_bits(sign | bits);
}

static inline uint16_t half_from_float(float value) {
    uint32_t bits = bits_from_float(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return sign | 0x7e00 | (uint16_t)(magnitude >> 13 & 0x1ff);
    if (magnitude >= bits_from_float(65520.0f))
        return sign | 0x7c00;
    if (magnitude < bits_from_float(0x1p-14f)) {
        /* Adding 0.5 leaves steps of 2^-24, those of a subnormal half, in the low bits. */
        float shifted = float_from_bits(magnitude) + 0.5f;
        return sign | (uint16_t)(bits_from_float(shifted) - bits_from_float(0.5f));
    }
    uint32_t odd = magnitude >> 13 & 1;
    return sign | (uint16_t)((magnitude + 0x0fff + odd - ((127 - 15) << 23)) >> 13);
}

#endif
