/* RMSNorm on every instruction set against its definition in double. */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/kernels/op_fixture.h"
#include "tests/support/compare.h"

enum { ROWS = 3, MAX_DIM = 300, GAP = 5 };

static float uniform(uint64_t *seed) { return (float)(rng_u64(seed) % 20001) / 10000.0f - 1.0f; }

/* A sum of dim squares is off by dim / 2 roundings of the root, factor, weight and sum by one each. */
static void check(weir_backend *be, int dim, int gap, float eps, bool add, uint64_t *seed) {
    static float x[ROWS * (MAX_DIM + GAP)], y[ROWS * (MAX_DIM + GAP)], before[ROWS * (MAX_DIM + GAP)],
        w[MAX_DIM];
    const int ld = dim + gap;
    for (int i = 0; i < ROWS * ld; i++) x[i] = uniform(seed), y[i] = before[i] = uniform(seed);
    for (int i = 0; i < dim; i++) w[i] = uniform(seed);
    for (int i = 0; i < dim; i++) x[ld + i] *= 1e-3f; /* a row that eps rules */
    weir_rmsnorm a = {
        .y = y, .x = x, .w = w, .n_row = ROWS, .dim = dim, .ld = gap ? ld : 0, .eps = eps, .add = add};
    cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_OK);
    for (int r = 0; r < ROWS; r++) {
        double sum = 0;
        for (int i = 0; i < dim; i++) sum += (double)x[r * ld + i] * (double)x[r * ld + i];
        for (int i = dim; i < ld; i++) cr_assert(y[r * ld + i] == before[r * ld + i], "past row %d", r);
        for (int i = 0; i < dim; i++) {
            const int at = r * ld + i;
            const double v = (double)x[at] / sqrt(sum / dim + (double)eps) * (double)w[i];
            const double want = add ? (double)before[at] + v : v,
                         bound = 0x1p-24 * ((dim + 16) * fabs(v) + fabs(want));
            cr_assert(fabs((double)y[at] - want) <= bound,
                      "%s dim %d eps %g add %d, row %d [%d]: %g, want %g", weir__isa_name(be->isa), dim,
                      (double)eps, add, r, i, (double)y[at], want);
        }
    }
}

Test(rmsnorm, is_its_definition) {
    static const int dims[] = {1, 7, 8, 15, 16, 17, 31, 33, 64, MAX_DIM};
    static const float eps[] = {0.0f, 1e-6f, 1e-2f, 1.0f};
    uint64_t seed = 5;
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
            for (int k = 0; k < 16; k++) check(be, dims[d], k / 8 * GAP, eps[k / 2 % 4], k % 2, &seed);
        weir__backend_close(be);
    }
}

Test(rmsnorm, refuses_what_its_contract_refuses) {
    float x[2] = {1, 2}, y[2], w[2] = {1, 1};
    const weir_rmsnorm good = {.y = y, .x = x, .w = w, .n_row = 1, .dim = 2};
    weir_rmsnorm bad[] = {good, good, good, good, good, good, good, good};
    bad[0].n_row = -1, bad[1].dim = 0, bad[2].x = NULL, bad[3].w = NULL, bad[4].y = NULL;
    bad[5].y = x, bad[5].add = true, bad[6].ld = 1, bad[7].dim = -4;
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(1, (weir_isa)isa);
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
            cr_expect_eq(be->op.rmsnorm(be, &bad[i]), WEIR_EINVAL, "%s, %zu", weir__isa_name(be->isa), i);
        weir_rmsnorm in_place = good;
        in_place.y = x;
        cr_expect_eq(be->op.rmsnorm(be, &in_place), WEIR_OK);
        weir__backend_close(be);
    }
}
