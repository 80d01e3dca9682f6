/* Products with quantised weights on a device, against the oracle of linear_fixture.c and against
 * themselves. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/weight/pack.h"
#include "tests/kernels/linear/device_product.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { FIRST = WEIR_DTYPE_Q4_0, LAST = WEIR_DTYPE_COUNT - 1, N_TYPE = LAST - FIRST + 1 };

static void run(const device_product *b, int64_t r0, int64_t n_row, float *y) {
    cr_assert_eq(device_product_run(b, r0, n_row, y), WEIR_OK, "%s", b->be->err.text);
}

static void check_product(weir_backend *be, const product *p, uint64_t *rng) {
    data d = data_new(p, rng);
    device_product b = device_product_new(be, &d, p->rows ? WEIR_USE_ROWS : WEIR_USE_PREFILL);
    device_product_check(&b, &d, true);
    device_product_free(&b);
    data_free(&d);
}

Test(cuda_linear_quant, every_shape_dtype_and_row_count_is_within_its_bound) {
    weir_backend *be = device_open();
    const int64_t edge[] = {1, 2, 15, 17, 33};
    uint64_t rng = 21;
    for (int t = FIRST; t <= LAST; t++) {
        const int64_t block = weir_dtype_block((weir_dtype)t);
        for (int i = 0; i < 10; i++) {
            if (!in_sample(i, 3)) continue;
            const product p = {.n = edge[i % 5],
                               .k = block * (1 + i % (block == 32 ? 9 : 2)),
                               .dtype = (weir_dtype)t,
                               .n_row = 1 + (i + t) % 10,
                               .gated = i % 4 > 1,
                               .norm = i / 2 % 2,
                               .rows = i % 3 != 0,
                               .scale = 1.0f};
            check_product(be, &p, &rng);
        }
    }
    weir__backend_close(be);
}

/* One stage of inputs in shared memory, a second that is short, and the sum of squares over both. */
Test(cuda_linear_quant, inputs_that_go_by_in_stages_are_within_their_bound) {
    weir_backend *be = device_open();
    uint64_t rng = 23;
    for (int t = FIRST; t <= LAST; t += 2) {
        const int64_t block = weir_dtype_block((weir_dtype)t);
        for (int i = 0; i < 2; i++) {
            const product p = {.n = 19,
                               .k = 2048 + i * block,
                               .n_row = 3,
                               .dtype = (weir_dtype)t,
                               .norm = true,
                               .gated = i == 1,
                               .rows = true,
                               .scale = 1.0f};
            check_product(be, &p, &rng);
        }
    }
    weir__backend_close(be);
}

Test(cuda_linear_quant, every_epilogue_is_within_its_bound) {
    weir_backend *be = device_open();
    uint64_t rng = 31;
    for (int e = WEIR_EPI_STORE; e <= WEIR_EPI_SILU; e++) {
        for (int i = 0; i < N_TYPE; i++) {
            const product p = {.n = 37,
                               .k = 256,
                               .n_row = 1 + i,
                               .dtype = (weir_dtype)(FIRST + i),
                               .gated = i % 3 == 1,
                               .norm = i % 2,
                               .rows = true,
                               .epilogue = (weir_epilogue)e,
                               .scale = i % 2 ? 0.125f : 1.0f};
            if (p.gated && weir__epilogue_reads((weir_epilogue)e)) continue;
            check_product(be, &p, &rng);
        }
    }
    weir__backend_close(be);
}

Test(cuda_linear_quant, a_row_has_the_same_bits_alone_in_company_and_in_a_prompt) {
    weir_backend *be = device_open();
    uint64_t rng = 61;
    for (int t = FIRST; t <= LAST; t++) {
        if (!in_sample(t - FIRST, 3)) continue;
        const product p = {.n = 33,
                           .k = 512,
                           .n_row = 11,
                           .dtype = (weir_dtype)t,
                           .gated = t % 2,
                           .norm = t / 2 % 2,
                           .rows = true,
                           .scale = 1.0f,
                           .epilogue = t % 2 ? WEIR_EPI_SILU : WEIR_EPI_ADD};
        data d = data_new(&p, &rng);
        device_product b = device_product_new(be, &d, WEIR_USE_ROWS);
        const size_t total = (size_t)(p.n_row * d.ldy);
        float *alone = guarded_new(total), *y = guarded_new(total);
        b.rows = true;
        for (int64_t r = 0; r < p.n_row; r++) run(&b, r, 1, alone + r * d.ldy);
        static const int64_t company[] = {2, 3, 8, 9, 11};
        for (size_t i = 0; i < 2 * (sizeof company / sizeof company[0]); i++) {
            const int64_t n_row = company[i / 2], r0 = (p.n_row - n_row) / 2;
            b.rows = i % 2;
            run(&b, r0, n_row, y);
            assert_same(y, alone + r0 * d.ldy, (size_t)(n_row * d.ldy), weir_dtype_name(p.dtype));
        }
        guarded_free(alone), guarded_free(y);
        device_product_free(&b);
        data_free(&d);
    }
    weir__backend_close(be);
}

Test(cuda_linear_quant, extents_are_those_of_the_outputs) {
    weir_backend *be = device_open();
    uint64_t rng = 71;
    const product p = {.n = 300, .k = 64, .n_row = 2, .dtype = WEIR_DTYPE_Q8_0, .rows = true, .scale = 1.0f};
    data d = data_new(&p, &rng);
    device_product b = device_product_new(be, &d, WEIR_USE_ROWS);
    const int64_t count = weir__minmax_count(p.n);
    weir_minmax *there = device_room(be, (size_t)(2 * count) * sizeof *there),
                *got = malloc((size_t)(2 * count) * sizeof *got);
    weir_linear a = {.x = b.x,
                     .ldx = d.ldx,
                     .w = &b.w,
                     .y = b.y,
                     .ldy = d.ldy,
                     .n_row = 2,
                     .scale = 1.0f,
                     .rows = true,
                     .minmax = there,
                     .minmax_n = (int32_t)p.n};
    cr_assert_eq(be->op.linear(be, &a), WEIR_OK);
    float *y = malloc((size_t)(2 * d.ldy) * sizeof *y);
    device_get(be, y, b.y, (size_t)(2 * d.ldy) * sizeof *y);
    device_get(be, got, there, (size_t)(2 * count) * sizeof *got);
    for (int64_t i = 0; i < 2 * count; i++) {
        const int64_t r = i / count, first = i % count * WEIR_EXTENT_SPAN;
        int64_t best = first;
        for (int64_t n = first; n < first + WEIR_EXTENT_SPAN && n < p.n; n++) {
            if (y[r * d.ldy + n] > y[r * d.ldy + best]) best = n;
        }
        cr_assert_eq(got[i].id, best, "row %ld span %ld", (long)r, (long)(i % count));
    }
    free(y), free(got);
    weir__backend_free(be, there);
    device_product_free(&b);
    data_free(&d);
    weir__backend_close(be);
}
