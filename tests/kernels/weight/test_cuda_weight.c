/* What the device holds after packing is what host memory would hold: every layout downloaded and read
 * element by element. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/weight/pack.h"
#include "kernels/weight/quantise.h"
#include "tests/kernels/op_fixture.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

static void check(weir_backend *be, weir_dtype dtype, weir_use use, bool gated, int64_t n0, int64_t n1,
                  int64_t k, uint64_t *rng) {
    const matrix m[2] = {matrix_new(dtype, n0, k, 1.0f, rng), matrix_new(dtype, n1, k, 1.0f, rng)};
    const weir_tensor part[2] = {m[0].file, m[1].file};
    weir_weight w;
    cr_assert_eq(weir__weight_pack(be, part, 2, gated, use, &w), WEIR_OK);
    const size_t bytes = weir__weight_bytes(w.layout, dtype, w.n, k, gated);
    weir_weight here = w;
    here.data = malloc(bytes);
    device_get(be, here.data, w.data, bytes);
    for (int64_t i = 0; i < n0 + n1; i++) {
        const float *want = i < n0 ? m[0].value + i * k : m[1].value + (i - n0) * k;
        for (int64_t j = 0; j < k; j++) {
            const float got =
                gated ? weir__weight_get(&here, i % n0, j, i >= n0) : weir__weight_get(&here, i, j, false);
            cr_assert(got == want[j], "%s use %d gated %d at (%ld, %ld): %g, want %g", weir_dtype_name(dtype),
                      (int)use, gated, (long)i, (long)j, (double)got, (double)want[j]);
        }
    }
    free(here.data);
    weir__weight_free(be, &w);
    matrix_free((matrix *)&m[0]), matrix_free((matrix *)&m[1]);
}

Test(cuda_weight, the_device_holds_the_elements_of_the_file) {
    weir_backend *be = device_open();
    uint64_t rng = 5;
    const int64_t edge[] = {1, 15, 16, 17, 33};
    for (int i = 0; i < 25; i++) {
        for (int d = 0; d < 12; d++) {
            const bool gated = d / 6;
            const int64_t n = edge[i / 5];
            check(be, (weir_dtype)(d % 3), (weir_use)(d / 3 % 2), gated, n, gated ? n : edge[(i + 3) % 5],
                  edge[i % 5], &rng);
        }
    }
    /* 22 panels of 288,256 bytes: two slices */
    check(be, WEIR_DTYPE_BF16, WEIR_USE_ROWS, false, 300, 41, 9001, &rng);
    weir__backend_close(be);
}

/* Floats that become blocks on their way: what blocks of the same floats would be, also of rows that do not
 * follow one another, and of a matrix that is staged in slices. */
static void check_as(weir_backend *be, weir_dtype from, weir_dtype to, int64_t n, int64_t k, bool cut,
                     uint64_t *rng) {
    matrix m = matrix_new(from, n, cut ? k + 64 : k, 1.0f, rng);
    const weir_tensor t = cut ? weir_tensor_cols(&m.file, 64, k) : m.file;
    const size_t row_bytes = (size_t)weir_dtype_row_bytes(to, k), bytes = (size_t)n * row_bytes;
    unsigned char *want = malloc(bytes), *got = malloc(bytes);
    for (int64_t r = 0; r < n; r++)
        weir__quantise_row(from, to, weir_tensor_row(&t, r), k, want + (size_t)r * row_bytes);
    weir_weight w;
    cr_assert_eq(weir__weight_pack_as(be, &t, 1, false, WEIR_USE_ROWS, to, &w), WEIR_OK);
    cr_assert(w.layout == WEIR_LAYOUT_ROWS && w.dtype == to && w.n == n && w.k == k);
    device_get(be, got, w.data, bytes);
    cr_assert(memcmp(got, want, bytes) == 0, "%s to %s, %ld x %ld", weir_dtype_name(from),
              weir_dtype_name(to), (long)n, (long)k);
    weir__weight_free(be, &w);
    free(want), free(got);
    matrix_free(&m);
}

Test(cuda_weight, floats_become_the_blocks_that_they_are_quantised_to) {
    weir_backend *be = device_open();
    uint64_t rng = 9;
    for (int t = 0; t < WEIR_DTYPE_COUNT; t++) {
        if (!weir__can_quantise((weir_dtype)t)) continue;
        for (int i = 0; i < 6; i++)
            check_as(be, (weir_dtype)(i % 3), (weir_dtype)t, 1 + 16 * i, 64 * (1 + i % 4), i / 3, &rng);
        /* 5 MiB: two slices, shared by threads */
        check_as(be, WEIR_DTYPE_BF16, (weir_dtype)t, 640, 8192, false, &rng);
    }
    weir__backend_close(be);
}

Test(cuda_weight, a_matrix_that_does_not_fit_is_an_error) {
    weir_backend *be = device_open();
    static const uint16_t file[16];
    weir_weight w = {.n = -7};
    /* 2^52 bytes by their count alone: allocation fails before the file is read */
    const weir_tensor t = {file, WEIR_DTYPE_BF16, (int64_t)1 << 26, (int64_t)1 << 25};
    cr_assert_eq(weir__weight_pack(be, &t, 1, false, WEIR_USE_ROWS, &w), WEIR_EDEVMEM);
    cr_assert_eq(w.n, -7);
    const weir_tensor small = {file, WEIR_DTYPE_BF16, 4, 4};
    cr_assert_eq(weir__weight_pack(be, &small, 1, false, WEIR_USE_ROWS, &w), WEIR_OK,
                 "the backend is usable after it");
    weir__weight_free(be, &w);
    weir__backend_close(be);
}
