/* The accept path from logits: statistics, draws, and the accept step of one block, gamma = 5. Times in
 * logits in the L2 cache, as a head leaves them ("warm"), and in logits from memory ("cold"). */
#include <math.h>
#include <string.h>

#include "bench/kernels/bench.h"
#include "kernels/accept/sweep/lanes.h"
#include "kernels/base/mem.h"

enum { GAMMA = 5, N_ROW = GAMMA + 1, MAX_COPY = 256 };

static const int32_t vocabs[] = {32128, 256128};
static const int32_t tiny_vocabs[] = {1500};

void kb_laws(kb_law law[KB_LAWS]) {
    static const struct {
        const char *name;
        weir_rule rule;
        float alpha, beta, top_p;
    } l[KB_LAWS] = {{"exact", WEIR_RULE_EXACT, 0.0f, 1.0f, 1.0f},
                    {"token-v2", WEIR_RULE_TOKEN_V2, 0.3f, 1.0f, 1.0f},
                    {"opt", WEIR_RULE_OPT, 0.1f, 1.0f, 1.0f},
                    {"lossy auto", WEIR_RULE_LOSSY, 0.3f, NAN, 1.0f},
                    {"exact top-p", WEIR_RULE_EXACT, 0.0f, 1.0f, 0.9f}};
    for (int i = 0; i < KB_LAWS; i++) {
        law[i].name = l[i].name;
        law[i].law = weir_law_default();
        law[i].law.rule = l[i].rule;
        law[i].law.alpha = l[i].alpha;
        law[i].law.beta = l[i].beta;
        law[i].law.top_p = l[i].top_p;
        law[i].law.key[0] = 0x5eed;
        law[i].law.key[1] = 11;
    }
}

/* One block under one law in the memory of one backend. q and p have N_ROW rows each (the last of q is not
 * used). */
typedef struct block {
    weir_law *law;
    float *q, *p;
    weir_row_stats *q_stats, *p_stats;
    int32_t *law_of, *position, *draft;
    float *logp;
    weir_accept_session *accept;
    weir_accept_row *row;
    weir_row_note *note;
    weir_emit_session *emit;
    weir_minmax *minmax; /* of p's rows; NULL where the backend uses none */
} block;

/* What came out, in host memory. */
typedef struct outcome {
    weir_row_stats stats[N_ROW];
    int32_t draft[GAMMA];
    weir_accept_session accept;
    weir_accept_row row[GAMMA];
    weir_emit_session emit;
} outcome;

typedef struct scene {
    int32_t n_vocab;
    int64_t ld;
    const kb_law *law;
    float *q, *p;        /* host */
    weir_minmax *minmax; /* host, of p */
    float *dev_p[MAX_COPY], *dev_q[MAX_COPY];
    int n_copy;
    block b; /* device; q and p of copy 0 */
} scene;

/* ---- the calls, on either backend ---------------------------------------------------------------------- */

static weir_status row_stats(weir_backend *be, const scene *s, const block *b, const float *logits, int n,
                             const weir_minmax *minmax, weir_row_stats *out) {
    weir_row_stats_args a = {.logits = logits,
                             .ld = s->ld,
                             .n_row = n,
                             .n_vocab = s->n_vocab,
                             .law = b->law,
                             .law_of = b->law_of,
                             .out = out,
                             .minmax = minmax};
    return be->op.row_stats(be, &a);
}

static weir_status draw(weir_backend *be, const scene *s, const block *b, const float *logits, int n) {
    weir_draw_args a = {.logits = logits,
                        .ld = s->ld,
                        .n_row = n,
                        .n_vocab = s->n_vocab,
                        .law = b->law,
                        .law_of = b->law_of,
                        .stats = b->q_stats,
                        .position = b->position,
                        .purpose = WEIR_PURPOSE_DRAFT,
                        .token = b->draft,
                        .logp = b->logp};
    return be->op.draw(be, &a);
}

static weir_status accept(weir_backend *be, const scene *s, const block *b) {
    weir_accept_args a = {
        .session = b->accept, .n_session = 1, .ld_q = s->ld, .ld_p = s->ld, .n_vocab = s->n_vocab};
    return be->op.accept(be, &a);
}

static weir_status emit(weir_backend *be, const scene *s, const block *b) {
    weir_emit_args a = {.session = b->emit, .n_session = 1, .n_vocab = s->n_vocab};
    return be->op.emit(be, &a);
}

/* Drafts of the block and all that follows; leaves accept and emit ready to be run again on the same rows. */
static weir_status whole_block(weir_backend *be, const scene *s, const block *b, outcome *o) {
    WEIR_TRY(row_stats(be, s, b, b->q, N_ROW, NULL, b->q_stats));
    WEIR_TRY(draw(be, s, b, b->q, GAMMA));
    WEIR_TRY(weir__backend_download(be, o->draft, b->draft, sizeof o->draft));
    const weir_accept_session a = {.law = b->law,
                                   .q_logits = b->q,
                                   .p_logits = b->p,
                                   .q_stats = b->q_stats,
                                   .p_stats = b->p_stats,
                                   .draft = b->draft,
                                   .n_draft = GAMMA,
                                   .row = b->row,
                                   .note = b->note};
    WEIR_TRY(weir__backend_upload(be, b->accept, &a, sizeof a));
    WEIR_TRY(row_stats(be, s, b, b->p, N_ROW, b->minmax, b->p_stats));
    WEIR_TRY(weir__backend_download(be, o->stats, b->p_stats, sizeof o->stats));
    WEIR_TRY(accept(be, s, b));
    WEIR_TRY(weir__backend_download(be, &o->accept, b->accept, sizeof o->accept));
    WEIR_TRY(weir__backend_download(be, o->row, b->row, sizeof o->row));
    const int j = o->accept.n_accept;
    if (o->accept.status != WEIR_OK || j < 0 || j > GAMMA) return WEIR_EINVAL;
    const bool full = j == GAMMA;
    const weir_emit_session e = {.law = b->law,
                                 .kind = full ? WEIR_EMIT_P : WEIR_EMIT_RESIDUAL,
                                 .q_logits = full ? NULL : b->q + j * s->ld,
                                 .p_logits = b->p + j * s->ld,
                                 .q_stats = full ? NULL : b->q_stats + j,
                                 .p_stats = b->p_stats + j,
                                 .draft = full ? -1 : o->draft[j],
                                 .block_p = 1.0f,
                                 .verdict = full ? NULL : &b->accept->verdict,
                                 .position = j,
                                 .block_row = j};
    WEIR_TRY(weir__backend_upload(be, b->emit, &e, sizeof e));
    WEIR_TRY(emit(be, s, b));
    return weir__backend_download(be, &o->emit, b->emit, sizeof o->emit);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

/* The device's block or the truth's: everything but the logits. */
static weir_status block_alloc(weir_backend *be, const scene *s, block *b) {
    const int32_t zero[N_ROW] = {0}, position[N_ROW] = {0, 1, 2, 3, 4, 5};
    b->law = weir__backend_alloc(be, sizeof *b->law);
    b->q_stats = weir__backend_alloc(be, N_ROW * sizeof *b->q_stats);
    b->p_stats = weir__backend_alloc(be, N_ROW * sizeof *b->p_stats);
    b->law_of = weir__backend_alloc(be, sizeof zero);
    b->position = weir__backend_alloc(be, sizeof position);
    b->draft = weir__backend_alloc(be, N_ROW * sizeof *b->draft);
    b->logp = weir__backend_alloc(be, N_ROW * sizeof *b->logp);
    b->accept = weir__backend_alloc(be, sizeof *b->accept);
    b->row = weir__backend_alloc(be, N_ROW * sizeof *b->row);
    b->note = weir__backend_alloc(be, N_ROW * sizeof *b->note);
    b->emit = weir__backend_alloc(be, sizeof *b->emit);
    if (!b->law || !b->q_stats || !b->p_stats || !b->law_of || !b->position || !b->draft || !b->logp ||
        !b->accept || !b->row || !b->note || !b->emit)
        return be->device ? WEIR_EDEVMEM : WEIR_ENOMEM;
    WEIR_TRY(weir__backend_upload(be, b->law_of, zero, sizeof zero));
    WEIR_TRY(weir__backend_upload(be, b->position, position, sizeof position));
    return weir__backend_upload(be, b->law, &s->law->law, sizeof *b->law);
}

static void block_free(weir_backend *be, block *b) {
    void *p[] = {b->law,  b->q_stats, b->p_stats, b->law_of, b->position, b->draft,
                 b->logp, b->accept,  b->row,     b->note,   b->emit};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) weir__backend_free(be, p[i]);
}

/* Extents as the product that makes logits would leave them. */
static void find_minmaxes(const scene *s) {
    const int64_t n = weir__minmax_count(s->n_vocab);
    for (int64_t i = 0; i < N_ROW * n; i++) {
        const float *row = s->p + i / n * s->ld;
        const int32_t begin = (int32_t)(i % n) * WEIR_EXTENT_SPAN;
        weir_minmax e = {.lo = weir__order_key(row[begin]), .hi = weir__order_key(row[begin]), .id = begin};
        for (int32_t v = begin + 1; v < begin + WEIR_EXTENT_SPAN && v < s->n_vocab; v++) {
            const int32_t key = weir__order_key(row[v]);
            if (key < e.lo) e.lo = key;
            if (key > e.hi) e.hi = key, e.id = v;
        }
        s->minmax[i] = e;
    }
}

static weir_status scene_logits(kb *k, scene *s) {
    s->ld = (s->n_vocab + 63) / 64 * 64;
    const size_t n = (size_t)(N_ROW * s->ld), n_minmax = (size_t)(N_ROW * weir__minmax_count(s->n_vocab));
    s->q = weir_calloc(n, sizeof *s->q);
    s->p = weir_calloc(n, sizeof *s->p);
    s->minmax = weir_alloc(n_minmax, sizeof *s->minmax);
    if (!s->q || !s->p || !s->minmax) return WEIR_ENOMEM;
    for (int r = 0; r < N_ROW; r++) kb_random_logits(k, s->q + r * s->ld, s->p + r * s->ld, s->n_vocab);
    find_minmaxes(s);
    const int want = kb_copies(k, (double)(2 * n * sizeof(float)));
    while (s->n_copy < want) {
        float *q = kb_to_device(k, s->q, n * sizeof *q), *p = kb_to_device(k, s->p, n * sizeof *p);
        s->dev_q[s->n_copy] = q;
        s->dev_p[s->n_copy++] = p;
        if (!q || !p) return WEIR_EDEVMEM;
    }
    s->b.q = s->dev_q[0];
    s->b.p = s->dev_p[0];
    if (!k->be->minmaxes) return WEIR_OK;
    s->b.minmax = kb_to_device(k, s->minmax, n_minmax * sizeof *s->minmax);
    return s->b.minmax ? WEIR_OK : WEIR_EDEVMEM;
}

static void scene_free(kb *k, scene *s) {
    for (int i = 0; i < s->n_copy; i++) {
        weir__backend_free(k->be, s->dev_q[i]);
        weir__backend_free(k->be, s->dev_p[i]);
    }
    weir__backend_free(k->be, s->b.minmax);
    weir_free(s->q);
    weir_free(s->p);
    weir_free(s->minmax);
    weir_free(s);
}

/* ---- against the truth --------------------------------------------------------------------------------- */

static int differ(float a, float b) { return memcmp(&a, &b, sizeof a) != 0 && !(isnan(a) && isnan(b)); }

static double compare_stats(const weir_row_stats *a, const weir_row_stats *b) {
    int n = 0;
    for (int i = 0; i < N_ROW; i++)
        n += differ(a[i].max, b[i].max) + (a[i].argmax != b[i].argmax) + differ(a[i].sum, b[i].sum) +
             differ(a[i].dot, b[i].dot) + differ(a[i].thr, b[i].thr) + (a[i].tie != b[i].tie) +
             differ(a[i].psum, b[i].psum) + differ(a[i].pdot, b[i].pdot);
    return n;
}

/* How many of the values that the step decided are not the truth's, bit for bit. */
static double compare_step(const outcome *a, const outcome *b) {
    int n = (a->accept.n_accept != b->accept.n_accept) + (a->accept.n_examined != b->accept.n_examined) +
            (a->emit.token != b->emit.token) + differ(a->emit.log_pi, b->emit.log_pi) +
            differ(a->emit.log_p, b->emit.log_p) + (a->emit.status != b->emit.status);
    for (int j = 0; j < b->accept.n_examined; j++)
        n += differ(a->row[j].reject, b->row[j].reject) + differ(a->row[j].log_pi, b->row[j].log_pi) +
             differ(a->row[j].log_p, b->row[j].log_p) + (a->row[j].accepted != b->row[j].accepted) +
             (a->row[j].deferred != b->row[j].deferred);
    return n;
}

static weir_status against_truth(kb *k, const scene *s, outcome *o, double *stats, double *drafts,
                                 double *step) {
    block t = {.q = s->q, .p = s->p};
    outcome want = {.draft = {0}};
    weir_status st = block_alloc(k->truth, s, &t);
    if (st == WEIR_OK) st = whole_block(k->truth, s, &t, &want);
    block_free(k->truth, &t);
    WEIR_TRY(st);
    WEIR_TRY(whole_block(k->be, s, &s->b, o));
    *stats = compare_stats(o->stats, want.stats);
    *drafts = 0;
    for (int j = 0; j < GAMMA; j++) *drafts += o->draft[j] != want.draft[j];
    *step = compare_step(o, &want);
    return WEIR_OK;
}

/* ---- cases --------------------------------------------------------------------------------------------- */

typedef struct call {
    scene *s;
    bool cold, minmax;
} call;

static const float *of_copy(const call *c, float *const *copies, int i) {
    return copies[c->cold ? i % c->s->n_copy : 0];
}

static weir_status run_stats(kb *k, void *ctx, int i) {
    const call *c = ctx;
    return row_stats(k->be, c->s, &c->s->b, of_copy(c, c->s->dev_p, i), N_ROW,
                     c->minmax ? c->s->b.minmax : NULL, c->s->b.p_stats);
}

static weir_status run_draw(kb *k, void *ctx, int i) {
    const call *c = ctx;
    return draw(k->be, c->s, &c->s->b, of_copy(c, c->s->dev_q, i), 1);
}

/* On copy 0, the one that the session's pointers on the device lead to. */
static weir_status run_step(kb *k, void *ctx, int i) {
    const call *c = ctx;
    (void)i;
    WEIR_TRY(row_stats(k->be, c->s, &c->s->b, c->s->b.p, N_ROW, c->s->b.minmax, c->s->b.p_stats));
    WEIR_TRY(accept(k->be, c->s, &c->s->b));
    return emit(k->be, c->s, &c->s->b);
}

static void name_case(kb_case *c, const char *op, const scene *s, const char *rest) {
    (void)snprintf(c->op, sizeof c->op, "%s", op);
    (void)snprintf(c->shape, sizeof c->shape, "%s: %s x %d%s", s->law->name, strcmp(op, "draw") ? "6" : "1",
                   s->n_vocab, rest);
}

enum { N_CASE = 5 };

static void time_law(kb *k, scene *s, const kb_law *law) {
    s->law = law;
    outcome o = {.draft = {0}};
    double stats = 0, drafts = 0, step = 0;
    weir_status st = block_alloc(k->be, s, &s->b);
    if (st == WEIR_OK) st = against_truth(k, s, &o, &stats, &drafts, &step);
    const double row = 4.0 * s->n_vocab;
    call with[N_CASE] = {
        {s, false, false}, {s, false, true}, {s, true, false}, {s, true, false}, {s, false, true}};
    kb_case c[N_CASE] = {{.run = run_stats, .bytes = N_ROW * row, .error = stats},
                         {.run = run_stats, .bytes = N_ROW * row, .error = stats},
                         {.run = run_stats, .bytes = N_ROW * row, .error = stats},
                         {.run = run_draw, .bytes = row, .error = drafts},
                         {.run = run_step, .bytes = (N_ROW + GAMMA) * row, .error = step}};
    for (int i = 0; i < N_CASE; i++)
        c[i].ctx = &with[i], c[i].inner = kb_inner(k, with[i].cold ? s->n_copy : 0);
    char rest[64];
    name_case(&c[0], "row_stats", s, " warm");
    name_case(&c[1], "row_stats", s, s->b.minmax ? " warm minmaxes" : " warm again");
    name_case(&c[2], "row_stats", s, " cold");
    name_case(&c[3], "draw", s, " cold");
    (void)snprintf(rest, sizeof rest, " warm: stats accept emit, %d of %d accepted", o.accept.n_accept,
                   GAMMA);
    name_case(&c[4], "accept step", s, rest);
    if (st == WEIR_OK)
        kb_measure(k, c, N_CASE);
    else
        kb_give_up(k, "accept step", law->name, st);
    block dead = s->b;
    dead.q = dead.p = NULL;
    block_free(k->be, &dead);
    s->b = (block){.q = s->b.q, .p = s->b.p, .minmax = s->b.minmax};
}

void kb_accept(kb *k) {
    kb_law law[KB_LAWS];
    kb_laws(law);
    const int32_t *v = k->tiny ? tiny_vocabs : vocabs;
    for (int i = 0; i < (k->tiny ? 1 : 2); i++) {
        scene *s = weir_calloc(1, sizeof *s);
        if (s) s->n_vocab = v[i];
        const weir_status st = s ? scene_logits(k, s) : WEIR_ENOMEM;
        for (int j = 0; st == WEIR_OK && j < KB_LAWS; j++) time_law(k, s, &law[j]);
        if (st != WEIR_OK) kb_give_up(k, "accept step", "logits", st);
        if (s) scene_free(k, s);
    }
}
