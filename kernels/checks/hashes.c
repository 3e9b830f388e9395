/* Print a hash of what each operation returns, to be compared between variants and machines.
 *
 *   hashes             the names of the variants that this CPU has
 *   hashes VARIANT     "operation hash" lines
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

enum { DIM = 96, HIDDEN = 224, HEADS = 8, KV_HEADS = 2, HEAD_DIM = 16, LAYERS = 2, THREADS = 2 };
enum { MOST_ROWS = 19, MATRICES = 7 };

static uint64_t state;

/* Numbers in -1..1 from xorshift: the same on every machine, and no function of libm. */
static float next_random(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (float)(int32_t)(state >> 32) * 0x1p-31f;
}

static void *allocate(int64_t bytes) {
    void *memory = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
    if (!memory)
        exit(2);
    return memset(memory, 0, (size_t)bytes);
}

static float *randoms(int64_t count, float scale) {
    float *x = allocate(count * (int64_t)sizeof *x);
    for (int64_t i = 0; i < count; i++) x[i] = next_random() * scale;
    return x;
}

static void print_hash(const char *operation, int variation, const void *data, int64_t bytes) {
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (int64_t i = 0; i < bytes; i++) hash = (hash ^ ((const uint8_t *)data)[i]) * 1099511628211u;
    printf("%s-%d %016llx\n", operation, variation, (unsigned long long)hash);
}

static int64_t bytes_of(const struct matrix *w) {
    if (is_quantised(w->format))
        return (w->rows + GROUP_ROWS - 1) / GROUP_ROWS * group_bytes(w);
    return w->rows * row_bytes(w);
}

/* Formats that nothing is packed to: any bytes, and halves of which none is large. */
static void random_blocks(const struct matrix *w, uint8_t *data) {
    int block = w->format == FORMAT_Q4K ? Q4K_BYTES : (int)block_bytes(w->format);
    for (int64_t at = 0; at < bytes_of(w); at += block) {
        for (int i = 0; i < block; i++) data[at + i] = (uint8_t)(int)(next_random() * 0x1p15f);
        for (int i = 1; i < 2 * SCALES_BYTES; i += 2)
            data[at + i] = (data[at + i] & 0x83) | (w->format == FORMAT_Q4K ? 0x08 : 0x20);
    }
}

static struct matrix random_matrix(struct engine *engine, int format, int rows, int columns) {
    float *dense = randoms((int64_t)rows * columns, 0.2f);
    struct matrix w = {NULL, format, rows, columns};
    uint8_t *data = allocate(bytes_of(&w));
    w.data = data;
    if (format == FORMAT_Q4_1 || format == FORMAT_Q4K)
        random_blocks(&w, data);
    else if (is_quantised(format))
        kernels_pack(engine, dense, NULL, &w);
    else if (format == FORMAT_F32)
        memcpy(data, dense, (size_t)bytes_of(&w));
    else
        for (int64_t i = 0; i < (int64_t)rows * columns; i++)
            ((uint16_t *)data)[i] = (uint16_t)(0x2c00 + (state >> (i % 32) & 0x83ff));
    free(dense);
    return w;
}

static void check_linear(struct engine *engine, int format, int columns) {
    static const char *names[] = {"f32", "f16", "q8", "q4", "q4_1", "q4k", "q4n"};
    struct matrix w = random_matrix(engine, format, 37, columns);
    float *x = randoms(MOST_ROWS * columns, 3.0f), *y = allocate(MOST_ROWS * 37 * 4);
    int64_t block = sizeof(struct quantised_block);
    void *blocks = allocate(MOST_ROWS * columns / BLOCK_COLUMNS * block);
    x[5] = 1e-42f;
    x[200] = 3e38f;
    print_hash("pack", format, w.data, bytes_of(&w));
    for (int rows = 1; rows <= MOST_ROWS; rows++) {
        kernels_linear(engine, &w, x, rows, blocks, y);
        print_hash(names[format], rows, y, rows * 37 * 4);
    }
    free(x), free(y), free(blocks), free((void *)w.data);
}

static void check_importance(struct engine *engine, int format) {
    float *dense = randoms(37 * 320, 0.2f), *importance = randoms(320, 1.0f);
    struct matrix w = {NULL, format, 37, 320};
    uint8_t *data = allocate(bytes_of(&w));
    w.data = data;
    for (int i = 0; i < 320; i++) {
        importance[i] *= i % 5 == 3 ? importance[i] * 1e-38f : importance[i];
        if (i % BLOCK_COLUMNS == 0)
            importance[i] = 1.0f;
    }
    kernels_pack(engine, dense, importance, &w);
    print_hash("pack-by-importance", format, data, bytes_of(&w));
    free(dense), free(importance), free(data);
}

static void check_elementwise(struct engine *engine) {
    float *x = randoms(MOST_ROWS * 100, 30.0f), *gain = randoms(MOST_ROWS * 100, 2.0f);
    float *out = allocate(MOST_ROWS * 100 * 4);
    x[0] = 1e-42f, x[1] = -0.0f, x[2] = 1e18f, x[3] = -88.0f, x[4] = 88.0f;
    kernels_rms_norm(engine, x, gain, MOST_ROWS, 100, 1e-5f, out);
    print_hash("rms_norm", 0, out, MOST_ROWS * 100 * 4);
    kernels_swiglu(engine, x, gain, MOST_ROWS * 100);
    print_hash("swiglu", 0, x, MOST_ROWS * 100 * 4);
    struct rotation rotation = {gain, out, 10};
    kernels_rope(x, &rotation, MOST_ROWS, 5, 20);
    print_hash("rope", 0, x, MOST_ROWS * 100 * 4);
    free(x), free(gain), free(out);
}

/* What lies in the first `layers` of a cache. */
static int64_t place_caches(struct layer *layers, int count) {
    int64_t bytes = 0;
    for (int i = 0; i < count; i++) {
        layers[i].heads.cache_offset = bytes / (int64_t)sizeof(uint16_t);
        bytes += kernels_cache_bytes(&layers[i].heads);
    }
    return bytes;
}

enum { STEPS = 6, TEXTS = 2, TABLES = 2 };
static const int step_rows[STEPS][TEXTS] = {{60, 3}, {1, 60}, {70, 1}, {1, 1}, {30, 45}, {70, 50}};

/* Two sequences whose windows move on and whose caches wrap. */
static void run_steps(struct engine *engine, const char *name, int variation,
                      const struct shape *shape, struct layer *layers, const int pairs[TABLES]) {
    uint16_t *caches[TEXTS];
    for (int i = 0; i < TEXTS; i++) caches[i] = allocate(place_caches(layers, LAYERS));
    int64_t positions[TEXTS] = {0, 0};
    for (int i = 0; i < STEPS; i++) {
        const int *rows = step_rows[i];
        int all = rows[0] + rows[1];
        struct span spans[] = {{caches[0], positions[0], 0, rows[0]},
                               {caches[1], positions[1], rows[0], all}};
        float *hidden = randoms(all * shape->dim, 1.0f), *angles[TABLES] = {NULL, NULL};
        struct rotation rotations[TABLES];
        for (int table = 0; table < TABLES; table++) {
            int count = all * pairs[table];
            angles[table] = randoms(2 * count, 0.7f);
            rotations[table] = (struct rotation){angles[table], angles[table] + count, pairs[table]};
        }
        void *scratch = allocate(kernels_scratch_bytes(engine, shape, all));
        struct step step = {hidden, rotations, spans, scratch, all, TEXTS};
        kernels_stage(engine, shape, layers, LAYERS, &step);
        print_hash(name, variation + i, hidden, all * shape->dim * 4);
        positions[0] += rows[0], positions[1] += rows[1];
        free(hidden), free(scratch);
        for (int table = 0; table < TABLES; table++) free(angles[table]);
    }
    free(caches[0]), free(caches[1]);
}

static void fill_layer(struct engine *engine, struct layer *layer, int format, int hidden) {
    int query = layer->heads.n_heads * layer->heads.head_dim;
    int key = layer->heads.n_kv_heads * layer->heads.head_dim;
    const int sides[MATRICES][2] = {{query, DIM}, {key, DIM},    {key, DIM},   {DIM, query},
                                    {hidden, DIM}, {DIM, hidden}, {hidden, DIM}};
    struct matrix *matrices = &layer->wq;
    layer->attention_norm = randoms(DIM, 1.0f);
    layer->ffn_norm = randoms(DIM, 1.0f);
    for (int m = 0; m < MATRICES; m++)
        matrices[m] = random_matrix(engine, format, sides[m][0], sides[m][1]);
}

static void free_layer(struct layer *layer) {
    const float *vectors[] = {layer->attention_norm, layer->ffn_norm, layer->bq, layer->bk,
                              layer->bv,             layer->bo,       layer->q_norm, layer->k_norm};
    for (int i = 0; i < (int)(sizeof vectors / sizeof *vectors); i++) free((void *)vectors[i]);
    for (int m = 0; m < MATRICES; m++) free((void *)(&layer->wq)[m].data);
}

static void check_stage(struct engine *engine, int format) {
    struct shape shape = {DIM, HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, HIDDEN, 1e-5f};
    struct layer layers[LAYERS];
    for (int i = 0; i < LAYERS; i++) {
        struct heads heads = {50, 128, 0, HEADS, KV_HEADS, HEAD_DIM, 1.0f / sqrtf(HEAD_DIM)};
        layers[i] = (struct layer){.heads = heads};
        fill_layer(engine, &layers[i], format, HIDDEN);
    }
    run_steps(engine, "stage", 10 * format, &shape, layers, (const int[]){HEAD_DIM / 2, 0});
    for (int i = 0; i < LAYERS; i++) free_layer(&layers[i]);
}

/* Layers that differ in all that they may differ in. */
static void check_other_layers(struct engine *engine, int format) {
    struct shape shape = {DIM, HEADS * HEAD_DIM, 3 * 32, HIDDEN, 1e-6f};
    struct layer layers[LAYERS] = {
        {.heads = {0, 256, 0, 3, 3, 32, 0.3f}, .rotation = 1},
        {.heads = {30, 128, 0, HEADS, KV_HEADS, HEAD_DIM, 0.2f}, .rotation = -1},
    };
    fill_layer(engine, &layers[0], format, HIDDEN);
    layers[0].bq = randoms(96, 1.0f), layers[0].bk = randoms(96, 1.0f);
    layers[0].bv = randoms(96, 1.0f), layers[0].bo = randoms(DIM, 1.0f);
    fill_layer(engine, &layers[1], format, 96);
    layers[1].q_norm = randoms(HEAD_DIM, 1.0f), layers[1].k_norm = randoms(HEAD_DIM, 1.0f);
    run_steps(engine, "layers", 10 * format, &shape, layers, (const int[]){HEAD_DIM / 2, 12});
    for (int i = 0; i < LAYERS; i++) free_layer(&layers[i]);
}

int main(int count, char **arguments) {
    if (count < 2) {
        for (int i = 0; kernels_variant(i); i++) puts(kernels_variant(i));
        return 0;
    }
    struct engine *engine = kernels_open(arguments[1], THREADS);
    if (!engine)
        return 1;
    state = 0x9e3779b97f4a7c15u;
    for (int format = FORMAT_F32; format <= FORMAT_Q4; format++) check_linear(engine, format, 160);
    check_elementwise(engine);
    for (int format = FORMAT_F32; format <= FORMAT_Q4; format++) check_stage(engine, format);
    for (int format = FORMAT_F32; format <= FORMAT_Q4; format++) check_other_layers(engine, format);
    /* Later checks follow, so that the numbers of earlier ones stay theirs. */
    check_linear(engine, FORMAT_Q4_1, 352);
    check_linear(engine, FORMAT_Q4K, 512);
    check_stage(engine, FORMAT_Q4_1);
    check_linear(engine, FORMAT_Q4N, 160);
    check_stage(engine, FORMAT_Q4N);
    check_other_layers(engine, FORMAT_Q4N);
    check_importance(engine, FORMAT_Q4);
    check_importance(engine, FORMAT_Q4N);
    kernels_close(engine);
    return 0;
}
