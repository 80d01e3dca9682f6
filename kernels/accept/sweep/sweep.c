#include "kernels/accept/sweep/sweep.h"

#include <string.h>

enum {
    MAX_GROUPS = 64, /* partial results of one split pass, on the stack */
    SPLIT_SCAN =
        WEIR_KEPT_IDS, /* ids below which a pass of comparisons is shorter than handing half of it over */
    SPLIT_SUMS = 4096, /* the same for passes with an exponential in them */
    SPLIT_WORK = 8192, /* the same for a list of rows */
};

static int32_t chunk_count(int32_t n_vocab) { return n_vocab / WEIR_CHUNK + (n_vocab % WEIR_CHUNK != 0); }

/* ---- one pass, split by subtrees ----------------------------------------------------------------------- */

typedef struct pass {
    const weir_lanes *lanes;
    const weir_row_view *row;
    const weir_qp *pair;
    const weir_given *given;
    const weir_race *race;
    float *keep_e, *keep_w;
    const float *drawn;
    const float *logits;
    weir_sum_kind kind;
    int32_t n_vocab, n_chunk, group; /* chunks per group, a power of two */
    float sum[MAX_GROUPS][WEIR_MAX_SUMS];
    weir_best best[MAX_GROUPS];
    int32_t bar; /* race: an id that arrives here or later need not be looked at */
    int32_t lo[MAX_GROUPS], hi[MAX_GROUPS];
    void (*run)(struct pass *p, int32_t g, int32_t chunk0, int32_t chunk1);
    int32_t split; /* ids from which on the pool takes part */
} pass;

static void run_row(pass *p, int32_t g, int32_t chunk0, int32_t chunk1) {
    p->lanes->row(p->row, p->n_vocab, chunk0, chunk1, p->keep_e, p->keep_w, p->sum[g]);
}
static void run_pair(pass *p, int32_t g, int32_t chunk0, int32_t chunk1) {
    p->lanes->pair(p->pair, p->given, p->kind, p->n_vocab, chunk0, chunk1, p->sum[g]);
}
static void run_race(pass *p, int32_t g, int32_t chunk0, int32_t chunk1) {
    p->best[g] = (weir_best){p->bar, -1};
    p->lanes->race(p->race, p->drawn, p->n_vocab, chunk0, chunk1, &p->best[g]);
}
static void run_minmax(pass *p, int32_t g, int32_t chunk0, int32_t chunk1) {
    const int32_t begin = chunk0 * WEIR_CHUNK;
    const int32_t end = chunk1 == p->n_chunk ? p->n_vocab : chunk1 * WEIR_CHUNK;
    p->lanes->minmax(p->logits + begin, end - begin, &p->lo[g], &p->hi[g]);
}

static void worker(void *arg, int index, int n_worker) {
    pass *p = arg;
    const long n_group = (p->n_chunk + p->group - 1) / p->group;
    long begin, end;
    weir__pool_split(n_group, 1, index, n_worker, &begin, &end);
    for (long g = begin; g < end; g++) {
        const int32_t chunk0 = (int32_t)g * p->group;
        const int32_t chunk1 = p->n_chunk - chunk0 < p->group ? p->n_chunk : chunk0 + p->group;
        p->run(p, (int32_t)g, chunk0, chunk1);
    }
}

/* Returns how many groups have results. */
static int32_t sweep(const weir_env *env, pass *p) {
    p->lanes = env->lanes;
    p->n_chunk = chunk_count(p->n_vocab);
    if (!env->pool || p->n_vocab < p->split) {
        p->run(p, 0, 0, p->n_chunk);
        return 1;
    }
    p->group = 1;
    while ((p->n_chunk + p->group - 1) / p->group > MAX_GROUPS) p->group *= 2;
    weir__pool_run(env->pool, worker, p);
    return (p->n_chunk + p->group - 1) / p->group;
}

static void merge_sums(const pass *p, int32_t n_group, int n_sum, float *out) {
    weir_tree tree;
    tree.n = 0;
    for (int32_t g = 0; g < n_group; g++) weir__tree_push(&tree, p->sum[g], n_sum);
    weir__tree_total(&tree, out, n_sum);
}

void weir__minmax(const weir_env *env, const float *logits, int32_t n_vocab, int32_t *lo, int32_t *hi) {
    pass p;
    p.logits = logits;
    p.n_vocab = n_vocab;
    p.run = run_minmax;
    p.split = SPLIT_SCAN;
    const int32_t n_group = sweep(env, &p);
    *lo = p.lo[0];
    *hi = p.hi[0];
    for (int32_t g = 1; g < n_group; g++) {
        *lo = p.lo[g] < *lo ? p.lo[g] : *lo;
        *hi = p.hi[g] > *hi ? p.hi[g] : *hi;
    }
}

void weir__row_sums(const weir_env *env, const weir_row_view *r, int32_t n_vocab, float out[4]) {
    pass p;
    p.row = r;
    p.keep_w = env->kept ? env->kept->row[1] : env->weights;
    p.keep_e = env->kept ? env->kept->row[2] : NULL;
    if (env->kept) env->kept->weights = true;
    p.n_vocab = n_vocab;
    p.run = run_row;
    p.split = SPLIT_SUMS;
    const int n_sum = r->plain ? 2 : 4;
    merge_sums(&p, sweep(env, &p), n_sum, out);
    if (r->plain) {
        out[2] = out[0];
        out[3] = out[1];
    }
}

/* ---- a pair of rows ------------------------------------------------------------------------------------ */

bool weir__keep_rows(const weir_env *env, int32_t n_vocab, weir_kept *out) {
    const size_t floats = (size_t)weir__accept_cpu_scratch_floats(n_vocab);
    if (!env->scratch || floats == 0 || env->n_scratch < floats || env->pool) return false;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < WEIR_KEPT_ROWS; i++)
        out->row[i] = env->scratch + (size_t)i * (floats / WEIR_KEPT_ROWS);
    return true;
}

static void fill_row(const weir_env *env, const weir_row_view *r, bool raw, int32_t n_vocab, float *out) {
    for (int32_t begin = 0; begin < n_vocab; begin += WEIR_CHUNK) {
        const int32_t left = n_vocab - begin;
        env->lanes->probs(r, raw, begin, left < WEIR_CHUNK ? left : WEIR_CHUNK, out + begin);
    }
}

static const weir_given *kept_of(const weir_env *env, const weir_qp *r, int32_t n_vocab) {
    weir_kept *k = env->kept;
    if (k->ready) return &k->given;
    const bool raw_p = weir__needs_raw(r) && r->member_p;
    if (k->q_weights)
        env->lanes->scale(k->q_weights, n_vocab, r->q.inv_psum, k->row[0]);
    else
        fill_row(env, &r->q, false, n_vocab, k->row[0]);
    if (k->weights)
        env->lanes->scale(k->row[1], n_vocab, r->p.inv_psum, k->row[1]);
    else
        fill_row(env, &r->p, false, n_vocab, k->row[1]);
    if (raw_p && k->weights)
        env->lanes->scale(k->row[2], n_vocab, r->p.inv_sum, k->row[2]);
    else if (weir__needs_raw(r))
        fill_row(env, r->member_p ? &r->p : &r->q, true, n_vocab, k->row[2]);
    for (int i = 0; i < 2; i++) {
        k->given.processed[i] = k->row[i];
        k->given.raw[i] = k->row[2]; /* only the member's is asked for */
    }
    k->ready = true;
    return &k->given;
}

void weir__qp_sums(const weir_env *env, const weir_qp *r, weir_sum_kind kind, int32_t n_vocab, bool point,
                   float out[2]) {
    if (point) {
        weir__point_sums(r, kind, out);
        return;
    }
    pass p;
    p.pair = r;
    p.given = env->kept ? kept_of(env, r, n_vocab) : env->given;
    p.kind = kind;
    p.n_vocab = n_vocab;
    p.run = run_pair;
    p.split = SPLIT_SUMS;
    merge_sums(&p, sweep(env, &p), 2, out);
}

/* One more than the arrival of an id that is likely to win, so that nearly all others fail at once. */
static int32_t race_bar(const weir_race *r) {
    const int32_t id = r->kind == WEIR_WEIGHT_Q ? r->pair->q.argmax : r->pair->p.argmax;
    const float w = weir__race_weight(r, id);
    return w > 0.0f ? weir__race_arrival(r, id, w) + 1 : INT32_MAX;
}

int32_t weir__race(const weir_env *env, const weir_race *r, int32_t n_vocab, bool point) {
    if (point) return weir__race_point(r);
    pass p;
    p.race = r;
    p.drawn = env->drawn;
    p.bar = race_bar(r);
    p.n_vocab = n_vocab;
    p.run = run_race;
    p.split = SPLIT_SUMS;
    const int32_t n_group = sweep(env, &p);
    weir_best best = p.best[0];
    for (int32_t g = 1; g < n_group; g++)
        if (p.best[g].bits < best.bits) best = p.best[g]; /* groups rise with the id: ties keep the lower */
    return best.token;
}

/* ---- lists of rows ------------------------------------------------------------------------------------- */

typedef struct list {
    const weir_env *env;
    weir_piece_fn fn;
    void *ctx;
    int64_t n;
} list;

static void list_worker(void *arg, int index, int n_worker) {
    const list *l = arg;
    const weir_env alone = weir__env_alone(l->env, index);
    long begin, end;
    weir__pool_split((long)l->n, 1, index, n_worker, &begin, &end);
    for (long i = begin; i < end; i++) l->fn(l->ctx, &alone, i);
}

void weir__each(const weir_env *env, weir_piece_fn fn, void *ctx, int64_t n, int64_t ids) {
    /* a few long rows are better split inside */
    const bool by_rows =
        env->pool && n > 1 && n * ids >= SPLIT_WORK && (ids < SPLIT_SCAN || n >= weir__pool_size(env->pool));
    if (!by_rows) {
        for (int64_t i = 0; i < n; i++) fn(ctx, env, i);
        return;
    }
    list l = {env, fn, ctx, n};
    weir__pool_run(env->pool, list_worker, &l);
}
