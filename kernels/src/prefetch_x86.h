/* Weights ahead of where a tile reads. */
#ifndef PREFETCH_X86_H
#define PREFETCH_X86_H

#include <immintrin.h>

#include "formats.h"
#include "variant.h"

/* Into the second cache, since the buffers of the first are too few for all lines under way. */
INLINE void prefetch(const uint8_t *block, int bytes) {
    const char *ahead = (const char *)block + prefetch_bytes;
    for (int i = 0; i < bytes; i += 64) _mm_prefetch(ahead + i, _MM_HINT_T1);
}

#endif
