/* Gamma auto leaves the law of texts as it is: texts of the loop's ops over a small world of distributions
 * that depend on the prefix, against the product of pi; and the law of block verification with blocks that
 * end by what was drafted, by full enumeration. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "kernels/loop/seat.h"
#include "tests/kernels/accept/accept_fixture.h"
#include "tests/kernels/accept/accept_oracle.h"
#include "tests/kernels/loop/loop_fixture.h"
#include "tests/kernels/op_fixture.h"
#include "tests/support/compare.h"

enum { V = 3, LENGTH = 4, TEXTS = 81, MOST = 5, SEATS = 22, ROOM = LENGTH + 2 * MOST + 2 };

/* Logits after a prefix: any function of it, here from a hash. The last token has much to say about how sure
 * the drafter is, so that what was drafted decides how far a block goes. */
static void world_logits(uint64_t world, const int32_t *text, int n, float *q, float *p) {
    static const float sure[V] = {0.3f, 2.0f, 1.0f};
    uint64_t s = world * 977 + 13;
    for (int i = 0; i < n; i++) s = s * 31 + (uint64_t)text[i] + 1;
    rng_u64(&s);
    const float scale = n > 0 ? sure[text[n - 1]] : 1.0f;
    for (int v = 0; v < V; v++) {
        const float base = 1.2f * rng_normal(&s);
        q[v] = scale * (base + 0.7f * rng_normal(&s));
        p[v] = scale * (base + 0.7f * rng_normal(&s));
    }
}

/* ---- texts of the ops ---------------------------------------------------------------------------------- */

typedef struct texts {
    bucket *b;
    uint64_t world;
    int32_t text[SEATS][ROOM];
    int64_t drafts[MOST + 1], settled; /* blocks by their drafts; seats that settled */
} texts;

static void check(weir_status st) { cr_assert(st == WEIR_OK, "%s", weir_status_str(st)); }

static weir_loop_rows rows_of(bucket *b, int step) {
    return (weir_loop_rows){.loop = &b->l,
                            .step = step,
                            .token = b->token,
                            .pos = b->pos,
                            .slot = b->slot,
                            .law_of = b->law_of,
                            .law = b->law};
}

/* Logits after the text of seat i and its first j drafts. */
static void put_logits(texts *t, int i, int j, float *q, float *p) {
    int32_t prefix[ROOM];
    float other[V];
    const int n = t->b->l.seat[i].n;
    memcpy(prefix, t->text[i], (size_t)n * sizeof *prefix);
    memcpy(prefix + n, weir__seat_draft(&t->b->l, i), (size_t)j * sizeof *prefix);
    world_logits(t->world, prefix, n + j, q ? q : other, p ? p : other);
}

static void draft_all(texts *t) {
    bucket *b = t->b;
    for (int j = 0; j < b->l.gamma + b->l.bonus; j++) {
        weir_loop_rows rows = rows_of(b, j);
        weir_loop_sample sample = {.loop = &b->l, .step = j};
        check(b->be->op.loop_rows(b->be, &rows));
        for (int i = 0; i < b->l.n_seat; i++)
            if (b->law_of[i] >= 0) put_logits(t, i, j, weir__seat_q_row(&b->l, i, j), NULL);
        check(b->be->op.loop_sample(b->be, &sample));
    }
}

static void verify_all(texts *t) {
    bucket *b = t->b;
    weir_loop_rows rows = rows_of(b, WEIR_LOOP_VERIFY);
    check(b->be->op.loop_rows(b->be, &rows));
    for (int i = 0; i < b->l.n_seat; i++)
        for (int j = 0; j <= b->l.seat[i].n_draft && weir__seat_runs(&b->l.seat[i]); j++)
            put_logits(t, i, j, NULL, weir__seat_p_row(&b->l, i, j));
    weir_row_stats_args stats = {.logits = b->l.p_logits,
                                 .ld = b->l.ld_p,
                                 .n_row = b->l.n_seat * (b->l.gamma + 1),
                                 .n_vocab = V,
                                 .law = b->law,
                                 .law_of = b->law_of,
                                 .out = b->l.p_stats};
    check(b->be->op.row_stats(b->be, &stats));
}

/* Of every seat that runs, after the ring's outcomes. */
static void take_all(texts *t, int number) {
    const weir_loop *l = &t->b->l;
    for (int i = 0; i < l->n_seat; i++) {
        const weir_block_outcome *r = &l->ring[(number % l->depth) * l->n_seat + i];
        if (!r->live) continue;
        cr_assert(r->status == WEIR_OK && r->closing);
        memcpy(t->text[i] + r->position, r->draft, (size_t)r->n_accept * sizeof *r->draft);
        t->text[i][r->position + r->n_accept] = r->token;
        t->drafts[r->n_draft]++;
        if (r->seat_end != WEIR_SEAT_RUNNING) t->settled += r->past.settled;
    }
}

static weir_seat seat_of(const weir_law *law, const weir_gamma_costs *cost, uint32_t key) {
    weir_seat s = {.law = *law,
                   .gamma = MOST,
                   .chooses = 1,
                   .limit = LENGTH + MOST, /* ends are not cut to the length that is looked at */
                   .bonus_from = weir__seat_bonus_from(law)};
    s.law.key[0] = key;
    s.law.key[1] = 7;
    const weir_gamma_plan plan = weir__seat_gamma_plan(&s);
    weir__gamma_begin(cost, &plan, &s.past);
    return s;
}

static void run_texts(texts *t, const weir_law *law, const weir_gamma_costs *cost, uint32_t first) {
    weir_seat seats[SEATS];
    for (int i = 0; i < SEATS; i++) seats[i] = seat_of(law, cost, first + (uint32_t)i);
    bucket_sit(t->b, seats, 1000);
    for (int number = 0;; number++) {
        weir_loop_close close = {.loop = &t->b->l};
        draft_all(t);
        verify_all(t);
        check(t->b->be->op.loop_close(t->b->be, &close));
        take_all(t, number);
        if (t->b->l.flags->running == 0) return;
    }
}

static void pi_of_texts(const weir_law *law, uint64_t world, double prob[TEXTS]) {
    for (int x = 0; x < TEXTS; x++) {
        const int32_t text[LENGTH] = {x / 27, x / 9 % 3, x / 3 % 3, x % 3};
        prob[x] = 1.0;
        for (int n = 0; n < LENGTH; n++) {
            float q[V], p[V];
            world_logits(world, text, n, q, p);
            oracle *o = oracle_new(law, q, p, V);
            prob[x] *= o->pi[text[n]];
            oracle_free(o);
        }
    }
}

static double texts_z(texts *t, const weir_law *law, const weir_gamma_costs *cost, int64_t n_text) {
    int64_t counts[TEXTS] = {0}, total = 0;
    double prob[TEXTS];
    for (uint32_t first = 0; first < (uint32_t)n_text; first += SEATS) {
        run_texts(t, law, cost, first);
        for (int i = 0; i < SEATS; i++) {
            const int32_t *w = t->text[i];
            counts[((w[0] * V + w[1]) * V + w[2]) * V + w[3]]++;
            total++;
        }
    }
    pi_of_texts(law, t->world, prob);
    return chi_square_z(counts, prob, TEXTS, total);
}

/* Tables under which one draft more or less in the past changes how far blocks go. */
static const weir_gamma_costs cheap = {.draft = 0.03125f,
                                       .verify = {1.0f, 1.03125f, 1.0625f, 1.09375f, 1.125f, 1.15625f}},
                              dear = {.draft = 0.25f, .verify = {1.0f, 1.125f, 1.25f, 1.375f, 1.5f, 1.625f}},
                              plain = {.draft = 0.125f,
                                       .verify = {1.0f, 1.125f, 1.3125f, 1.5f, 1.5625f, 1.625f}},
                              hopeless = {.draft = 0.375f,
                                          .verify = {1.0f, 1.375f, 1.75f, 2.125f, 2.5f, 2.875f}};

static texts open_texts(const weir_law *law, const weir_gamma_costs *cost, uint64_t world) {
    texts t = {.world = world};
    weir_backend *be = open_backend(1, weir__isa_best());
    t.b = bucket_new(be, SEATS, MOST, weir__seat_bonus_from(law) < INT32_MAX, V, V);
    t.b->l.cost = cost;
    return t;
}

static void close_texts(texts *t) {
    weir_backend *be = t->b->be;
    bucket_free(t->b);
    weir__backend_close(be);
}

static const struct {
    weir_rule rule;
    float alpha;
    const weir_gamma_costs *cost;
} laws[] = {
    {WEIR_RULE_EXACT, 0.0f, &dear},  {WEIR_RULE_EXACT, 0.0f, &plain},    {WEIR_RULE_EXACT, 0.0f, &hopeless},
    {WEIR_RULE_CHOW, 0.4f, &plain},  {WEIR_RULE_CHOW_LOG, 0.7f, &plain}, {WEIR_RULE_DIFF, 0.1f, &dear},
    {WEIR_RULE_OPT, 0.1f, &plain},   {WEIR_RULE_TOKEN_V1, 0.1f, &dear},  {WEIR_RULE_TOKEN_V3, 0.4f, &dear},
    {WEIR_RULE_LOSSY, 0.2f, &plain}, {WEIR_RULE_ENSEMBLE, 0.5f, &plain}, {WEIR_RULE_TOKEN_V3, 0.4f, &cheap}};
enum { N_LAW = sizeof laws / sizeof *laws };

static void texts_follow_pi(bool block_verify) {
    int64_t drafts[MOST + 1] = {0}, settled = 0;
    for (int k = 0; k < N_LAW; k++) {
        weir_law law = rule_law(laws[k].rule, laws[k].alpha);
        law.block_verify = block_verify;
        texts t = open_texts(&law, laws[k].cost, 3 + (uint64_t)k);
        const double z = texts_z(&t, &law, laws[k].cost, draws_for_build(12000));
        cr_expect(z < Z_MAX, "%s: z = %g", weir_rule_facts(laws[k].rule)->name, z);
        for (int j = 0; j <= MOST; j++) drafts[j] += t.drafts[j];
        settled += t.settled;
        close_texts(&t);
    }
    for (int j = 0; j <= MOST; j++) cr_expect(drafts[j] > 1000, "%d blocks of %d drafts", (int)drafts[j], j);
    cr_expect(settled > 50, "%d texts settled", (int)settled);
}

Test(gamma_law, texts_follow_pi_under_standard_verification) { texts_follow_pi(false); }
Test(gamma_law, texts_follow_pi_under_block_verification) { texts_follow_pi(true); }

/* As many texts as it takes to see what discarded drafts would do to the law if blocks learned from them:
 * with those counted as refused, z is 14 at 300,000 texts. */
Test(gamma_law, discarded_drafts_do_not_bend_it) {
    const weir_law law = rule_law(WEIR_RULE_EXACT, 0.0f);
    texts t = open_texts(&law, &cheap, 2);
    const double z = texts_z(&t, &law, &cheap, draws_for_build(200000));
    cr_expect(z < Z_MAX, "z = %g", z);
    close_texts(&t);
}

/* ---- block verification by full enumeration ------------------------------------------------------------ */

/* The law of texts, block after block: every draft, every number of accepted ones, every closing token, with
 * its probability (arXiv 2403.10444, algorithm 2, with pi in place of p). */
typedef struct walk {
    weir_law law;
    const weir_gamma_costs *cost;
    weir_gamma_plan plan;
    uint64_t world;
    double prob[TEXTS];
    int64_t blocks[MOST + 1];
} walk;

typedef struct walk_block {
    int32_t text[2 * ROOM];
    int start, n_draft;
    double p[MOST + 1], h[MOST + 1]; /* P_i and its h, h of the last one apart */
    double law[MOST + 1][V], q[MOST + 1][V];
    float sure[MOST + 1];
    float hope, rate;
    weir_gamma_past past;
} walk_block;

static void walk_from(walk *w, const int32_t *text, int n, const weir_gamma_past *past, double weight);

static void see_row(const walk *w, walk_block *b, int j) {
    float q[V], p[V];
    world_logits(w->world, b->text, b->start + j, q, p);
    oracle *o = oracle_new(&w->law, q, p, V);
    float max = q[0], sum = 0.0f;
    for (int v = 1; v < V; v++) max = q[v] > max ? q[v] : max;
    for (int v = 0; v < V; v++) sum += expf(q[v] - max);
    b->sure[j] = 1.0f / sum;
    memcpy(b->law[j], o->pi, sizeof b->law[j]);
    memcpy(b->q[j], o->q, sizeof b->q[j]);
    oracle_free(o);
}

/* sum (P pi - q)+ after j drafts. */
static double left_over(const walk_block *b, int j) {
    double sum = 0.0;
    for (int v = 0; v < V; v++) sum += fmax(0.0, b->p[j] * b->law[j][v] - b->q[j][v]);
    return sum;
}

/* The block closes after i of its drafts. */
static void close_at(walk *w, const walk_block *b, int i, double weight) {
    weir_gamma_past past = b->past;
    for (int j = 0; j < b->n_draft && j <= i; j++) weir__gamma_learn(&past, b->sure[j], j < i);
    if (!past.settled) weir__gamma_settle(w->cost, &w->plan, &past);
    const double rest = i < b->n_draft ? left_over(b, i) : 1.0;
    for (int32_t v = 0; v < V; v++) {
        const double one =
            i < b->n_draft ? fmax(0.0, b->p[i] * b->law[i][v] - b->q[i][v]) / rest : b->law[i][v];
        walk_block next = *b;
        next.text[b->start + i] = v;
        if (one > 0.0) walk_from(w, next.text, b->start + i + 1, &past, weight * one);
    }
}

static void decide(walk *w, walk_block *b, double weight) {
    double none_later = 1.0;
    see_row(w, b, b->n_draft);
    w->blocks[b->n_draft]++;
    for (int i = b->n_draft; i >= 0; i--) {
        const double left = i < b->n_draft ? left_over(b, i) : 0.0;
        const double h = i == 0                         ? 1.0
                         : i == b->n_draft              ? b->p[i]
                         : left + 1.0 - b->p[i] > 1e-12 ? left / (left + 1.0 - b->p[i])
                                                        : 1.0;
        if (none_later * h > 0.0 && (i == b->n_draft || left > 1e-12))
            close_at(w, b, i, weight * none_later * h);
        none_later *= 1.0 - h;
    }
}

/* Draft number j + 1 of the block, if there is one. */
static void draft_on(walk *w, walk_block *b, int j, double weight) {
    bool on = j < w->plan.most && !b->past.settled;
    if (on && j > 0) {
        const int32_t at = weir__gamma_bucket(b->sure[j - 1]);
        const float mean = weir__gamma_mean(&b->past, 0.0f);
        const float next = weir__gamma_floor(1.0f - (1.0f - mean) * weir__gamma_refusal_after(at));
        b->hope *= weir__gamma_mean_at(&b->past, at, mean);
        on = weir__gamma_extends(w->cost, &w->plan, j, b->hope, next, mean, b->rate);
    }
    b->n_draft = j;
    if (!on) {
        decide(w, b, weight);
        return;
    }
    see_row(w, b, j);
    for (int32_t v = 0; v < V; v++) {
        walk_block next = *b;
        next.text[b->start + j] = v;
        next.p[j + 1] = fmin(1.0, b->p[j] * b->law[j][v] / b->q[j][v]);
        draft_on(w, &next, j + 1, weight * b->q[j][v]);
    }
}

static void walk_from(walk *w, const int32_t *text, int n, const weir_gamma_past *past, double weight) {
    if (n >= LENGTH) {
        w->prob[((text[0] * V + text[1]) * V + text[2]) * V + text[3]] += weight;
        return;
    }
    walk_block b = {.start = n, .past = *past, .hope = 1.0f, .p = {1.0}};
    memcpy(b.text, text, (size_t)n * sizeof *text);
    b.rate = weir__gamma_rate(w->cost, &w->plan, weir__gamma_mean(past, 0.0f));
    draft_on(w, &b, 0, weight);
}

Test(gamma_law, block_verification_is_exact_by_enumeration) {
    enum { DRAFTS = 3 };
    static walk w;
    int64_t blocks[MOST + 1] = {0};
    for (int k = 0; k < N_LAW; k++) {
        if (weir__rule_q_only(laws[k].rule)) continue; /* which ends blocks by another rule */
        w = (walk){.law = rule_law(laws[k].rule, laws[k].alpha), .cost = laws[k].cost, .world = 11};
        const weir_seat s = seat_of(&w.law, w.cost, 0);
        double want[TEXTS];
        w.plan = weir__seat_gamma_plan(&s);
        w.plan.most = DRAFTS;
        w.law.block_verify = true;
        walk_from(&w, NULL, 0, &s.past, 1.0);
        pi_of_texts(&w.law, w.world, want);
        for (int x = 0; x < TEXTS; x++)
            cr_expect(fabs(w.prob[x] - want[x]) < 1e-9, "%s, text %d: %g, want %g",
                      weir_rule_facts(laws[k].rule)->name, x, w.prob[x], want[x]);
        for (int j = 0; j <= MOST; j++) blocks[j] += w.blocks[j];
    }
    for (int j = 0; j <= DRAFTS; j++) cr_expect(blocks[j] > 30, "%d blocks of %d drafts", (int)blocks[j], j);
}
