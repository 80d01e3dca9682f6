/* Products of many rows with quantised weights on a device: the bits of up to 8 rows, whatever the format,
 * the number of rows, the cut of the inputs, and the room for records. */
#include <criterion/criterion.h>
#include <math.h>

#include "kernels/weight/pack.h"
#include "tests/kernels/linear/company.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { FIRST = WEIR_DTYPE_Q4_0, LAST = WEIR_DTYPE_COUNT - 1, FEW = 8, MOST = 257 };

/* k, unit: inputs, and those of a segment's unit, of blocks of 32; a format of larger ones has whole blocks.
 * */
typedef struct shape {
    int64_t n, k, unit, n_row;
    bool gated, norm;
    weir_epilogue epilogue;
} shape;

static const shape shapes[] = {
    {.n = 40, .k = 288, .n_row = MOST, .norm = true, .epilogue = WEIR_EPI_GELU_TANH}, /* a group and a unit */
    {.n = 133, .k = 512, .n_row = 70, .epilogue = WEIR_EPI_ADD},                      /* blocks of outputs */
    {.n = 21, .k = 768, .n_row = 129, .gated = true, .norm = true, .epilogue = WEIR_EPI_SILU},
    {.n = 30, .k = 2560, .unit = 32, .n_row = 33, .epilogue = WEIR_EPI_ADD}, /* a tree of segments */
    {.n = 17, .k = 192, .unit = 32, .n_row = 66},                            /* some of them empty */
    {.n = 600, .k = 32, .n_row = 131, .gated = true, .epilogue = WEIR_EPI_GELU_ERF},
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static product product_of(const shape *s, weir_dtype dtype) {
    const int64_t block = weir_dtype_block(dtype);
    return (product){.n = s->n,
                     .k = (s->k + block - 1) / block * block,
                     .n_row = s->n_row,
                     .dtype = dtype,
                     .gated = s->gated,
                     .norm = s->norm,
                     .rows = true,
                     .epilogue = s->epilogue,
                     .scale = 0.75f};
}

static int64_t unit_of(const shape *s, weir_dtype dtype) {
    const int64_t block = weir_dtype_block(dtype);
    return s->unit == 0 ? 0 : s->unit < block ? block : s->unit;
}

/* Every format has every shape, and a sample of the row counts. */
Test(cuda_quant_wide, a_row_has_the_same_bits_in_any_company) {
    weir_backend *be = device_open();
    uint64_t rng = 201;
    for (int t = FIRST; t <= LAST; t++) {
        for (int i = 0; i < N_SHAPES; i++) {
            if (!in_sample(N_SHAPES * t + i, 11)) continue;
            const product p = product_of(&shapes[i], (weir_dtype)t);
            company c;
            company_init(&c, be, &p, unit_of(&shapes[i], (weir_dtype)t), false, FEW, &rng);
            company_check_counts(&c, p.n_row == MOST ? 4 : 6);
            company_free(&c);
        }
    }
    weir__backend_close(be);
}

Test(cuda_quant_wide, products_are_within_their_bound) {
    weir_backend *be = device_open();
    uint64_t rng = 203;
    for (int t = FIRST; t <= LAST; t++) {
        if (!in_sample(t, 4)) continue;
        const shape *s = &shapes[t % (N_SHAPES - 1)];
        product p = product_of(s, (weir_dtype)t);
        p.n_row = 11;
        data d = data_new(&p, &rng);
        device_product m = device_product_new(be, &d, WEIR_USE_ROWS);
        if (s->unit > 0) weir__weight_split_inputs(&m.w, p.k, unit_of(s, p.dtype), 0, 1);
        device_product_reserve(&m);
        device_product_check(&m, &d, true);
        device_product_free(&m);
        data_free(&d);
    }
    weir__backend_close(be);
}

/* Of outputs that one block has, and that several share. */
Test(cuda_quant_wide, minmaxes_are_those_of_few_rows) {
    weir_backend *be = device_open();
    uint64_t rng = 207;
    const int64_t n[] = {1700, 150, 4200};
    for (int i = 0; i < 3; i++) {
        if (!in_sample(i, 3)) continue;
        const product p = {.n = n[i],
                           .k = 512,
                           .n_row = i == 2 ? 34 : 66,
                           .dtype = i ? WEIR_DTYPE_Q6_K : WEIR_DTYPE_Q8_0,
                           .rows = true,
                           .scale = 1.0f,
                           .softcap = i ? 0.0f : 3.0f};
        company c;
        company_init(&c, be, &p, 0, true, FEW, &rng);
        company_check(&c, 0, p.n_row);
        company_check(&c, 3, 12);
        company_free(&c);
    }
    weir__backend_close(be);
}

/* Room for all rows, for some tiles of them, for an octet, for no records, and for no rows at all. */
Test(cuda_quant_wide, scratch_changes_no_bit) {
    weir_backend *be = device_open();
    uint64_t rng = 209;
    for (int i = 0; i < 3; i++) {
        if (!in_sample(i, 3)) continue;
        const shape *s = &shapes[i + 1];
        const weir_dtype dtype = i == 1 ? WEIR_DTYPE_Q2_K : i ? WEIR_DTYPE_Q5_0 : WEIR_DTYPE_Q4_K;
        product p = product_of(s, dtype);
        p.n_row = 75;
        company c;
        company_init(&c, be, &p, unit_of(s, dtype), i == 0, FEW, &rng);
        const size_t all = be->scratch_floats, step = (size_t)((p.k + 255) / 256) * 704 + 8;
        const size_t panels = (size_t)(p.gated ? 4 : (p.n + 15) / 16), records = 8 * 8 * 16 * panels;
        const size_t floats[] = {
            all, 9 * (step + records), 4 * (step + records) + 200, step + records + 130, step + 130, step / 2,
            0};
        for (size_t j = 0; j < sizeof floats / sizeof floats[0]; j++) {
            if (floats[j] <= all) company_check_scratch(&c, floats[j]);
        }
        company_free(&c);
    }
    weir__backend_close(be);
}

/* A row whose inputs are not numbers leaves the others alone; one of tiny inputs is zero. */
Test(cuda_quant_wide, a_row_of_nan_is_nan_and_no_other_is) {
    weir_backend *be = device_open();
    uint64_t rng = 211;
    for (int t = FIRST; t <= LAST; t += 3) {
        const product p = {
            .n = 20, .k = 256, .n_row = 19, .dtype = (weir_dtype)t, .rows = true, .scale = 1.0f};
        data d = data_new(&p, &rng);
        for (int64_t i = 0; i < p.k; i++) d.x[4 * d.ldx + i] *= 0x1p-110f;
        d.x[2 * d.ldx + 40] = NAN, d.x[9 * d.ldx + 200] = INFINITY;
        device_product m = device_product_new(be, &d, WEIR_USE_ROWS);
        device_product_reserve(&m);
        float *y = guarded_new((size_t)(p.n_row * d.ldy));
        for (int64_t n_row = 10; n_row <= p.n_row; n_row += 9) {
            cr_assert_eq(device_product_run(&m, 0, n_row, y), WEIR_OK, "%s", be->err.text);
            for (int64_t r = 0; r < n_row; r++) {
                for (int64_t n = 0; n < p.n; n++) {
                    const float f = y[r * d.ldy + n];
                    cr_assert_eq(f != f, r == 2 || r == 9, "%s row %ld", weir_dtype_name(p.dtype), (long)r);
                    if (r == 4) cr_assert_eq(f, 0.0f);
                }
            }
        }
        guarded_free(y);
        device_product_free(&m);
        data_free(&d);
    }
    weir__backend_close(be);
}
