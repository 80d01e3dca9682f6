#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/accept/cpu.h"
#include "kernels/accept/sweep/order.h"
#include "kernels/accept/stats.h"
#include "tests/kernels/accept/accept_oracle.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

/* Row statistics and draws of a device: every bit as the CPU's, which test_stats.c and test_draw.c hold
 * against the definitions. How many SMs there are decides how many blocks share a row; WEIR_RUNNER_SMS
 * changes that here. */

enum { ROWS = 48 };

typedef struct rows {
    int n, ld, n_row, n_law;
    float *logits; /* (n_row, ld), tails NaN */
    weir_law law[ROWS];
    int32_t law_of[ROWS], position[ROWS], block_row[ROWS];
    weir_minmax *minmax;
    weir_row_stats stats[ROWS];
    int32_t token[ROWS];
    float logp[ROWS];
} rows;

static bool same_float(float a, float b) { return isnan(a) ? isnan(b) : wf_bits(a) == wf_bits(b); }

static weir_law random_cut(uint64_t *seed) {
    static const float temps[] = {0.0f, 0.5f, 1.0f, 1.0f, 1.7f, 1e-38f},
                       top_p[] = {0.9f, 0.3f, 0.999999f, 1e-6f};
    static const int32_t top_k[] = {1, 3, 40, 1 << 30};
    weir_law law = weir_law_default();
    law.temp = temps[rng_u64(seed) % 6];
    if (rng_u64(seed) % 3 == 0) law.top_k = top_k[rng_u64(seed) % 4];
    if (rng_u64(seed) % 3 == 0) law.top_p = top_p[rng_u64(seed) % 4];
    if (rng_u64(seed) % 3 == 0) law.min_p = rng_u64(seed) % 4 ? 0.05f : 1.0f;
    law.key[0] = (uint32_t)rng_u64(seed);
    law.key[1] = (uint32_t)rng_u64(seed);
    return law;
}

/* What can be wrong with a row, or special about it. */
static void spoil(uint64_t *seed, float *l, int n) {
    const int at = (int)(rng_u64(seed) % (uint64_t)n);
    switch (rng_u64(seed) % 16) {
    case 0: l[at] = NAN; break;
    case 1: l[at] = -NAN; break;
    case 2: l[at] = INFINITY; break;
    case 3:
        for (int v = 0; v < n; v++) l[v] = -INFINITY;
        break;
    case 4:
        for (int v = 0; v < n; v++) l[v] = 0.25f;
        break; /* one tie */
    /* both zeros on top */
    case 5:
        for (int v = 0; v < n; v++) l[v] = fminf(l[v], v % 3 ? -0.0f : v == n - 1 ? 0.0f : -1.0f);
        break;
    case 6: l[at] = -3.4e38f; break;
    case 7: l[at] = 3.4e38f; break;
    default: break;
    }
}

static void fill_minmaxes(rows *r) {
    const int64_t n_span = weir__minmax_count(r->n);
    r->minmax = malloc((size_t)(r->n_row * n_span) * sizeof *r->minmax);
    for (int i = 0; i < r->n_row; i++)
        for (int64_t k = 0; k < n_span; k++) {
            weir_minmax *e = &r->minmax[i * n_span + k];
            *e = (weir_minmax){INT32_MAX, INT32_MIN, -1};
            for (int v = (int)k * WEIR_EXTENT_SPAN; v < r->n && v < (int)(k + 1) * WEIR_EXTENT_SPAN; v++) {
                const int32_t key = weir__order_key(r->logits[i * r->ld + v]);
                if (key < e->lo) e->lo = key;
                if (key > e->hi) e->hi = key, e->id = v;
            }
        }
}

/* Row 0 is live and usable. */
static rows *rows_new(uint64_t *seed, int n, int n_row) {
    rows *r = calloc(1, sizeof *r);
    *r = (rows){.n = n, .ld = n + (int)(rng_u64(seed) % 5), .n_row = n_row, .n_law = 9};
    r->logits = malloc((size_t)(r->ld * n_row + n) * sizeof(float));
    for (int i = 0; i < r->ld * n_row; i++) r->logits[i] = NAN;
    for (int i = 0; i < r->n_law; i++) r->law[i] = random_cut(seed);
    for (int i = 0; i < n_row; i++) {
        float *l = r->logits + i * r->ld;
        random_rows(seed, n, i % 2 ? 3.0f : 8.0f, 1.0f, i % 3 == 0, l, r->logits + r->ld * n_row);
        if (i > 0) spoil(seed, l, n);
        r->law_of[i] = i == 0 || rng_u64(seed) % 8 ? (int32_t)(rng_u64(seed) % (uint64_t)r->n_law) : -1;
        r->position[i] = (int32_t)(rng_u64(seed) % 100);
        r->block_row[i] = (int32_t)(rng_u64(seed) % 4);
    }
    fill_minmaxes(r);
    return r;
}

static void rows_free(rows *r) {
    free(r->logits);
    free(r->minmax);
    free(r);
}

static void on_cpu(rows *r) {
    weir_backend be = {.isa = weir__isa_best()};
    weir_row_stats_args s = {.logits = r->logits,
                             .ld = r->ld,
                             .n_row = r->n_row,
                             .n_vocab = r->n,
                             .law = r->law,
                             .law_of = r->law_of,
                             .out = r->stats};
    cr_assert_eq(weir__row_stats_cpu(&be, &s), WEIR_OK);
    weir_draw_args d = {.logits = r->logits,
                        .ld = r->ld,
                        .n_row = r->n_row,
                        .n_vocab = r->n,
                        .law = r->law,
                        .law_of = r->law_of,
                        .stats = r->stats,
                        .position = r->position,
                        .block_row = r->block_row,
                        .purpose = WEIR_PURPOSE_DRAFT,
                        .token = r->token,
                        .logp = r->logp};
    cr_assert_eq(weir__draw_cpu(&be, &d), WEIR_OK);
}

/* The same on the device, with the minmaxes or without, into `got`; given: draws from r's statistics instead
 * of its own. */
static void on_device(weir_backend *be, const rows *r, bool minmaxes, bool given, rows *got) {
    const size_t n = (size_t)r->n_row;
    float *logits = device_put(be, r->logits, n * (size_t)r->ld * sizeof(float));
    weir_law *law = device_put(be, r->law, sizeof r->law);
    int32_t *law_of = device_put(be, r->law_of, sizeof r->law_of),
            *position = device_put(be, r->position, sizeof r->position);
    int32_t *block_row = device_put(be, r->block_row, sizeof r->block_row);
    weir_minmax *minmax = device_put(be, r->minmax, n * (size_t)weir__minmax_count(r->n) * sizeof *r->minmax);
    weir_row_stats *stats =
        given ? device_put(be, r->stats, sizeof r->stats) : device_room(be, sizeof r->stats);
    int32_t *token = device_room(be, sizeof r->token);
    float *logp = device_room(be, sizeof r->logp);
    weir_row_stats_args s = {.logits = logits,
                             .ld = r->ld,
                             .n_row = r->n_row,
                             .n_vocab = r->n,
                             .law = law,
                             .law_of = law_of,
                             .out = stats,
                             .minmax = minmaxes ? minmax : NULL};
    if (!given) cr_assert_eq(be->op.row_stats(be, &s), WEIR_OK, "%s", be->err.text);
    weir_draw_args d = {.logits = logits,
                        .ld = r->ld,
                        .n_row = r->n_row,
                        .n_vocab = r->n,
                        .law = law,
                        .law_of = law_of,
                        .stats = stats,
                        .position = position,
                        .block_row = block_row,
                        .purpose = WEIR_PURPOSE_DRAFT,
                        .token = token,
                        .logp = logp};
    cr_assert_eq(be->op.draw(be, &d), WEIR_OK, "%s", be->err.text);
    device_get(be, got->stats, stats, n * sizeof *stats);
    device_get(be, got->token, token, n * sizeof *token);
    device_get(be, got->logp, logp, n * sizeof *logp);
    void *all[] = {logits, law, law_of, position, block_row, minmax, stats, token, logp};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) weir__backend_free(be, all[i]);
}

static void check(const rows *want, const rows *got, const char *where) {
    for (int i = 0; i < want->n_row; i++) {
        const weir_row_stats *a = &want->stats[i], *b = &got->stats[i];
        cr_assert(same_float(a->max, b->max) && a->argmax == b->argmax,
                  "%s row %d: max %g at %d, want %g at %d", where, i, b->max, b->argmax, a->max, a->argmax);
        cr_assert(same_float(a->thr, b->thr) && a->tie == b->tie,
                  "%s row %d: threshold %g tie %d, want %g tie %d", where, i, b->thr, b->tie, a->thr, a->tie);
        cr_assert(same_float(a->sum, b->sum) && same_float(a->dot, b->dot),
                  "%s row %d: sum %a dot %a, want %a %a", where, i, b->sum, b->dot, a->sum, a->dot);
        cr_assert(same_float(a->psum, b->psum) && same_float(a->pdot, b->pdot),
                  "%s row %d: psum %a pdot %a, want %a %a", where, i, b->psum, b->pdot, a->psum, a->pdot);
        cr_assert(want->token[i] == got->token[i] && same_float(want->logp[i], got->logp[i]),
                  "%s row %d: token %d logp %a, want %d %a", where, i, got->token[i], got->logp[i],
                  want->token[i], want->logp[i]);
    }
}

static void compare(weir_backend *be, uint64_t *seed, int n, int n_row) {
    cr_assert_eq(weir__backend_reserve(be, (size_t)weir__accept_cuda_scratch_floats(n)), WEIR_OK);
    rows *r = rows_new(seed, n, n_row), *got = calloc(1, sizeof *got);
    on_cpu(r);
    for (int minmaxes = 0; minmaxes < 2; minmaxes++) {
        char where[80];
        snprintf(where, sizeof where, "n %d of %d rows, minmaxes %d,", n, n_row, minmaxes);
        memset(got, 0x5a, sizeof *got);
        on_device(be, r, minmaxes, false, got);
        check(r, got, where);
    }
    free(got);
    rows_free(r);
}

/* Under TSan every thread of a launch costs maps of memory, and time: few blocks show the same races. */
static weir_backend *open_with(const char *sms) {
    if (build_is_tsan() && strtol(sms, NULL, 10) > 3) cr_skip("too many blocks for this build");
    setenv("WEIR_RUNNER_SMS", sms, 1);
    return device_open();
}

static void all_sizes(const char *sms) {
    weir_backend *be = open_with(sms);
    const int reps = (int)draws_for_build(10);
    static const int sizes[] = {1, 2, 31, 33, 1000, 1024, 1025, 5000};
    uint64_t seed = 301;
    for (int i = 0; i < 8; i++)
        for (int rep = 0; rep < reps; rep++) compare(be, &seed, sizes[i], rep % 2 ? 3 : reps < 10 ? 8 : 20);
    weir__backend_close(be);
}

Test(cuda_stats, rows_on_1_sm) { all_sizes("1"); }
Test(cuda_stats, rows_on_3_sms) { all_sizes("3"); }
Test(cuda_stats, rows_on_8_sms) { all_sizes("8"); }

/* Many blocks a row; at 300,000 more chunks than a block has threads. */
static void long_rows(const char *sms, uint64_t seed) {
    weir_backend *be = open_with(sms);
    const bool all = draws_for_build(10) == 10;
    compare(be, &seed, 32128, all ? 6 : 2);
    if (all) compare(be, &seed, 70000, 3);
    if (all) compare(be, &seed, 300000, 3);
    weir__backend_close(be);
}

Test(cuda_stats, long_rows_on_2_sms) { long_rows("2", 302); }
Test(cuda_stats, long_rows_on_7_sms) { long_rows("7", 305); }

/* A row does not know its neighbours: more rows than blocks, and each alone. */
Test(cuda_stats, do_not_depend_on_the_batch) {
    weir_backend *be = open_with("3");
    uint64_t seed = 303;
    rows *r = rows_new(&seed, 2100, draws_for_build(10) == 10 ? 40 : 8), *got = calloc(1, sizeof *got);
    on_device(be, r, true, false, got);
    for (int i = 0; i < r->n_row; i += 7) {
        rows one = *r, alone;
        one.n_row = 1;
        one.logits += i * r->ld;
        one.minmax += i * weir__minmax_count(r->n);
        one.law_of[0] = r->law_of[i];
        one.position[0] = r->position[i];
        one.block_row[0] = r->block_row[i];
        one.stats[0] = got->stats[i];
        one.token[0] = got->token[i];
        one.logp[0] = got->logp[i];
        on_device(be, &one, true, false, &alone);
        check(&one, &alone, "alone");
    }
    free(got);
    rows_free(r);
    weir__backend_close(be);
}

/* A token whose weight is min_p exactly stays. */
Test(cuda_stats, min_p_keeps_its_own_weight) {
    weir_backend *be = open_with("3");
    uint64_t seed = 307;
    enum { N = 1500 };
    rows *r = rows_new(&seed, N, 1), *got = calloc(1, sizeof *got);
    cr_assert_eq(weir__backend_reserve(be, (size_t)weir__accept_cuda_scratch_floats(N)), WEIR_OK);
    for (int i = 0; i < N; i++) r->logits[i] = -3.0f;
    r->logits[1400] = 2.0f;
    r->logits[7] = 1.25f;
    r->law[0] = weir_law_default();
    r->law[0].min_p = wf_exp(1.25f - 2.0f);
    r->law_of[0] = 0;
    on_cpu(r);
    on_device(be, r, false, false, got);
    check(r, got, "min_p");
    cr_assert(got->stats[0].thr == 1.25f, "threshold %g", (double)got->stats[0].thr);
    free(got);
    rows_free(r);
    weir__backend_close(be);
}

/* The law decides that a row is dead, not what its statistics happen to be. */
Test(cuda_stats, a_dead_row_draws_nothing) {
    weir_backend *be = open_with("3");
    uint64_t seed = 306;
    enum { N = 300 };
    rows *r = rows_new(&seed, N, 3), *got = calloc(1, sizeof *got);
    const int32_t alive[3] = {0, 0, 0}, dead[3] = {-1, 0, -1};
    cr_assert_eq(weir__backend_reserve(be, (size_t)weir__accept_cuda_scratch_floats(N)), WEIR_OK);
    for (size_t i = 0; i < 3 * (size_t)r->ld; i++) r->logits[i] = rng_uniform(&seed, -2.0f, 2.0f);
    memcpy(r->law_of, alive, sizeof alive);
    on_cpu(r);
    memcpy(r->law_of, dead, sizeof dead);
    on_device(be, r, false, true, got);
    for (int i = 0; i < 3; i++)
        cr_assert((got->token[i] == -1) == (dead[i] < 0) && !!isnan(got->logp[i]) == (dead[i] < 0),
                  "row %d: token %d logp %g", i, got->token[i], (double)got->logp[i]);
    free(got);
    rows_free(r);
    weir__backend_close(be);
}

Test(cuda_stats, bad_arguments_are_refused) {
    weir_backend *be = device_open();
    weir_row_stats_args s = {.n_vocab = 4, .ld = 4, .n_row = 0};
    cr_expect_eq(be->op.row_stats(be, &s), WEIR_OK);
    s.n_row = 1;
    cr_expect_eq(be->op.row_stats(be, &s), WEIR_EINVAL);
    s.n_row = -1;
    cr_expect_eq(be->op.row_stats(be, &s), WEIR_EINVAL);
    weir_draw_args d = {.n_vocab = 4, .ld = 3, .n_row = 0};
    cr_expect_eq(be->op.draw(be, &d), WEIR_EINVAL);
    /* too little scratch is refused, not overrun */
    uint64_t seed = 304;
    rows *r = rows_new(&seed, 40, 2);
    const device_scratch little = device_scratch_limit(be, 4000);
    s = (weir_row_stats_args){.logits = device_put(be, r->logits, 2 * (size_t)r->ld * sizeof(float)),
                              .ld = r->ld,
                              .n_row = 2,
                              .n_vocab = 40,
                              .law = device_put(be, r->law, sizeof r->law),
                              .law_of = device_put(be, r->law_of, sizeof r->law_of),
                              .out = device_room(be, sizeof r->stats)};
    cr_expect_eq(be->op.row_stats(be, &s), WEIR_ENOMEM);
    device_scratch_end(little);
    cr_expect_eq(be->op.row_stats(be, &s), WEIR_OK);
    weir_row_stats out[2];
    device_get(be, out, s.out, sizeof out);
    weir__backend_free(be, (void *)(uintptr_t)s.logits);
    weir__backend_free(be, (void *)(uintptr_t)s.law);
    weir__backend_free(be, (void *)(uintptr_t)s.law_of);
    weir__backend_free(be, s.out);
    rows_free(r);
    weir__backend_close(be);
}
