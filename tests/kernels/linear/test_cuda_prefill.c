/* Products of rows = false on a device: chunks through the library, and what goes round it. The oracle of
 * linear_fixture.c; a product of bf16 weights may round its input or not (linear.h), so its bound is the
 * wider one. */
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

static device_product prompt_new(weir_backend *be, const data *d, weir_use use) {
    const device_product m = device_product_new(be, d, use);
    device_product_reserve(&m);
    return m;
}

static void check_prompt(weir_backend *be, const product *p, weir_use use, uint64_t *rng) {
    data d = data_new(p, rng);
    device_product m = prompt_new(be, &d, use);
    device_product_check(&m, &d, p->dtype == WEIR_DTYPE_BF16);
    device_product_free(&m);
    data_free(&d);
}

/* k = 33 has rows that the library cannot read; f16 never goes there; ROWS use is a FRAGMENT weight, whose
 * own kernel multiplies prompts, too. */
Test(cuda_prefill, prompts_are_within_their_bound) {
    weir_backend *be = device_open();
    const int64_t chunk = be->chunk;
    uint64_t rng = 41;
    const int64_t rows[] = {1, 40, chunk - 1, chunk, chunk + 1, chunk + 44};
    for (int i = 0; i < 18; i++) {
        if (!in_sample(i, 5)) continue;
        const product p = {.n = i % 2 ? 70 : 45,
                           .k = i % 6 == 5 ? 33
                                : i % 2    ? 64
                                           : 40,
                           .n_row = rows[i / 3],
                           .dtype = (weir_dtype)(i % 3),
                           .gated = i % 4 == 1,
                           .norm = i % 3 != 1,
                           .epilogue = i % 4 == 1   ? WEIR_EPI_GELU_TANH
                                       : i % 4 == 2 ? WEIR_EPI_STORE
                                                    : WEIR_EPI_ADD,
                           .scale = i % 5 ? 1.0f : 0.5f};
        check_prompt(be, &p, WEIR_USE_PREFILL, &rng);
    }
    const product fragment = {
        .n = 33, .k = 50, .n_row = 70, .dtype = WEIR_DTYPE_BF16, .norm = true, .scale = 1.0f};
    check_prompt(be, &fragment, WEIR_USE_ROWS, &rng);
    weir__backend_close(be);
}

/* A row's bits depend on its chunk's shape alone: not on how many rows the chunk has, nor on what they
 * hold. */
Test(cuda_prefill, a_row_does_not_see_its_chunk) {
    weir_backend *be = device_open();
    const int64_t chunk = be->chunk;
    uint64_t rng = 71;
    for (int i = 0; i < 4; i++) {
        if (!in_sample(i, 3)) continue;
        const product p = {.n = 45,
                           .k = 40,
                           .n_row = chunk + 30,
                           .dtype = (weir_dtype)(i % 3),
                           .norm = true,
                           .gated = i == 3,
                           .scale = 1.0f};
        data d = data_new(&p, &rng);
        device_product m = prompt_new(be, &d, WEIR_USE_PREFILL);
        const size_t total = (size_t)(p.n_row * d.ldy);
        float *whole = guarded_new(total), *y = guarded_new(total);
        cr_assert_eq(device_product_run(&m, 0, p.n_row, whole), WEIR_OK);
        const int64_t first[] = {0, 0, chunk}, n_row[] = {chunk, 7, 30};
        for (int j = 0; j < 3; j++) {
            cr_assert_eq(device_product_run(&m, first[j], n_row[j], y), WEIR_OK);
            assert_same(y, whole + first[j] * d.ldy, (size_t)(n_row[j] * d.ldy), "rows of a chunk");
        }
        for (int64_t e = 0; e < p.n_row * d.ldx; e++) {
            if (e / d.ldx != 70 && e % d.ldx < p.k) d.x[e] = e % 5 ? rng_normal(&rng) : NAN;
        }
        cr_assert_eq(weir__backend_upload(be, m.x, d.x, (size_t)(p.n_row * d.ldx) * sizeof(float)), WEIR_OK);
        cr_assert_eq(device_product_run(&m, 0, p.n_row, y), WEIR_OK);
        assert_same(y + 70 * d.ldy, whole + 70 * d.ldy, (size_t)p.n, "other rows changed");
        guarded_free(whole), guarded_free(y);
        device_product_free(&m);
        data_free(&d);
    }
    weir__backend_close(be);
}

/* More shapes than are kept, and back to the first: an algorithm that is chosen again is the same. */
Test(cuda_prefill, many_shapes_come_and_go) {
    weir_backend *be = device_open();
    uint64_t rng = 81;
    float *first = NULL;
    data d0 = {0};
    for (int i = 0; i <= 140; i++) {
        const product p = {.n = 1 + i % 140, .k = 8, .n_row = 2, .dtype = WEIR_DTYPE_BF16, .scale = 1.0f};
        data d = i == 140 ? d0 : data_new(&p, &rng);
        device_product m = prompt_new(be, &d, WEIR_USE_PREFILL);
        float *y = guarded_new((size_t)(2 * d.ldy));
        cr_assert_eq(device_product_run(&m, 0, 2, y), WEIR_OK, "shape %d: %s", i, be->err.text);
        if (i == 140) assert_same(y, first, (size_t)(2 * d.ldy), "the first shape again");
        device_product_free(&m);
        if (i == 0) {
            d0 = d, first = y;
        } else {
            guarded_free(y);
            data_free(&d);
        }
    }
    guarded_free(first);
    weir__backend_close(be);
}

Test(cuda_prefill, too_little_scratch_is_an_error) {
    weir_backend *be = device_open();
    uint64_t rng = 91;
    const product p = {.n = 45, .k = 40, .n_row = 3, .dtype = WEIR_DTYPE_BF16, .scale = 1.0f};
    data d = data_new(&p, &rng);
    device_product m = prompt_new(be, &d, WEIR_USE_PREFILL);
    float *y = guarded_new((size_t)(3 * d.ldy));
    device_scratch s = device_scratch_limit(be, 1000);
    const weir_status st = device_product_run(&m, 0, 3, y);
    device_scratch_end(s);
    s = device_scratch_limit(be, weir__linear_cuda_scratch_floats(p.n, p.k, be->chunk));
    cr_assert_eq(device_product_run(&m, 0, 3, y), WEIR_OK, "what the header says is too little");
    device_scratch_end(s);
    /* without the library nothing of it is needed */
    cr_assert(st == WEIR_ENOMEM || (st == WEIR_OK && strstr(be->about, "weir's own")), "%d", (int)st);
    guarded_free(y);
    device_product_free(&m);
    data_free(&d);
    weir__backend_close(be);
}
