/* How many tokens a block drafts (kernels/loop/gamma.h), and what a seat makes of it. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "kernels/loop/seat.h"
#include "tests/kernels/loop/loop_fixture.h"
#include "tests/kernels/op_fixture.h"

static weir_gamma_costs costs(float draft, float row) {
    weir_gamma_costs c = {.draft = draft};
    for (int j = 0; j <= WEIR_GAMMA_MAX; j++) c.verify[j] = 1.0f + (float)j * row;
    return c;
}

static const weir_gamma_plan free_plan = {.most = 8}, pi_plan = {.most = 8, .bonus = true};

/* ---- the policy ---------------------------------------------------------------------------------------- */

/* 1 + a + … + a^j over what j drafts cost, by the definition. */
static double rate_at(const weir_gamma_costs *c, const weir_gamma_plan *g, double a, int j) {
    double tokens = 0.0;
    for (int i = 0; i <= j; i++) tokens += pow(a, i);
    const double bonus = g->bonus && j > 0 ? pow(a, j) : 0.0;
    return tokens / ((j + bonus) * (double)c->draft + (double)c->verify[j]);
}

Test(gamma, the_rate_is_that_of_the_best_number_of_drafts) {
    for (int i = 0; i < 200; i++) {
        const weir_gamma_costs c = costs((float)(i % 7) / 16.0f, (float)(i % 5) / 8.0f);
        const weir_gamma_plan *g = i % 2 ? &pi_plan : &free_plan;
        const double a = 0.05 + 0.0045 * i;
        double best = 0.0;
        for (int j = g->bonus; j <= g->most; j++) best = fmax(best, rate_at(&c, g, a, j));
        const double got = (double)weir__gamma_rate(&c, g, (float)a);
        cr_expect(fabs(got - best) < 1e-5 * best, "case %d: %g, want %g", i, got, best);
        const bool pays = weir__gamma_pays(&c, &free_plan, (float)a);
        double with = 0.0;
        for (int j = 1; j <= 8; j++) with = fmax(with, rate_at(&c, &free_plan, a, j));
        if (fabs(with - 1.0) > 1e-5) cr_expect(pays == (with > 1.0), "case %d: %g", i, with);
    }
}

/* Where every draft is as likely as any other, blocks end at the number with the best rate. */
Test(gamma, drafts_end_where_the_rate_is_best) {
    for (int i = 0; i < 100; i++) {
        const weir_gamma_costs c = costs((float)(1 + i % 7) / 16.0f, (float)(i % 5) / 16.0f);
        const float a = 0.3f + 0.0065f * (float)i;
        const float rate = weir__gamma_rate(&c, &free_plan, a);
        float hope = 1.0f;
        int j = 0;
        for (; j < 8 && weir__gamma_extends(&c, &free_plan, j, hope, a, a, rate); j++) hope *= a;
        cr_expect(rate_at(&c, &free_plan, (double)a, j) > 0.9999 * (double)rate, "case %d: %d drafts", i, j);
    }
}

/* One row costs nothing only after two that cost: the next one does not pay, the three together do. */
Test(gamma, a_step_in_the_costs_is_looked_over) {
    weir_gamma_costs c = costs(0.05f, 0.0f);
    for (int j = 1; j <= WEIR_GAMMA_MAX; j++) c.verify[j] = 1.9f;
    const weir_gamma_plan one = {.most = 1}, all = {.most = 8};
    const float rate = weir__gamma_rate(&c, &all, 0.8f);
    cr_expect(!weir__gamma_extends(&c, &one, 0, 1.0f, 0.8f, 0.8f, rate));
    cr_expect(weir__gamma_extends(&c, &all, 0, 1.0f, 0.8f, 0.8f, rate));
}

Test(gamma, a_pair_that_cannot_pay_settles_at_once) {
    weir_gamma_past h;
    const weir_gamma_costs never = costs(1.0f, 0.25f), ever = costs(0.5f, 0.25f);
    weir__gamma_begin(&never, &free_plan, &h);
    cr_expect(h.settled == 1);
    weir__gamma_begin(&ever, &free_plan, &h);
    cr_expect(h.settled == 0, "eight drafts that are all accepted cost 7 for 9 tokens");
    weir__gamma_begin(&never, &pi_plan, &h);
    cr_expect(h.settled == 0, "without drafts the law would be another");
}

/* Settling takes evidence: more, the nearer drafting is to paying. */
Test(gamma, settling_takes_evidence) {
    int before = 0;
    for (int k = 0; k < 5; k++) {
        const weir_gamma_costs c = costs(0.5f - 0.1f * (float)k, 0.125f);
        weir_gamma_past h;
        int n = 0;
        weir__gamma_begin(&c, &free_plan, &h);
        for (; n < 100 && !h.settled; n++) {
            weir__gamma_learn(&h, 0.5f, false);
            weir__gamma_settle(&c, &free_plan, &h);
        }
        cr_expect(n >= 1 && n < 40 && n >= before, "draft step %g: %d refusals", (double)c.draft, n);
        before = n;
    }
    cr_expect(before > 6);
}

Test(gamma, old_drafts_are_forgotten) {
    weir_gamma_past h;
    const weir_gamma_costs c = costs(0.0f, 0.0f);
    weir__gamma_begin(&c, &free_plan, &h);
    for (int i = 0; i < 1000; i++) weir__gamma_learn(&h, 0.99f, false);
    cr_expect(weir__gamma_mean(&h, 0.0f) < 0.1f && h.seen < 64.1f);
    for (int i = 0; i < 300; i++) weir__gamma_learn(&h, 0.99f, true);
    cr_expect(weir__gamma_mean(&h, 0.0f) > 0.9f && weir__gamma_mean_at(&h, 7, 0.9f) > 0.9f);
}

Test(gamma, every_confidence_has_a_bucket) {
    int before = 0;
    for (int i = 0; i <= 1000; i++) {
        const int b = weir__gamma_bucket((float)i / 1000.0f);
        cr_assert(b >= before && b <= before + 1 && b < WEIR_GAMMA_BUCKETS);
        before = b;
    }
    cr_expect(before == WEIR_GAMMA_BUCKETS - 1 && weir__gamma_bucket(NAN) == 0);
}

/* ---- seats --------------------------------------------------------------------------------------------- */

enum { V = 50, SEATS = 16, MOST = 5 };

static weir_seat chooser(int i, const weir_gamma_costs *c) {
    weir_seat s = seat_of_mix(3 * i, MOST);
    s.gamma = MOST;
    s.chooses = 1;
    s.n_eos = 0;
    s.bonus_from = weir__seat_bonus_from(&s.law);
    const weir_gamma_plan plan = weir__seat_gamma_plan(&s);
    weir__gamma_begin(c, &plan, &s.past);
    return s;
}

/* Logits whose rows after row `from` of every seat are another world's. */
static void replace_after(bucket_logits *x, const bucket_logits *y, int i, int from) {
    for (int j = from + 1; j <= MOST; j++) {
        const size_t q = (size_t)(j * SEATS + i) * V, p = (size_t)(i * (MOST + 1) + j) * V;
        memcpy(x->q + q, y->q + q, V * sizeof(float));
        memcpy(x->p + p, y->p + p, V * sizeof(float));
    }
}

/* What a seat learns from a block is the same whatever came after the refused row, so that no later draw,
 * which uses their random numbers again, depends on them. */
Test(gamma, what_is_discarded_leaves_no_trace) {
    const weir_gamma_costs c = costs(0.03125f, 0.03125f);
    int refused = 0, other = 0;
    weir_backend *be = open_backend(1, weir__isa_best());
    for (uint32_t seed = 0; seed < 20; seed++) {
        weir_seat seats[SEATS];
        weir_block_outcome was[SEATS];
        for (int i = 0; i < SEATS; i++) seats[i] = chooser(i, &c), seats[i].law.block_verify = false;
        bucket *b = bucket_new(be, SEATS, MOST, seats_need_bonus(seats, SEATS, MOST), V, V);
        b->l.cost = &c;
        bucket_logits x = logits_new(SEATS, MOST, V, 2, seed), y = logits_new(SEATS, MOST, V, 2, seed + 100);
        bucket_sit(b, seats, 10);
        bucket_block(b, &x);
        memcpy(was, b->record, sizeof was);
        for (int i = 0; i < SEATS; i++)
            if (was[i].n_accept < was[i].n_draft) replace_after(&x, &y, i, was[i].n_accept);
        bucket_sit(b, seats, 10);
        bucket_block(b, &x);
        for (int i = 0; i < SEATS; i++) {
            if (was[i].n_accept == was[i].n_draft) continue;
            const weir_block_outcome *r = &b->record[i];
            refused++;
            other += r->n_draft != was[i].n_draft;
            cr_assert(r->n_accept == was[i].n_accept && r->token == was[i].token);
            cr_assert(memcmp(&r->past, &was[i].past, sizeof r->past) == 0, "seed %u, seat %d", seed, i);
        }
        logits_free(&x);
        logits_free(&y);
        bucket_free(b);
    }
    weir__backend_close(be);
    cr_expect(refused > 100 && other > 10, "%d refused, %d of another length", refused, other);
}

/* A rule that sees q only drafts until a row defers, or the block is full. */
Test(gamma, a_rule_of_q_drafts_to_the_first_row_that_defers) {
    const weir_gamma_costs c = costs(0.25f, 0.25f);
    int64_t ends[MOST + 1] = {0};
    weir_backend *be = open_backend(1, weir__isa_best());
    for (uint32_t seed = 0; seed < 20; seed++) {
        weir_seat seats[SEATS];
        for (int i = 0; i < SEATS; i++) {
            seats[i] = chooser(i, &c);
            seats[i].law = weir_law_default();
            seats[i].law.rule = i % 2 ? WEIR_RULE_CHOW : WEIR_RULE_CHOW_LOG;
            seats[i].law.alpha = i % 2 ? 0.6f : 1.8f;
            seats[i].law.gate_scaled = i % 3 == 0;
            seats[i].law.temp = 0.8f;
            seats[i].law.key[0] = seed * 100 + (uint32_t)i;
            seats[i].law.exact_first = 0;
            seats[i].bonus_from = 0;
        }
        bucket *b = bucket_new(be, SEATS, MOST, true, V, V);
        b->l.cost = &c;
        bucket_logits x = logits_new(SEATS, MOST, V, 2, seed);
        bucket_sit(b, seats, 10);
        bucket_block(b, &x);
        for (int i = 0; i < SEATS; i++) {
            const weir_block_outcome *r = &b->record[i];
            cr_assert(r->status == WEIR_OK && r->n_draft >= 1);
            for (int j = 0; j < r->n_examined; j++)
                cr_assert(r->row[j].deferred == (j == r->n_draft - 1 && r->row[j].deferred),
                          "seed %u, seat %d: row %d of %d defers", seed, i, j, r->n_draft);
            if (r->n_draft < MOST)
                cr_assert(r->n_examined == r->n_draft && r->row[r->n_draft - 1].deferred,
                          "seed %u, seat %d: %d drafts, none deferred", seed, i, r->n_draft);
            ends[r->n_draft]++;
        }
        logits_free(&x);
        bucket_free(b);
    }
    weir__backend_close(be);
    cr_expect(ends[1] > 10 && ends[2] > 10 && ends[MOST] > 10);
}

/* Drafts that could not be emitted are not made; the last token of a rule whose law needs q is drafted all
 * the same. */
Test(gamma, nothing_is_drafted_past_the_limit) {
    const weir_gamma_costs c = costs(0.0f, 0.0f);
    for (int room = 1; room <= MOST + 3; room++)
        for (int least = 0; least < 2; least++) {
            weir_seat s = chooser(0, &c);
            s.bonus_from = least ? 0 : INT32_MAX;
            s.n = 7, s.limit = 7 + room;
            const int want = room - 1 < MOST ? room - 1 : MOST;
            cr_expect(weir__seat_most(&s) == (want < least ? least : want), "room %d, least %d", room, least);
        }
}
