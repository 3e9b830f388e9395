/* The 6-bit scales and minima of a Q4K block: formats.h describes their bytes. */
#ifndef Q4K_H
#define Q4K_H

#include "formats.h"

struct q4k_levels {
    uint8_t scale[Q4K_BLOCKS][GROUP_ROWS];
    uint8_t minimum[Q4K_BLOCKS][GROUP_ROWS];
};

/* Bytes k, 4 + k and 8 + k of all rows lie in planes; here a plane is worked on as one row of 64
 * bytes, which compilers turn into vectors. */
static inline void unpack_levels(const uint8_t *packed, struct q4k_levels *out) {
    uint8_t *scale = out->scale[0], *minimum = out->minimum[0];
    for (int i = 0; i < Q4K_PLANE_BYTES; i++) {
        uint8_t first = packed[i], second = packed[Q4K_PLANE_BYTES + i];
        uint8_t both = packed[2 * Q4K_PLANE_BYTES + i];
        scale[i] = first & 63;
        minimum[i] = second & 63;
        scale[Q4K_PLANE_BYTES + i] = (uint8_t)((both & 15) | (first >> 2 & 48));
        minimum[Q4K_PLANE_BYTES + i] = (uint8_t)(both >> 4 | (second >> 2 & 48));
    }
}

#endif
