#include "tests/kernels/linear/group_cases.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/weight/pack.h"
#include "tests/kernels/linear/linear_fixture.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { GROUPS = 40, TAIL = 2 };

/* Rows of groups: many are empty, as experts are. before: rows of no group, as those of another rank's. */
typedef struct deal {
    int32_t n, rows[GROUPS], before;
} deal;

typedef struct grouped {
    weir_backend *be;
    product p;
    int32_t n, begin[GROUPS + 1];
    matrix gate[GROUPS], up[GROUPS];
    weir_weight w; /* of the first; the others lie after it */
    float *x, *norm, *y0;
    float *x_there, *norm_there, *y_there;
    int32_t *begin_there;
    int64_t n_row, ldx, ldy, most;
} grouped;

static void pack_all(grouped *g) {
    const product *p = &g->p;
    const weir_layout layout = weir__layout_of(g->be->device, p->dtype, WEIR_USE_ROWS);
    const size_t bytes = weir__weight_bytes(layout, p->dtype, p->n, p->k, p->gated);
    unsigned char *block = weir__backend_alloc(g->be, bytes * (size_t)g->n);
    cr_assert(block);
    for (int i = g->n - 1; i >= 0; i--) {
        const weir_tensor part[2] = {g->gate[i].file, g->up[i].file};
        cr_assert_eq(weir__weight_pack_at(g->be, part, p->gated ? 2 : 1, p->gated, WEIR_USE_ROWS, p->dtype,
                                          block + bytes * (size_t)i, &g->w),
                     WEIR_OK);
    }
    cr_assert_eq(g->w.data, (void *)block);
}

static grouped grouped_new(weir_backend *be, product p, const deal *d, uint64_t *rng) {
    grouped g = {.be = be, .p = p, .n = d->n, .begin = {d->before}, .ldx = p.k + 4, .ldy = p.n + PAD};
    for (int i = 0; i < d->n; i++) {
        g.gate[i] = matrix_new(p.dtype, p.n, p.k, 0.3f, rng);
        g.up[i] = matrix_new(p.dtype, p.n, p.k, 0.3f, rng);
        g.begin[i + 1] = g.begin[i] + d->rows[i];
        if (d->rows[i] > g.most) g.most = d->rows[i];
    }
    g.n_row = g.begin[d->n] + TAIL;
    g.x = floats_normal((size_t)(g.n_row * g.ldx), 1.5f, rng);
    g.norm = floats_normal((size_t)p.k, 0.7f, rng);
    g.y0 = floats_normal((size_t)(g.n_row * g.ldy), 2.0f, rng);
    g.x_there = device_put(be, g.x, (size_t)(g.n_row * g.ldx) * sizeof(float));
    g.norm_there = device_put(be, g.norm, (size_t)p.k * sizeof(float));
    g.y_there = device_room(be, (size_t)(g.n_row * g.ldy) * sizeof(float));
    g.begin_there = device_put(be, g.begin, sizeof g.begin);
    pack_all(&g);
    const int64_t n_all = p.gated ? 2 * p.n : p.n;
    cr_assert_eq(weir__backend_reserve(be, be->device
                                               ? weir__linear_cuda_scratch_floats(n_all, p.k, be->chunk)
                                               : weir__linear_scratch_floats(p.k)),
                 WEIR_OK);
    return g;
}

static void grouped_free(grouped *g) {
    for (int i = 0; i < g->n; i++) matrix_free(&g->gate[i]), matrix_free(&g->up[i]);
    weir__weight_free(g->be, &g->w);
    guarded_free(g->x), guarded_free(g->norm), guarded_free(g->y0);
    weir__backend_free(g->be, g->x_there), weir__backend_free(g->be, g->norm_there);
    weir__backend_free(g->be, g->y_there), weir__backend_free(g->be, g->begin_there);
}

/* Rows [r0, r0 + n_row) with w, or all with their own; then the whole y. */
static void run(const grouped *g, const weir_groups *groups, const weir_weight *w, int64_t r0, int64_t n_row,
                float *y) {
    const size_t bytes = (size_t)(g->n_row * g->ldy) * sizeof *y;
    cr_assert_eq(weir__backend_upload(g->be, g->y_there, g->y0, bytes), WEIR_OK);
    weir_linear a = {.x = g->x_there + r0 * g->ldx,
                     .ldx = g->ldx,
                     .norm = g->p.norm ? g->norm_there : NULL,
                     .eps = LINEAR_EPS,
                     .w = w,
                     .y = g->y_there + r0 * g->ldy,
                     .ldy = g->ldy,
                     .n_row = n_row,
                     .epilogue = g->p.epilogue,
                     .scale = g->p.scale,
                     .rows = g->p.rows || (!groups && g->be->device),
                     .groups = groups};
    cr_assert_eq(g->be->op.linear(g->be, &a), WEIR_OK, "%s", g->be->err.text);
    device_get(g->be, y, g->y_there, bytes);
}

static void check_bits(weir_backend *be, product p, const deal *d, uint64_t *rng) {
    char what[160];
    grouped g = grouped_new(be, p, d, rng);
    const weir_groups groups = {.begin = g.begin_there, .n = g.n, .most = g.most};
    float *got = guarded_new((size_t)(g.n_row * g.ldy)), *want = guarded_new((size_t)(g.n_row * g.ldy));
    p.n_row = g.n_row;
    describe_product(what, sizeof what, be->device ? "device" : weir__isa_name(be->isa), &p);
    run(&g, &groups, &g.w, 0, g.n_row, got);
    for (int i = 0; i < g.n; i++) {
        const int64_t r0 = g.begin[i], n = g.begin[i + 1] - r0;
        const weir_weight one = weir__weight_at(&g.w, i);
        if (n == 0) continue;
        run(&g, NULL, &one, r0, n, want);
        assert_same(got + r0 * g.ldy, want + r0 * g.ldy, (size_t)(n * g.ldy), what);
    }
    const int64_t end = g.begin[g.n];
    assert_same(got, g.y0, (size_t)(g.begin[0] * g.ldy), what);
    assert_same(got + end * g.ldy, g.y0 + end * g.ldy, (size_t)(TAIL * g.ldy), what);
    guarded_free(got), guarded_free(want);
    grouped_free(&g);
}

static const deal deals[] = {
    {1, {3}},      {3, {0, 2, 1}, 5}, {5, {3, 0, 1, 9, 2}, 1},
    {2, {17, 40}}, {4, {0, 0, 0, 0}}, {40, {1, 0, 0, 2, [9] = 1, [31] = 3, [32] = 1, [33] = 8, [39] = 2}},
};

/* What kernels divide in different ways: outputs and inputs that are no whole panels, slices of the inputs
 * (k >= 2048), units of four panels. */
static const product shapes[] = {
    {.n = 19, .k = 24, .norm = true, .gated = true, .epilogue = WEIR_EPI_SILU, .rows = true},
    {.n = 33, .k = 31, .epilogue = WEIR_EPI_MUL},
    {.n = 70, .k = 2050, .norm = true},
    {.n = 40, .k = 2064, .norm = true, .gated = true, .epilogue = WEIR_EPI_SILU, .rows = true},
    {.n = 130, .k = 256, .rows = true},
};

void group_case_bits(weir_backend *be) {
    enum { DEALS = sizeof deals / sizeof *deals, SHAPES = sizeof shapes / sizeof *shapes };
    uint64_t rng = 41;
    for (int i = 0; i < DEALS * SHAPES; i++) {
        for (int d = 0; d < 3; d++) {
            product p = shapes[i % SHAPES];
            if (!in_sample(3 * i + d, 7) || (p.k > 2000 && deals[i / SHAPES].n > 8)) continue;
            p.dtype = (weir_dtype)d, p.scale = 1.0f;
            check_bits(be, p, &deals[i / SHAPES], &rng);
        }
    }
    for (int d = WEIR_DTYPE_Q4_0; d < WEIR_DTYPE_COUNT; d++) {
        product p = {.n = 21, .k = 512, .norm = d % 2, .gated = d % 2, .scale = 1.0f, .dtype = (weir_dtype)d};
        if (in_sample(d, 5)) check_bits(be, p, &deals[2], &rng), check_bits(be, p, &deals[1], &rng);
    }
}

void group_case_refusals(weir_backend *be) {
    uint64_t rng = 42;
    const product p = {.n = 17, .k = 32, .scale = 1.0f, .rows = true, .dtype = WEIR_DTYPE_F32};
    grouped g = grouped_new(be, p, &deals[2], &rng);
    weir_minmax *minmax = device_room(be, 64 * sizeof *minmax);
    const weir_groups good = {.begin = g.begin_there, .n = g.n, .most = g.most};
    weir_groups bad[3] = {good, good, good};
    bad[0].begin = NULL, bad[1].n = 0, bad[2].most = -1;
    weir_linear a = {.x = g.x_there,
                     .ldx = g.ldx,
                     .w = &g.w,
                     .y = g.y_there,
                     .ldy = g.ldy,
                     .n_row = g.n_row,
                     .scale = 1.0f,
                     .rows = true};
    for (int i = 0; i < 3; i++) {
        a.groups = &bad[i];
        cr_assert_eq(be->op.linear(be, &a), WEIR_EINVAL, "case %d", i);
    }
    a.groups = &good;
    a.minmax = minmax, a.minmax_n = 17;
    cr_assert_eq(be->op.linear(be, &a), WEIR_EINVAL, "a minmax");
    a.minmax = NULL;
    weir_weight split = g.w;
    weir__weight_split_inputs(&split, 32, 16, 0, 1);
    a.w = &split;
    cr_assert_eq(be->op.linear(be, &a), WEIR_EINVAL, "a split weight");
    a.w = &g.w;
    cr_assert_eq(be->op.linear(be, &a), WEIR_OK);
    weir__backend_free(be, minmax);
    grouped_free(&g);
}
