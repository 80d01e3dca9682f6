/* The loop's ops on the CPU, against a model that knows one seat: a timeline, and the accept path's ops one
 * row at a time. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/accept/accept_fixture.h"
#include "tests/kernels/loop/loop_fixture.h"
#include "tests/kernels/op_fixture.h"

enum { V = 300, LD = 320, EOS = 5 };

/* ---- the model ----------------------------------------------------------------------------------------- */

typedef struct model_seat {
    weir_seat start;
    int32_t timeline[4096]; /* inputs; position of the next row is n */
    int32_t n;
    int end;
} model_seat;

typedef struct model_block {
    int n_draft, n_accept;
    int32_t draft[WEIR_GAMMA_MAX];
    bool closing, broken;
    int32_t token;
    int kind;
    float log_p, log_pi;
} model_block;

static bool is_eos(int32_t token) { return token == 2 || token == EOS; }

static void model_append(model_seat *m, int32_t token) {
    if (m->end != WEIR_SEAT_RUNNING) return;
    if (is_eos(token)) {
        m->end = WEIR_SEAT_STOP;
        return;
    }
    m->timeline[++m->n] = token;
    if (m->n == m->start.limit) m->end = WEIR_SEAT_LENGTH;
}

/* Rows of seat i out of the bucket's logits. */
static block *gather_rows(const bucket *b, const bucket_logits *x, int i, const model_seat *m) {
    block *k = block_new(b->l.gamma, V, V);
    for (int j = 0; j <= b->l.gamma; j++) {
        memcpy(k->q + j * V, x->q + (j * b->l.n_seat + i) * V, V * sizeof(float));
        memcpy(k->p + j * V, x->p + (i * (b->l.gamma + 1) + j) * V, V * sizeof(float));
    }
    k->law = m->start.law;
    k->position = m->n;
    return k;
}

static bool bonus_is_pi(const weir_law *law, int position) {
    return law->bonus_pi && law->rule != WEIR_RULE_EXACT && law->rule != WEIR_RULE_CACTUS &&
           position >= law->exact_first;
}

static void model_run(const bucket *b, const bucket_logits *x, int i, model_seat *m, model_block *out) {
    memset(out, 0, sizeof *out);
    block *k = gather_rows(b, x, i, m);
    block_stats(k);
    while (out->n_draft < m->start.gamma) {
        int32_t token = block_draw(k, out->n_draft);
        if (token < 0) token = k->draft[out->n_draft] = 0;
        out->draft[out->n_draft++] = token;
        if (is_eos(token)) break;
    }
    k->n_draft = out->n_draft;
    block_accept(k);
    out->n_accept = k->session.n_accept;
    out->broken = k->session.status != WEIR_OK;
    const bool full = out->n_accept == out->n_draft;
    if (!out->broken && !(full && out->n_draft > 0 && is_eos(out->draft[out->n_draft - 1]))) {
        out->closing = true;
        out->token = block_emit(k, out->n_draft > 0 && bonus_is_pi(&k->law, k->position + out->n_draft));
        out->kind = k->emit.kind;
        out->log_p = k->emit.log_p;
        out->log_pi = k->emit.log_pi;
        out->broken = k->emit.status != WEIR_OK;
    }
    if (out->broken) m->end = WEIR_SEAT_BROKEN;
    for (int j = 0; j < out->n_accept && !out->broken; j++) model_append(m, out->draft[j]);
    if (out->closing && !out->broken) model_append(m, out->token);
    block_free(k);
}

/* ---- comparing ----------------------------------------------------------------------------------------- */

static void assert_record(const weir_block_outcome *r, const model_block *w, int position, int end,
                          const char *what) {
    cr_assert(r->live == 1 && r->position == position && r->seat_end == end, "%s: position %d, end %d", what,
              r->position, r->seat_end);
    cr_assert((r->status != WEIR_OK) == w->broken, "%s: status %d", what, r->status);
    if (w->broken) return;
    cr_assert(r->n_draft == w->n_draft && r->n_accept == w->n_accept, "%s: %d of %d accepted, want %d of %d",
              what, r->n_accept, r->n_draft, w->n_accept, w->n_draft);
    cr_assert(memcmp(r->draft, w->draft, (size_t)w->n_draft * 4) == 0, "%s: other drafts", what);
    cr_assert(r->closing == w->closing, "%s: closing %d", what, r->closing);
    if (!w->closing) return;
    cr_assert(r->token == w->token && r->kind == w->kind, "%s: closes with %d of kind %d, want %d of %d",
              what, r->token, r->kind, w->token, w->kind);
    cr_assert(memcmp(&r->log_p, &w->log_p, 4) == 0 && memcmp(&r->log_pi, &w->log_pi, 4) == 0,
              "%s: other logs", what);
}

static void assert_row(const bucket_rows *r, int at, bool live, const model_seat *m, int input, int32_t token,
                       const char *what) {
    const int pos = m->start.base + input;
    cr_assert(r->slot[at] == (live ? m->start.slot : -1), "%s: row %d in slot %d", what, at, r->slot[at]);
    cr_assert(r->token[at] == (live ? token : 0) && r->pos[at] == (live ? pos : 0),
              "%s: row %d is token %d at %d, want %d "
              "at %d",
              what, at, r->token[at], r->pos[at], token, pos);
}

/* Rows of seat i in every call of the block, m: before the block. */
static void assert_rows(const bucket *b, int i, const model_seat *m, const model_block *w, const char *what) {
    const bool live = m->end == WEIR_SEAT_RUNNING;
    const int steps = b->l.gamma + b->l.bonus, n = m->n;
    const bool cut = w->n_draft > 0 && is_eos(w->draft[w->n_draft - 1]);
    for (int j = 0; j < steps; j++) {
        const bool behind = j > 0 && j == w->n_draft && !cut && bonus_is_pi(&m->start.law, n + j);
        const bool wanted = live && (j < w->n_draft || behind);
        const bucket_rows *r = &b->rows[j];
        if (j == 0) assert_row(r, 2 * i, wanted && n > 0, m, n - 1, n > 0 ? m->timeline[n - 1] : 0, what);
        assert_row(r, j == 0 ? 2 * i + 1 : i, wanted, m, n + j, j == 0 ? m->timeline[n] : w->draft[j - 1],
                   what);
        cr_assert(r->law_of[i] == (wanted ? i : -1), "%s: step %d: law of seat %d", what, j, i);
    }
    const bucket_rows *v = &b->rows[steps];
    for (int j = 0; j <= b->l.gamma; j++) {
        const int at = i * (b->l.gamma + 1) + j;
        const bool wanted = live && j <= w->n_draft;
        assert_row(v, at, wanted, m, n + j, j == 0 ? m->timeline[n] : w->draft[j > 0 ? j - 1 : 0], what);
        cr_assert(v->law_of[at] == (wanted ? i : -1), "%s: verifier row %d: law of seat %d", what, j, i);
    }
}

static void assert_seat(const weir_seat *s, const model_seat *m, const char *what) {
    cr_assert(s->end == m->end && s->n == m->n, "%s: n %d, end %d, want %d, %d", what, s->n, s->end, m->n,
              m->end);
    if (m->end != WEIR_SEAT_RUNNING) return;
    cr_assert(s->tail[1] == m->timeline[m->n], "%s: tail ends with %d, want %d", what, s->tail[1],
              m->timeline[m->n]);
    cr_assert(m->n == 0 || s->tail[0] == m->timeline[m->n - 1], "%s: tail begins with %d", what, s->tail[0]);
}

/* ---- the run ------------------------------------------------------------------------------------------- */

static model_seat model[BUCKET_SEATS];

static void sit_all(bucket *b, const weir_seat *seats, int blocks) {
    for (int i = 0; i < b->l.n_seat; i++) {
        model[i].start = seats[i];
        model[i].n = 0;
        model[i].timeline[0] = seats[i].tail[1];
        model[i].end = seats[i].end;
    }
    bucket_sit(b, seats, blocks);
}

/* One block of the bucket and of the model; returns how many seats still run. */
static int both(bucket *b, const bucket_logits *x, const char *what) {
    static model_seat before;
    int running = 0;
    bucket_block(b, x);
    for (int i = 0; i < b->l.n_seat; i++) {
        model_block w = {.n_draft = 0};
        before = model[i];
        if (before.end == WEIR_SEAT_RUNNING) {
            model_run(b, x, i, &model[i], &w);
            assert_record(&b->record[i], &w, before.n, model[i].end, what);
        } else {
            cr_assert(b->record[i].live == 0 && b->record[i].seat_end == before.end,
                      "%s: seat %d is not live", what, i);
        }
        assert_rows(b, i, &before, &w, what);
        assert_seat(&b->seat[i], &model[i], what);
        running += model[i].end == WEIR_SEAT_RUNNING;
    }
    cr_assert(b->flags.running == running, "%s: %d run, want %d", what, b->flags.running, running);
    return running;
}

static void mixed_run(int n_seat, int gamma, int first, int n_block) {
    weir_backend *be = open_backend(1, weir__isa_best());
    weir_seat seats[BUCKET_SEATS];
    for (int i = 0; i < n_seat; i++) seats[i] = seat_of_mix(first + i, gamma);
    for (int i = 0; gamma == 0 && i < n_seat; i++) seats[i].bonus_from = INT32_MAX;
    if (n_seat > 3) seats[3] = (weir_seat){.slot = -1, .end = WEIR_SEAT_EMPTY};
    if (n_seat > 1) seats[1].limit = 9;
    bucket *b = bucket_new(be, n_seat, gamma, seats_need_bonus(seats, n_seat, gamma), V, LD);
    sit_all(b, seats, n_block);
    for (int k = 0; k < n_block; k++) {
        char what[96];
        snprintf(what, sizeof what, "%d seats from %d, gamma %d, block %d", n_seat, first, gamma, k);
        bucket_logits x = logits_new(n_seat, gamma, V, EOS, (uint32_t)(1000 * first + 100 * gamma + k));
        const int running = both(b, &x, what);
        logits_free(&x);
        cr_assert(b->flags.done == k + 1 && b->flags.over == (running == 0 || k + 1 == n_block),
                  "%s: done %d, over %d", what, b->flags.done, b->flags.over);
        if (running == 0) break;
    }
    bucket_free(b);
    weir__backend_close(be);
}

Test(loop_ops, blocks_of_every_mix_are_those_of_single_seats) {
    for (int gamma = 0; gamma <= WEIR_GAMMA_MAX; gamma += gamma < 6 ? 1 : 5)
        for (int first = 0; first < 22; first += 4) mixed_run(5, gamma, first, 12);
}

Test(loop_ops, one_seat_for_many_blocks) {
    for (int first = 0; first < 22; first++) mixed_run(1, 4, first, 40);
}

/* The first seat's verifier row 1 in block 1 is NaN, later the second seat's drafter row 0. */
Test(loop_ops, a_row_that_is_not_finite_ends_its_seat_only) {
    weir_backend *be = open_backend(1, weir__isa_best());
    weir_seat seats[3];
    for (int i = 0; i < 3; i++)
        seats[i] = seat_of_mix(i, 4), seats[i].n_eos = 0, seats[i].law.rule = WEIR_RULE_EXACT;
    for (int i = 0; i < 3; i++)
        seats[i].gamma = 4, seats[i].law.temp = 1.0f, seats[i].law.block_verify = true;
    bucket *b = bucket_new(be, 3, 4, false, V, LD);
    bucket_sit(b, seats, 10);
    for (int k = 0; k < 4; k++) {
        bucket_logits x = logits_new(3, 4, V, 2, (uint32_t)k);
        if (k == 1) x.p[1 * V + 7] = NAN;
        if (k == 2) x.q[1 * V + 9] = INFINITY;
        bucket_block(b, &x);
        logits_free(&x);
        for (int r = 0; r < b->rows[1].n_row; r++)
            cr_assert(b->rows[1].token[r] >= 0, "no model knows token -1");
        for (int i = 0; i < 3; i++) {
            const bool broken = i < 2 && k >= i + 1, now = i < 2 && k == i + 1;
            cr_assert(b->seat[i].end == (broken ? WEIR_SEAT_BROKEN : WEIR_SEAT_RUNNING), "block %d, seat %d",
                      k, i);
            cr_assert(b->record[i].live == (!broken || now) && (!now || b->record[i].status == WEIR_EINVAL));
            cr_assert(!now || b->seat[i].n == b->record[i].position, "nothing of a broken block is appended");
        }
    }
    bucket_free(b);
    weir__backend_close(be);
}

Test(loop_ops, the_host_ends_the_loop_behind_the_current_block) {
    weir_backend *be = open_backend(1, weir__isa_best());
    weir_seat seat = seat_of_mix(0, 2);
    seat.n_eos = 0;
    bucket *b = bucket_new(be, 1, 2, false, V, LD);
    bucket_sit(b, &seat, 100);
    bucket_logits x = logits_new(1, 2, V, 2, 1);
    bucket_block(b, &x);
    cr_assert(b->flags.done == 1 && b->flags.running == 1 && b->flags.over == 0);
    bucket_ask_to_stop(b);
    bucket_block(b, &x);
    cr_assert(b->flags.done == 2 && b->flags.running == 1 && b->flags.over == 1);
    logits_free(&x);
    bucket_free(b);
    weir__backend_close(be);
}

/* ---- rows that are left out ---------------------------------------------------------------------------- */

/* Calls `step` of a bucket that leaves out rows: those rows of seats who[] at positions pos[] and no others
 * (who -1: a dead row), `out` of them wanted, each for its seat's law. */
typedef struct few_rows {
    int32_t step, n_row, who[16], pos[16], n_out, out[16], law_of[16];
} few_rows;

static void assert_few_rows(bucket *b, int32_t *out, const few_rows *want) {
    weir_loop_rows a = {.loop = &b->l,
                        .step = want->step,
                        .token = b->token,
                        .pos = b->pos,
                        .slot = b->slot,
                        .law_of = b->law_of,
                        .law = b->law,
                        .out = out};
    cr_assert(b->be->op.loop_rows(b->be, &a) == WEIR_OK);
    cr_assert(a.n_row == want->n_row && a.n_out == want->n_out, "step %d: %d rows, %d wanted", want->step,
              a.n_row, a.n_out);
    for (int k = 0; k < a.n_row; k++) {
        const int slot = want->who[k] < 0 ? -1 : b->l.seat[want->who[k]].slot;
        const int pos = want->who[k] < 0 ? 0 : b->l.seat[want->who[k]].base + want->pos[k];
        cr_assert(b->slot[k] == slot && b->pos[k] == pos, "step %d: row %d is slot %d at %d", want->step, k,
                  b->slot[k], b->pos[k]);
    }
    for (int k = 0; k < a.n_out; k++)
        cr_assert(out[k] == want->out[k] && b->law_of[k] == want->law_of[k], "step %d: output %d", want->step,
                  k);
}

/* Four seats by falling gamma. The second one has no token yet and its first draft ends the text; the others
 * lack a row. */
Test(loop_ops, rows_that_nobody_needs_are_left_out) {
    static const few_rows calls[] = {
        {0, 7, {0, 0, 1, 2, 2, 3, 3}, {4, 5, 0, 6, 7, 8, 9}, 4, {1, 2, 4, 6}, {0, 1, 2, 3}},
        {1, 3, {0, -1, 2}, {6, 0, 8}, 3, {0, 1, 2}, {0, -1, 2}},
        {2, 1, {0}, {7}, 1, {0}, {0}},
        {WEIR_LOOP_VERIFY,
         11,
         {0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3},
         {5, 6, 7, 8, 0, 1, 7, 8, 9, 9, 10},
         11,
         {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
         {0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3}},
    };
    static const int32_t n[4] = {5, 0, 7, 9}, gamma[4] = {3, 3, 2, 1}, begin[4] = {0, 4, 6, 9};
    int32_t first[4], out[16];
    weir_backend *be = open_backend(1, weir__isa_best());
    weir_seat seats[4];
    for (int i = 0; i < 4; i++) {
        seats[i] = seat_of_mix(i, 3);
        seats[i].n = n[i];
        seats[i].gamma = gamma[i];
        seats[i].limit = 100;
        seats[i].lacks = n[i] > 0;
    }
    bucket *b = bucket_new(be, 4, 3, false, V, LD);
    bucket_sit(b, seats, 1);
    b->l.first = first;
    for (int k = 0; k < 4; k++) {
        assert_few_rows(b, out, &calls[k]);
        for (int i = 0; i < 4 && k < 3; i++) b->l.draft[3 * i + k] = i == 1 ? EOS : 20 + i;
    }
    for (int i = 0; i < 4; i++) cr_assert(first[i] == begin[i], "seat %d begins at row %d", i, first[i]);
    bucket_free(b);
    weir__backend_close(be);
}

Test(loop_ops, what_a_bucket_cannot_be_is_refused) {
    weir_backend *be = open_backend(1, weir__isa_best());
    bucket *b = bucket_new(be, 2, 3, true, V, LD);
    const weir_loop good = b->l;
    weir_loop bad[] = {good, good, good, good, good, good, good};
    bad[0].n_seat = 0;
    bad[1].gamma = WEIR_GAMMA_MAX + 1;
    bad[2].gamma = 0; /* with the extra step */
    bad[3].ld_q = V - 1;
    bad[4].ring = NULL;
    bad[5].p_stats = NULL;
    bad[6].depth = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weir_loop_close a = {.loop = &bad[i]};
        cr_assert(be->op.loop_close(be, &a) == WEIR_EINVAL, "bucket %zu", i);
    }
    for (int step = -2; step <= 5; step++) {
        weir_loop_sample s = {.loop = &good, .step = step};
        weir_loop_rows r = {.loop = &good,
                            .step = step,
                            .token = b->token,
                            .pos = b->pos,
                            .slot = b->slot,
                            .law_of = b->law_of};
        if (step < 0 || step > 3) cr_assert(be->op.loop_sample(be, &s) == WEIR_EINVAL, "step %d", step);
        cr_assert(be->op.loop_rows(be, &r) == WEIR_EINVAL, "no place for the laws");
        r.law = b->law;
        if (step < -1 || step > 3) cr_assert(be->op.loop_rows(be, &r) == WEIR_EINVAL, "step %d", step);
    }
    bucket_free(b);
    weir__backend_close(be);
}
