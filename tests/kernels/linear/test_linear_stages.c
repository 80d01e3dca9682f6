/* Products on devices with less shared memory: rows that do not fit into a block's, and which kernel takes
 * many rows. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/weight/pack.h"
#include "tests/kernels/linear/group_fixture.h"
#include "tests/runner/control.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { ROWS = 16, SMALL = 72 << 10 };

/* Rows [r0, r0 + n_row) of x with `shared` bytes of shared memory. The kernels that were launched. */
static long run(const data *d, int64_t unit, int shared, int64_t r0, int64_t n_row, float *y) {
    runner_shared_memory(shared);
    weir_backend *be = device_open();
    weir_weight w = data_pack(be, d, WEIR_USE_ROWS);
    if (unit > 0) weir__weight_split_inputs(&w, d->p.k, unit, 0, 1);
    cr_assert_eq(weir__backend_reserve(be, weir__linear_cuda_scratch_floats(2 * d->p.n, d->p.k, 0)), WEIR_OK);
    float *x = device_put(be, d->x + r0 * d->ldx, sizeof *x * (size_t)(n_row * d->ldx)),
          *norm = device_put(be, d->norm, sizeof *norm * (size_t)d->p.k),
          *there = device_put(be, d->y0, sizeof *y * (size_t)(n_row * d->ldy));
    weir_linear a = {.x = x,
                     .ldx = d->ldx,
                     .norm = d->p.norm ? norm : NULL,
                     .eps = LINEAR_EPS,
                     .w = &w,
                     .y = there,
                     .ldy = d->ldy,
                     .n_row = n_row,
                     .scale = 1.0f,
                     .rows = true};
    runner_api_reset();
    cr_assert_eq(be->op.linear(be, &a), WEIR_OK);
    const long launches = runner_api_count("cudaLaunchKernelExC");
    device_get(be, y, there, sizeof *y * (size_t)(n_row * d->ldy));
    weir__backend_free(be, x), weir__backend_free(be, norm), weir__backend_free(be, there);
    weir__weight_free(be, &w);
    weir__backend_close(be);
    runner_shared_memory(0);
    return launches;
}

/* One, two and four panels; and segments by warps, which take fewer rows at once instead. */
Test(linear_stages, rows_that_go_by_in_stages_have_the_bits_of_those_that_do_not) {
    const struct {
        int64_t n, k, unit;
        bool gated;
    } shape[] = {{70, 1500, 0, false}, {40, 1000, 0, true}, {8500, 1100, 0, false}, {70, 2000, 16, false}};
    uint64_t rng = 67;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        if (!in_sample((int)i, 3)) continue;
        const product p = {.n = shape[i].n,
                           .k = shape[i].k,
                           .n_row = ROWS,
                           .dtype = WEIR_DTYPE_BF16,
                           .gated = shape[i].gated,
                           .norm = shape[i].unit == 0,
                           .rows = true,
                           .scale = 1.0f};
        data d = data_new(&p, &rng);
        const size_t total = (size_t)(ROWS * d.ldy);
        float *whole = malloc(sizeof *whole * total), *staged = malloc(sizeof *staged * total),
              *one = malloc(sizeof *one * (size_t)d.ldy);
        run(&d, shape[i].unit, 0, 0, ROWS, whole);
        run(&d, shape[i].unit, SMALL, 0, ROWS, staged);
        run(&d, shape[i].unit, SMALL, 11, 1, one);
        data_expect(&d, true);
        char what[160];
        describe_product(what, sizeof what, "in stages", &p);
        for (int64_t r = 0; r < ROWS; r++) {
            assert_same(staged + r * d.ldy, whole + r * d.ldy, (size_t)p.n, what);
            assert_within(staged + r * d.ldy, d.want + r * p.n, d.bound + r * p.n, (size_t)p.n, what);
        }
        assert_same(one, whole + 11 * d.ldy, (size_t)p.n, "row 11 alone");
        free(whole), free(staged), free(one);
        data_free(&d);
    }
}

/* 128 rows a block, 64, 32, and 16 of the kernel for few rows: the same bits. Launches are rows and product,
 * and a merge where several blocks share outputs. */
Test(linear_stages, many_rows_have_the_same_bits_whatever_fits) {
    enum { MANY = 140 };
    const struct {
        int64_t n, k, unit;
        bool gated;
        long launches;
    } shape[] = {{150, 136, 0, false, 2},
                 {100, 161, 0, true, 2},
                 {150, 300, 16, false, 2},
                 {70, 2050, 0, false, 3},
                 {70, 2100, 16, false, 3}};
    static const int shared[] = {227 << 10, 163 << 10, 99 << 10, SMALL};
    uint64_t rng = 69;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        if (!in_sample((int)i, 3)) continue;
        const product p = {.n = shape[i].n,
                           .k = shape[i].k,
                           .n_row = MANY,
                           .dtype = WEIR_DTYPE_BF16,
                           .gated = shape[i].gated,
                           .norm = shape[i].unit == 0,
                           .rows = true,
                           .scale = 1.0f};
        data d = data_new(&p, &rng);
        const size_t total = (size_t)(MANY * d.ldy);
        float *first = malloc(sizeof *first * total), *y = malloc(sizeof *y * total);
        char what[160];
        describe_product(what, sizeof what, "many rows", &p);
        for (int j = 0; j < 4; j++) {
            const long launches = run(&d, shape[i].unit, shared[j], 0, MANY, j ? y : first);
            if (j == 0) cr_assert_eq(launches, shape[i].launches, "%s: %ld launches", what, launches);
            if (shared[j] == SMALL) cr_assert_eq(launches, 1, "%s: %ld launches", what, launches);
            if (j) assert_same(y, first, total, what);
        }
        free(first), free(y);
        data_free(&d);
    }
}

/* 128 rows of a quantised weight a block, 64 and 32: the same bits, and those of 8 rows. Launches are rows
 * and product, and a merge where several blocks share outputs. */
Test(linear_stages, quantised_rows_have_the_same_bits_whatever_fits) {
    enum { MANY = 140, FEW = 8 };
    const struct {
        int64_t n, k, unit;
        long launches;
    } shape[] = {{150, 1280, 0, 2}, {40, 1024, 256, 3}, {20, 512, 0, 3}};
    static const weir_dtype dtype[] = {WEIR_DTYPE_Q4_K, WEIR_DTYPE_Q6_K, WEIR_DTYPE_Q8_0};
    static const int shared[] = {227 << 10, 99 << 10, SMALL};
    uint64_t rng = 71;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        const product p = {.n = shape[i].n,
                           .k = shape[i].k,
                           .n_row = MANY,
                           .dtype = dtype[i],
                           .norm = shape[i].unit == 0,
                           .rows = true,
                           .scale = 1.0f};
        data d = data_new(&p, &rng);
        const size_t total = (size_t)(MANY * d.ldy);
        float *first = malloc(sizeof *first * total), *y = malloc(sizeof *y * total);
        char what[160];
        describe_product(what, sizeof what, "many rows", &p);
        for (int j = 0; j < 3; j++) {
            const long launches = run(&d, shape[i].unit, shared[j], 0, MANY, j ? y : first);
            if (j == 0) cr_assert_eq(launches, shape[i].launches, "%s: %ld launches", what, launches);
            if (j) assert_same(y, first, total, what);
        }
        cr_assert_eq(run(&d, shape[i].unit, 0, 0, FEW, y), 1, "%s: few rows", what);
        assert_same(y, first, (size_t)(FEW * d.ldy), what);
        free(first), free(y);
        data_free(&d);
    }
}

/* Two launches: rows to scratch, and tiles of many. One: tiles of few. */
static void check_launches(weir_dtype dtype, int32_t few, int shared) {
    runner_shared_memory(shared);
    weir_backend *be = device_open();
    uint64_t rng = 77;
    const deal rows = {4, {0, 40, 0, 70}, 1};
    const product p = {.n = 70, .k = 256, .dtype = dtype, .rows = true, .scale = 1.0f};
    grouped g = grouped_new(be, p, &rows, &rng);
    for (int32_t n_all = 0; n_all <= few + 1; n_all++) {
        const size_t room = n_all == few - 1 ? 160 : be->scratch_floats; /* 160: not for a row */
        const device_scratch s = device_scratch_limit(be, room);
        runner_api_reset();
        grouped_check(&g, n_all);
        cr_assert_eq(runner_api_count("cudaLaunchKernelExC"), shared == 0 && n_all < few - 1 ? 2 : 1,
                     "%s, %d bytes, %d matrices", weir_dtype_name(dtype), shared, (int)n_all);
        device_scratch_end(s);
    }
    grouped_free(&g);
    weir__backend_close(be);
    runner_shared_memory(0);
}

/* Where the 113 rows are fewer than 16 on average, or 8 of a quantised weight's; or what a tile of many needs
 * is not there. */
Test(linear_stages, groups_of_few_rows_and_small_devices_take_tiles_of_few) {
    check_launches(WEIR_DTYPE_BF16, 8, 0);
    check_launches(WEIR_DTYPE_BF16, 8, SMALL);
    check_launches(WEIR_DTYPE_Q4_K, 15, 0);
}
