#include <criterion/criterion.h>
#include <stdlib.h>

#include "kernels/accept/cpu.h"
#include "kernels/math/fmath.h"
#include "tests/kernels/accept/accept_oracle.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"

static const int SIZES[] = {1, 2, 3, 17, 31, 32, 33, 100, 1023, 1024, 1025, 1500, 6016, 40000};
enum { N_SIZE = sizeof SIZES / sizeof SIZES[0] };

static weir_law law_with(float temp, int top_k, float top_p, float min_p) {
    weir_law law = weir_law_default();
    law.temp = temp;
    law.top_k = top_k;
    law.top_p = top_p;
    law.min_p = min_p;
    return law;
}

static const float CUTS[][4] = {/* temp, top_k, top_p, min_p */
                                {1, 0, 1, 0},        {0, 0, 1, 0},         {0.3f, 0, 1, 0},
                                {2, 0, 1, 0},        {1, 1, 1, 0},         {1, 5, 1, 0},
                                {0.7f, 40, 1, 0},    {1, 0, 0.9f, 0},      {1.3f, 0, 0.3f, 0},
                                {1, 0, 1, 0.1f},     {0.8f, 20, 0.8f, 0},  {1, 50, 0.95f, 0.02f},
                                {1, 0, 1e-6f, 0},    {1, 0, 0.999999f, 0}, {1, 3, 1, 1},
                                {1e-3f, 0, 0.9f, 0}, {1e-38f, 0, 0.9f, 0}};
enum { N_CUT = sizeof CUTS / sizeof CUTS[0] };

static weir_law cut_law(int i) { return law_with(CUTS[i][0], (int)CUTS[i][1], CUTS[i][2], CUTS[i][3]); }

static weir_status stats_of(weir_backend *be, const float *l, int64_t ld, int64_t n_row, int n,
                            const weir_law *law, weir_row_stats *out) {
    int32_t law_of[64] = {0};
    weir_row_stats_args a = {
        .logits = l, .ld = ld, .n_row = n_row, .n_vocab = n, .law = law, .law_of = law_of, .out = out};
    return weir__row_stats_cpu(be, &a);
}

static weir_row_stats one(weir_isa isa, const float *l, int n, const weir_law *law) {
    weir_backend be = {.isa = isa};
    weir_row_stats s;
    cr_assert(stats_of(&be, l, n, 1, n, law, &s) == WEIR_OK);
    return s;
}

static bool same(const weir_row_stats *a, const weir_row_stats *b) {
    return a->argmax == b->argmax && a->tie == b->tie && wf_bits(a->max) == wf_bits(b->max) &&
           wf_bits(a->sum) == wf_bits(b->sum) && wf_bits(a->dot) == wf_bits(b->dot) &&
           wf_bits(a->thr) == wf_bits(b->thr) && wf_bits(a->psum) == wf_bits(b->psum) &&
           wf_bits(a->pdot) == wf_bits(b->pdot);
}

static bool near(double got, double want, double rel) {
    return fabs(got - want) <= rel * fmax(1.0, fabs(want));
}

/* ---- values -------------------------------------------------------------------------------------------- */

static void check_row(const float *l, int n, const weir_law *law, int *compared) {
    const weir_row_stats s = one(weir__isa_best(), l, n, law);
    double *raw = calloc((size_t)n, sizeof *raw), *w = calloc((size_t)n, sizeof *w), margin = 1e9;
    oracle_softmax(law, true, l, n, raw, &margin);
    oracle_softmax(law, false, l, n, w, &margin);
    double max = -INFINITY, sum = 0, dot = 0, psum = 0, pdot = 0;
    int argmax = 0;
    for (int v = n - 1; v >= 0; v--)
        if ((double)l[v] >= max) max = (double)l[v], argmax = v;
    for (int v = 0; v < n; v++) {
        const double d = (double)l[v] - max, e = exp(d);
        sum += e;
        dot += e > 0 ? d * e : 0;
    }
    cr_expect((double)s.max == max && s.argmax == argmax, "max of n=%d", n);
    /* fp32 sums of positive terms: lanes, butterfly and tree keep the error near a few ulp of each
     * exponential */
    cr_expect(near(s.sum, sum, 1e-5), "sum %g want %g n=%d", s.sum, sum, n);
    cr_expect(near(s.dot, dot, 1e-5), "dot %g want %g n=%d", s.dot, dot, n);
    if (margin >= 1.0) {
        const double temp = (double)law->temp;
        for (int v = 0; v < n; v++) {
            const bool kept = l[v] > s.thr || (l[v] == s.thr && v <= s.tie);
            const double d = temp > 0 ? ((double)l[v] - max) / temp : 0.0;
            cr_assert(kept || w[v] == 0.0, "n=%d id %d was dropped", n, v);
            cr_assert(!kept || w[v] > 0.0 || d < -87.0 || isinf(l[v]), "n=%d id %d was kept", n, v);
            if (w[v] > 0.0) psum += exp(d), pdot += d * exp(d);
        }
        cr_expect(near(s.psum, psum, 2e-5), "psum %g want %g n=%d", s.psum, psum, n);
        cr_expect(near(s.pdot, pdot, 2e-5), "pdot %g want %g n=%d", s.pdot, pdot, n);
        ++*compared;
    }
    free(raw);
    free(w);
}

Test(row_stats, agree_with_sums_and_sorting_in_double) {
    uint64_t seed = 11;
    int rows = 0, compared = 0;
    for (int i = 0; i < N_SIZE; i++)
        for (int c = 0; c < N_CUT; c++)
            for (int rep = 0; rep < 6; rep++) {
                const int n = SIZES[i];
                float *q = malloc((size_t)n * 8), *p = q + n;
                random_rows(&seed, n, rep % 2 ? 3.0f : 8.0f, 1.0f, rep >= 3, q, p);
                const weir_law law = cut_law(c);
                check_row(q, n, &law, &compared);
                rows++;
                free(q);
            }
    cr_expect(compared > rows * 8 / 10, "%d of %d compared", compared, rows);
    cr_log_info("rows %d, kept sets compared %d", rows, compared);
}

/* stats.h's order, in the plainest scalar form. */
static float tree_sum(const float *t, int n) {
    float level[512];
    int m = (n + WEIR_CHUNK - 1) / WEIR_CHUNK;
    for (int c = 0; c < m; c++) {
        float lane[WEIR_LANES] = {0};
        for (int v = c * WEIR_CHUNK; v < n && v < (c + 1) * WEIR_CHUNK; v++) lane[v % WEIR_LANES] += t[v];
        for (int half = 16; half > 0; half /= 2)
            for (int i = 0; i < half; i++) lane[i] += lane[i + half];
        level[c] = lane[0];
    }
    for (; m > 1; m = (m + 1) / 2)
        for (int c = 0; 2 * c < m; c++)
            level[c] = 2 * c + 1 < m ? level[2 * c] + level[2 * c + 1] : level[2 * c];
    return level[0];
}

Test(row_stats, add_in_the_stated_order) {
    uint64_t seed = 12;
    const weir_law law = law_with(0.7f, 0, 1, 0);
    static const int sizes[] = {5, 1024, 3000, 5120, 6016, 100000, 256128};
    for (int i = 0; i < 7; i++) {
        const int n = sizes[i];
        float *q = malloc((size_t)n * 12), *p = q + n, *t = p + n;
        random_rows(&seed, n, 3.0f, 1.0f, false, q, p);
        const weir_row_stats s = one(weir__isa_best(), q, n, &law);
        for (int v = 0; v < n; v++) t[v] = wf_exp(q[v] - s.max);
        cr_expect(wf_bits(tree_sum(t, n)) == wf_bits(s.sum), "sum of n=%d", n);
        for (int v = 0; v < n; v++) t[v] *= fmaxf(q[v] - s.max, -128.0f);
        cr_expect(wf_bits(tree_sum(t, n)) == wf_bits(s.dot), "dot of n=%d", n);
        for (int v = 0; v < n; v++) t[v] = wf_exp((q[v] - s.max) * (1.0f / 0.7f));
        cr_expect(wf_bits(tree_sum(t, n)) == wf_bits(s.psum), "psum of n=%d", n);
        free(q);
    }
}

/* ---- same bits everywhere ------------------------------------------------------------------------------ */

Test(row_stats, do_not_depend_on_isa_threads_or_batch) {
    weir_pool *pool[3];
    for (int t = 0; t < 3; t++) cr_assert(weir__pool_create(&pool[t], t + 1) == WEIR_OK);
    uint64_t seed = 13;
    static const int sizes[] = {1, 33, 1025, 6016, 40000, 70001};
    int cases = 0;
    for (int i = 0; i < 6; i++)
        for (int c = 0; c < N_CUT; c++) {
            const int n = sizes[i], n_row = 7;
            float *l = malloc((size_t)(n * n_row + n) * 4);
            for (int r = 0; r < n_row; r++)
                random_rows(&seed, n, 3.0f, 1.0f, r % 2, l + r * n, l + n_row * n);
            const weir_law law = cut_law(c);
            weir_row_stats want[7], got[7];
            for (int r = 0; r < n_row; r++) want[r] = one(WEIR_ISA_PORTABLE, l + r * n, n, &law);
            for (int isa = 0; isa <= (int)weir__isa_best(); isa++)
                for (int t = 0; t < (build_is_sanitized() ? 2 : 3); t++)
                    for (int rows = 1; rows <= n_row; rows += 6) {
                        weir_backend be = {.isa = (weir_isa)isa, .pool = pool[t]};
                        cr_assert(stats_of(&be, l, n, rows, n, &law, got) == WEIR_OK);
                        for (int r = 0; r < rows; r++)
                            cr_assert(same(&got[r], &want[r]), "n=%d cut %d isa %d threads %d row %d of %d",
                                      n, c, isa, t + 1, r, rows);
                        cases++;
                    }
            free(l);
        }
    for (int t = 0; t < 3; t++) weir__pool_free(pool[t]);
    cr_log_info("%d batches", cases);
}

/* ---- unusable rows, tails, arguments ------------------------------------------------------------------- */

Test(row_stats, nan_marks_the_row_alone) {
    static const float bad[] = {NAN, INFINITY};
    static const int sizes[] = {1, 5, 33, 1500};
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++)
        for (int i = 0; i < 4; i++)
            for (int b = 0; b < 4; b++) {
                const int n = sizes[i];
                float l[3 * 1500];
                for (int v = 0; v < 3 * n; v++) l[v] = (float)(v % 7);
                if (b == 3) /* nothing but -inf */
                    for (int v = 0; v < n; v++) l[n + v] = -INFINITY;
                else
                    l[n + n / 2] = b == 2 ? -bad[0] : bad[b]; /* NaN of both signs */
                weir_backend be = {.isa = (weir_isa)isa};
                const weir_law law = weir_law_default();
                weir_row_stats s[3];
                cr_assert(stats_of(&be, l, n, 3, n, &law, s) == WEIR_OK);
                cr_expect(isnan(s[1].max), "isa %d n=%d kind %d", isa, n, b);
                cr_expect(!isnan(s[0].max) && !isnan(s[2].max), "neighbours at isa %d n=%d kind %d", isa, n,
                          b);
            }
}

Test(row_stats, a_dead_row_is_unusable_and_not_read) {
    const float l[6] = {1, 2, 3, NAN, NAN, NAN};
    const weir_law law = weir_law_default();
    const int32_t law_of[2] = {0, -1};
    weir_row_stats s[2] = {{.argmax = 7}, {.argmax = 7}};
    weir_backend be = {.isa = weir__isa_best()};
    weir_row_stats_args a = {
        .logits = l, .ld = 3, .n_row = 2, .n_vocab = 3, .law = &law, .law_of = law_of, .out = s};
    cr_assert(weir__row_stats_cpu(&be, &a) == WEIR_OK);
    cr_expect(s[0].argmax == 2 && s[0].max == 3.0f);
    cr_expect(isnan(s[1].max) && s[1].argmax == -1 && s[1].tie == -1);
    int32_t token[2] = {9, 9}, position[2] = {0, 0};
    float logp[2];
    weir_draw_args d = {.logits = l,
                        .ld = 3,
                        .n_row = 2,
                        .n_vocab = 3,
                        .law = &law,
                        .law_of = law_of,
                        .stats = s,
                        .position = position,
                        .token = token,
                        .logp = logp};
    cr_assert(weir__draw_cpu(&be, &d) == WEIR_OK);
    cr_expect(token[0] >= 0 && token[0] < 3 && token[1] == -1 && isnan(logp[1]));
}

Test(row_stats, never_read_the_padding) {
    uint64_t seed = 14;
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++)
        for (int n = 1; n < 1200; n += 61)
            for (int c = 0; c < N_CUT; c++) {
                const int ld = n + 13;
                /* the last row's tail does not exist */
                float *l = malloc((size_t)(2 * ld - 13) * 4), p[1200];
                for (int v = 0; v < 2 * ld - 13; v++) l[v] = NAN;
                random_rows(&seed, n, 3.0f, 1.0f, false, l, p);
                memcpy(l + ld, l, (size_t)n * 4);
                const weir_law law = cut_law(c);
                weir_backend be = {.isa = (weir_isa)isa};
                weir_row_stats s[2];
                cr_assert(stats_of(&be, l, ld, 2, n, &law, s) == WEIR_OK);
                cr_assert(!isnan(s[0].max) && same(&s[0], &s[1]), "isa %d n=%d cut %d", isa, n, c);
                free(l);
            }
}

Test(row_stats, extreme_logits) {
    const weir_law law = law_with(0.5f, 2, 0.9f, 0.01f);
    float a[] = {-3.4e38f, 3.4e38f, 0.0f, -0.0f};
    weir_row_stats s = one(weir__isa_best(), a, 4, &law);
    cr_expect(s.max == 3.4e38f && s.argmax == 1 && s.sum == 1.0f && s.psum == 1.0f && s.dot == 0.0f &&
              s.pdot == 0.0f);
    float zeros[] = {-0.0f, 0.0f, -0.0f, -1.0f}; /* both zeros are one value: all three stay under top-k 1 */
    const weir_law k1 = law_with(1, 1, 1, 0);
    s = one(weir__isa_best(), zeros, 4, &k1);
    cr_expect(s.argmax == 0 && s.psum == 3.0f, "argmax %d psum %g", s.argmax, s.psum);
    float inf[] = {-INFINITY, -5.0f, -INFINITY};
    s = one(weir__isa_best(), inf, 3, &law);
    cr_expect(s.argmax == 1 && s.sum == 1.0f && s.dot == 0.0f);
}

Test(row_stats, top_p_ties_go_to_the_lower_id_and_top_k_keeps_them) {
    float l[40];
    for (int v = 0; v < 40; v++) l[v] = 1.0f;
    weir_law law = law_with(1, 0, 0.5f, 0);
    weir_row_stats s = one(weir__isa_best(), l, 40, &law);
    cr_expect(s.thr == 1.0f && s.tie == 19 && s.psum == 20.0f, "tie %d psum %g", s.tie, s.psum);
    law = law_with(1, 7, 1, 0);
    s = one(weir__isa_best(), l, 40, &law);
    cr_expect(s.psum == 40.0f, "psum %g", s.psum);
    law = law_with(1, 0, 1e-7f, 0);
    s = one(weir__isa_best(), l, 40, &law);
    cr_expect(s.tie == 0 && s.psum == 1.0f, "the first stays: tie %d psum %g", s.tie, s.psum);
}

/* A largest logit of -0 is 0, so that every backend's bits are the same. */
Test(row_stats, have_one_zero) {
    const weir_law law = weir_law_default();
    const float rows[][3] = {{-0.0f, -1, -2}, {-1, -0.0f, 0.0f}, {0.0f, -0.0f, -1}};
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++)
        for (int i = 0; i < 3; i++)
            cr_expect_eq(wf_bits(one((weir_isa)isa, rows[i], 3, &law).max), 0u, "%s, row %d",
                         weir__isa_name((weir_isa)isa), i);
}

Test(row_stats, min_p_keeps_what_weighs_just_that) {
    const float l[4] = {-1, 0, -1, -1.001f};
    const weir_law law = law_with(1, 0, 1, wf_exp(-1.0f));
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        const weir_row_stats s = one((weir_isa)isa, l, 4, &law);
        cr_expect(near((double)s.psum, 1.0 + 2.0 * exp(-1.0), 1e-6), "%s: %g", weir__isa_name((weir_isa)isa),
                  (double)s.psum);
    }
}

Test(row_stats, every_row_has_its_own_law) {
    const weir_law law[3] = {law_with(1, 0, 1, 0), law_with(0.5f, 2, 1, 0), law_with(0, 0, 1, 0)};
    const float l[6][4] = {{1, 2, 0, 3}, {1, 2, 0, 3}, {1, 2, 0, 3},
                           {1, 2, 0, 3}, {1, 2, 0, 3}, {1, 2, 0, 3}};
    const int32_t law_of[6] = {2, 0, 1, 1, 0, 2};
    weir_backend be = {.isa = weir__isa_best()};
    weir_row_stats s[6];
    weir_row_stats_args a = {
        .logits = l[0], .ld = 4, .n_row = 6, .n_vocab = 4, .law = law, .law_of = law_of, .out = s};
    cr_assert_eq(weir__row_stats_cpu(&be, &a), WEIR_OK);
    for (int i = 0; i < 6; i++) {
        const weir_row_stats want = one(be.isa, l[i], 4, &law[law_of[i]]);
        cr_expect(same(&s[i], &want), "row %d", i);
    }
    cr_expect(!same(&s[0], &s[1]) && !same(&s[1], &s[2]));
}

Test(row_stats, refuse_bad_arguments) {
    weir_backend be = {.isa = weir__isa_best()};
    const weir_law law = weir_law_default();
    float l[4] = {0};
    weir_row_stats s[2];
    cr_expect(stats_of(&be, l, 4, 0, 4, &law, s) == WEIR_OK);
    cr_expect(stats_of(&be, l, 4, -1, 4, &law, s) == WEIR_EINVAL);
    cr_expect(stats_of(&be, l, 4, 1, 0, &law, s) == WEIR_EINVAL);
    cr_expect(stats_of(&be, l, 3, 1, 4, &law, s) == WEIR_EINVAL);
    cr_expect(stats_of(&be, NULL, 4, 1, 4, &law, s) == WEIR_EINVAL);
    cr_expect(stats_of(&be, l, 4, 1, 4, &law, NULL) == WEIR_EINVAL);
}
