/* Whole layers over a step, each a handful of regions of the pool. See transformer/layer.py. */
#include <string.h>

#include "cache.h"
#include "linear.h"
#include "rows.h"

/* Outputs of w1 and w3 that one task computes, joins and quantises while they are in its cache. */
enum { FFN_STRIP = 64, ALIGNMENT = 64 };

/* What a step needs beside its hidden states, carved out of one piece of memory. Attention and
 * feed-forward take turns, so what only one of them needs lies where the other has its own. */
struct scratch {
    struct quantised_block *blocks; /* of what the attention's matrices, w1 and w3 multiply */
    float *plain;                   /* the same in float32, if one of them is not quantised */
    float *strips;                  /* one gate and one up strip a thread */
    float *queries;                 /* attention: then what it made of them */
    float *keys;
    float *values;
    struct quantised_block *hidden_blocks; /* feed-forward: what w2 multiplies, if quantised */
    float *hidden_plain;                   /* and if not */
};

static void *carve(int64_t *used, void *base, int64_t bytes) {
    void *piece = base ? (char *)base + *used : NULL;
    *used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return piece;
}

static int64_t divide(const struct engine *engine, const struct shape *shape, int64_t rows,
                      void *base, struct scratch *out) {
    const int64_t word = sizeof(float);
    int64_t used = 0, query = shape->most_queries, key = shape->most_keys;
    int64_t widest = query > shape->dim ? query : shape->dim;
    const int64_t block = sizeof(struct quantised_block);
    out->blocks = carve(&used, base, rows * (widest / BLOCK_COLUMNS) * block);
    out->plain = carve(&used, base, rows * shape->dim * word);
    out->strips = carve(&used, base, pool_threads(engine->pool) * rows * 2 * FFN_STRIP * word);
    int64_t shared = used;
    out->queries = carve(&used, base, rows * widest * word);
    out->keys = carve(&used, base, rows * key * word);
    out->values = carve(&used, base, rows * key * word);
    int64_t attention = used;
    used = shared;
    out->hidden_blocks = carve(&used, base, rows * (shape->most_hidden / BLOCK_COLUMNS) * block);
    out->hidden_plain = carve(&used, base, rows * shape->most_hidden * word);
    if (used < attention) used = attention;
    return used;
}

int64_t kernels_scratch_bytes(const struct engine *engine, const struct shape *shape, int rows) {
    struct scratch unused;
    return divide(engine, shape, rows, NULL, &unused);
}

struct job {
    struct engine *engine;
    const struct shape *shape;
    const struct layer *layer;
    const struct step *step;
    struct scratch scratch;
};

/* The step's hidden states, normalised, in every form that one of the matrices multiplies. */
static struct operand normalised(struct job *job, const float *gain, const struct matrix *readers[],
                                 int count) {
    struct scratch *s = &job->scratch;
    int quantised = 0;
    for (int i = 0; i < count; i++) quantised += is_quantised(readers[i]->format);
    /* If nobody reads the plain form, what comes next may have its place. */
    float *plain = quantised == count ? s->queries : s->plain;
    norm_rows(job->engine, job->step->hidden, gain, job->step->rows, job->shape->dim,
              job->shape->norm_eps, plain, quantised ? s->blocks : NULL);
    return (struct operand){plain, s->blocks};
}

/* Normalise and turn one head of a row, in place, where the layer does. */
static void place_head(const struct job *job, const float *gain, int64_t row, float *head) {
    const struct layer *layer = job->layer;
    if (gain)
        job->engine->variant->rms_norm(head, gain, layer->heads.head_dim, job->shape->norm_eps,
                                       head);
    if (layer->rotation >= 0)
        rope(head, &job->step->rotations[layer->rotation], row);
}

/* One task a key/value head with the queries that share it. */
static void place_and_store(void *argument, int head, int worker) {
    const struct job *job = argument;
    const struct layer *layer = job->layer;
    const struct heads *heads = &layer->heads;
    int shared = heads->n_heads / heads->n_kv_heads, head_dim = heads->head_dim;
    for (int64_t row = 0; row < job->step->rows; row++) {
        int64_t query = (row * heads->n_heads + (int64_t)head * shared) * head_dim;
        int64_t key = (row * heads->n_kv_heads + head) * head_dim;
        for (int q = 0; q < shared; q++)
            place_head(job, layer->q_norm, row, job->scratch.queries + query + q * head_dim);
        place_head(job, layer->k_norm, row, job->scratch.keys + key);
    }
    for (int i = 0; i < job->step->n_spans; i++)
        store_head(job->engine->variant, heads, head, &job->step->spans[i], job->scratch.keys,
                   job->scratch.values);
    (void)worker;
}

static void attention_block(struct job *job) {
    const struct layer *layer = job->layer;
    const struct step *step = job->step;
    struct scratch *s = &job->scratch;
    const struct matrix *readers[] = {&layer->wq, &layer->wk, &layer->wv};
    struct operand x = normalised(job, layer->attention_norm, readers, 3);
    const struct linear projections[] = {
        {&layer->wq, x, layer->bq, s->queries, 0},
        {&layer->wk, x, layer->bk, s->keys, 0},
        {&layer->wv, x, layer->bv, s->values, 0}};
    linear_all(job->engine, projections, 3, step->rows);

    /* Store first: a query sees its own key and those of the rows before it. */
    pool_run(job->engine->pool, place_and_store, job, layer->heads.n_kv_heads);
    attend_spans(job->engine, &layer->heads, step->spans, step->n_spans, s->queries);

    if (is_quantised(layer->wo.format))
        quantise_rows(job->engine, s->queries, step->rows, layer->wo.columns, s->blocks);
    const struct linear output = {&layer->wo, {s->queries, s->blocks}, layer->bo, step->hidden, 1};
    linear_all(job->engine, &output, 1, step->rows);
}

struct gating {
    const struct job *job;
    struct operand x;
};

/* silu(w1 x) * (w3 x) for a strip of hidden units, in the form that w2 multiplies. */
static void gate_strip(void *argument, int task, int worker) {
    const struct gating *gating = argument;
    const struct job *job = gating->job;
    const struct layer *layer = job->layer;
    const struct variant *variant = job->engine->variant;
    int rows = job->step->rows, hidden = layer->w1.rows;
    int start = task * FFN_STRIP, stop = start + FFN_STRIP < hidden ? start + FFN_STRIP : hidden;
    float *gate = job->scratch.strips + (int64_t)worker * rows * 2 * FFN_STRIP;
    float *up = gate + (int64_t)rows * FFN_STRIP;
    const struct linear w1 = {.w = &layer->w1, .x = gating->x}, w3 = {.w = &layer->w3, .x = w1.x};
    linear_strip(variant, &w1, rows, start, stop, gate, FFN_STRIP);
    linear_strip(variant, &w3, rows, start, stop, up, FFN_STRIP);
    for (int64_t row = 0; row < rows; row++, gate += FFN_STRIP, up += FFN_STRIP) {
        int64_t at = row * hidden + start;
        variant->swiglu(gate, up, stop - start);
        if (is_quantised(layer->w2.format))
            variant->quantise(gate, (stop - start) / BLOCK_COLUMNS,
                              job->scratch.hidden_blocks + at / BLOCK_COLUMNS);
        else
            memcpy(job->scratch.hidden_plain + at, gate, (size_t)(stop - start) * sizeof *gate);
    }
}

static void feed_forward_block(struct job *job) {
    const struct layer *layer = job->layer;
    struct scratch *s = &job->scratch;
    const struct matrix *readers[] = {&layer->w1, &layer->w3};
    struct gating gating = {job, normalised(job, layer->ffn_norm, readers, 2)};
    pool_run(job->engine->pool, gate_strip, &gating,
             (layer->w1.rows + FFN_STRIP - 1) / FFN_STRIP);
    const struct linear down = {
        &layer->w2, {s->hidden_plain, s->hidden_blocks}, NULL, job->step->hidden, 1};
    linear_all(job->engine, &down, 1, job->step->rows);
}

void kernels_stage(struct engine *engine, const struct shape *shape, const struct layer *layers,
                   int n_layers, const struct step *step) {
    struct job job = {.engine = engine, .shape = shape, .step = step};
    divide(engine, shape, step->rows, step->scratch, &job.scratch);
    for (job.layer = layers; job.layer < layers + n_layers; job.layer++) {
        attention_block(&job);
        feed_forward_block(&job);
    }
}
