/* What the device holds after packing is what host memory would hold: every layout downloaded and read
 * element by element. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "kernels/weight/pack.h"
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
