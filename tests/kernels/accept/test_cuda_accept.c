#include <criterion/criterion.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/math/fmath.h"
#include "tests/kernels/accept/accept_fixture.h"
#include "tests/kernels/accept/accept_oracle.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

/* The accept step of a device: every bit as the CPU's for equal logits, over all rules, temperatures,
 * truncations and both verifications; test_accept_op.c holds the CPU against the rules' definitions.
 * WEIR_RUNNER_SMS changes how many blocks share a row. */

enum { SESSIONS = 32 };

/* Sessions of one call on the host, and where their parts are on the device. */
typedef struct batch {
    int n_session, n_vocab, ld;
    block *host[SESSIONS];
    block *dev[SESSIONS]; /* device memory: law, statistics, drafts and rows of a block */
    float *q[SESSIONS], *p[SESSIONS];
    weir_row_note *note[SESSIONS];
    weir_accept_session *session; /* device */
    weir_accept_session got[SESSIONS];
    weir_accept_row row[SESSIONS][BLOCK_DRAFT];
} batch;

static bool same_float(float a, float b) { return isnan(a) ? isnan(b) : wf_bits(a) == wf_bits(b); }

/* ---- blocks of every kind ------------------------------------------------------------------------------ */

static weir_law random_law(uint64_t *seed, weir_rule rule) {
    weir_law law = block_random_law(seed, rule);
    if (rule == WEIR_RULE_LOSSY && rng_u64(seed) % 2) law.beta = NAN;
    if (rng_u64(seed) % 8 == 0) law.min_p = 0.05f;
    law.block_verify = rule != WEIR_RULE_CACTUS && rng_u64(seed) % 3 == 0;
    law.measure_reject = law.key[1] % 2;
    return law;
}

static block *random_block(uint64_t *seed, int n_draft, int n_vocab, int ld, weir_rule rule) {
    block *b = block_new(n_draft, n_vocab, ld);
    b->law = random_law(seed, rule);
    b->position = (int)(rng_u64(seed) % 5);
    const bool ties = rng_u64(seed) % 3 == 0;
    for (int j = 0; j <= n_draft; j++)
        random_rows(seed, n_vocab, 1.5f, 0.6f, ties, b->q + j * ld, b->p + j * ld);
    if (n_draft > 0 && rng_u64(seed) % 6 == 0) { /* one bad logit, somewhere */
        const size_t at = (size_t)(rng_u64(seed) % (uint64_t)n_draft) * (size_t)ld +
                          (size_t)(rng_u64(seed) % (uint64_t)n_vocab);
        (rng_u64(seed) % 2 ? b->q : b->p)[at] = rng_u64(seed) % 2 ? NAN : INFINITY;
    }
    block_stats(b);
    for (int j = 0; j < n_draft; j++) block_draw(b, j);
    if (n_draft > 0 && rng_u64(seed) % 16 == 0)
        b->draft[n_draft - 1] = (int32_t)(rng_u64(seed) % (uint64_t)n_vocab);
    if (n_draft > 0 && b->draft[0] >= 0 && n_vocab > 2 && b->law.key[1] % 8 == 2) {
        b->law.exact_first = b->law.key[1] % 16 == 2 ? BLOCK_DRAFT : 0;
        (void)block_make_empty(b);
    }
    return b;
}

/* ---- between the two memories -------------------------------------------------------------------------- */

static void *part(block *dev, size_t offset) { return (char *)dev + offset; }

/* Session i has rule first + i. */
static batch *batch_new(weir_backend *be, uint64_t *seed, int first, int n_session, int n_vocab,
                        int max_draft) {
    batch *x = calloc(1, sizeof *x);
    *x = (batch){.n_session = n_session, .n_vocab = n_vocab, .ld = n_vocab + (int)(rng_u64(seed) % 4)};
    weir_accept_session s[SESSIONS];
    memset(s, 0x5a, sizeof s); /* outputs are not what they were */
    weir_row_note unwritten[BLOCK_DRAFT];
    memset(unwritten, 0x5a, sizeof unwritten);
    for (int i = 0; i < n_session; i++) {
        const int n_draft = n_session == 1 ? max_draft : (int)(rng_u64(seed) % (uint64_t)(max_draft + 1));
        const weir_rule rule = (weir_rule)((first + i) % WEIR_RULE_COUNT);
        block *b = x->host[i] = random_block(seed, n_draft, n_vocab, x->ld, rule);
        const size_t n = (size_t)(n_draft + 1) * (size_t)x->ld;
        x->q[i] = device_put(be, b->q, 2 * n * sizeof(float));
        x->p[i] = x->q[i] + n;
        x->dev[i] = device_put(be, b, sizeof *b);
        x->note[i] = device_put(be, unwritten, sizeof unwritten);
        s[i].law = part(x->dev[i], offsetof(block, law));
        s[i].q_logits = x->q[i];
        s[i].p_logits = x->p[i];
        s[i].q_stats = part(x->dev[i], offsetof(block, q_stats));
        s[i].p_stats = part(x->dev[i], offsetof(block, p_stats));
        s[i].draft = part(x->dev[i], offsetof(block, draft));
        s[i].n_draft = n_draft;
        s[i].position = b->position;
        s[i].row = part(x->dev[i], offsetof(block, row));
        s[i].note = x->note[i];
    }
    x->session = device_put(be, s, (size_t)n_session * sizeof *s);
    return x;
}

static void batch_free(weir_backend *be, batch *x) {
    for (int i = 0; i < x->n_session; i++) {
        weir__backend_free(be, x->q[i]);
        weir__backend_free(be, x->dev[i]);
        weir__backend_free(be, x->note[i]);
        block_free(x->host[i]);
    }
    weir__backend_free(be, x->session);
    free(x);
}

/* ---- accept -------------------------------------------------------------------------------------------- */

static void accept_both(weir_backend *be, batch *x) {
    for (int i = 0; i < x->n_session; i++) block_accept(x->host[i]);
    weir_accept_args a = {x->session, x->n_session, x->ld, x->ld, x->n_vocab};
    cr_assert_eq(be->op.accept(be, &a), WEIR_OK, "%s", be->err.text);
    device_get(be, x->got, x->session, (size_t)x->n_session * sizeof *x->got);
    for (int i = 0; i < x->n_session; i++) device_get(be, x->row[i], x->got[i].row, sizeof x->row[i]);
}

/* Rows after a session's own block are not read, whatever its neighbours draft. */
static void check_unwritten(weir_backend *be, const batch *x, const char *where) {
    for (int i = 0; i < x->n_session; i++) {
        unsigned char note[BLOCK_DRAFT][sizeof(weir_row_note)];
        device_get(be, note, x->note[i], sizeof note);
        for (int j = x->host[i]->n_draft; j < BLOCK_DRAFT; j++)
            for (size_t k = 0; k < sizeof note[j]; k++)
                cr_assert(note[j][k] == 0x5a, "%s: session %d has %d rows, and row %d was written", where, i,
                          x->host[i]->n_draft, j);
    }
}

static void check_verdict(const weir_verdict *want, const weir_verdict *got, const char *where) {
    cr_assert(want->known == got->known, "%s: verdict known %d", where, got->known);
    if (!want->known) return;
    const float *a = &want->reject, *b = &got->reject;
    for (size_t k = 0; k < (sizeof *want - offsetof(weir_verdict, reject)) / sizeof *a; k++)
        cr_assert(same_float(a[k], b[k]), "%s: verdict's float %zu is %a, want %a", where, k, b[k], a[k]);
    cr_assert(want->gate == got->gate, "%s: verdict's gate", where);
}

/* Counts of what the cases have shown, so that they cannot all be of one kind. */
typedef struct tally {
    int sessions, rejected, whole, broken, rows;
    int spared; /* an unusable row after the first rejection */
    int empty;  /* row 0 stands although its coin is 1: num < q, and no mass that anybody measured */
} tally;

static void check_session(const batch *x, int i, const char *where, tally *n) {
    const weir_accept_session *a = &x->host[i]->session, *b = &x->got[i];
    cr_assert(a->status == b->status, "%s: status %d, want %d", where, b->status, a->status);
    n->sessions++;
    n->broken += a->status != WEIR_OK;
    if (a->status != WEIR_OK) return;
    cr_assert(a->n_examined == b->n_examined && a->n_accept == b->n_accept,
              "%s: %d of %d accepted, want %d of %d", where, b->n_accept, b->n_examined, a->n_accept,
              a->n_examined);
    cr_assert(same_float(a->block_p, b->block_p), "%s: P %a, want %a", where, b->block_p, a->block_p);
    check_verdict(&a->verdict, &b->verdict, where);
    n->rejected += a->n_accept < a->n_draft;
    n->whole += a->n_accept == a->n_draft;
    for (int j = a->n_examined; j < a->n_draft; j++)
        n->spared += isnan(a->q_stats[j].max) || isnan(a->p_stats[j].max);
    for (int j = 0; j < a->n_examined; j++) {
        const weir_accept_row *r = &a->row[j], *g = &x->row[i][j];
        cr_assert(same_float(r->reject, g->reject) && same_float(r->log_pi, g->log_pi) &&
                      same_float(r->log_p, g->log_p),
                  "%s row %d: R %a log pi %a log p %a, want %a %a %a", where, j, g->reject, g->log_pi,
                  g->log_p, r->reject, r->log_pi, r->log_p);
        cr_assert(r->deferred == g->deferred && r->accepted == g->accepted,
                  "%s row %d: deferred %d accepted %d", where, j, g->deferred, g->accepted);
        n->rows++;
    }
    const weir_law *law = &x->host[i]->law;
    n->empty += a->n_accept > 0 && law->key[0] == KEY_OF_COIN_ONE && !law->block_verify &&
                a->row[0].deferred && isnan(a->row[0].reject) &&
                x->host[i]->q[a->draft[0]] > x->host[i]->p[a->draft[0]];
}

/* ---- the closing token --------------------------------------------------------------------------------- */

/* Session i's block closed; on the host, or (dev) with the same parts on the device. again: without the
 * verdict. */
static weir_emit_session closing(const batch *x, int i, bool dev, bool again, bool bonus_pi) {
    const block *b = x->host[i];
    const weir_accept_session *a = dev ? &x->got[i] : &b->session;
    const int j = b->session.n_accept;
    const bool full = j == b->n_draft;
    weir_emit_session e;
    memset(&e, 0x5a, sizeof e);
    e.law = a->law;
    e.kind = !full ? WEIR_EMIT_RESIDUAL : bonus_pi ? WEIR_EMIT_PI : WEIR_EMIT_P;
    e.q_logits = e.kind == WEIR_EMIT_P ? NULL : a->q_logits + (size_t)j * (size_t)x->ld;
    e.p_logits = a->p_logits + (size_t)j * (size_t)x->ld;
    e.q_stats = a->q_stats + j;
    e.p_stats = a->p_stats + j;
    e.draft = full ? -1 : b->draft[j];
    e.block_p = a->block_p;
    e.verdict = full || again ? NULL : dev ? &x->session[i].verdict : &a->verdict;
    e.position = b->position + j;
    e.block_row = j;
    return e;
}

static void emit_both(weir_backend *be, const batch *x, uint64_t *seed, const char *where) {
    weir_emit_session want[SESSIONS], got[SESSIONS];
    int n = 0;
    for (int i = 0; i < x->n_session; i++) {
        if (x->got[i].status != WEIR_OK) continue;
        const bool again = rng_u64(seed) % 3 == 0, bonus_pi = rng_u64(seed) % 2 == 0;
        want[n] = closing(x, i, false, again, bonus_pi);
        got[n++] = closing(x, i, true, again, bonus_pi);
    }
    if (n == 0) return;
    weir_backend cpu = {.isa = weir__isa_best()};
    weir_emit_args a = {want, n, x->n_vocab};
    cr_assert_eq(weir__emit_cpu(&cpu, &a), WEIR_OK);
    a.session = device_put(be, got, (size_t)n * sizeof *got);
    cr_assert_eq(be->op.emit(be, &a), WEIR_OK, "%s", be->err.text);
    device_get(be, got, a.session, (size_t)n * sizeof *got);
    weir__backend_free(be, a.session);
    for (int i = 0; i < n; i++) {
        const weir_emit_session *w = &want[i], *g = &got[i];
        cr_assert(w->status == g->status, "%s emit %d: status %d, want %d", where, i, g->status, w->status);
        if (w->status != WEIR_OK) continue;
        cr_assert(w->token == g->token && w->deferred == g->deferred, "%s emit %d: token %d, want %d", where,
                  i, g->token, w->token);
        cr_assert(same_float(w->log_pi, g->log_pi) && same_float(w->log_p, g->log_p) &&
                      same_float(w->reject, g->reject),
                  "%s emit %d: log pi %a log p %a R %a, want %a %a %a", where, i, g->log_pi, g->log_p,
                  g->reject, w->log_pi, w->log_p, w->reject);
    }
}

/* ---- gates --------------------------------------------------------------------------------------------- */

static void gate_both(weir_backend *be, const batch *x, uint64_t *seed, const char *where) {
    weir_gate_session want[SESSIONS], got[SESSIONS];
    weir_backend cpu = {.isa = weir__isa_best()};
    for (int i = 0; i < x->n_session; i++) {
        const weir_accept_session *s[2] = {&x->host[i]->session, &x->got[i]};
        const bool alone = rng_u64(seed) % 3 == 0;
        for (int k = 0; k < 2; k++) {
            weir_gate_session *g = k ? &got[i] : &want[i];
            *g = (weir_gate_session){.law = s[k]->law,
                                     .q_logits = s[k]->q_logits,
                                     .q_stats = s[k]->q_stats,
                                     .p_logits = alone ? NULL : s[k]->p_logits,
                                     .p_stats = alone ? NULL : s[k]->p_stats,
                                     .position = x->host[i]->position};
        }
    }
    weir_gate_args a = {want, x->n_session, x->n_vocab};
    cr_assert_eq(weir__gate_cpu(&cpu, &a), WEIR_OK);
    a.session = device_put(be, got, (size_t)x->n_session * sizeof *got);
    cr_assert_eq(be->op.gate(be, &a), WEIR_OK, "%s", be->err.text);
    device_get(be, got, a.session, (size_t)x->n_session * sizeof *got);
    weir__backend_free(be, a.session);
    for (int i = 0; i < x->n_session; i++) {
        cr_assert(want[i].status == got[i].status, "%s gate %d: status %d, want %d", where, i, got[i].status,
                  want[i].status);
        cr_assert(want[i].status != WEIR_OK || want[i].deferred == got[i].deferred, "%s gate %d", where, i);
    }
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static void compare(weir_backend *be, uint64_t *seed, int first, int n_session, int n_vocab, int max_draft,
                    tally *n) {
    cr_assert_eq(weir__backend_reserve(be, (size_t)weir__accept_cuda_scratch_floats(n_vocab)), WEIR_OK);
    batch *x = batch_new(be, seed, first, n_session, n_vocab, max_draft);
    char where[64];
    accept_both(be, x);
    for (int i = 0; i < n_session; i++) {
        snprintf(where, sizeof where, "%s, n %d, session %d",
                 weir_rule_facts((weir_rule)((first + i) % WEIR_RULE_COUNT))->name, n_vocab, i);
        check_session(x, i, where, n);
    }
    snprintf(where, sizeof where, "n %d", n_vocab);
    check_unwritten(be, x, where);
    emit_both(be, x, seed, where);
    gate_both(be, x, seed, where);
    batch_free(be, x);
}

/* Under TSan every thread of a launch costs maps of memory, and time: few blocks show the same races. */
static weir_backend *open_with(const char *sms) {
    if (build_is_tsan() && strtol(sms, NULL, 10) > 3) cr_skip("too many blocks for this build");
    setenv("WEIR_RUNNER_SMS", sms, 1);
    return device_open();
}

static void all_sizes(const char *sms, uint64_t seed) {
    weir_backend *be = open_with(sms);
    const int reps = (int)draws_for_build(10);
    static const int sizes[] = {1, 2, 31, 33, 1000, 1024, 1025, 5000};
    tally n = {0};
    for (int i = 0; i < 8; i++)
        for (int rep = 0; rep < (sizes[i] >= 1000 ? (reps + 4) / 5 : reps); rep++)
            compare(be, &seed, 0, reps < 10 ? 16 : SESSIONS, sizes[i], reps < 10 ? 3 : rep == 0 ? 16 : 4, &n);
    if (reps == 10)
        cr_expect(n.rejected > 200 && n.whole > 300 && n.broken > 50 && n.spared > 10 && n.empty > 5);
    cr_log_info("%d sessions: %d rejected, %d whole, %d broken, %d spared, %d empty; %d rows", n.sessions,
                n.rejected, n.whole, n.broken, n.spared, n.empty, n.rows);
    weir__backend_close(be);
}

Test(cuda_accept, blocks_on_1_sm) { all_sizes("1", 401); }
Test(cuda_accept, blocks_on_3_sms) { all_sizes("3", 402); }
Test(cuda_accept, blocks_on_8_sms) { all_sizes("8", 403); }

/* One session at a time, so that many blocks share a row: every rule, and often enough that both ends of a
 * block occur. */
static void long_rows(const char *sms, uint64_t seed) {
    weir_backend *be = open_with(sms);
    tally n = {0};
    const bool all = draws_for_build(10) == 10;
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++) {
        for (int rep = 0; rep < (all ? 4 : 1); rep++) compare(be, &seed, rule, 1, all ? 5000 : 3000, 2, &n);
        if (all) compare(be, &seed, rule, 1, 70000, 2, &n);
    }
    if (all) cr_expect(n.rejected > 10 && n.whole > 10, "%d rejected, %d whole", n.rejected, n.whole);
    weir__backend_close(be);
}

Test(cuda_accept, long_rows_on_2_sms) { long_rows("2", 404); }
Test(cuda_accept, long_rows_on_7_sms) { long_rows("7", 405); }

/* The first kernel writes notes of all rows; a session does not know its neighbours. */
Test(cuda_accept, does_not_depend_on_the_batch) {
    weir_backend *be = open_with("3");
    uint64_t seed = 406;
    tally n = {0};
    batch *x = batch_new(be, &seed, 0, 16, 2100, 4);
    accept_both(be, x);
    for (int i = 0; i < 16; i += 3) {
        weir_accept_args a = {x->session + i, 1, x->ld, x->ld, x->n_vocab};
        cr_assert_eq(be->op.accept(be, &a), WEIR_OK, "%s", be->err.text);
        device_get(be, &x->got[i], x->session + i, sizeof x->got[i]);
        device_get(be, x->row[i], x->got[i].row, sizeof x->row[i]);
        check_session(x, i, "alone", &n);
    }
    batch_free(be, x);
    weir__backend_close(be);
}

/* ---- failures ------------------------------------------------------------------------------------------ */

Test(cuda_accept, faults_are_the_sessions_own) {
    weir_backend *be = device_open();
    uint64_t seed = 407;
    batch *x = batch_new(be, &seed, 0, 16, 50, 3);
    weir_accept_session s[16];
    device_get(be, s, x->session, sizeof s);
    weir_law refused = rule_law(WEIR_RULE_CACTUS, NAN);
    refused.block_verify = true;
    weir_law *law = device_put(be, &refused, sizeof refused);
    for (int i = 0; i < 5; i++) s[i].n_draft = 1;
    s[0].law = NULL;
    s[1].n_draft = 17;
    s[2].n_draft = -1;
    s[3].note = NULL;
    s[4].law = law;
    cr_assert_eq(weir__backend_upload(be, x->session, s, sizeof s), WEIR_OK);
    accept_both(be, x);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(x->got[i].status, WEIR_EINVAL, "session %d: %d", i, x->got[i].status);
    cr_expect_eq(x->got[4].status, WEIR_ENOTSUP);
    tally n = {0};
    for (int i = 5; i < 16; i++) check_session(x, i, "beside faults", &n);
    weir__backend_free(be, law);
    batch_free(be, x);
    weir__backend_close(be);
}

Test(cuda_accept, bad_arguments_are_refused) {
    weir_backend *be = device_open();
    weir_accept_args a = {NULL, 0, 4, 4, 4};
    cr_expect_eq(be->op.accept(be, &a), WEIR_OK);
    a.n_session = 1;
    cr_expect_eq(be->op.accept(be, &a), WEIR_EINVAL);
    a.n_session = 0, a.ld_q = 3;
    cr_expect_eq(be->op.accept(be, &a), WEIR_EINVAL);
    weir_emit_args e = {NULL, 1, 4};
    cr_expect_eq(be->op.emit(be, &e), WEIR_EINVAL);
    weir_gate_args g = {NULL, 0, 0};
    cr_expect_eq(be->op.gate(be, &g), WEIR_EINVAL);
    weir__backend_close(be);
}
