#include "kernels/accept/sweep.h"

#include <float.h>

#include "kernels/math/philox.h"

enum {
    MAX_GROUPS = 64,   /* partial results of one split pass, on the stack */
    SPLIT_SCAN = 32768, /* ids below which one pass is shorter than handing half of it over: comparisons only */
    SPLIT_SUMS = 4096,  /* the same for passes with an exponential in them */
    SPLIT_WORK = 8192,  /* the same for a list of rows */
};

static int32_t chunk_count(int32_t n_vocab) { return n_vocab / WEIR_CHUNK + (n_vocab % WEIR_CHUNK != 0); }

/* ---- one pass, split by subtrees ------------------------------------------------------------------------- */

typedef struct pass {
    const weir_lanes *lanes;
    const weir_row_view *row;
    const weir_pair *pair;
    const weir_race *race;
    const float *logits;
    weir_sum_kind kind;
    int32_t n_vocab, n_chunk, group; /* chunks a group, a power of two */
    float sum[MAX_GROUPS][WEIR_MAX_SUMS];
    weir_best best[MAX_GROUPS];
    int32_t lo[MAX_GROUPS], hi[MAX_GROUPS];
    void (*run)(struct pass *p, int32_t g, int32_t chunk0, int32_t chunk1);
    int32_t split; /* ids from which on the pool takes part */
} pass;

static void run_row(pass *p, int32_t g, int32_t chunk0, int32_t chunk1) {
    p->lanes->row(p->row, p->n_vocab, chunk0, chunk1, p->sum[g]);
}
static void run_pair(pass *p, int32_t g, int32_t chunk0, int32_t chunk1) {
    p->lanes->pair(p->pair, p->kind, p->n_vocab, chunk0, chunk1, p->sum[g]);
}
static void run_race(pass *p, int32_t g, int32_t chunk0, int32_t chunk1) {
    p->best[g] = (weir_best){INT32_MAX, -1};
    p->lanes->race(p->race, p->n_vocab, chunk0, chunk1, &p->best[g]);
}
static void run_extent(pass *p, int32_t g, int32_t chunk0, int32_t chunk1) {
    const int32_t begin = chunk0 * WEIR_CHUNK;
    const int32_t end = chunk1 == p->n_chunk ? p->n_vocab : chunk1 * WEIR_CHUNK;
    p->lanes->extent(p->logits + begin, end - begin, &p->lo[g], &p->hi[g]);
}

static void worker(void *arg, int index, int n_worker) {
    pass *p = arg;
    const long n_group = (p->n_chunk + p->group - 1) / p->group;
    long begin, end;
    weir_pool_split(n_group, 1, index, n_worker, &begin, &end);
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
    weir_pool_run(env->pool, worker, p);
    return (p->n_chunk + p->group - 1) / p->group;
}

static void merge_sums(const pass *p, int32_t n_group, int n_sum, float *out) {
    weir_tree tree;
    tree.n = 0;
    for (int32_t g = 0; g < n_group; g++) weir__tree_push(&tree, p->sum[g], n_sum);
    weir__tree_total(&tree, out, n_sum);
}

void weir__extent(const weir_env *env, const float *logits, int32_t n_vocab, int32_t *lo, int32_t *hi) {
    pass p;
    p.logits = logits;
    p.n_vocab = n_vocab;
    p.run = run_extent;
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

/* ---- one token ------------------------------------------------------------------------------------------- */

weir_row_view weir__row_view(const float *logits, const weir_row_stats *s, const weir_law *law) {
    weir_row_view r = {.logits = logits, .max = s->max, .inv_sum = 1.0f / s->sum, .inv_psum = 1.0f / s->psum,
                       .thr = s->thr, .tie = s->tie, .argmax = s->argmax};
    /* finite, so that 0 times it is 0; at temperature 0 only logits equal to the maximum are kept */
    const float inv = law->temp > 0.0f ? 1.0f / law->temp : 1.0f;
    r.inv_temp = inv < FLT_MAX ? inv : FLT_MAX;
    r.cut = s->thr > -INFINITY;
    r.plain = !r.cut && r.inv_temp == 1.0f;
    return r;
}

static float member_at(const weir_pair *r, int32_t v) {
    return weir__prob(r->member_p ? &r->p : &r->q, v, r->member_raw);
}

weir_point weir__point(const weir_pair *r, int32_t v) {
    weir_point t = {.q = weir__prob(&r->q, v, false), .p = weir__prob(&r->p, v, false)};
    t.keep = r->floor < INFINITY && member_at(r, v) >= r->floor;
    const weir_rule_coef *k = &r->coef[t.keep];
    t.num = weir__num(r, k->num_q, k->num_p, t.q, t.p);
    t.res = v == r->skip ? 0.0f : weir__res(k->res_q, k->res_p, t.q, t.p);
    t.pi = weir__pi(r, t.q, t.num, t.res);
    return t;
}

/* ---- a pair of rows -------------------------------------------------------------------------------------- */

/* The two tokens with positive probability at temperature 0, in rising order; returns how many. */
static int support(const weir_pair *r, int32_t id[2]) {
    const int32_t a = r->q.argmax, b = r->p.argmax;
    id[0] = a < b ? a : b;
    id[1] = a < b ? b : a;
    return a == b ? 1 : 2;
}

void weir__pair_sums(const weir_env *env, const weir_pair *r, weir_sum_kind kind, int32_t n_vocab, bool point,
                     float out[2]) {
    if (point) {
        int32_t id[2];
        const int n = support(r, id);
        out[0] = out[1] = 0.0f;
        for (int i = 0; i < n; i++) {
            const weir_point t = weir__point(r, id[i]);
            float t0, t1;
            weir__terms(kind, r, t.q, t.p, t.keep ? r->floor : -INFINITY, &t0, &t1);
            out[0] += t0;
            out[1] += id[i] == r->skip ? 0.0f : t1;
        }
        return;
    }
    pass p;
    p.pair = r;
    p.kind = kind;
    p.n_vocab = n_vocab;
    p.run = run_pair;
    p.split = SPLIT_SUMS;
    merge_sums(&p, sweep(env, &p), 2, out);
}

static int32_t race_point(const weir_race *r) {
    int32_t id[2], best_bits = WEIR_KEY_INF, best = -1;
    const int n = support(r->pair, id);
    for (int i = 0; i < n; i++) {
        const weir_point t = weir__point(r->pair, id[i]);
        const float m = t.keep ? r->pair->floor : -INFINITY;
        const float w = id[i] == r->pair->skip && r->kind == WEIR_WEIGHT_RES
                            ? 0.0f : weir__weight(r->kind, r->pair, t.q, t.p, m);
        if (!(w > 0.0f)) continue;
        uint32_t c[4] = {(uint32_t)id[i] / 4u, (uint32_t)r->position, (uint32_t)r->purpose, (uint32_t)r->block_row};
        wf_philox(c, r->key);
        const float t_arrive = wf_exponential(c[id[i] % 4]) / w;
        const int32_t bits = wf_bits(t_arrive < FLT_MAX ? t_arrive : FLT_MAX);
        if (bits < best_bits) {
            best_bits = bits;
            best = id[i];
        }
    }
    return best;
}

int32_t weir__race(const weir_env *env, const weir_race *r, int32_t n_vocab, bool point) {
    if (point) return race_point(r);
    pass p;
    p.race = r;
    p.n_vocab = n_vocab;
    p.run = run_race;
    p.split = SPLIT_SUMS;
    const int32_t n_group = sweep(env, &p);
    weir_best best = p.best[0];
    for (int32_t g = 1; g < n_group; g++)
        if (p.best[g].bits < best.bits) best = p.best[g]; /* groups rise with the id: ties keep the lower */
    return best.token;
}

/* ---- lists of rows --------------------------------------------------------------------------------------- */

typedef struct list {
    const weir_env *env;
    weir_piece_fn fn;
    void *ctx;
    int64_t n;
} list;

static void list_worker(void *arg, int index, int n_worker) {
    const list *l = arg;
    const weir_env alone = {l->env->lanes, NULL};
    long begin, end;
    weir_pool_split((long)l->n, 1, index, n_worker, &begin, &end);
    for (long i = begin; i < end; i++) l->fn(l->ctx, &alone, i);
}

void weir__each(const weir_env *env, weir_piece_fn fn, void *ctx, int64_t n, int64_t ids) {
    /* few long rows are better split inside */
    const bool by_rows = env->pool && n > 1 && n * ids >= SPLIT_WORK &&
                         (ids < SPLIT_SCAN || n >= weir_pool_size(env->pool));
    if (!by_rows) {
        for (int64_t i = 0; i < n; i++) fn(ctx, env, i);
        return;
    }
    list l = {env, fn, ctx, n};
    weir_pool_run(env->pool, list_worker, &l);
}
