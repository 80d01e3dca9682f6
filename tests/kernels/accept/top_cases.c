#include "tests/kernels/accept/top_cases.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/accept/sweep/order.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { ROWS = 6, ASKED = 9 };

static const float *sorted; /* the row that ids are sorted by */

static int by_logit(const void *x, const void *y) {
    const int32_t a = *(const int32_t *)x, b = *(const int32_t *)y;
    if (sorted[a] != sorted[b]) return sorted[a] > sorted[b] ? -1 : 1;
    return a < b ? -1 : 1;
}

/* Rows without a NaN: random, few values, one value, zeros of both signs on top, little above -inf,
 * rising. */
static void fill(float *l, int row, int n, uint64_t *rng) {
    for (int v = 0; v < n; v++) {
        const float x = rng_normal(rng);
        l[v] = row == 0   ? 3.0f * x
               : row == 1 ? floorf(x)
               : row == 2 ? 0.25f
               : row == 3 ? (v % 3   ? -0.0f
                             : v % 2 ? 0.0f
                                     : -1.0f)
               : row == 4 ? (rng_u64(rng) % (uint64_t)n < 7 ? x : -INFINITY)
                          : (float)v;
    }
    if (row == 4) l[n - 1] = 1.0f; /* usable */
}

static void check(const float *l, int n, int n_top, const weir_top_entry *got, const char *what) {
    int32_t *id = malloc((size_t)n * sizeof *id);
    for (int v = 0; v < n; v++) id[v] = v;
    sorted = l;
    qsort(id, (size_t)n, sizeof *id, by_logit);
    for (int i = 0; i < n_top; i++) {
        const int32_t want = i < n ? id[i] : -1;
        cr_assert(got[i].id == want, "%s: place %d is id %d, want %d", what, i, (int)got[i].id, (int)want);
        cr_assert(want < 0 ? isnan(got[i].logit) : wf_bits(got[i].logit) == wf_bits(l[want] + 0.0f),
                  "%s: place %d", what, i);
    }
    free(id);
}

/* Room for n_top entries of ASKED rows, and what must stay as it is after them. */
static void run(weir_backend *be, weir_top_args *a, weir_top_entry *got) {
    const size_t n = (size_t)(a->n_row * a->n_top), bytes = (n + 1) * sizeof *got;
    got[n] = (weir_top_entry){-77, 5.0f};
    weir_top_entry *there = device_put(be, got, bytes);
    a->out = there;
    cr_assert_eq(be->op.top(be, a), WEIR_OK, "%s", be->err.text);
    device_get(be, got, there, bytes);
    cr_assert(got[n].id == -77 && got[n].logit == 5.0f, "written past the end");
    weir__backend_free(be, there);
}

static void one_size(weir_backend *be, int n, uint64_t *rng) {
    static const int32_t row[ASKED] = {5, 0, 1, 1, 2, 4, 3, 0, 5};
    static const int n_top[] = {1, 2, 5, 20};
    const int ld = n + 3;
    float *logits = malloc((size_t)(ROWS * ld) * sizeof *logits);
    weir_row_stats stats[ROWS];
    weir_top_entry got[ASKED * WEIR_TOP_MAX + 1];
    char what[80];
    for (int r = 0; r < ROWS; r++) {
        fill(logits + r * ld, r, n, rng);
        for (int v = n; v < ld; v++) logits[r * ld + v] = INFINITY; /* not read */
        stats[r] = (weir_row_stats){.max = 1.0f, .sum = 1.0f};
    }
    float *logits_there = device_put(be, logits, (size_t)(ROWS * ld) * sizeof *logits);
    weir_row_stats *stats_there = device_put(be, stats, sizeof stats);
    int32_t *row_there = device_put(be, row, sizeof row);
    for (int k = 0; k < 4; k++)
        for (int64_t n_row = 0; n_row <= ASKED; n_row += n_row ? 4 : 1) {
            weir_top_args a = {.logits = logits_there,
                               .ld = ld,
                               .n_row = n_row,
                               .n_vocab = n,
                               .n_top = n_top[k],
                               .stats = stats_there,
                               .row = row_there};
            run(be, &a, got);
            for (int i = 0; i < n_row; i++) {
                snprintf(what, sizeof what, "%d ids, row %d, %d wanted", n, (int)row[i], n_top[k]);
                check(logits + row[i] * ld, n, n_top[k], got + i * n_top[k], what);
            }
        }
    weir__backend_free(be, logits_there), weir__backend_free(be, stats_there),
        weir__backend_free(be, row_there);
    free(logits);
}

void top_case_rows(weir_backend *be, const int *n_vocab, int n) {
    uint64_t rng = 11;
    for (int i = 0; i < n; i++) one_size(be, n_vocab[i], &rng);
}

/* Its statistics say so; its logits are not looked at. */
void top_case_unusable(weir_backend *be) {
    const float logits[2][4] = {{1.0f, 2.0f, 3.0f, 4.0f}, {1.0f, 5.0f, 3.0f, 2.0f}};
    const weir_row_stats stats[2] = {{.max = NAN}, {.max = 5.0f}};
    const int32_t row[2] = {0, 1};
    weir_top_entry got[5];
    weir_top_args a = {.logits = device_put(be, logits, sizeof logits),
                       .ld = 4,
                       .n_row = 2,
                       .n_vocab = 4,
                       .n_top = 2,
                       .stats = device_put(be, stats, sizeof stats),
                       .row = device_put(be, row, sizeof row)};
    run(be, &a, got);
    for (int i = 0; i < 2; i++) cr_assert(got[i].id == -1 && isnan(got[i].logit), "entry %d", i);
    cr_assert(got[2].id == 1 && got[3].id == 2 && got[2].logit == 5.0f && got[3].logit == 3.0f);
    weir__backend_free(be, (void *)(uintptr_t)a.logits);
    weir__backend_free(be, (void *)(uintptr_t)a.stats);
    weir__backend_free(be, (void *)(uintptr_t)a.row);
}

void top_case_refusals(weir_backend *be) {
    float *x = device_room(be, 256);
    void *out = device_room(be, 256);
    const weir_top_args good = {
        .logits = x, .ld = 2, .n_row = 1, .n_vocab = 2, .n_top = 1, .stats = out, .row = out, .out = out};
    weir_top_args bad[10];
    for (int i = 0; i < 10; i++) bad[i] = good;
    bad[0].logits = NULL, bad[1].stats = NULL, bad[2].row = NULL, bad[3].out = NULL, bad[4].n_row = -1;
    bad[5].ld = 1, bad[6].n_vocab = 0, bad[7].n_top = 0, bad[8].n_top = WEIR_TOP_MAX + 1;
    bad[9].n_row = 0, bad[9].logits = NULL;
    for (int i = 0; i < 10; i++)
        cr_expect_eq(be->op.top(be, &bad[i]), i < 9 ? WEIR_EINVAL : WEIR_OK, "case %d", i);

    weir__backend_free(be, x), weir__backend_free(be, out);
}
