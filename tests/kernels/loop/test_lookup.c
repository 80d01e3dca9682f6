/* Prompt lookup on the CPU: the drafts are those of a search written from its definition, their rows of q are
 * what a softmax would make of them, and whole answers have the law of a drafter that is certain. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/accept/accept_fixture.h"
#include "tests/kernels/accept/accept_oracle.h"
#include "tests/kernels/loop/loop_fixture.h"
#include "tests/kernels/op_fixture.h"
#include "tests/support/compare.h"

/* ---- drafts -------------------------------------------------------------------------------------------- */

enum { LD = 700, V = 12, N_SEAT = 4, GAMMA = 5 };

typedef struct bed {
    weir_backend *be;
    bucket *b;
} bed;

static bed bed_open(int n_seat, int gamma, int n_vocab, int shortest, int longest) {
    bed t = {.be = open_backend(1, weir__isa_best())};
    t.b = bucket_new(t.be, n_seat, gamma, false, n_vocab, n_vocab + 3);
    bucket_use_lookup(t.b, n_seat, LD, shortest, longest);
    return t;
}

static void bed_close(bed *t) {
    bucket_free(t->b);
    weir__backend_close(t->be);
}

static weir_seat seat_on(int slot, int past, int32_t last, int gamma) {
    weir_seat s = {.law = weir_law_default(),
                   .slot = slot,
                   .gamma = gamma,
                   .limit = 100,
                   .bonus_from = INT32_MAX,
                   .before = past,
                   .tail = {0, last}};
    s.law.key[0] = 5u + (uint32_t)slot;
    return s;
}

/* A history of n entries: `letters` ids, with stretches of its own past, and a -1 somewhere. */
static void write_history(uint64_t *rng, int n, int letters, bool parted, int32_t *h) {
    for (int i = 0; i < n; i++) {
        h[i] = (int32_t)(rng_u64(rng) % (uint64_t)letters);
        if (i < 20 || rng_u64(rng) % 12) continue;
        const int from = (int)(rng_u64(rng) % (uint64_t)(i - 10)), most = n - i < 14 ? n - i : 14;
        for (int k = 0; k < most; k++) h[i + k] = h[from + k];
        i += most - 1;
    }
    if (parted) h[n / 2] = -1;
}

/* The drafts of a seat against the definition, one text after another, and the row that a bonus may want. */
static void assert_drafts(const bucket *b, const weir_seat *s, int i, const int32_t *before) {
    int32_t h[LD];
    int n = s->before + s->n, found = 0;
    memcpy(h, before, (size_t)n * sizeof *h);
    const int want = s->gamma + (s->bonus_from < INT32_MAX);
    bool ended = false;
    for (; found < want && !ended; found++) {
        const int32_t x = lookup_oracle(h, n, b->l.lookup.shortest, b->l.lookup.longest);
        if (x < 0) break;
        if (found < s->gamma)
            cr_assert_eq(b->l.draft[i * b->l.gamma + found], x, "seat %d, draft %d: %d, want %d", i, found,
                         b->l.draft[i * b->l.gamma + found], x);
        cr_assert_eq(b->l.lookup.hot[found * b->l.n_seat + i], x, "seat %d, row %d", i, found);
        for (int e = 0; e < s->n_eos; e++) ended |= s->eos[e] == x;
        h[n++] = x;
    }
    const int n_draft = found < s->gamma ? found : s->gamma;
    cr_assert_eq(b->l.seat[i].n_draft, n_draft, "seat %d: %d drafts, want %d", i, b->l.seat[i].n_draft,
                 n_draft);
    cr_assert_eq(b->l.seat[i].unmatched, found <= n_draft, "seat %d", i);
}

static void drafts_of(int shortest, int longest, int letters, uint64_t seed, int *n_found) {
    bed t = bed_open(N_SEAT, GAMMA, V, shortest, longest);
    uint64_t rng = seed;
    static int32_t h[N_SEAT][LD];
    for (int turn = 0; turn < 40; turn++) {
        weir_seat seats[N_SEAT];
        for (int i = 0; i < N_SEAT; i++) {
            const int n = turn == 0 ? 1 + i : 1 + (int)(rng_u64(&rng) % 600);
            write_history(&rng, n, letters, turn % 3 == 1 && n > 3, h[i]);
            seats[i] = seat_on(i, n, 0, 1 + i % GAMMA);
            if (i == 1) seats[i].n_eos = 1, seats[i].eos[0] = 2;
            if (i == 2) seats[i].bonus_from = 0, seats[i].gamma = GAMMA;
            if (i == 3 && turn % 4 == 3) seats[i].gamma = 0;
            bucket_put_history(t.b, i, h[i], n);
        }
        bucket_sit(t.b, seats, 1);
        weir_loop_lookup a = {.loop = &t.b->l};
        cr_assert(t.be->op.loop_lookup(t.be, &a) == WEIR_OK);
        for (int i = 0; i < N_SEAT; i++) {
            if (seats[i].gamma > 0) assert_drafts(t.b, &seats[i], i, h[i]);
            cr_assert(seats[i].gamma > 0 || t.b->l.seat[i].n_draft == 0);
            *n_found += t.b->l.seat[i].n_draft;
        }
    }
    bed_close(&t);
}

Test(lookup, drafts_are_those_of_the_definition) {
    static const int of[][3] = {{1, 1, 6}, {1, 8, 3}, {2, 8, 4},  {2, 2, 2},
                                {3, 5, 2}, {5, 5, 3}, {1, 64, 1}, {2, 64, 2}};
    for (size_t k = 0; k < sizeof of / sizeof *of; k++) {
        int found = 0;
        drafts_of(of[k][0], of[k][1], of[k][2], 31 + k, &found);
        cr_assert(found > 20, "%d to %d of %d letters: %d drafts", of[k][0], of[k][1], of[k][2], found);
    }
}

Test(lookup, nothing_is_drafted_across_the_end_of_a_prompt) {
    bed t = bed_open(1, GAMMA, V, 1, 8);
    const int32_t h[] = {7, 8, 9, -1, 7, 8};
    weir_seat s = seat_on(0, 4, 8, GAMMA);
    s.n = 2;
    bucket_put_history(t.b, 0, h, 6);
    bucket_sit(t.b, &s, 1);
    weir_loop_lookup a = {.loop = &t.b->l};
    cr_assert(t.be->op.loop_lookup(t.be, &a) == WEIR_OK);
    cr_assert_eq(t.b->l.seat->n_draft, 1, "9, and then the prompt ends");
    cr_assert_eq(t.b->l.draft[0], 9);
    bed_close(&t);
}

Test(lookup, what_a_bucket_cannot_be_is_refused) {
    bed t = bed_open(1, 2, V, 1, 8);
    const weir_loop good = t.b->l;
    weir_loop bad[] = {good, good, good, good, good};
    bad[0].lookup.history = NULL;
    bad[1].lookup.hot = NULL;
    bad[2].lookup.shortest = 0;
    bad[3].lookup.longest = 0;
    bad[4].gamma = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weir_loop_lookup a = {.loop = &bad[i]};
        cr_expect(t.be->op.loop_lookup(t.be, &a) == WEIR_EINVAL, "bucket %zu", i);
    }
    bed_close(&t);
}

/* ---- rows of q ----------------------------------------------------------------------------------------- */

/* Under every law the row is one token, by the statistics in closed form and by those of the op. */
static void assert_one_hot(bucket *b, const float *row, const weir_row_stats *s, int32_t token) {
    static const struct {
        float temp, top_p, min_p;
        int top_k;
    } of[] = {{1, 1, 0, 0}, {0, 1, 0, 0}, {0.6f, 0.9f, 0, 0}, {1.4f, 1, 0.1f, 0}, {1, 1, 0, 3}};
    for (size_t k = 0; k < sizeof of / sizeof *of; k++) {
        weir_law law = weir_law_default();
        law.temp = of[k].temp, law.top_p = of[k].top_p, law.min_p = of[k].min_p, law.top_k = of[k].top_k;
        const int32_t zero = 0;
        weir_row_stats found;
        weir_row_stats_args a = {
            .logits = row, .ld = V, .n_row = 1, .n_vocab = V, .law = &law, .law_of = &zero, .out = &found};
        cr_assert(b->be->op.row_stats(b->be, &a) == WEIR_OK);
        cr_expect(s->max == found.max && s->argmax == found.argmax && s->sum == found.sum &&
                      s->psum == found.psum && s->dot == found.dot && s->pdot == found.pdot,
                  "law %zu: max %g, argmax %d, sums %g %g %g %g, want %g, %d, %g %g %g %g", k, (double)s->max,
                  s->argmax, (double)s->sum, (double)s->dot, (double)s->psum, (double)s->pdot,
                  (double)found.max, found.argmax, (double)found.sum, (double)found.dot, (double)found.psum,
                  (double)found.pdot);
        for (int32_t v = 0; v < V; v++) {
            const bool kept = row[v] > s->thr || (row[v] == s->thr && v <= s->tie);
            cr_expect(v == token ? row[v] == 0.0f && kept : row[v] == -INFINITY, "law %zu, id %d", k, v);
        }
    }
}

Test(lookup, rows_of_q_are_one_token_whatever_was_there_before) {
    bed t = bed_open(N_SEAT, GAMMA, V, 1, 8);
    static int32_t h[N_SEAT][LD];
    float *q = malloc(sizeof *q * N_SEAT * (GAMMA + 1) * V);
    weir_row_stats stats[N_SEAT * (GAMMA + 1)];
    uint64_t rng = 5;
    for (int turn = 0; turn < 30; turn++) {
        weir_seat seats[N_SEAT];
        t.b->l.n_seat = turn % 3 == 2 ? N_SEAT - 2 : N_SEAT; /* rows of another seat then */
        for (int i = 0; i < N_SEAT; i++) {
            const int n = 1 + (int)(rng_u64(&rng) % 200);
            write_history(&rng, n, V, false, h[i]);
            seats[i] = seat_on(i, n, 0, GAMMA);
            if (i % 2) seats[i].bonus_from = 0;
            bucket_put_history(t.b, i, h[i], n);
        }
        bucket_sit(t.b, seats, 1);
        weir_loop_lookup a = {.loop = &t.b->l};
        cr_assert(t.be->op.loop_lookup(t.be, &a) == WEIR_OK);
        bucket_get_q(t.b, q, stats);
        for (int i = 0; i < t.b->l.n_seat; i++)
            for (int j = 0; j < t.b->l.seat[i].n_draft + !t.b->l.seat[i].unmatched; j++)
                assert_one_hot(t.b, q + (j * t.b->l.n_seat + i) * V, &stats[i * (GAMMA + 1) + j],
                               t.b->l.lookup.hot[j * t.b->l.n_seat + i]);
    }
    free(q);
    bed_close(&t);
}

/* ---- the law ------------------------------------------------------------------------------------------- */

/* Answers of TOKENS of LETTERS ids after a prompt, by a verifier whose row depends on the last token. */
enum { LETTERS = 4, TOKENS = 4, CELLS = 256, PROMPT = 9, SEATS = 8 };
static const int32_t prompt[PROMPT] = {0, 1, 2, 0, 1, 3, 3, 2, 0};

typedef struct law_case {
    weir_rule rule;
    float alpha, temp, top_p;
    int exact_first;
    bool scaled;
} law_case;

static weir_law law_of(const law_case *c, bool block_verify) {
    weir_law law = rule_law(c->rule, c->alpha);
    law.temp = c->temp;
    law.top_p = c->top_p;
    law.exact_first = c->exact_first;
    law.gate_scaled = c->scaled;
    law.block_verify = block_verify;
    return law;
}

/* The law of the token after a text: pi of a drafter that is certain of what is looked up, p without. */
static void law_after(const weir_law *law, const float *table, const int32_t *h, int n, double *out) {
    weir_law here = *law;
    float q[LETTERS];
    const int32_t x = lookup_oracle(h, n, 1, 3);
    if (n - PROMPT < law->exact_first) here = *law, here.rule = WEIR_RULE_EXACT;
    for (int32_t v = 0; v < LETTERS; v++) q[v] = x < 0 || v == x ? 0.0f : -INFINITY;
    oracle *o = oracle_new(&here, q, table + h[n - 1] * LETTERS, LETTERS);
    cr_assert(x < 0 || o->margin >= 1.0, "a decision too close to compare");
    memcpy(out, x < 0 ? o->p : o->pi, LETTERS * sizeof *out);
    oracle_free(o);
}

static void fill_cells(const weir_law *law, const float *table, int32_t *h, int n, int cell, double so_far,
                       double *out) {
    double pi[LETTERS];
    if (n == PROMPT + TOKENS) {
        out[cell] = so_far;
        return;
    }
    law_after(law, table, h, n, pi);
    for (int32_t v = 0; v < LETTERS; v++) {
        h[n] = v;
        fill_cells(law, table, h, n + 1, cell * LETTERS + v, so_far * pi[v], out);
    }
}

/* A round of answers into counts. */
static void write_answers(bed *t, const weir_law *law, const float *table, int gamma, uint32_t round,
                          int64_t *counts, int64_t *accepted) {
    weir_seat seats[SEATS];
    for (int i = 0; i < SEATS; i++) {
        seats[i] = seat_on(i, PROMPT, prompt[PROMPT - 1], gamma);
        seats[i].law = *law;
        seats[i].law.key[0] = 1 + round * SEATS + (uint32_t)i;
        seats[i].law.key[1] = 77;
        seats[i].limit = TOKENS;
        seats[i].bonus_from = weir__seat_bonus_from(law);
        bucket_put_history(t->b, i, prompt, PROMPT);
    }
    bucket_sit(t->b, seats, 100);
    do {
        bucket_lookup_block(t->b, table);
        for (int i = 0; i < SEATS; i++) *accepted += t->b->record[i].live ? t->b->record[i].n_accept : 0;
    } while (!t->b->flags.over);
    for (int i = 0; i < SEATS; i++) {
        int32_t h[PROMPT + TOKENS];
        int cell = 0;
        bucket_get_history(t->b, i, h, PROMPT + TOKENS);
        for (int k = 0; k < TOKENS; k++) cell = cell * LETTERS + h[PROMPT + k];
        counts[cell]++;
    }
}

static void assert_law(const law_case *c, int gamma, bool block_verify) {
    const weir_law law = law_of(c, block_verify);
    const int64_t rounds = draws_for_build(1500);
    const double z_max = 4.5; /* of 60 comparisons one in 5,000 runs */
    float table[LETTERS * LETTERS];
    double want[CELLS];
    int64_t counts[CELLS] = {0}, accepted = 0;
    int32_t h[PROMPT + TOKENS];
    uint64_t rng = 9;
    for (int k = 0; k < LETTERS * LETTERS; k++) table[k] = 1.3f * rng_normal(&rng);
    memcpy(h, prompt, sizeof prompt);
    fill_cells(&law, table, h, PROMPT, 0, 1.0, want);
    bed t = bed_open(SEATS, gamma, LETTERS, 1, 3);
    for (int64_t r = 0; r < rounds; r++)
        write_answers(&t, &law, table, gamma, (uint32_t)r, counts, &accepted);
    bed_close(&t);
    const double z = chi_square_z(counts, want, CELLS, rounds * SEATS);
    cr_expect(z < z_max, "%s, alpha %g, T %g, gamma %d, block verification %d: z = %g",
              weir_rule_facts(c->rule)->name, (double)c->alpha, (double)c->temp, gamma, block_verify, z);
    cr_expect(accepted > rounds, "%s, gamma %d: %lld drafts accepted", weir_rule_facts(c->rule)->name, gamma,
              (long long)accepted);
}

/* Whole answers, bonus tokens and rejections among them, are drawn from the product of pi: at every gamma the
 * same law, with and without block verification. */
static void assert_laws(int gamma) {
    static const law_case cases[] = {
        {WEIR_RULE_EXACT, NAN, 1.0f, 1.0f, 0, false},
        {WEIR_RULE_EXACT, NAN, 0.7f, 0.9f, 0, false},
        {WEIR_RULE_TOKEN_V2, 0.3f, 1.0f, 1.0f, 0, false},
        {WEIR_RULE_TOKEN_V3, 0.55f, 1.0f, 1.0f, 0, false},
        {WEIR_RULE_TOKEN_V3, 0.55f, 1.3f, 0.95f, 0, true},
        {WEIR_RULE_TOKEN_V3, 0.55f, 1.0f, 1.0f, 2, false},
        {WEIR_RULE_LOSSY, 0.3f, 1.0f, 1.0f, 0, false},
        {WEIR_RULE_BILD, 1.2f, 1.0f, 1.0f, 0, false},
        {WEIR_RULE_TOKEN_V3_EXACT_TAIL, 0.5f, 1.0f, 1.0f, 0, false},
        {WEIR_RULE_TYPICAL, 0.3f, 1.0f, 1.0f, 0, false},
        {WEIR_RULE_FUZZY, 0.35f, 1.0f, 1.0f, 0, false},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int bv = 0; bv < 2; bv++) assert_law(&cases[k], gamma, bv);
}

Test(lookup, answers_follow_pi_at_gamma_1) { assert_laws(1); }
Test(lookup, answers_follow_pi_at_gamma_2) { assert_laws(2); }
Test(lookup, answers_follow_pi_at_gamma_5) { assert_laws(5); }

/* Cactus has no pi, since it depends on the drafted token, which here is certain: g at it, p elsewhere. */
Test(lookup, cactus_raises_the_drafted_token) {
    const double delta = 0.2;
    const int64_t rounds = draws_for_build(3000);
    weir_law law = rule_law(WEIR_RULE_CACTUS, (float)delta), plain = rule_law(WEIR_RULE_EXACT, NAN);
    float table[LETTERS * LETTERS], q[LETTERS] = {0};
    int64_t counts[CELLS] = {0}, first[LETTERS] = {0}, accepted = 0;
    double want[LETTERS];
    uint64_t rng = 9;
    for (int k = 0; k < LETTERS * LETTERS; k++) table[k] = 1.3f * rng_normal(&rng);
    oracle *o = oracle_new(&plain, q, table + prompt[PROMPT - 1] * LETTERS, LETTERS);
    const int32_t x = lookup_oracle(prompt, PROMPT, 1, 3);
    const double p = o->p[x], g = fmin(1.0, p + sqrt(2.0 * delta * p * (1.0 - p)));
    for (int v = 0; v < LETTERS; v++) want[v] = v == x ? g : o->p[v] * (1.0 - g) / (1.0 - p);
    bed t = bed_open(SEATS, 2, LETTERS, 1, 3);
    for (int64_t r = 0; r < rounds; r++) write_answers(&t, &law, table, 2, (uint32_t)r, counts, &accepted);
    for (int c = 0; c < CELLS; c++) first[c / (CELLS / LETTERS)] += counts[c];
    const double z = chi_square_z(first, want, LETTERS, rounds * SEATS);
    cr_expect(z < 4.5, "z = %g", z);
    oracle_free(o);
    bed_close(&t);
}

/* ---- blocks -------------------------------------------------------------------------------------------- */

/* At temperature 0 exact decoding is the verifier's chain, whatever is drafted; the history is prompt and
 * answer, and blocks without a draft have one token. */
Test(lookup, at_temperature_0_the_verifier_s_own_tokens) {
    enum { LONG = 60 };
    float table[V * V];
    uint64_t rng = 3;
    for (int k = 0; k < V * V; k++) table[k] = rng_normal(&rng);
    for (int gamma = 1; gamma <= GAMMA; gamma++) {
        bed t = bed_open(N_SEAT, gamma, V, 2, 4);
        weir_seat seats[N_SEAT];
        int64_t blocks = 0, empty = 0;
        for (int i = 0; i < N_SEAT; i++) {
            const int32_t h[1] = {i};
            seats[i] = seat_on(i, 1, i, gamma);
            seats[i].law.temp = 0.0f;
            seats[i].limit = LONG;
            bucket_put_history(t.b, i, h, 1);
        }
        bucket_sit(t.b, seats, 1000);
        do {
            bucket_lookup_block(t.b, table);
            for (int i = 0; i < N_SEAT; i++) {
                const weir_block_outcome *r = &t.b->record[i];
                blocks += r->live;
                empty += r->live && r->n_draft == 0;
                cr_assert(!r->live || r->n_draft > 0 || (r->closing && r->kind == WEIR_EMIT_P));
            }
        } while (!t.b->flags.over);
        for (int i = 0; i < N_SEAT; i++) {
            int32_t h[1 + LONG];
            bucket_get_history(t.b, i, h, 1 + LONG);
            for (int k = 0; k < LONG; k++) {
                int best = 0;
                for (int v = 1; v < V; v++)
                    if (table[h[k] * V + v] > table[h[k] * V + best]) best = v;
                cr_assert_eq(h[k + 1], best, "gamma %d, seat %d, token %d", gamma, i, k);
            }
        }
        cr_assert(empty > 0 && blocks < N_SEAT * LONG, "a chain on %d ids repeats", V);
        bed_close(&t);
    }
}
