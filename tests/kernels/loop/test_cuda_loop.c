/* The loop's ops on a device: for equal logits the rows, drafts, records, seats and flags of the CPU's, bit
 * for bit. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/accept/stats.h"
#include "tests/kernels/accept/accept_fixture.h"
#include "tests/kernels/loop/loop_fixture.h"
#include "tests/support/build.h"
#include "tests/support/device.h"

enum { V = 2300, LD = 2304, EOS = 5 };

/* ---- comparing ----------------------------------------------------------------------------------------- */

static void assert_same_rows(const bucket *a, const bucket *b, const char *what) {
    for (int j = 0; j <= a->l.gamma + a->l.bonus; j++) {
        const bucket_rows *x = &a->rows[j], *y = &b->rows[j];
        const size_t n = (size_t)x->n_row * 4;
        cr_assert(memcmp(x->token, y->token, n) == 0, "%s: call %d: other tokens", what, j);
        cr_assert(memcmp(x->pos, y->pos, n) == 0 && memcmp(x->slot, y->slot, n) == 0,
                  "%s: call %d: other places", what, j);
        cr_assert(memcmp(x->law_of, y->law_of, (size_t)x->n_out * 4) == 0, "%s: call %d: other laws", what,
                  j);
    }
}

/* Field by field where structs have holes. */
static void assert_same_record(const weir_block_outcome *x, const weir_block_outcome *y, const char *what) {
    cr_assert(x->live == y->live && x->seat_end == y->seat_end, "%s: live %d, end %d, then %d, %d", what,
              x->live, x->seat_end, y->live, y->seat_end);
    if (!x->live) return;
    cr_assert(x->position == y->position && x->status == y->status, "%s: position %d, status %d, then %d, %d",
              what, x->position, x->status, y->position, y->status);
    cr_assert(memcmp(&x->past, &y->past, sizeof x->past) == 0, "%s: another past", what);
    if (x->status != WEIR_OK) return;
    cr_assert(x->n_draft == y->n_draft && x->n_accept == y->n_accept && x->n_examined == y->n_examined,
              "%s: %d of %d accepted, then %d of %d", what, x->n_accept, x->n_draft, y->n_accept, y->n_draft);
    cr_assert(memcmp(x->draft, y->draft, sizeof x->draft) == 0, "%s: other drafts", what);
    for (int j = 0; j < x->n_examined; j++) {
        const weir_accept_row *r = &x->row[j], *s = &y->row[j];
        cr_assert(memcmp(&r->reject, &s->reject, 4) == 0 && memcmp(&r->log_pi, &s->log_pi, 4) == 0 &&
                      memcmp(&r->log_p, &s->log_p, 4) == 0 && r->deferred == s->deferred &&
                      r->accepted == s->accepted,
                  "%s: row %d", what, j);
    }
    cr_assert(x->closing == y->closing, "%s: closing %d, then %d", what, x->closing, y->closing);
    if (!x->closing) return;
    cr_assert(x->kind == y->kind && x->token == y->token, "%s: token %d, then %d", what, x->token, y->token);
    cr_assert(memcmp(&x->log_pi, &y->log_pi, 4) == 0 && memcmp(&x->log_p, &y->log_p, 4) == 0,
              "%s: other logs", what);
}

static void assert_same_seat(const weir_seat *x, const weir_seat *y, const char *what) {
    cr_assert(x->n == y->n && x->end == y->end && x->n_draft == y->n_draft, "%s: n %d, end %d, then %d, %d",
              what, x->n, x->end, y->n, y->end);
    cr_assert(memcmp(x->tail, y->tail, sizeof x->tail) == 0, "%s: another tail", what);
    cr_assert(memcmp(&x->past, &y->past, sizeof x->past) == 0, "%s: another past", what);
}

static void assert_same_block(const bucket *a, const bucket *b, const char *what) {
    assert_same_rows(a, b, what);
    for (int i = 0; i < a->l.n_seat; i++) {
        char seat[128];
        snprintf(seat, sizeof seat, "%s, seat %d", what, i);
        assert_same_record(&a->record[i], &b->record[i], seat);
        assert_same_seat(&a->seat[i], &b->seat[i], seat);
    }
    cr_assert(memcmp(&a->flags, &b->flags, sizeof a->flags) == 0,
              "%s: done %d, running %d, over %d, then %d, %d, %d", what, a->flags.done, a->flags.running,
              a->flags.over, b->flags.done, b->flags.running, b->flags.over);
}

/* ---- the two backends ---------------------------------------------------------------------------------- */

typedef struct twins {
    weir_backend *cpu, *device;
} twins;

static twins open_twins(int n_vocab) {
    twins t = {NULL, device_open()};
    cr_assert(weir__backend_cpu_open(&t.cpu, 1, weir__isa_best(), NULL) == WEIR_OK);
    cr_assert(weir__backend_reserve(t.device, (size_t)weir__accept_cuda_scratch_floats(n_vocab)) == WEIR_OK);
    return t;
}
static void close_twins(twins *t) {
    weir__backend_close(t->cpu);
    weir__backend_close(t->device);
}

static void run_mix(const twins *t, int n_seat, int gamma, int first, int n_block, int n_vocab, int ld) {
    weir_seat seats[BUCKET_SEATS];
    if (build_is_tsan() && n_block > 2)
        n_block = 2; /* one block after another: what the next ones do
                                                        again */
    for (int i = 0; i < n_seat; i++) seats[i] = seat_of_mix(first + i, gamma);
    if (n_seat > 3) seats[3] = (weir_seat){.slot = -1, .end = WEIR_SEAT_EMPTY};
    if (n_seat > 1) seats[1].limit = 9;
    const bool bonus = seats_need_bonus(seats, n_seat, gamma);
    bucket *a = bucket_new(t->cpu, n_seat, gamma, bonus, n_vocab, ld);
    bucket *b = bucket_new(t->device, n_seat, gamma, bonus, n_vocab, ld);
    if (first % 2) bucket_use_minmaxes(b);
    bucket_sit(a, seats, n_block);
    bucket_sit(b, seats, n_block);
    for (int k = 0; k < n_block && !a->flags.over; k++) {
        char what[96];
        snprintf(what, sizeof what, "%d seats from %d, gamma %d, block %d", n_seat, first, gamma, k);
        bucket_logits x = logits_new(n_seat, gamma, n_vocab, EOS, (uint32_t)(1000 * first + 100 * gamma + k));
        if (k == 2) x.p[(n_seat - 1) * (gamma + 1) * n_vocab + 3] = NAN;
        b->at_once = k % 2 == 0; /* by one kernel, if the rows are few */
        bucket_block(a, &x);
        bucket_block(b, &x);
        logits_free(&x);
        assert_same_block(a, b, what);
    }
    bucket_free(a);
    bucket_free(b);
}

Test(cuda_loop, mixed_seats_are_those_of_the_cpu) {
    twins t = open_twins(V);
    static const int mix[][4] = {{5, 3, 0, 5}, {1, 0, 0, 3}, {1, 5, 1, 6},
                                 {2, 1, 4, 6}, {8, 4, 6, 4}, {4, 16, 11, 2}};
    for (int i = 0; i < 6; i++)
        if (in_sample(i, 6)) run_mix(&t, mix[i][0], mix[i][1], mix[i][2], mix[i][3], V, LD);
    close_twins(&t);
}

/* Seats that choose their drafts, beside others: a few of each length, and some that settle. */
Test(cuda_loop, seats_that_choose_are_those_of_the_cpu) {
    enum { SEATS = 9, MOST = 5, SMALL = 70, BLOCKS = 8 };
    static const weir_gamma_costs costs = {.draft = 0.15625f,
                                           .verify = {1.0f, 1.125f, 1.25f, 1.375f, 1.5f, 1.625f}};
    twins t = open_twins(SMALL);
    weir_seat seats[SEATS];
    int64_t drafts[MOST + 1] = {0};
    for (int i = 0; i < SEATS; i++) {
        seats[i] = seat_of_mix(i, MOST);
        if (i % 4 != 1) seat_choose(&seats[i], MOST, &costs);
    }
    seats[2].limit = 6;
    const bool bonus = seats_need_bonus(seats, SEATS, MOST);
    bucket *a = bucket_new(t.cpu, SEATS, MOST, bonus, SMALL, 80);
    bucket *b = bucket_new(t.device, SEATS, MOST, bonus, SMALL, 80);
    bucket_use_costs(a, &costs);
    bucket_use_costs(b, &costs);
    bucket_sit(a, seats, BLOCKS);
    bucket_sit(b, seats, BLOCKS);
    for (int k = 0; k < (build_is_tsan() ? 2 : BLOCKS) && !a->flags.over; k++) {
        bucket_logits x = logits_new(SEATS, MOST, SMALL, EOS, (uint32_t)k + 7);
        bucket_block(a, &x);
        bucket_block(b, &x);
        logits_free(&x);
        assert_same_block(a, b, "choosing");
        for (int i = 0; i < SEATS; i++)
            if (a->record[i].live && seats[i].chooses) drafts[a->record[i].n_draft]++;
    }
    int lengths = 0;
    for (int j = 0; j <= MOST; j++) lengths += drafts[j] > 0;
    cr_expect(lengths >= 3, "%d lengths", lengths);
    bucket_free(a);
    bucket_free(b);
    close_twins(&t);
}

/* One chunk, and ids that end inside one: teams of one block, lanes without work. */
Test(cuda_loop, small_vocabularies) {
    twins t = open_twins(33);
    run_mix(&t, 3, 2, 2, 4, 33, 40);
    run_mix(&t, 8, 2, 5, 3, 31, 31);
    close_twins(&t);
}

/* One seat of each rule: its rows are few enough for one kernel, with a part of the team for each, of one
 * block or several. Unusable rows end a block where they are. */
Test(cuda_loop, few_rows_take_one_kernel) {
    twins t = open_twins(V);
    static const int gammas[] = {1, 2, 5, 7};
    for (int i = 0; i < 11; i++)
        if (in_sample(i, 5)) run_mix(&t, 1, gammas[i % 4], i, build_is_tsan() ? 1 : 3, V, LD);
    run_mix(&t, 2, 3, 4, 3, V, LD);
    run_mix(&t, 1, 0, 2, 2, V, LD); /* the verifier alone */
    close_twins(&t);
}

/* Logits of a block whose first row's residual has no mass: p is q, but a few ulp lower at the draft. */
static bucket_logits empty_logits(int gamma, int32_t draft) {
    bucket_logits x = logits_new(1, gamma, V, EOS, 3);
    for (int v = 0; v < V; v++) x.q[v] = v == 7 ? 0.0f : -5.0f - 0.001f * (float)(v % 50);
    memcpy(x.p, x.q, V * sizeof *x.p);
    if (draft >= 0) x.p[draft] = nextafterf(x.q[draft], -INFINITY);
    return x;
}

/* A coin of 1 refuses a draft whose residual has no mass. That is found by the race, where R was not asked
 * for, and the block goes on: the same tokens as with R, by either path of a device. */
Test(cuda_loop, a_residual_without_mass_does_not_end_a_block) {
    enum { GAMMA = 3 };
    twins t = open_twins(V);
    weir_block_outcome want;
    int32_t draft = -1;
    for (int k = 0; k < (build_is_tsan() ? 4 : 6); k++) {
        weir_seat seat = seat_of_mix(0, GAMMA);
        seat.n_eos = 0;
        seat.law.block_verify = false;
        seat.law.key[0] = KEY_OF_COIN_ONE;
        seat.law.key[1] = 0;
        seat.law.measure_reject = k == 1 || k >= 4;
        bucket *b = bucket_new(k < 3 ? t.cpu : t.device, 1, GAMMA, false, V, LD);
        b->at_once = k % 2;
        bucket_sit(b, &seat, 1);
        bucket_logits x = empty_logits(GAMMA, draft);
        bucket_block(b, &x);
        logits_free(&x);
        const weir_block_outcome *r = &b->record[0];
        const bool measured = seat.law.measure_reject;
        if (k == 0) draft = r->draft[0]; /* drawn from q alone, so that it stays */
        if (k == 1) want = *r;
        if (k > 0) {
            cr_assert(r->n_accept > 0 && r->n_examined == want.n_examined && r->n_accept == want.n_accept &&
                          r->token == want.token && !memcmp(r->draft, want.draft, sizeof r->draft),
                      "case %d: %d accepted, token %d", k, r->n_accept, r->token);
            for (int j = 0; j < r->n_examined; j++)
                cr_assert(measured ? r->row[j].reject == want.row[j].reject : isnan(r->row[j].reject),
                          "case %d: R %g", k, r->row[j].reject);
        }
        bucket_free(b);
    }
    cr_assert(want.row[0].reject > 0.0f && want.row[0].accepted && want.n_examined > 1);
    close_twins(&t);
}

/* A warp has several chunks, so that it keeps no weights of them. */
Test(cuda_loop, few_rows_of_a_large_vocabulary) {
    enum { LARGE = 9300 };
    twins t = open_twins(LARGE);
    for (int i = 0; i < (build_is_tsan() ? 1 : 4); i++) run_mix(&t, 1, 5, i, 1, LARGE, LARGE + 4);
    close_twins(&t);
}

Test(cuda_loop, the_accept_step_refuses_statistics_of_other_rows) {
    twins t = open_twins(V);
    bucket *b = bucket_new(t.device, 2, 3, true, V, LD);
    const weir_row_stats_args good = {.logits = b->l.p_logits,
                                      .ld = LD,
                                      .n_row = 8,
                                      .n_vocab = V,
                                      .law = b->law,
                                      .law_of = b->law_of,
                                      .out = b->l.p_stats};
    weir_row_stats_args bad[] = {good, good, good, good, good};
    bad[0].n_row = 7, bad[1].logits = b->l.q_logits, bad[2].ld = V, bad[3].out = b->l.q_stats,
    bad[4].law = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weir_loop_close a = {.loop = &b->l, .stats = &bad[i]};
        cr_assert_eq(t.device->op.loop_close(t.device, &a), WEIR_EINVAL, "case %zu", i);
        cr_assert_eq(t.cpu->op.loop_close(t.cpu, &a), WEIR_EINVAL, "case %zu", i);
    }
    bucket_free(b);
    close_twins(&t);
}

/* More seats than the launch has teams: a team closes several, one after another. */
Test(cuda_loop, more_seats_than_teams) {
    twins t = open_twins(70);
    run_mix(&t, build_is_tsan() ? 9 : 40, 1, 3, 3, 70, 80);
    close_twins(&t);
}

Test(cuda_loop, the_host_ends_the_loop_behind_the_current_block) {
    twins t = open_twins(100);
    weir_seat seats[2] = {seat_of_mix(0, 2), seat_of_mix(1, 2)};
    for (int i = 0; i < 2; i++) seats[i].n_eos = 0;
    bucket *b = bucket_new(t.device, 2, 2, seats_need_bonus(seats, 2, 2), 100, 100);
    bucket_sit(b, seats, 100);
    bucket_logits x = logits_new(2, 2, 100, EOS, 1);
    bucket_block(b, &x);
    cr_assert(b->flags.done == 1 && b->flags.running == 2 && b->flags.over == 0);
    bucket_ask_to_stop(b);
    bucket_block(b, &x);
    cr_assert(b->flags.done == 2 && b->flags.running == 2 && b->flags.over == 1);
    logits_free(&x);
    bucket_free(b);
    close_twins(&t);
}

Test(cuda_loop, what_a_bucket_cannot_be_is_refused) {
    twins t = open_twins(V);
    bucket *b = bucket_new(t.device, 2, 3, true, V, LD);
    const weir_loop good = b->l;
    weir_loop bad[] = {good, good, good, good};
    bad[0].n_seat = 0;
    bad[1].note = NULL;
    bad[2].arrived = NULL;
    bad[3].gamma = WEIR_GAMMA_MAX + 1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weir_loop_close a = {.loop = &bad[i]};
        cr_assert(t.device->op.loop_close(t.device, &a) == WEIR_EINVAL, "bucket %zu", i);
    }
    weir_loop_sample s = {.loop = &good, .step = 4};
    cr_assert(t.device->op.loop_sample(t.device, &s) == WEIR_EINVAL);
    weir_loop_rows r = {.loop = &good, .step = 0};
    cr_assert(t.device->op.loop_rows(t.device, &r) == WEIR_EINVAL);
    bucket_free(b);
    close_twins(&t);
}
