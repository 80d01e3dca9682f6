/* Shares of a matrix on 1, 2, 4 and 8 ranks, in every CPU build and on the device: the bits of the whole. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/weight/pack.h"
#include "tests/kernels/linear/linear_fixture.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { BACKENDS = 8 };

/* Every instruction set of this machine (under TSan the best), then the device. */
static int open_all(weir_backend **be) {
    int n = 0;
    for (int isa = build_is_tsan() ? (int)weir__isa_best() : 0; isa <= (int)weir__isa_best(); isa++)
        be[n++] = open_backend(2, (weir_isa)isa);
    be[n++] = device_open();
    return n;
}

/* From one number of ranks to the next: with sanitizers the most alone. */
static int rank_step(void) { return build_is_sanitized() ? WEIR_SEGMENTS : 2; }
/* For TSan. */
static bool too_large(int64_t n, int64_t k) { return build_is_tsan() && n * k > 100000; }

static void close_all(weir_backend **be, int n) {
    for (int i = 0; i < n; i++) weir__backend_close(be[i]);
}

/* w times rows of `x` (k floats from each of ldx) into y (n_row, n): host arrays. */
static void multiply(weir_backend *be, const weir_weight *w, const data *d, const float *x, int64_t ldx,
                     float *y) {
    const size_t n_x = (size_t)((d->p.n_row - 1) * ldx + w->k), n_y = (size_t)(d->p.n_row * w->n);
    cr_assert_eq(
        weir__backend_reserve(be, be->device ? weir__linear_cuda_scratch_floats(4 * w->n_whole, w->k_whole, 0)
                                             : weir__linear_scratch_floats(w->k)),
        WEIR_OK);
    float *xt = device_put(be, x, n_x * sizeof *x), *nt = device_put(be, d->norm, (size_t)d->p.k * sizeof *x),
          *yt = device_room(be, n_y * sizeof *y);
    weir_linear a = {.x = xt,
                     .ldx = ldx,
                     .norm = d->p.norm ? nt : NULL,
                     .eps = LINEAR_EPS,
                     .w = w,
                     .y = yt,
                     .ldy = w->n,
                     .n_row = d->p.n_row,
                     .epilogue = d->p.epilogue,
                     .scale = 1.0f,
                     .rows = true};
    cr_assert_eq(be->op.linear(be, &a), WEIR_OK);
    device_get(be, y, yt, n_y * sizeof *y);
    weir__backend_free(be, xt), weir__backend_free(be, nt), weir__backend_free(be, yt);
}

/* ---- along the inputs ---- */

/* Rank `rank`'s share of d's matrix, and its first input. */
static weir_weight inputs_of(weir_backend *be, const data *d, int64_t unit, int rank, int n_rank,
                             int64_t *begin) {
    const int each = WEIR_SEGMENTS / n_rank;
    *begin = weir__segment_begin(d->p.k, unit, rank * each);
    const int64_t n = weir__segment_begin(d->p.k, unit, (rank + 1) * each) - *begin;
    weir_weight w = {0};
    if (n == 0) return w;
    const weir_tensor part = weir_tensor_cols(&d->gate.file, *begin, n);
    cr_assert_eq(weir__weight_pack(be, &part, 1, false, WEIR_USE_ROWS, &w), WEIR_OK);
    weir__weight_split_inputs(&w, d->p.k, unit, rank, n_rank);
    return w;
}

/* The sum of n of a tree's leaves; NULL: empty, and so is the result of empty leaves. */
static float *add(float **leaf, int n, size_t total) {
    if (n == 1) return leaf[0];
    float *a = add(leaf, n / 2, total), *b = add(leaf + n / 2, n / 2, total);
    for (size_t i = 0; a && b && i < total; i++) a[i] += b[i];
    return a ? a : b;
}

static void check_inputs(weir_backend *be, const data *d, int64_t unit) {
    const size_t total = (size_t)(d->p.n_row * d->p.n);
    float *whole = malloc(total * sizeof *whole);
    char what[160];
    for (int n_rank = 1; n_rank <= WEIR_SEGMENTS; n_rank *= rank_step()) {
        float *leaf[WEIR_SEGMENTS] = {NULL}, *own[WEIR_SEGMENTS] = {NULL};
        for (int rank = 0; rank < n_rank; rank++) {
            int64_t begin;
            weir_weight w = inputs_of(be, d, unit, rank, n_rank, &begin);
            if (!w.data) continue;
            leaf[rank] = own[rank] = malloc(total * sizeof *whole);
            multiply(be, &w, d, d->x + begin, d->ldx, leaf[rank]);
            weir__weight_free(be, &w);
        }
        const float *sum = add(leaf, n_rank, total);
        if (n_rank == 1) memcpy(whole, sum, total * sizeof *whole);
        describe_product(what, sizeof what, be->about, &d->p);
        assert_same(sum, whole, total, what);
        for (int rank = 0; rank < n_rank; rank++) free(own[rank]);
    }
    for (int64_t r = 0; r < d->p.n_row; r++)
        assert_within(whole + r * d->p.n, d->want + r * d->p.n, d->bound + r * d->p.n, (size_t)d->p.n, what);
    free(whole);
}

/* Whether a build rounds a row: to bf16, or (`bytes`) to bytes. */
static bool rounds(const weir_backend *be, weir_dtype dtype) {
    if (!weir_dtype_is_float(dtype))
        return dtype != WEIR_DTYPE_FP8 && (be->device || be->isa != WEIR_ISA_PORTABLE);
    if (be->device) return dtype == WEIR_DTYPE_BF16;
    return dtype == WEIR_DTYPE_BF16 && be->isa >= WEIR_ISA_AVX512BF16;
}

Test(shares, inputs_give_the_bits_of_the_whole_on_any_number_of_ranks) {
    /* heads of 24, 14 heads of 64, an odd number of inputs, fewer units than segments, long ones in slices */
    static const struct {
        int64_t n, k, unit;
    } shape[] = {{33, 96, 48}, {70, 896, 64}, {20, 77, 16}, {17, 48, 16}, {40, 2112, 16}, {130, 9216, 64}};
    static const weir_dtype dtype[] = {WEIR_DTYPE_F32, WEIR_DTYPE_F16, WEIR_DTYPE_BF16};
    weir_backend *be[BACKENDS];
    const int n_be = open_all(be);
    uint64_t rng = 411;
    for (size_t s = 0; s < sizeof shape / sizeof *shape; s++) {
        for (int t = 0; t < 3; t++) {
            if (too_large(shape[s].n, shape[s].k) || !in_sample(3 * (int)s + t, 8)) continue;
            const product p = {.n = shape[s].n,
                               .k = shape[s].k,
                               .n_row = 1 + (int64_t)(3 * s + (size_t)t) % 9,
                               .dtype = dtype[t],
                               .rows = true,
                               .scale = 1.0f};
            data d = data_new(&p, &rng);
            for (int b = 0; b < n_be; b++) {
                data_expect(&d, rounds(be[b], p.dtype));
                check_inputs(be[b], &d, shape[s].unit);
            }
            data_free(&d);
        }
    }
    close_all(be, n_be);
}

Test(shares, blocks_of_quantised_inputs_do_too) {
    static const weir_dtype dtype[] = {
        WEIR_DTYPE_Q4_0,   WEIR_DTYPE_Q5_1,  WEIR_DTYPE_Q8_0,    WEIR_DTYPE_Q4_K, WEIR_DTYPE_Q6_K,
        WEIR_DTYPE_IQ4_NL, WEIR_DTYPE_MXFP4, WEIR_DTYPE_Q2_K,    WEIR_DTYPE_Q3_K, WEIR_DTYPE_IQ4_XS,
        WEIR_DTYPE_INT4,   WEIR_DTYPE_FP8,   WEIR_DTYPE_INT4_128};
    weir_backend *be[BACKENDS];
    const int n_be = open_all(be);
    uint64_t rng = 413;
    for (size_t t = 0; t < sizeof dtype / sizeof *dtype; t++) {
        const int block = weir_dtype_block(dtype[t]);
        if (!in_sample((int)t, 3)) continue;
        const product p = {.n = 50,
                           .k = 11 * block,
                           .n_row = t % 2 ? 9 : 1 + (int64_t)t / 2, /* 9: as a prompt's are multiplied */
                           .dtype = dtype[t],
                           .rows = true,
                           .scale = 1.0f};
        data d = data_new(&p, &rng);
        for (int b = 0; b < n_be; b++) {
            data_expect(&d, rounds(be[b], p.dtype));
            check_inputs(be[b], &d, block);
        }
        data_free(&d);
    }
    close_all(be, n_be);
}

/* ---- along the outputs ---- */

static void check_outputs(weir_backend *be, const data *d) {
    const product *p = &d->p;
    const size_t total = (size_t)(p->n_row * p->n);
    float *whole = malloc(total * sizeof *whole), *part = malloc(total * sizeof *part);
    weir_weight w = data_pack(be, d, WEIR_USE_ROWS);
    char what[160];
    describe_product(what, sizeof what, be->about, p);
    multiply(be, &w, d, d->x, d->ldx, whole);
    weir__weight_free(be, &w);
    for (int n_rank = rank_step(); n_rank <= WEIR_SEGMENTS; n_rank *= 2) {
        for (int rank = 0; rank < n_rank; rank++) {
            const int64_t begin = p->n * rank / n_rank, n = p->n * (rank + 1) / n_rank - begin;
            const weir_tensor pair[2] = {weir_tensor_rows(&d->gate.file, begin, n),
                                         weir_tensor_rows(&d->up.file, begin, n)};
            cr_assert_eq(weir__weight_pack(be, pair, p->gated ? 2 : 1, p->gated, WEIR_USE_ROWS, &w), WEIR_OK);
            w.n_whole = p->n;
            multiply(be, &w, d, d->x, d->ldx, part);
            for (int64_t r = 0; r < p->n_row; r++)
                assert_same(part + r * n, whole + r * p->n + begin, (size_t)n, what);
            weir__weight_free(be, &w);
        }
    }
    free(whole), free(part);
}

Test(shares, outputs_give_the_bits_of_the_whole_on_any_number_of_ranks) {
    static const struct {
        int64_t n, k;
        bool gated;
    } shape[] = {{70, 40, false}, {130, 96, true}, {8600, 33, false}, {300, 2100, false}, {90, 2080, true}};
    weir_backend *be[BACKENDS];
    const int n_be = open_all(be);
    uint64_t rng = 415;
    for (size_t s = 0; s < sizeof shape / sizeof *shape; s++) {
        for (int t = 0; t < 2; t++) {
            if (too_large(shape[s].n, shape[s].k)) continue;
            const product p = {.n = shape[s].n,
                               .k = shape[s].k,
                               .n_row = 2 + (int64_t)s,
                               .dtype = t ? WEIR_DTYPE_BF16 : WEIR_DTYPE_F32,
                               .gated = shape[s].gated,
                               .norm = s % 2 == 1,
                               .rows = true,
                               .scale = 1.0f};
            data d = data_new(&p, &rng);
            for (int b = 0; b < n_be; b++) check_outputs(be[b], &d);
            data_free(&d);
        }
    }
    close_all(be, n_be);
}

/* ---- the order itself ---- */

/* One chain of multiply-adds a segment, then the tree, written out: what the vector builds do with f32. */
Test(shares, segments_are_chains_from_zero_and_then_a_tree) {
    enum { K = 60, UNIT = 6 }; /* ten units: segments 3 and 7 have two */
    const int64_t end[WEIR_SEGMENTS] = {6, 12, 18, 30, 36, 42, 48, 60};
    weir_backend *be[BACKENDS];
    const int n_be = open_all(be);
    uint64_t rng = 417;
    float *w_file = floats_normal(K, 1.0f, &rng), *x = floats_normal(K, 1.0f, &rng);
    float leaf[WEIR_SEGMENTS], y;
    for (int s = 0, i = 0; s < WEIR_SEGMENTS; s++) {
        leaf[s] = 0.0f;
        for (; i < end[s]; i++) leaf[s] = fmaf(w_file[i], x[i], leaf[s]);
    }
    const float want =
        ((leaf[0] + leaf[1]) + (leaf[2] + leaf[3])) + ((leaf[4] + leaf[5]) + (leaf[6] + leaf[7]));
    for (int b = 0; b < n_be; b++) {
        if (be[b]->device || be[b]->isa == WEIR_ISA_PORTABLE) continue;
        weir_weight w;
        const weir_tensor t = {.data = w_file, .dtype = WEIR_DTYPE_F32, .rows = 1, .cols = K};
        cr_assert_eq(weir__weight_pack(be[b], &t, 1, false, WEIR_USE_ROWS, &w), WEIR_OK);
        weir__weight_split_inputs(&w, K, UNIT, 0, 1);
        weir_linear a = {
            .x = x, .ldx = K, .w = &w, .y = &y, .ldy = 1, .n_row = 1, .scale = 1.0f, .rows = true};
        cr_assert_eq(be[b]->op.linear(be[b], &a), WEIR_OK);
        cr_assert_eq(memcmp(&y, &want, sizeof y), 0, "%s: %.9g, want %.9g", be[b]->about, (double)y,
                     (double)want);
        weir__weight_free(be[b], &w);
    }
    guarded_free(w_file), guarded_free(x);
    close_all(be, n_be);
}

/* The stack's operations give the tree, whichever segments are empty, at every number of ranks. */
Test(shares, empty_segments_hand_their_neighbour_through) {
    for (int64_t units = 1; units <= 19; units++) {
        float *leaf[WEIR_SEGMENTS], value[WEIR_SEGMENTS], part[WEIR_SEGMENTS], *rank_leaf[WEIR_SEGMENTS];
        for (int n_rank = 1; n_rank <= WEIR_SEGMENTS; n_rank *= 2) {
            for (int s = 0; s < WEIR_SEGMENTS; s++) {
                const bool some = weir__segment_begin(units, 1, s + 1) > weir__segment_begin(units, 1, s);
                value[s] = -0.0f + (float)((1 << s) + 1) * 0x1.000002p0f * (s % 3 ? 1.0f : 1e7f);
                leaf[s] = some ? &value[s] : NULL;
            }
            float *tree = add(leaf, WEIR_SEGMENTS, 1);
            const float want = *tree;
            int s = 0;
            for (int rank = 0; rank < n_rank; rank++) {
                const weir_segments g = weir__segments_of(units, 1, rank, n_rank);
                float kept[WEIR_SEGMENTS], sum = 0.0f;
                int n_kept = 0;
                for (int i = 0; i < g.n; i++, s++) {
                    while (weir__segment_begin(units, 1, s + 1) == weir__segment_begin(units, 1, s)) s++;
                    sum = (float)((1 << s) + 1) * 0x1.000002p0f * (s % 3 ? 1.0f : 1e7f);
                    for (int m = g.merges[i]; m > 0; m--) sum = kept[--n_kept] + sum;
                    kept[n_kept++] = sum;
                    cr_assert_leq(n_kept, i + 1 < g.n ? 3 : 1);
                }
                part[rank] = sum;
                rank_leaf[rank] = g.n > 0 ? &part[rank] : NULL;
            }
            const float *got = add(rank_leaf, n_rank, 1);
            cr_assert_eq(memcmp(got, &want, sizeof want), 0, "%ld units, %d ranks: %.9g, want %.9g",
                         (long)units, n_rank, (double)*got, (double)want);
        }
    }
}
