/* Every layout against the file's own values, element by element. A backend that says it is a device but
 * whose memory is the host's shows what a device would hold. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "kernels/weight/pack.h"
#include "tests/kernels/op_fixture.h"
#include "tests/support/alloc.h"
#include "tests/support/compare.h"

static weir_backend *cpu;
static weir_backend_stream stream;
static int n_upload;
static size_t most_bytes;

static void *plain_alloc(weir_backend *be, size_t bytes) {
    (void)be;
    return malloc(bytes);
}
static void plain_free(weir_backend *be, void *p) {
    (void)be;
    free(p);
}
static void *no_alloc(weir_backend *be, size_t bytes) {
    (void)be, (void)bytes;
    return NULL;
}
static weir_status counted_upload(weir_backend *be, void *dst, const void *src, size_t bytes) {
    (void)be;
    memcpy(dst, src, bytes);
    n_upload++;
    if (bytes > most_bytes) most_bytes = bytes;
    return WEIR_OK;
}
static weir_status no_upload(weir_backend *be, void *dst, const void *src, size_t bytes) {
    (void)be, (void)dst, (void)src, (void)bytes;
    return WEIR_ECUDA;
}

/* Host memory outside the allocator under test, so that what that one counts is staging. */
static weir_backend device_like(void) {
    cpu = open_backend(1, WEIR_ISA_PORTABLE);
    stream = *cpu->stream;
    stream.alloc = plain_alloc, stream.free = plain_free, stream.upload = counted_upload;
    weir_backend be = *cpu;
    be.device = true;
    be.stream = &stream;
    return be;
}

static void check_layout(weir_backend *be, weir_dtype dtype, weir_use use, bool gated, int64_t n0, int64_t n1,
                         int64_t k, uint64_t *rng) {
    const matrix m[2] = {matrix_new(dtype, n0, k, 1.0f, rng), matrix_new(dtype, n1, k, 1.0f, rng)};
    const weir_tensor part[2] = {m[0].file, m[1].file};
    weir_weight w;
    cr_assert_eq(weir__weight_pack(be, part, 2, gated, use, &w), WEIR_OK);
    cr_assert_eq(w.layout, weir__layout_of(be->device, dtype, use));
    cr_assert_eq(w.n, gated ? n0 : n0 + n1);
    for (int64_t i = 0; i < n0 + n1; i++) {
        const float *want = i < n0 ? m[0].value + i * k : m[1].value + (i - n0) * k;
        for (int64_t j = 0; j < k; j++) {
            const float got =
                gated ? weir__weight_get(&w, i % n0, j, i >= n0) : weir__weight_get(&w, i, j, false);
            cr_assert(got == want[j],
                      "%s device %d use %d gated %d %ld + %ld x %ld at (%ld, %ld): %g, want %g",
                      weir_dtype_name(dtype), be->device, (int)use, gated, (long)n0, (long)n1, (long)k,
                      (long)i, (long)j, (double)got, (double)want[j]);
        }
    }
    weir__weight_free(be, &w);
    matrix_free((matrix *)&m[0]), matrix_free((matrix *)&m[1]);
}

Test(weight, every_layout_holds_the_elements_of_the_file) {
    weir_backend device = device_like();
    const int64_t edge[] = {1, 2, 15, 16, 17, 31, 33, 50};
    uint64_t rng = 5;
    for (int i = 0; i < 64; i++) {
        const int64_t n = edge[i / 8], k = edge[i % 8];
        for (int d = 0; d < 12; d++) {
            const bool gated = d / 6;
            check_layout(&device, (weir_dtype)(d % 3), (weir_use)(d / 3 % 2), gated, n,
                         gated ? n : edge[(i + 3) % 8], k, &rng);
        }
        check_layout(cpu, (weir_dtype)(i % 3), WEIR_USE_ROWS, i % 2, n, n, k, &rng);
    }
    weir__backend_close(cpu);
}

/* The words of weight.h on lanes, spelt out against the operand that mma.m16n8k16 wants (PTX ISA: lane 4 g +
 * t holds rows g and g + 8, columns 2 t, 2 t + 1, and 8 further): with the inputs of a tile permuted so that
 * columns 2 t, 2 t + 1, 2 t + 8, 2 t + 9 are inputs 4 t … 4 t + 3. Padding is zero. */
Test(weight, a_fragment_is_the_operand_of_the_tensor_core) {
    weir_backend device = device_like();
    enum { N = 19, K = 37, TILES = 3 };
    uint16_t file[N * K];
    for (int i = 0; i < N * K; i++) file[i] = (uint16_t)(i + 1);
    weir_weight w;
    const weir_tensor t = {file, WEIR_DTYPE_BF16, N, K};
    cr_assert_eq(weir__weight_pack(&device, &t, 1, false, WEIR_USE_ROWS, &w), WEIR_OK);
    cr_assert_eq(w.n_panel, 2);
    cr_assert_eq(w.k_pad, 48);
    cr_assert_eq(weir__weight_bytes(w.layout, w.dtype, N, K, false), 2 * TILES * 32 * 8 * 2);
    for (int at = 0; at < 2 * TILES * 32 * 8; at++) {
        const int panel = at / (TILES * 256), tile = at / 256 % TILES, lane = at / 8 % 32, reg = at % 8 / 2,
                  half = at % 2;
        const int row = 16 * panel + lane / 4 + reg % 2 * 8;
        const int column = lane % 4 * 2 + half + reg / 2 * 8;
        const int input = 16 * tile + column % 8 / 2 * 4 + column / 8 * 2 + column % 2;
        const uint16_t want = row < N && input < K ? file[row * K + input] : 0;
        cr_assert_eq(((const uint16_t *)w.data)[at], want, "element %d", at);
    }
    weir__weight_free(&device, &w);
    weir__backend_close(cpu);
}

/* 5000 inputs: a panel is 160,256 bytes, so 4 MiB of staging hold 26 of the 64. */
Test(weight, a_large_matrix_goes_up_in_slices) {
    weir_backend device = device_like();
    enum { N = 1024, K = 5000 };
    uint16_t *file = malloc(sizeof *file * N * K);
    for (int64_t i = 0; i < N * K; i++) file[i] = (uint16_t)(i * 7919);
    weir_weight w;
    const weir_tensor t = {file, WEIR_DTYPE_BF16, N, K};
    cr_assert_eq(weir__weight_pack(&device, &t, 1, false, WEIR_USE_ROWS, &w), WEIR_OK);
    cr_assert_eq(n_upload, 3);
    cr_assert(most_bytes <= 4 << 20);
    for (int64_t i = 0; i < N; i += 9) {
        for (int64_t k = 0; k < K; k += 11) {
            const float got = weir__weight_get(&w, i, k, false), want = weir_f32_from_bf16(file[i * K + k]);
            cr_assert(memcmp(&got, &want, sizeof got) == 0, "(%ld, %ld)", (long)i, (long)k);
        }
    }
    weir__weight_free(&device, &w);
    free(file);
    weir__backend_close(cpu);
}

Test(weight, says_which_memory_ran_out_and_keeps_nothing) {
    weir_backend device = device_like();
    static const uint16_t file[64 * 64];
    const weir_tensor t = {file, WEIR_DTYPE_BF16, 64, 64};
    weir_weight w = {.n = -7};
    alloc_install(1);
    const weir_status staging = weir__weight_pack(&device, &t, 1, false, WEIR_USE_ROWS, &w);
    const weir_status host = weir__weight_pack(cpu, &t, 1, false, WEIR_USE_ROWS, &w);
    alloc_uninstall();
    cr_assert_eq(staging, WEIR_ENOMEM);
    cr_assert_eq(host, WEIR_ENOMEM);
    stream.alloc = no_alloc;
    cr_assert_eq(weir__weight_pack(&device, &t, 1, false, WEIR_USE_ROWS, &w), WEIR_EDEVMEM);
    stream.alloc = plain_alloc, stream.upload = no_upload;
    alloc_install(0);
    const weir_status fragment = weir__weight_pack(&device, &t, 1, false, WEIR_USE_ROWS, &w);
    const weir_status rows = weir__weight_pack(&device, &t, 1, false, WEIR_USE_PREFILL, &w);
    const long live = alloc_live();
    alloc_uninstall();
    cr_assert_eq(fragment, WEIR_ECUDA);
    cr_assert_eq(rows, WEIR_ECUDA);
    cr_assert_eq(live, 0);
    cr_assert_eq(w.n, -7, "the result was touched");
    weir__backend_close(cpu);
}

Test(weight, bytes_of_layouts_and_refusals) {
    cr_assert_eq(weir__weight_bytes(WEIR_LAYOUT_PANEL, WEIR_DTYPE_BF16, 17, 3, false), 2 * 16 * 4 * 2);
    cr_assert_eq(weir__weight_bytes(WEIR_LAYOUT_FRAGMENT, WEIR_DTYPE_BF16, 17, 3, true), 4 * 16 * 16 * 2);
    cr_assert_eq(weir__weight_bytes(WEIR_LAYOUT_ROWS, WEIR_DTYPE_F32, 17, 3, true), 2 * 17 * 3 * 4);
    cr_assert_eq(weir__weight_bytes(WEIR_LAYOUT_ROWS, WEIR_DTYPE_F16, 17, 3, false), 17 * 3 * 2);
    cr_assert_eq(weir__weight_bytes(WEIR_LAYOUT_FRAGMENT, WEIR_DTYPE_F32, 17, 3, false), SIZE_MAX);
    for (int l = WEIR_LAYOUT_PANEL; l <= WEIR_LAYOUT_ROWS; l++) {
        cr_assert_eq(weir__weight_bytes((weir_layout)l, WEIR_DTYPE_BF16, INT64_MAX / 4, INT64_MAX / 4, false),
                     SIZE_MAX);
        cr_assert_eq(weir__weight_bytes((weir_layout)l, WEIR_DTYPE_BF16, 0, 4, false), SIZE_MAX);
    }
    weir_backend device = device_like();
    static const uint16_t file[64];
    const weir_tensor t[2] = {{file, WEIR_DTYPE_BF16, 8, 8}, {file, WEIR_DTYPE_BF16, 4, 8}};
    weir_weight w;
    cr_assert_eq(weir__weight_pack(&device, t, 2, true, WEIR_USE_ROWS, &w), WEIR_EINVAL);
    cr_assert_eq(weir__weight_pack(&device, t, 1, true, WEIR_USE_ROWS, &w), WEIR_EINVAL);
    cr_assert_eq(weir__weight_pack(&device, t, 0, false, WEIR_USE_ROWS, &w), WEIR_EINVAL);
    float data[4 * 8] = {0};
    const weir_tensor widths[2] = {{data, WEIR_DTYPE_F32, 2, 8}, {data, WEIR_DTYPE_F32, 2, 4}};
    const weir_tensor heights[2] = {{data, WEIR_DTYPE_F32, 2, 4}, {data, WEIR_DTYPE_F32, 4, 4}};
    cr_assert_eq(weir__weight_pack(&device, widths, 2, false, WEIR_USE_ROWS, &w), WEIR_EINVAL);
    cr_assert_eq(weir__weight_pack(&device, heights, 2, true, WEIR_USE_ROWS, &w), WEIR_EINVAL);
    weir__backend_close(cpu);
}
