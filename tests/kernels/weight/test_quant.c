/* What blocks mean, against the gguf package (tests/golden/make_quant.py), and that packing loses none of
 * it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/weight/pack.h"
#include "kernels/weight/quant.h"
#include "kernels/weight/weight_quant.h"
#include "tests/kernels/op_fixture.h"
#include "tests/support/compare.h"

enum { FIRST = WEIR_DTYPE_Q4_0, LAST = WEIR_DTYPE_COUNT - 1 };

/* ---- golden -------------------------------------------------------------------------------------------- */

static weir_dtype dtype_of(const char *name) {
    for (int t = FIRST; t <= LAST; t++) {
        if (strcmp(name, weir_dtype_name((weir_dtype)t)) == 0) return (weir_dtype)t;
    }
    cr_assert_fail("no dtype %s", name);
    return WEIR_DTYPE_F32;
}

static void check_block(const char *name, const char *hex, const char *bits, int line) {
    const weir_dtype t = dtype_of(name);
    unsigned char block[WEIR_QUANT_BYTES];
    cr_assert_eq(strlen(hex), 2 * (size_t)weir_dtype_block_bytes(t), "line %d", line);
    cr_assert_eq(strlen(bits), 8 * (size_t)weir_dtype_block(t), "line %d", line);
    for (int i = 0; i < weir_dtype_block_bytes(t); i++) {
        unsigned byte;
        cr_assert_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        block[i] = (unsigned char)byte;
    }
    float got[WEIR_QUANT_BLOCK];
    weir__dequantise_block(t, block, got);
    const weir_tensor tensor = {block, t, 1, weir_dtype_block(t)};
    for (int i = 0; i < weir_dtype_block(t); i++) {
        uint32_t u;
        float want;
        cr_assert_eq(sscanf(bits + 8 * i, "%8x", &u), 1);
        memcpy(&want, &u, sizeof want);
        const float one = weir_tensor_get(&tensor, 0, i);
        cr_assert_eq(isnan(got[i]) != 0, isnan(want) != 0, "line %d %s [%d]: %g, want %g", line, name, i,
                     (double)got[i], (double)want);
        cr_assert(isnan(want) || (got[i] == want && one == want), "line %d %s [%d]: %a, want %a", line, name,
                  i, (double)got[i], (double)want);
    }
}

Test(quant, blocks_are_what_the_gguf_package_makes_of_them) {
    FILE *f = fopen(WEIR_SOURCE_DIR "/tests/golden/quant/blocks.txt", "r");
    cr_assert(f, "no golden file");
    static char name[16], hex[2 * WEIR_QUANT_BYTES + 1], bits[8 * WEIR_QUANT_BLOCK + 1];
    int n = 0, seen[WEIR_DTYPE_COUNT] = {0};
    while (fscanf(f, "%15s %420s %2048s", name, hex, bits) == 3) {
        check_block(name, hex, bits, ++n);
        seen[dtype_of(name)]++;
    }
    cr_assert(feof(f), "line %d is not three words", n + 1);
    fclose(f);
    for (int t = FIRST; t <= LAST; t++)
        cr_assert(seen[t] >= 6, "%s: %d blocks", weir_dtype_name((weir_dtype)t), seen[t]);
}

Test(quant, a_row_is_its_blocks_one_after_the_other) {
    uint64_t rng = 3;
    for (int t = WEIR_DTYPE_F32; t <= LAST; t++) {
        const int64_t cols = t < FIRST ? 37 : 3 * weir_dtype_block((weir_dtype)t);
        matrix m = matrix_new((weir_dtype)t, 2, cols, 1.0f, &rng);
        float *got = guarded_new((size_t)cols);
        for (int64_t r = 0; r < 2; r++) {
            const size_t at = (size_t)(r * weir_dtype_row_bytes(m.file.dtype, cols));
            dequantise_row(m.file.dtype, (const char *)m.file.data + at, cols, got);
            cr_assert(guarded_intact(got, (size_t)cols));
            for (int64_t i = 0; i < cols; i++) cr_assert_eq(got[i], weir_tensor_get(&m.file, r, i));
        }
        guarded_free(got);
        matrix_free(&m);
    }
}

/* ---- panels -------------------------------------------------------------------------------------------- */

static void check_element(const weir_weight *w, const matrix *m, int64_t n, int64_t r, bool up) {
    const int64_t block = weir_dtype_block(w->dtype);
    float got[WEIR_QUANT_BLOCK];
    for (int64_t b = 0; b < w->k / block; b++) {
        weir__weight_block(w, n, b, up, got);
        for (int64_t i = 0; i < block; i++) {
            cr_assert_eq(got[i], m->value[r * w->k + b * block + i], "%s output %ld block %ld [%ld]",
                         weir_dtype_name(w->dtype), (long)n, (long)b, (long)i);
        }
        cr_assert_eq(weir__weight_get(w, n, b * block + block - 1, up), got[block - 1]);
    }
}

static void check_pack(weir_backend *be, weir_dtype t, int64_t n0, int64_t n1, int64_t n_block, bool gated,
                       uint64_t *rng) {
    const int64_t k = n_block * weir_dtype_block(t);
    matrix m[2] = {matrix_new(t, n0, k, 1.0f, rng), matrix_new(t, gated ? n0 : n1, k, 1.0f, rng)};
    const weir_tensor part[2] = {m[0].file, m[1].file};
    weir_weight w;
    cr_assert_eq(weir__weight_pack(be, part, 2, gated, WEIR_USE_ROWS, &w), WEIR_OK);
    cr_assert_eq(w.layout, WEIR_LAYOUT_PANEL);
    cr_assert_eq(w.n_panel, gated ? (n0 + 15) / 16 * 2 : (n0 + n1 + 15) / 16);
    cr_assert_eq((size_t)(w.n_panel * weir__weight_panel_bytes(&w)),
                 weir__weight_bytes(w.layout, t, w.n, k, gated));
    for (int64_t n = 0; n < w.n; n++) {
        if (gated)
            check_element(&w, &m[0], n, n, false), check_element(&w, &m[1], n, n, true);
        else
            check_element(&w, n < n0 ? &m[0] : &m[1], n, n < n0 ? n : n - n0, false);
    }
    weir__weight_free(be, &w);
    matrix_free(&m[0]), matrix_free(&m[1]);
}

Test(quant, packed_panels_hold_the_elements_of_the_file) {
    uint64_t rng = 7;
    const int64_t edge[] = {1, 2, 15, 16, 17, 31, 33};
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        weir_backend *be = open_backend(n_thread, WEIR_ISA_PORTABLE);
        for (int t = FIRST; t <= LAST; t++) {
            for (int i = 0; i < 14; i++)
                check_pack(be, (weir_dtype)t, edge[i % 7], edge[(i + 2) % 7], 1 + i % 3, i / 7, &rng);
        }
        weir__backend_close(be);
    }
}

/* No byte more than the file's, but for panels whose scales end between two lines of 64 bytes. */
Test(quant, a_packed_matrix_is_as_large_as_its_file) {
    for (int t = FIRST; t <= LAST; t++) {
        for (int64_t b = 1; b <= 6; b++) {
            const int64_t k = b * weir_dtype_block((weir_dtype)t),
                          file = 48 * weir_dtype_row_bytes((weir_dtype)t, k);
            const size_t bytes = weir__weight_bytes(WEIR_LAYOUT_PANEL, (weir_dtype)t, 48, k, false);
            cr_assert_eq(bytes, 3 * (size_t)((file / 3 + 63) / 64 * 64), "%s %ld",
                         weir_dtype_name((weir_dtype)t), (long)k);
            cr_assert_eq(weir__weight_bytes(WEIR_LAYOUT_ROWS, (weir_dtype)t, 24, k, true), (size_t)file);
            cr_assert_eq(weir__weight_bytes(WEIR_LAYOUT_PANEL, (weir_dtype)t, 48, k + 1, false), SIZE_MAX);
            cr_assert_eq(weir__weight_bytes(WEIR_LAYOUT_FRAGMENT, (weir_dtype)t, 48, k, false), SIZE_MAX);
        }
        const int64_t most = INT64_MAX / 1024 / 256 * 256;
        cr_assert_eq(weir__weight_bytes(WEIR_LAYOUT_PANEL, (weir_dtype)t, INT64_MAX / 4, most, false),
                     SIZE_MAX);
    }
}

Test(quant, rows_that_are_not_whole_blocks_are_refused) {
    weir_backend *be = open_backend(1, WEIR_ISA_PORTABLE);
    static const unsigned char file[4096];
    weir_weight w = {.n = -7};
    for (int t = FIRST; t <= LAST; t++) {
        const weir_tensor part[2] = {{file, (weir_dtype)t, 1, weir_dtype_block((weir_dtype)t) + 16},
                                     {file, WEIR_DTYPE_F32, 1, weir_dtype_block((weir_dtype)t)}};
        cr_assert_eq(weir__weight_pack(be, part, 1, false, WEIR_USE_ROWS, &w), WEIR_EINVAL);
        const weir_tensor mixed[2] = {part[1], {file, (weir_dtype)t, 1, part[1].cols}};
        cr_assert_eq(weir__weight_pack(be, mixed, 2, false, WEIR_USE_ROWS, &w), WEIR_EINVAL);
    }
    cr_assert_eq(w.n, -7, "the result was touched");
    weir__backend_close(be);
}

Test(quant, an_embedding_looks_up_blocks) {
    uint64_t rng = 13;
    weir_backend *be = open_backend(1, weir__isa_best());
    for (int t = FIRST; t <= LAST; t++) {
        const int64_t k = 2 * weir_dtype_block((weir_dtype)t);
        matrix m = matrix_new((weir_dtype)t, 37, k, 1.0f, &rng);
        weir_weight w;
        cr_assert_eq(weir__weight_pack(be, &m.file, 1, false, WEIR_USE_ROWS, &w), WEIR_OK);
        const int32_t token[4] = {36, 0, 17, 36};
        float *x = guarded_new((size_t)(4 * k));
        cr_assert_eq(be->op.embed(be, &(weir_embed){x, &w, token, 4, 1.75f}), WEIR_OK);
        cr_assert(guarded_intact(x, (size_t)(4 * k)));
        for (int64_t i = 0; i < 4 * k; i++) {
            cr_assert_eq(x[i], 1.75f * m.value[token[i / k] * k + i % k], "%s [%ld]",
                         weir_dtype_name((weir_dtype)t), (long)i);
        }
        guarded_free(x);
        weir__weight_free(be, &w);
        matrix_free(&m);
    }
    weir__backend_close(be);
}
