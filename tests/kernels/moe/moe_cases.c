#include "tests/kernels/moe/moe_cases.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/op_fixture.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { MOST_ROWS = 90, MOST_EXPERTS = 200, PAD = 3 };

/* ---- route --------------------------------------------------------------------------------------------- */

typedef struct routed {
    float weight[MOST_ROWS * WEIR_EXPERTS_USED];
    int32_t expert[MOST_ROWS * WEIR_EXPERTS_USED], begin[MOST_EXPERTS + 1],
        row[MOST_ROWS * WEIR_EXPERTS_USED], owner[MOST_ROWS * WEIR_EXPERTS_USED],
        place[MOST_ROWS * WEIR_EXPERTS_USED];
} routed;

typedef struct shape {
    int32_t n_row, n_expert, n_used;
    bool over_all;
} shape;

/* logits (n_row, n_expert + PAD); slot NULL: all live; bias NULL: none. */
static void run_route(weir_backend *be, shape s, const float *logits, const float *bias, const int32_t *slot,
                      routed *out) {
    const int64_t ld = s.n_expert + PAD, n = (int64_t)s.n_row * s.n_used;
    float *there = device_put(be, logits, (size_t)(s.n_row * ld) * sizeof *logits);
    int32_t *slots = slot ? device_put(be, slot, (size_t)s.n_row * sizeof *slot) : NULL;
    float *biases = bias ? device_put(be, bias, (size_t)s.n_expert * sizeof *bias) : NULL;
    float *weight = device_room(be, (size_t)n * sizeof *weight);
    int32_t *ints = device_room(be, (size_t)(4 * n + s.n_expert + 1) * sizeof *ints);
    weir_route a = {.logits = there,
                    .ld = ld,
                    .bias = biases,
                    .slot = slots,
                    .n_row = s.n_row,
                    .n_expert = s.n_expert,
                    .n_used = s.n_used,
                    .over_all = s.over_all,
                    .weight = weight,
                    .expert = ints,
                    .row = ints + n,
                    .place = ints + 2 * n,
                    .owner = ints + 3 * n,
                    .begin = ints + 4 * n};
    cr_assert_eq(be->op.route(be, &a), WEIR_OK);
    device_get(be, out->weight, weight, (size_t)n * sizeof *weight);
    device_get(be, out->expert, a.expert, (size_t)n * sizeof *ints);
    device_get(be, out->row, a.row, (size_t)n * sizeof *ints);
    device_get(be, out->owner, a.owner, (size_t)n * sizeof *ints);
    device_get(be, out->place, a.place, (size_t)n * sizeof *ints);
    device_get(be, out->begin, a.begin, (size_t)(s.n_expert + 1) * sizeof *ints);
    weir__backend_free(be, there), weir__backend_free(be, slots), weir__backend_free(be, biases);
    weir__backend_free(be, weight), weir__backend_free(be, ints);
}

/* How many experts go before e, by the contract's order of distinct numbers. */
static int rank_of(const float *l, int32_t n, int32_t e) {
    int before = 0;
    for (int32_t i = 0; i < n; i++) before += l[i] > l[e] || (l[i] == l[e] && i < e);
    return before;
}

static void check_row(shape s, const float *l, const int32_t *expert, const float *weight, const char *what) {
    double most = -INFINITY, sum = 0.0;
    for (int32_t e = 0; e < s.n_expert; e++) most = fmax(most, (double)l[e]);
    for (int32_t e = 0; e < s.n_expert; e++)
        if (s.over_all || rank_of(l, s.n_expert, e) < s.n_used) sum += exp((double)l[e] - most);
    for (int32_t j = 0; j < s.n_used; j++) {
        cr_assert(expert[j] >= 0 && expert[j] < s.n_expert, "%s: expert %d", what, expert[j]);
        cr_assert_eq(rank_of(l, s.n_expert, expert[j]), j, "%s: choice %d is expert %d", what, j, expert[j]);
        const double d = most - (double)l[expert[j]], want = exp(-d) / sum;
        const double bound = ((s.over_all ? s.n_expert : s.n_used) + 8 + d) * 0x1p-24 * want;
        cr_assert(fabs((double)weight[j] - want) <= bound, "%s: weight %d is %g, want %g", what, j,
                  (double)weight[j], want);
    }
}

/* Entries are each live (row, choice) once, sorted by expert, then by row. */
static void check_entries(shape s, const routed *got, const char *what) {
    int32_t at = 0;
    for (int32_t e = 0; e < s.n_expert; e++) {
        cr_assert_eq(got->begin[e], at, "%s: expert %d begins at %d, want %d", what, e, got->begin[e], at);
        for (int32_t i = 0; i < s.n_row * s.n_used; i++) {
            if (got->expert[i] != e) continue;
            cr_assert_eq(got->place[i], at, "%s: place of choice %d", what, i);
            cr_assert_eq(got->row[at], i / s.n_used, "%s: row of entry %d", what, at);
            cr_assert_eq(got->owner[at], e, "%s: expert of entry %d", what, at);
            at++;
        }
    }
    cr_assert_eq(got->begin[s.n_expert], at, "%s: entries end at %d, want %d", what, got->begin[s.n_expert],
                 at);
    for (; at < s.n_row * s.n_used; at++)
        cr_assert(got->row[at] == 0 && got->owner[at] == 0, "%s: row of no entry", what);
}

static float *random_logits(shape s, uint64_t *rng) {
    float *l = floats_normal((size_t)(s.n_row * (s.n_expert + PAD)), 3.0f, rng);
    for (int32_t i = 0; i < s.n_row * (s.n_expert + PAD); i++)
        if (i % (s.n_expert + PAD) >= s.n_expert) l[i] = NAN; /* padding that is used anywhere shows */
    return l;
}

static void check_all(shape s, const float *l, const int32_t *slot, const routed *got) {
    char what[120];
    snprintf(what, sizeof what, "%d rows, %d of %d experts%s", s.n_row, s.n_used, s.n_expert,
             s.over_all ? ", over all" : "");
    for (int32_t r = 0; r < s.n_row; r++) {
        const int32_t *expert = got->expert + r * s.n_used, *place = got->place + r * s.n_used;
        const float *weight = got->weight + r * s.n_used;
        if (!slot || slot[r] >= 0) {
            check_row(s, l + (int64_t)r * (s.n_expert + PAD), expert, weight, what);
            continue;
        }
        for (int32_t j = 0; j < s.n_used; j++)
            cr_assert(expert[j] == -1 && place[j] == -1 && weight[j] == 0.0f, "%s: dead row %d", what, r);
    }
    check_entries(s, got, what);
}

void moe_case_route(weir_backend *be) {
    static const shape shapes[] = {
        {1, 1, 1, false},   {1, 8, 2, false}, {7, 5, 5, true},     {33, 32, 4, true}, {64, 33, 8, false},
        {90, 128, 8, true}, {6, 60, 4, true}, {9, 200, 32, false}, {0, 4, 2, false},  {90, 2, 1, false}};
    static routed got;
    uint64_t rng = 31;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (!in_sample((int)i, 3)) continue;
        for (int dead = 0; dead < 2; dead++) {
            int32_t slot[MOST_ROWS];
            float *l = random_logits(shapes[i], &rng);
            for (int r = 0; r < MOST_ROWS; r++) slot[r] = (int32_t)(rng_u64(&rng) % 3) - 1;
            run_route(be, shapes[i], l, NULL, dead ? slot : NULL, &got);
            check_all(shapes[i], l, dead ? slot : NULL, &got);
            guarded_free(l);
        }
    }
}

void moe_case_ties(weir_backend *be) {
    enum { N = 40 };
    static routed got;
    const shape s = {5, N, 3, false};
    float l[5 * (N + PAD)] = {0};
    for (int i = 0; i < N; i++) l[i] = i == 5 || i == 37 ? 2.0f : 1.0f; /* 5, 37, 0 */
    float *r = l + (N + PAD);
    for (int i = 0; i < N; i++) r[i] = i % 2 ? 0.0f : -0.0f; /* 0, 1, 2 */
    r += N + PAD;
    for (int i = 0; i < N; i++) r[i] = (float)i;
    r[3] = NAN, r[7] = -NAN; /* 3, 7, 39 */
    r += N + PAD;
    for (int i = 0; i < N; i++) r[i] = (float)-i;
    r[20] = INFINITY; /* 20, 0, 1 */
    r += N + PAD;
    for (int i = 0; i < N; i++) r[i] = -INFINITY;
    r[33] = -1e30f; /* 33, 0, 1 */
    static const int32_t want[5][3] = {{5, 37, 0}, {0, 1, 2}, {3, 7, 39}, {20, 0, 1}, {33, 0, 1}};
    run_route(be, s, l, NULL, NULL, &got);
    for (int i = 0; i < 15; i++) {
        cr_assert_eq(got.expert[i], want[i / 3][i % 3], "row %d choice %d is %d", i / 3, i % 3,
                     got.expert[i]);
        const bool number = i / 3 < 2 || i / 3 == 4;
        cr_assert_eq(isnan(got.weight[i]) != 0, !number, "row %d: weight %g", i / 3, (double)got.weight[i]);
    }
    cr_assert(got.weight[12] == 1.0f && got.weight[13] == 0.0f && got.weight[14] == 0.0f);
    check_entries(s, &got, "ties");
}

void moe_case_independent(weir_backend *be) {
    static routed all, one;
    uint64_t rng = 32;
    for (int over = 0; over < 2; over++) {
        const shape s = {in_sample(1, 2) ? 41 : 9, 70, 6, over == 1}, alone = {1, 70, 6, over == 1};
        float *l = random_logits(s, &rng);
        int32_t slot[41];
        for (int r = 0; r < s.n_row; r++) slot[r] = r % 4 == 1 ? -1 : r;
        run_route(be, s, l, NULL, slot, &all);
        for (int r = 0; r < s.n_row; r += 3) {
            if (slot[r] < 0) continue;
            run_route(be, alone, l + (int64_t)r * (s.n_expert + PAD), NULL, NULL, &one);
            assert_same(all.weight + r * s.n_used, one.weight, 6, "weights in a batch");
            cr_assert_eq(memcmp(all.expert + r * s.n_used, one.expert, 6 * sizeof(int32_t)), 0, "row %d", r);
        }
        guarded_free(l);
    }
}

void moe_case_route_biases(weir_backend *be) {
    static routed with, without;
    uint64_t rng = 34;
    for (int over = 0; over < 2; over++) {
        const shape s = {9, 41, 4, over == 1};
        float *l = random_logits(s, &rng), *bias = floats_normal(41, 3.0f, &rng);
        int32_t slot[9];
        for (int r = 0; r < s.n_row; r++) slot[r] = r % 4 == 1 ? -1 : r;
        run_route(be, s, l, bias, slot, &with);
        for (int32_t r = 0; r < s.n_row; r++)
            for (int32_t e = 0; e < s.n_expert; e++) l[r * (s.n_expert + PAD) + e] += bias[e];
        run_route(be, s, l, NULL, slot, &without);
        check_all(s, l, slot, &with);
        assert_same(with.weight, without.weight, (size_t)(s.n_row * s.n_used), "weights with biases");
        guarded_free(l), guarded_free(bias);
    }
}

void moe_case_route_refusals(weir_backend *be) {
    float f[64] = {0};
    int32_t n[64] = {0};
    float *there = device_put(be, f, sizeof f);
    int32_t *ints = device_put(be, n, sizeof n);
    const weir_route good = {.logits = there,
                             .ld = 4,
                             .n_row = 2,
                             .n_expert = 4,
                             .n_used = 2,
                             .weight = there + 32,
                             .expert = ints,
                             .begin = ints + 8,
                             .row = ints + 16,
                             .owner = ints + 24,
                             .place = ints + 32};
    weir_route bad[14];
    for (int i = 0; i < 14; i++) bad[i] = good;
    bad[0].logits = NULL, bad[1].weight = NULL, bad[2].expert = NULL, bad[3].begin = NULL;
    bad[4].row = NULL, bad[5].place = NULL, bad[6].n_row = -1, bad[7].n_used = 0, bad[8].n_used = 5;
    bad[9].ld = 3, bad[10].n_expert = WEIR_EXPERTS + 1, bad[10].ld = WEIR_EXPERTS + 1;
    bad[11].n_expert = bad[11].ld = 64, bad[11].n_used = WEIR_EXPERTS_USED + 1;
    bad[12].n_row = INT32_MAX, bad[13].owner = NULL;
    for (int i = 0; i < 14; i++) cr_assert_eq(be->op.route(be, &bad[i]), WEIR_EINVAL, "case %d", i);
    weir__backend_free(be, there), weir__backend_free(be, ints);
}

/* ---- glu ----------------------------------------------------------------------------------------------- */

enum { GROUPS = 6 };

/* The contract's value of one element, and its bound. */
static double unit_of(const float *x, const float *bias, int64_t n_col, int64_t i, float limit,
                      double *bound) {
    const double sum_g = (double)x[i] + (double)bias[i],
                 sum_u = (double)x[n_col + i] + (double)bias[n_col + i], top = (double)limit;
    const double g = sum_g > top ? top : sum_g, u = sum_u > top ? top : sum_u < -top ? -top : sum_u;
    const double y = (u + 1) * g / (1 + exp(-1.702 * g));
    const double size_g = fabs((double)x[i]) + fabs((double)bias[i]),
                 size_u = fabs((double)x[n_col + i]) + fabs((double)bias[n_col + i]);
    *bound = 0x1p-24 * ((fabs(u) + 1) * (2 * size_g + 1) + size_u * fabs(g) + 16 * fabs(y));
    return y;
}

static void check_units(weir_backend *be, int32_t n_row, int32_t n_col, float limit, uint64_t *rng) {
    const int64_t ld = 2 * n_col + PAD;
    float *x = floats_normal((size_t)(n_row * ld), 5.0f, rng), *got = guarded_new((size_t)(n_row * ld));
    float *bias = floats_normal((size_t)(GROUPS * 2 * n_col), 1.0f, rng);
    int32_t begin[GROUPS + 1] = {1, 1, n_row / 3, n_row / 3, n_row / 2, n_row - 1, n_row - 1};
    x[ld] = NAN, x[(n_row - 2) * ld] = -300.0f, x[ld + n_col] = 1e30f;
    float *x_there = device_put(be, x, (size_t)(n_row * ld) * 4),
          *bias_there = device_put(be, bias, (size_t)(GROUPS * 2 * n_col) * 4);
    int32_t *begin_there = device_put(be, begin, sizeof begin);
    weir_glu a = {.x = x_there,
                  .ld = ld,
                  .bias = bias_there,
                  .begin = begin_there,
                  .n_group = GROUPS,
                  .limit = limit,
                  .n_row = n_row,
                  .n_col = n_col};
    cr_assert_eq(be->op.glu(be, &a), WEIR_OK);
    device_get(be, got, x_there, (size_t)(n_row * ld) * 4);
    for (int32_t e = 0; e < GROUPS; e++)
        for (int64_t r = begin[e]; r < begin[e + 1]; r++)
            for (int64_t i = 0; i < n_col; i++) {
                double bound;
                const double want =
                    unit_of(x + r * ld, bias + (int64_t)e * 2 * n_col, n_col, i, limit, &bound);
                const double is = (double)got[r * ld + i];
                cr_assert(isnan(want) ? isnan(is) : fabs(is - want) <= bound,
                          "row %ld column %ld: %g, want %g", (long)r, (long)i, is, want);
            }
    for (int64_t i = 0; i < n_row * ld; i++) /* up, padding, and rows of no group */
        if (i % ld >= n_col || i / ld >= begin[GROUPS] || i / ld < begin[0])
            cr_assert_eq(memcmp(&got[i], &x[i], 4), 0, "row %ld column %ld was written", (long)(i / ld),
                         (long)(i % ld));
    weir__backend_free(be, x_there), weir__backend_free(be, bias_there), weir__backend_free(be, begin_there);
    guarded_free(x), guarded_free(got), guarded_free(bias);
}

void moe_case_glu(weir_backend *be) {
    static const int32_t rows[] = {12, 7, 40}, cols[] = {1, 37, 259};
    uint64_t rng = 35;
    for (int i = 0; i < 3; i++) check_units(be, rows[i], cols[i], i ? 7.0f : 2.5f, &rng);
}

void moe_case_glu_refusals(weir_backend *be) {
    float f[32] = {0};
    int32_t n[2] = {0, 2};
    float *there = device_put(be, f, sizeof f);
    int32_t *begin = device_put(be, n, sizeof n);
    const weir_glu good = {.x = there,
                           .ld = 8,
                           .bias = there + 16,
                           .begin = begin,
                           .n_group = 1,
                           .limit = 7.0f,
                           .n_row = 2,
                           .n_col = 4};
    weir_glu bad[9];
    for (int i = 0; i < 9; i++) bad[i] = good;
    bad[0].x = NULL, bad[1].bias = NULL, bad[2].begin = NULL, bad[3].n_group = 0, bad[4].limit = 0.0f;
    bad[5].limit = NAN, bad[6].ld = 7, bad[7].n_row = -1, bad[8].n_col = -1;
    for (int i = 0; i < 9; i++) cr_assert_eq(be->op.glu(be, &bad[i]), WEIR_EINVAL, "case %d", i);
    weir_glu a = good;
    cr_assert_eq(be->op.glu(be, &a), WEIR_OK);
    weir__backend_free(be, there), weir__backend_free(be, begin);
}

/* ---- combine ------------------------------------------------------------------------------------------- */

typedef struct sums {
    int32_t n_row, dim, n_used;
    bool shared, biased;
} sums;

enum { SUM_EXPERTS = 5 };

static void check_sums(weir_backend *be, sums s, uint64_t *rng) {
    const int64_t ldy = s.dim + 2, ld = s.dim + 5, ld_shared = s.dim + 1, n = (int64_t)s.n_row * s.n_used;
    float *y0 = floats_normal((size_t)(s.n_row * ldy), 2.0f, rng);
    float *part = floats_normal((size_t)(n * ld), 1.0f, rng);
    float *weight = floats_normal((size_t)n, 0.5f, rng), *gate = floats_normal((size_t)s.n_row, 2.0f, rng);
    float *shared = floats_normal((size_t)(s.n_row * ld_shared), 1.0f, rng);
    float *bias = floats_normal((size_t)(SUM_EXPERTS * s.dim), 1.0f, rng);
    float *got = guarded_new((size_t)(s.n_row * ldy));
    int32_t *expert = malloc((size_t)n * sizeof *expert);
    int32_t *place = malloc((size_t)n * sizeof *place);
    cr_assert(place && expert);
    for (int64_t i = 0; i < n; i++)
        place[i] = (int32_t)((i * 7 + 3) % n), expert[i] = (int32_t)((i * 3 + 1) % SUM_EXPERTS);
    for (int32_t r = 0; r < s.n_row; r += 3) /* dead: nothing of it is used */
        for (int32_t j = 0; j < s.n_used; j++) place[r * s.n_used + j] = expert[r * s.n_used + j] = -1;
    float *bias_there = device_put(be, bias, (size_t)(SUM_EXPERTS * s.dim) * 4);
    int32_t *expert_there = device_put(be, expert, (size_t)n * 4);
    float *y_there = device_put(be, y0, (size_t)(s.n_row * ldy) * 4);
    float *part_there = device_put(be, part, (size_t)(n * ld) * 4);
    float *weight_there = device_put(be, weight, (size_t)n * 4),
          *gate_there = device_put(be, gate, (size_t)s.n_row * 4);
    float *shared_there = device_put(be, shared, (size_t)(s.n_row * ld_shared) * 4);
    int32_t *place_there = device_put(be, place, (size_t)n * 4);
    weir_combine a = {.y = y_there,
                      .ldy = ldy,
                      .part = part_there,
                      .ld = ld,
                      .place = place_there,
                      .weight = weight_there,
                      .n_used = s.n_used,
                      .bias = s.biased ? bias_there : NULL,
                      .expert = s.biased ? expert_there : NULL,
                      .shared = s.shared ? shared_there : NULL,
                      .ld_shared = ld_shared,
                      .gate = s.shared ? gate_there : NULL,
                      .n_row = s.n_row,
                      .dim = s.dim};
    cr_assert_eq(be->op.combine(be, &a), WEIR_OK);
    device_get(be, got, y_there, (size_t)(s.n_row * ldy) * 4);
    for (int64_t i = 0; i < s.n_row * ldy; i++) {
        const int64_t r = i / ldy, c = i % ldy;
        double sum = 0.0, size = 0.0;
        if (c >= s.dim || r % 3 == 0) {
            cr_assert_eq(got[i], y0[i], "row %ld column %ld was written", (long)r, (long)c);
            continue;
        }
        for (int32_t j = 0; j < s.n_used; j++) {
            const int64_t at = r * s.n_used + j;
            const double of = (double)part[place[at] * ld + c], w = (double)weight[at],
                         more = s.biased ? (double)bias[expert[at] * s.dim + c] : 0.0;
            sum += w * (of + more), size += fabs(w) * (fabs(of) + fabs(more));
        }
        if (s.shared) {
            const double term = (double)shared[r * ld_shared + c] / (1.0 + exp(-(double)gate[r]));
            sum += term, size += fabs(term);
        }
        const double want = (double)y0[i] + sum;
        cr_assert(fabs((double)got[i] - want) <= ((s.n_used + 9) * size + fabs(want)) * 0x1p-24,
                  "row %ld column %ld: %g, want %g", (long)r, (long)c, (double)got[i], want);
    }
    weir__backend_free(be, y_there), weir__backend_free(be, part_there), weir__backend_free(be, gate_there);
    weir__backend_free(be, weight_there), weir__backend_free(be, shared_there);
    weir__backend_free(be, place_there), weir__backend_free(be, bias_there);
    weir__backend_free(be, expert_there);
    guarded_free(bias), free(expert);
    guarded_free(y0), guarded_free(part), guarded_free(weight), guarded_free(gate), guarded_free(shared);
    guarded_free(got), free(place);
}

void moe_case_combine(weir_backend *be) {
    static const sums shapes[] = {
        {1, 1, 1, false, false},  {2, 1, 1, true, false},  {5, 255, 3, false, true},
        {5, 256, 2, true, true},  {4, 257, 8, true, true}, {11, 31, 32, false, true},
        {2, 700, 4, true, false}, {7, 90, 4, false, true}, {4, 33, 3, false, false}};
    uint64_t rng = 33;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (in_sample((int)i, 3)) check_sums(be, shapes[i], &rng);
    }
}

void moe_case_combine_refusals(weir_backend *be) {
    float f[64] = {0};
    int32_t n[4] = {0, 1, 2, 3};
    float *there = device_put(be, f, sizeof f);
    int32_t *ints = device_put(be, n, sizeof n);
    const weir_combine good = {.y = there,
                               .ldy = 4,
                               .part = there + 8,
                               .ld = 4,
                               .place = ints,
                               .weight = there + 32,
                               .n_used = 2,
                               .shared = there + 40,
                               .ld_shared = 4,
                               .gate = there + 48,
                               .n_row = 2,
                               .dim = 4};
    weir_combine bad[14];
    for (int i = 0; i < 14; i++) bad[i] = good;
    bad[12].bias = there, bad[13].expert = ints;
    bad[0].y = NULL, bad[1].part = NULL, bad[2].place = NULL, bad[3].weight = NULL, bad[4].shared = NULL;
    bad[5].gate = NULL, bad[6].n_used = 0, bad[7].ldy = 3, bad[8].ld = 3, bad[9].ld_shared = 3;
    bad[10].n_row = -1, bad[11].dim = -1;
    for (int i = 0; i < 14; i++) cr_assert_eq(be->op.combine(be, &bad[i]), WEIR_EINVAL, "case %d", i);
    weir_combine none = good;
    none.n_row = 0;
    cr_assert_eq(be->op.combine(be, &none), WEIR_OK);
    weir__backend_free(be, there), weir__backend_free(be, ints);
}
