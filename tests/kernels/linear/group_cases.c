#include "tests/kernels/linear/group_cases.h"

#include <criterion/criterion.h>

#include "kernels/weight/pack.h"
#include "tests/kernels/linear/group_fixture.h"
#include "tests/support/build.h"
#include "tests/support/device.h"

static void check_bits(weir_backend *be, product p, const deal *d, uint64_t *rng) {
    grouped g = grouped_new(be, p, d, rng);
    grouped_check(&g, 0);
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
