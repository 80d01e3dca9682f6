/* Products of many rows with bf16 weights on a device: the bits of few rows, whatever the number of rows, the
 * cut of the matrix, the room for records, and the kernel that is chosen. */
#include <criterion/criterion.h>

#include "kernels/weight/pack.h"
#include "tests/kernels/linear/company.h"
#include "tests/support/build.h"
#include "tests/support/device.h"

enum { MOST = 257, FEW = 16, N_COUNTS = 37 };

static void check_counts(weir_backend *be, const product *p, int64_t unit, bool minmax, int nth,
                         uint64_t *rng) {
    company c;
    company_init(&c, be, p, unit, minmax, FEW, rng);
    cr_assert_eq(c.m.w.layout, WEIR_LAYOUT_FRAGMENT);
    company_check_counts(&c, nth);
    company_free(&c);
}

/* The runner's card has 4 multiprocessors, so there almost all of these are the wide kernel's from 17 rows
 * on; on a large card those of many outputs are. */
typedef struct shape {
    int64_t n, k, unit, n_row;
    bool gated, norm;
    weir_epilogue epilogue;
} shape;

static const shape shapes[] = {
    {.n = 150, .k = 136, .n_row = MOST, .epilogue = WEIR_EPI_ADD},                 /* one panel, 8 chains */
    {.n = 145, .k = 50, .n_row = 70, .norm = true, .epilogue = WEIR_EPI_GELU_ERF}, /* chains without tiles */
    {.n = 100, .k = 161, .n_row = 130, .gated = true, .norm = true, .epilogue = WEIR_EPI_GELU_TANH}, /* two */
    {.n = 70, .k = 2050, .n_row = MOST, .norm = true}, /* four, slices */
    {.n = 33, .k = 2600, .n_row = 66, .norm = true, .gated = true, .epilogue = WEIR_EPI_SILU},
    {.n = 40, .k = 5121, .n_row = 34, .epilogue = WEIR_EPI_MUL},
    {.n = 150, .k = 300, .unit = 16, .n_row = 131, .epilogue = WEIR_EPI_ADD},  /* segments by warps */
    {.n = 150, .k = 80, .unit = 16, .n_row = 40},                              /* some of them empty */
    {.n = 70, .k = 2100, .unit = 16, .n_row = MOST, .epilogue = WEIR_EPI_ADD}, /* segments by blocks */
    {.n = 30, .k = 16500, .unit = 32, .n_row = 33},                            /* and their slices */
    {.n = 8500, .k = 40, .n_row = 129, .norm = true},                          /* many outputs */
    {.n = 4300, .k = 33, .n_row = 97, .gated = true, .epilogue = WEIR_EPI_RELU},
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static product product_of(const shape *s) {
    return (product){.n = s->n,
                     .k = s->k,
                     .n_row = s->n_row,
                     .dtype = WEIR_DTYPE_BF16,
                     .gated = s->gated,
                     .norm = s->norm,
                     .rows = true,
                     .epilogue = s->epilogue,
                     .scale = 0.75f};
}

Test(cuda_wide, a_row_has_the_same_bits_in_any_company) {
    weir_backend *be = device_open();
    uint64_t rng = 101;
    for (int i = 0; i < N_SHAPES; i++) {
        const product p = product_of(&shapes[i]);
        const bool large = p.n * p.k > 100000;
        const int nth = large || build_is_tsan() ? 9 : 1 + i % 3;
        if (in_sample(i, 4)) check_counts(be, &p, shapes[i].unit, false, nth, &rng);
    }
    weir__backend_close(be);
}

Test(cuda_wide, products_are_within_their_bound) {
    weir_backend *be = device_open();
    uint64_t rng = 103;
    for (int i = 0; i < N_SHAPES; i++) {
        product p = product_of(&shapes[i]);
        if (!in_sample(i, 5)) continue;
        if (p.n * p.k > 100000 || build_is_tsan()) p.n_row = 33;
        data d = data_new(&p, &rng);
        device_product m = device_product_new(be, &d, WEIR_USE_ROWS);
        if (shapes[i].unit > 0) weir__weight_split_inputs(&m.w, p.k, shapes[i].unit, 0, 1);
        device_product_reserve(&m);
        device_product_check(&m, &d, true);
        device_product_free(&m);
        data_free(&d);
    }
    weir__backend_close(be);
}

Test(cuda_wide, every_epilogue_and_softcap_has_the_bits_of_few_rows) {
    weir_backend *be = device_open();
    uint64_t rng = 105;
    for (int e = WEIR_EPI_STORE; e <= WEIR_EPI_SILU; e++) {
        for (int i = 0; i < 4; i++) { /* gated; a merge between blocks */
            const product p = {.n = 70,
                               .k = i / 2 ? 2050 : 70,
                               .n_row = 33 + 40 * (e % 2),
                               .dtype = WEIR_DTYPE_BF16,
                               .gated = i % 2,
                               .norm = e % 3 == 0,
                               .rows = true,
                               .epilogue = (weir_epilogue)e,
                               .scale = 0.25f,
                               .softcap = e == WEIR_EPI_STORE && i % 2 == 0 ? 5.0f : 0.0f};
            if ((p.gated && weir__epilogue_reads(p.epilogue)) || !in_sample(4 * e + i, 5)) continue;
            check_counts(be, &p, 0, false, N_COUNTS, &rng);
        }
    }
    weir__backend_close(be);
}

/* Of whole units, of units of one panel, and of outputs that several blocks share. */
Test(cuda_wide, minmaxes_are_those_of_few_rows) {
    weir_backend *be = device_open();
    uint64_t rng = 107;
    const int64_t n[] = {8449, 150, 90}, k[] = {17, 40, 2050};
    for (int i = 0; i < 3; i++) {
        const product p = {.n = n[i],
                           .k = k[i],
                           .n_row = build_is_tsan() ? 33 : 66,
                           .dtype = WEIR_DTYPE_BF16,
                           .rows = true,
                           .scale = 1.0f};
        check_counts(be, &p, 0, true, 6, &rng);
    }
    weir__backend_close(be);
}

/* Room for all rows, for some tiles of them, for no records, and for no rows at all: in prompts, and in a
 * head with its minmaxes. */
Test(cuda_wide, scratch_changes_no_bit) {
    weir_backend *be = device_open();
    uint64_t rng = 109;
    for (int i = 0; i < 3; i++) {
        if (!in_sample(i, 3)) continue;
        const shape *of = &shapes[i == 0 ? 3 : i == 1 ? 8 : 6];
        product p = product_of(of);
        p.n_row = build_is_tsan() ? 70 : 150, p.rows = i == 2;
        company c;
        company_init(&c, be, &p, of->unit, i == 2, FEW, &rng);
        const size_t all = be->scratch_floats, least = weir__linear_most_partial_floats(p.n, p.k);
        const size_t row = weir__linear_wide_floats(p.n, p.k, 1) - 128, x = (size_t)(p.k + 15) / 16 * 8 + 1;
        const size_t floats[] = {all,          128 * row + 128, 64 * row + 128, 20 * row,
                                 70 * x + 128, 149 * x + 128,   least};
        for (size_t s = 0; s < sizeof floats / sizeof floats[0]; s++) {
            if (floats[s] >= least && floats[s] <= all) company_check_scratch(&c, floats[s]);
        }
        company_free(&c);
    }
    weir__backend_close(be);
}
