/* Prompt lookup on a device: for equal logits the drafts, rows of q, outcomes, seats and histories of the
 * CPU's, bit for bit. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/accept/stats.h"
#include "tests/kernels/loop/loop_fixture.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { EOS = 5, LD = 2100 };

typedef struct mix {
    int n_seat, gamma, first, n_block, n_vocab, length, shortest, longest;
} mix;

static bucket *bucket_for(weir_backend *be, const mix *m) {
    bucket *b = bucket_new(be, m->n_seat, m->gamma, false, m->n_vocab, m->n_vocab + 2);
    bucket_use_lookup(b, 3 * (m->first + m->n_seat) + 2, LD, m->shortest, m->longest);
    return b;
}

/* Few letters, so that suffixes of all lengths are found; seats of every rule, one empty, one near its
 * limit. */
static void sit(const mix *m, bucket *const b[2]) {
    static int32_t h[LD];
    weir_seat seats[BUCKET_SEATS];
    uint64_t rng = 17 + (uint64_t)m->first;
    for (int i = 0; i < m->n_seat; i++) {
        const int n = i == 0 && m->n_seat > 1 ? 1 : m->length - 7 * i > 0 ? m->length - 7 * i : 2;
        seats[i] = seat_of_mix(m->first + i, m->gamma);
        for (int k = 0; k < n; k++) h[k] = 3 * (int32_t)(rng_u64(&rng) % (uint64_t)(2 + i % 4));
        if (i % 3 == 1) h[n / 2] = -1;
        seats[i].before = n;
        seats[i].tail[1] = h[n - 1] < 0 ? 0 : h[n - 1];
        for (int k = 0; k < 2; k++) bucket_put_history(b[k], seats[i].slot, h, n);
    }
    if (m->n_seat > 3) seats[3] = (weir_seat){.slot = -1, .end = WEIR_SEAT_EMPTY};
    if (m->n_seat > 1) seats[1].limit = 9;
    for (int k = 0; k < 2; k++) bucket_sit(b[k], seats, m->n_block);
}

static void assert_same_record(const weir_block_outcome *x, const weir_block_outcome *y, const char *what) {
    cr_assert(x->live == y->live && x->seat_end == y->seat_end, "%s: live %d, end %d, then %d, %d", what,
              x->live, x->seat_end, y->live, y->seat_end);
    if (!x->live) return;
    cr_assert(x->position == y->position && x->status == y->status && x->n_draft == y->n_draft &&
                  x->n_accept == y->n_accept && x->n_examined == y->n_examined,
              "%s: %d of %d accepted, then %d of %d", what, x->n_accept, x->n_draft, y->n_accept, y->n_draft);
    cr_assert(memcmp(x->draft, y->draft, sizeof x->draft) == 0, "%s: other drafts", what);
    cr_assert(x->closing == y->closing && (!x->closing || (x->kind == y->kind && x->token == y->token)),
              "%s: token %d of kind %d, then %d of %d", what, x->token, x->kind, y->token, y->kind);
    cr_assert(!x->closing || (memcmp(&x->log_pi, &y->log_pi, 4) == 0 && memcmp(&x->log_p, &y->log_p, 4) == 0),
              "%s: other logs", what);
}

static void assert_same_lookup(const mix *m, bucket *const b[2], const char *what) {
    const size_t rows = (size_t)m->n_seat * (size_t)(m->gamma + 1), n = rows * (size_t)m->n_vocab;
    float *q[2] = {malloc(n * sizeof(float)), malloc(n * sizeof(float))};
    weir_row_stats *stats[2] = {malloc(rows * sizeof **stats), malloc(rows * sizeof **stats)};
    for (int k = 0; k < 2; k++) bucket_get_q(b[k], q[k], stats[k]);
    cr_assert(memcmp(q[0], q[1], n * sizeof(float)) == 0, "%s: other rows of q", what);
    for (int i = 0; i < m->n_seat; i++) {
        const weir_seat *x = &b[0]->seat[i], *y = &b[1]->seat[i];
        const size_t used = (size_t)(x->n_draft + !x->unmatched), at = (size_t)(i * (m->gamma + 1));
        cr_assert(x->n == y->n && x->end == y->end && x->n_draft == y->n_draft &&
                      x->unmatched == y->unmatched && memcmp(x->tail, y->tail, sizeof x->tail) == 0,
                  "%s, seat %d: n %d, drafts %d, then %d, %d", what, i, x->n, x->n_draft, y->n, y->n_draft);
        if (b[0]->record[i].live)
            cr_assert(memcmp(stats[0] + at, stats[1] + at, used * sizeof **stats) == 0,
                      "%s, seat %d: other statistics", what, i);
        if (x->slot < 0) continue;
        static int32_t h[2][LD];
        for (int k = 0; k < 2; k++) bucket_get_history(b[k], x->slot, h[k], x->before + x->n);
        cr_assert(memcmp(h[0], h[1], (size_t)(x->before + x->n) * 4) == 0, "%s, seat %d: other histories",
                  what, i);
    }
    for (int k = 0; k < 2; k++) free(q[k]), free(stats[k]);
}

static void run_mix(const mix *m) {
    weir_backend *be[2] = {NULL, device_open()};
    cr_assert(weir__backend_cpu_open(&be[0], 1, weir__isa_best(), NULL) == WEIR_OK);
    cr_assert(weir__backend_reserve(be[1], (size_t)weir__accept_cuda_scratch_floats(m->n_vocab)) == WEIR_OK);
    bucket *const b[2] = {bucket_for(be[0], m), bucket_for(be[1], m)};
    const int blocks = build_is_tsan() && m->n_block > 2 ? 2 : m->n_block;
    float *table = malloc((size_t)m->n_vocab * (size_t)m->n_vocab * sizeof *table);
    uint64_t rng = 40 + (uint64_t)m->first;
    int drafted = 0;
    for (int k = 0; k < m->n_vocab * m->n_vocab; k++) table[k] = rng_normal(&rng);
    for (int k = 0; k < m->n_vocab; k++) table[k * m->n_vocab + 3 * (k % 4)] += 3.0f;
    sit(m, b);
    for (int k = 0; k < blocks && !b[0]->flags.over; k++) {
        char what[96], seat[128];
        snprintf(what, sizeof what, "%d seats from %d, gamma %d, block %d", m->n_seat, m->first, m->gamma, k);
        for (int d = 0; d < 2; d++) bucket_lookup_block(b[d], table);
        for (int i = 0; i < m->n_seat; i++) {
            snprintf(seat, sizeof seat, "%s, seat %d", what, i);
            assert_same_record(&b[0]->record[i], &b[1]->record[i], seat);
            drafted += b[0]->record[i].live ? b[0]->record[i].n_draft : 0;
        }
        assert_same_lookup(m, b, what);
    }
    cr_assert(drafted > 0);
    free(table);
    for (int k = 0; k < 2; k++) bucket_free(b[k]), weir__backend_close(be[k]);
}

Test(cuda_lookup, mixed_seats_are_those_of_the_cpu) {
    static const mix mixes[] = {{5, 3, 0, 6, 33, 300, 2, 8},
                                {1, 5, 1, 6, 40, 120, 1, 4},
                                {8, 4, 6, 5, 31, 90, 1, 64},
                                {4, 16, 11, 3, 33, 700, 2, 3}};
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++) run_mix(&mixes[i]);
}

/* One match, at each place that a thread of a block may have to look at. */
Test(cuda_lookup, every_thread_finds) {
    enum { SEATS = 40, PLACES = 280, WIDE = 300 };
    weir_backend *be = device_open();
    const mix m = {SEATS, 1, 0, 1, WIDE, 0, 2, 8};
    bucket *b = bucket_for(be, &m);
    for (int from = 0; from < PLACES; from += SEATS) {
        weir_seat seats[SEATS];
        int32_t draft[SEATS];
        for (int i = 0; i < SEATS; i++) {
            int32_t h[PLACES + 4];
            const int at = (from + i) % PLACES;
            for (int k = 0; k < PLACES + 2; k++) h[k] = (7 * k + i) % WIDE;
            h[PLACES + 2] = h[at];
            h[PLACES + 3] = h[at + 1];
            seats[i] = seat_of_mix(0, 1);
            seats[i].slot = i;
            seats[i].before = PLACES + 4;
            seats[i].bonus_from = INT32_MAX;
            seats[i].n_eos = 0;
            bucket_put_history(b, i, h, PLACES + 4);
        }
        bucket_sit(b, seats, 1);
        weir_loop_lookup a = {.loop = &b->l};
        cr_assert(be->op.loop_lookup(be, &a) == WEIR_OK);
        cr_assert(weir__backend_download(be, draft, b->l.draft, sizeof draft) == WEIR_OK);
        cr_assert(weir__backend_download(be, seats, b->l.seat, sizeof seats) == WEIR_OK);
        for (int i = 0; i < SEATS; i++) {
            const int at = (from + i) % PLACES;
            cr_expect(seats[i].n_draft == 1 && draft[i] == (7 * (at + 2) + i) % WIDE,
                      "place %d: %d, draft %d", at, seats[i].n_draft, draft[i]);
        }
        if (build_is_tsan()) break;
    }
    bucket_free(b);
    weir__backend_close(be);
}

/* Longer than a block of threads looks at in one turn. */
Test(cuda_lookup, a_long_history) { run_mix(&(mix){2, 4, 20, 3, 33, 2000, 2, 8}); }
