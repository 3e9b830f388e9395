/* Attention of one row over one key/value head of a rolling cache, a tile of 64 positions at a time.
 *
 * Tiles are aligned to positions and read oldest first with a running peak (arXiv:2205.14135), so
 * a row's sums have one order however the text was cut into chunks. Four queries of a row share
 * each vector of keys and values that is widened from half precision.
 */
#ifndef ATTENTION_H
#define ATTENTION_H

#include "elementwise.h"

enum { QUERIES = 4, TILE_VECTORS = KEY_TILE / 16 };

struct reading {
    float query[QUERIES][MAX_HEAD_DIM]; /* already scaled */
    float mixed[QUERIES][MAX_HEAD_DIM];
    float weight[QUERIES][KEY_TILE];
    float peak[QUERIES];
    float total[QUERIES];
};

/* weight = query . key, for every slot of the tile. */
INLINE void score_tile(const int queries, struct reading *s, const uint16_t *keys, int head_dim) {
    for (int column = 0; column < TILE_VECTORS; column += WIDE) {
        lanes total[QUERIES][WIDE];
        for (int q = 0; q < queries; q++)
            for (int v = 0; v < WIDE; v++) total[q][v] = lanes_set(0.0f);
        for (int d = 0; d < head_dim; d++) {
            for (int v = 0; v < WIDE; v++) {
                lanes key = lanes_load_half(keys + d * KEY_TILE + (column + v) * 16);
                for (int q = 0; q < queries; q++)
                    total[q][v] = lanes_fma(lanes_set(s->query[q][d]), key, total[q][v]);
            }
        }
        for (int q = 0; q < queries; q++)
            for (int v = 0; v < WIDE; v++)
                lanes_store(s->weight[q] + (column + v) * 16, total[q][v]);
    }
}

INLINE float exp_of_one(float x) {
    float lane[16];
    lanes_store(lane, exp_of_negative(lanes_set(x)));
    return lane[0];
}

/* Turn the scores of slots first:last into weights relative to the peak so far, all others into
 * zero, and bring what was summed before to that peak. Not inlined: ten copies would be as long as
 * the rest of a variant, and as slow to compile. */
static __attribute__((noinline)) void weigh_tile(struct reading *s, int q, int first, int last,
                                                 int value_stride) {
    float *weight = s->weight[q];
    for (int i = 0; i < KEY_TILE; i++)
        if (i < first || i >= last) weight[i] = -INFINITY;

    lanes largest = lanes_load(weight);
    for (int v = 1; v < TILE_VECTORS; v++) largest = lanes_max(largest, lanes_load(weight + v * 16));
    float peak = largest_lane(largest);
    if (peak > s->peak[q]) {
        float rescale = exp_of_one(s->peak[q] - peak);
        s->peak[q] = peak;
        s->total[q] *= rescale;
        for (int d = 0; d < value_stride; d++) s->mixed[q][d] *= rescale;
    }
    lanes sum = lanes_set(0.0f);
    for (int v = 0; v < TILE_VECTORS; v++) {
        lanes score = lanes_load(weight + v * 16);
        lanes w = exp_of_negative(lanes_sub(score, lanes_set(s->peak[q])));
        lanes_store(weight + v * 16, w);
        sum = lanes_add(sum, w);
    }
    s->total[q] += sum_of_lanes(sum);
}

/* mixed += weight * value over slots first:last only: what another slot holds may be a NaN. */
INLINE void mix_columns(const int queries, const int wide, struct reading *s,
                        const uint16_t *values, int stride, int first, int last, int column) {
    lanes total[QUERIES][WIDE];
    for (int q = 0; q < queries; q++)
        for (int v = 0; v < wide; v++) total[q][v] = lanes_load(s->mixed[q] + column + v * 16);
    for (int i = first; i < last; i++) {
        for (int v = 0; v < wide; v++) {
            lanes value = lanes_load_half(values + (int64_t)i * stride + column + v * 16);
            for (int q = 0; q < queries; q++)
                total[q][v] = lanes_fma(lanes_set(s->weight[q][i]), value, total[q][v]);
        }
    }
    for (int q = 0; q < queries; q++)
        for (int v = 0; v < wide; v++) lanes_store(s->mixed[q] + column + v * 16, total[q][v]);
}

INLINE void mix_tile(const int queries, struct reading *s, const uint16_t *values, int stride,
                     int first, int last) {
    int column = 0;
    for (; column + 16 * WIDE <= stride; column += 16 * WIDE)
        mix_columns(queries, WIDE, s, values, stride, first, last, column);
    for (; column < stride; column += 16)
        mix_columns(queries, 1, s, values, stride, first, last, column);
}

INLINE void read_cache(const int queries, struct reading *s, const struct head_cache *cache,
                       int64_t position, int64_t oldest) {
    int stride = cache->value_stride;
    for (int64_t start = oldest / KEY_TILE * KEY_TILE; start <= position; start += KEY_TILE) {
        int first = oldest > start ? (int)(oldest - start) : 0;
        int last = position - start < KEY_TILE ? (int)(position - start) + 1 : KEY_TILE;
        int64_t slot = start % cache->capacity;
        score_tile(queries, s, cache->keys + slot * cache->head_dim, cache->head_dim);
        for (int q = 0; q < queries; q++) weigh_tile(s, q, first, last, stride);
        mix_tile(queries, s, cache->values + slot * stride, stride, first, last);
    }
}

static void attend_few(const struct head_cache *cache, float *queries, int count, float scale,
                       int64_t position, int64_t oldest) {
    struct reading s;
    int head_dim = cache->head_dim;
    for (int q = 0; q < count; q++) {
        for (int d = 0; d < head_dim; d++) s.query[q][d] = queries[q * head_dim + d] * scale;
        for (int d = 0; d < cache->value_stride; d++) s.mixed[q][d] = 0.0f;
        s.peak[q] = -INFINITY;
        s.total[q] = 0.0f;
    }
    switch (count) {
    case 1: read_cache(1, &s, cache, position, oldest); break;
    case 2: read_cache(2, &s, cache, position, oldest); break;
    case 3: read_cache(3, &s, cache, position, oldest); break;
    default: read_cache(4, &s, cache, position, oldest); break;
    }
    for (int q = 0; q < count; q++)
        for (int d = 0; d < head_dim; d++) queries[q * head_dim + d] = s.mixed[q][d] / s.total[q];
}

static void attend(const struct head_cache *cache, float *queries, int count, float scale,
                   int64_t position, int64_t window) {
    int64_t oldest = window > 0 && position >= window ? position - window + 1 : 0;
    for (int q = 0; q < count; q += QUERIES) {
        int few = count - q < QUERIES ? count - q : QUERIES;
        attend_few(cache, queries + q * cache->head_dim, few, scale, position, oldest);
    }
}

#endif
