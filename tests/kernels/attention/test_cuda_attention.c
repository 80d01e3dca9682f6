/* Attention on the device against the formula in double. Shapes are small: the CPU runner is slow. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/kernels/attention/attention_fixture.h"
#include "tests/kernels/op_fixture.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

static const weir_dtype DTYPES[2] = {WEIR_DTYPE_F32, WEIR_DTYPE_BF16};

/* A device with the scratch that rows of a case need. */
static weir_backend *open_for(const att_case *c, int64_t n_row) {
    weir_backend *be = device_open();
    const int64_t keys = (c->max_key + WEIR_PAGE - 1) / WEIR_PAGE * WEIR_PAGE;
    const size_t floats = weir__attention_cuda_scratch_floats(n_row, c->n_head, c->head_dim, keys,
                                                              c->window > 0 ? c->window + c->ahead : 0);
    cr_assert_eq(weir__backend_reserve(be, floats), WEIR_OK);
    return be;
}

static void check_case(const att_case *c, const int32_t *n_key, int32_t group, uint64_t *rng,
                       const char *what) {
    weir_backend *be = open_for(c, c->n_slot * group);
    att_cache *cache = att_cache_new(be, c, n_key, rng);
    att_rows r = att_rows_groups(cache, group, rng);
    att_check(cache, &r, false, what);
    att_rows_free(&r);
    att_cache_free(cache);
    weir__backend_close(be);
}

/* Lengths at the edges of pages and splits; every path of head_dim; grouped heads. */
Test(cuda_attention, every_shape_is_within_its_bound) {
    uint64_t rng = 401;
    static const int32_t dims[] = {1, 5, 16, 40, 64, 80, 128, 200, 256, 33};
    static const int32_t lengths[][3] = {{1, 64, 65}, {127, 2, 129}, {128, 300, 63}, {17, 256, 257}};
    /* n_head, n_head_kv, group */
    static const int32_t heads[][3] = {{1, 1, 1}, {2, 2, 6}, {4, 2, 2}, {3, 1, 4}};
    for (int i = 0; i < 20; i++) {
        if (!in_sample(i, 7)) continue;
        const int j = (i + i / 4) % 4, dim = dims[i % 10];
        const att_case c = {.n_head = heads[j][0],
                            .n_head_kv = heads[j][1],
                            .head_dim = dim,
                            .n_slot = 3,
                            .max_key = 320,
                            .bias = i % 3 == 1,
                            .bias_left = 30,
                            .bias_right = 2,
                            .dtype = DTYPES[i / 10]};
        char what[96];
        (void)snprintf(what, sizeof what, "%s dim %d heads %d/%d group %d", weir_dtype_name(c.dtype), dim,
                       c.n_head, c.n_head_kv, heads[j][2]);
        check_case(&c, lengths[i % 4], heads[j][2], &rng, what);
    }
}

Test(cuda_attention, softcap_window_and_bias_are_within_their_bound) {
    uint64_t rng = 411;
    static const float caps[] = {0.0f, 0.5f, 50.0f};
    static const int32_t windows[] = {0, 1, 16, 64, 129, 1000};
    static const int32_t n_key[2] = {300, 70};
    for (int i = 0; i < 18; i++) {
        if (!in_sample(i, 5)) continue;
        const att_case c = {.n_head = 2,
                            .n_head_kv = 1,
                            .head_dim = i % 2 ? 24 : 9,
                            .n_slot = 2,
                            .max_key = 320,
                            .bias = i % 4 < 2,
                            .bias_left = i % 3 ? 40 : 1000,
                            .bias_right = i % 5,
                            .softcap = caps[i % 3],
                            .window = windows[i / 3],
                            .dtype = DTYPES[i % 2]};
        char what[96];
        (void)snprintf(what, sizeof what, "cap %g window %d", (double)c.softcap, c.window);
        check_case(&c, n_key, 3, &rng, what);
    }
}

/* One split and several, with a window, in a prompt on tensor cores and beside them; a row's bits do not
 * depend on its company. */
Test(cuda_attention, sinks_are_within_their_bound) {
    uint64_t rng = 415;
    static const float sink[] = {0.0f, 6.0f, -200.0f, 500.0f};
    static const int32_t n_key[2] = {300, 70}, heads[2] = {3, 4};
    for (int i = 0; i < 8; i++) {
        if (!in_sample(i, 3)) continue;
        const att_case c = {.n_head = heads[i / 4],
                            .n_head_kv = 1,
                            .head_dim = i % 2 ? 16 : 9,
                            .n_slot = 2,
                            .max_key = 320,
                            .sinks = true,
                            .sink = sink[i % 4],
                            .window = i % 3 == 2 ? 100 : 0,
                            .dtype = DTYPES[i % 2]};
        weir_backend *be = open_for(&c, 8);
        att_cache *cache = att_cache_new(be, &c, n_key, &rng);
        att_rows r = att_rows_groups(cache, 3, &rng);
        const size_t width = (size_t)(c.n_head * c.head_dim);
        float all[6 * 64], one[64];
        att_check(cache, &r, false, "sinks");
        att_run(cache, &r, 0, 6, all);
        r.group = 1;
        for (int32_t j = 0; j < 6; j++) {
            att_run(cache, &r, j, 1, one);
            assert_same(one, all + (size_t)j * width, width, "alone");
        }
        r.n = 3, r.prefill = true;
        att_check(cache, &r, c.dtype == WEIR_DTYPE_BF16, "sinks, prompt");
        att_rows_free(&r);
        att_cache_free(cache);
        weir__backend_close(be);
    }
}

/* Every query sees the whole source, wherever it stands. */
Test(cuda_attention, cross_attention_is_within_its_bound) {
    uint64_t rng = 421;
    const int32_t n_key[2] = {200, 3};
    const att_case c = {
        .n_head = 2, .n_head_kv = 2, .head_dim = 16, .n_slot = 2, .max_key = 200, .dtype = WEIR_DTYPE_BF16};
    weir_backend *be = open_for(&c, 12);
    att_cache *cache = att_cache_new(be, &c, n_key, &rng);
    att_rows r = att_rows_groups(cache, 6, &rng);
    for (int32_t i = 0; i < r.n; i++) r.slot[i] = i / 6, r.pos[i] = 500 + i, r.n_key[i] = n_key[i / 6];
    att_check(cache, &r, false, "cross");
    att_rows_free(&r);
    att_cache_free(cache);
    weir__backend_close(be);
}

/* Pages before a window may belong to another slot by now, pages after a length belong to none: neither is
 * looked up. */
Test(cuda_attention, pages_outside_a_window_are_never_used) {
    uint64_t rng = 431;
    for (int32_t n_key = 129; n_key <= 330; n_key += 67) {
        const att_case c = {.n_head = 1,
                            .n_head_kv = 1,
                            .head_dim = 16,
                            .n_slot = 1,
                            .max_key = 384,
                            .window = 40,
                            .dtype = DTYPES[n_key % 2]};
        weir_backend *be = open_for(&c, 3);
        att_cache *cache = att_cache_new(be, &c, &n_key, &rng);
        att_cache_release(cache, 0, n_key - 3 + 1 - c.window);
        att_rows r = att_rows_groups(cache, 3, &rng);
        att_check(cache, &r, false, "released");
        r.prefill = true;
        att_check(cache, &r, c.dtype == WEIR_DTYPE_BF16, "released, prefill");
        att_rows_free(&r);
        att_cache_free(cache);
        weir__backend_close(be);
    }
}

/* Rows of a group far from each other under a window: more splits than the grid has blocks, rows without a
 * part in most of them, and splits and pages between them that no row looks at. */
Test(cuda_attention, scattered_rows_of_a_group_are_within_their_bound) {
    uint64_t rng = 436;
    const int32_t n_key = 640, at[6] = {600, 3, 130, 255, 256, 383};
    for (int i = 0; i < 2; i++) {
        const att_case c = {.n_head = 2,
                            .n_head_kv = 1,
                            .head_dim = 16,
                            .n_slot = 1,
                            .max_key = 640,
                            .window = i ? 10 : 129,
                            .dtype = DTYPES[i]};
        weir_backend *be = open_for(&c, 6);
        att_cache *cache = att_cache_new(be, &c, &n_key, &rng);
        att_rows r = att_rows_groups(cache, 6, &rng);
        for (int j = 0; j < 6; j++) r.pos[j] = at[j], r.n_key[j] = at[j] + 1;
        const size_t width = (size_t)(c.n_head * c.head_dim);
        float *want = guarded_new(6 * width), *o = guarded_new(6 * width);
        att_check(cache, &r, false, "scattered");
        att_run(cache, &r, 0, 6, o);
        r.group = 1;
        att_run(cache, &r, 0, 6, want);
        assert_same(o, want, 6 * width, "one by one");
        guarded_free(want), guarded_free(o);
        att_rows_free(&r);
        att_cache_free(cache);
        weir__backend_close(be);
    }
}

/* Key and value of a position of slot 0 become `kv` (head_dim), of one head. */
static void overwrite(att_cache *cache, int32_t position, const float *kv) {
    weir_backend *be = cache->be;
    const int32_t zero = 0;
    float *row = device_put(be, kv, (size_t)cache->c.head_dim * sizeof *kv);
    int32_t *slot = device_put(be, &zero, sizeof zero), *pos = device_put(be, &position, sizeof position);
    weir_kv_append a = {&cache->view, row, row, cache->c.head_dim, slot, pos, 1, ATT_LAYER};
    cr_assert_eq(be->op.kv_append(be, &a), WEIR_OK);
    weir__backend_free(be, row), weir__backend_free(be, slot), weir__backend_free(be, pos);
}

/* Keys and values of a later row's position are infinite, or so large that its score would be every row's
 * maximum: rows of its group before it do not notice. */
Test(cuda_attention, a_broken_companion_keeps_it_to_itself) {
    uint64_t rng = 438;
    for (int i = 0; i < 2; i++) {
        const int32_t n_key = 132;
        const att_case c = {.n_head = 1,
                            .n_head_kv = 1,
                            .head_dim = i ? 7 : 16,
                            .n_slot = 1,
                            .max_key = 192,
                            .dtype = DTYPES[i]};
        weir_backend *be = open_for(&c, 6);
        att_cache *cache = att_cache_new(be, &c, &n_key, &rng);
        att_rows r = att_rows_groups(cache, 6, &rng);
        float want[6 * 16], o[6 * 16], broken[3][32];
        att_run(cache, &r, 0, 6, want);
        for (int d = 0; d < 32; d++)
            broken[0][d] = 1e30f, broken[1][d] = -1e30f, broken[2][d] = d % 2 ? INFINITY : NAN;
        for (int k = 0; k < 3; k++) {
            overwrite(cache, n_key - 1, broken[k]);
            att_run(cache, &r, 0, 6, o);
            assert_same(o, want, (size_t)(5 * c.head_dim), "before it");
        }
        for (int d = 0; d < c.head_dim; d++) cr_assert(isnan(o[5 * c.head_dim + d]), "its own row is broken");
        att_rows_free(&r);
        att_cache_free(cache);
        weir__backend_close(be);
    }
}

/* What lies in front of a row's window, but in that of rows of its group, is not weighed at all: not even by
 * 0. */
Test(cuda_attention, values_before_a_window_are_not_weighed) {
    uint64_t rng = 439;
    for (int i = 0; i < 2; i++) {
        const int32_t n_key = 132, before = 89; /* the windows of rows 0 to 5 begin at 87 to 92 */
        const att_case c = {.n_head = 1,
                            .n_head_kv = 1,
                            .head_dim = 16,
                            .n_slot = 1,
                            .max_key = 192,
                            .window = 40,
                            .dtype = DTYPES[i]};
        weir_backend *be = open_for(&c, 6);
        att_cache *cache = att_cache_new(be, &c, &n_key, &rng);
        att_rows r = att_rows_groups(cache, 6, &rng);
        float want[6 * 16], o[6 * 16], broken[32];
        att_run(cache, &r, 0, 6, want);
        for (int d = 0; d < 32; d++) broken[d] = d % 2 ? INFINITY : NAN;
        overwrite(cache, before, broken);
        att_run(cache, &r, 0, 6, o);
        assert_same(o + 3 * 16, want + 3 * 16, 3 * 16, "behind it");
        cr_assert(isnan(o[0]) && isnan(o[2 * 16]), "rows that see it");
        att_rows_free(&r);
        att_cache_free(cache);
        weir__backend_close(be);
    }
}

/* A row's bits: in groups of any size, alone, among others, and beside a dead row. */
Test(cuda_attention, a_row_has_the_same_bits_in_any_company) {
    uint64_t rng = 441;
    for (int i = 0; i < 4; i++) {
        if (!in_sample(i, 3)) continue;
        static const int32_t n_key[2] = {290, 120};
        const att_case c = {.n_head = i % 2 ? 4 : 2,
                            .n_head_kv = 2,
                            .head_dim = i < 2 ? 16 : 21,
                            .n_slot = 2,
                            .max_key = 320,
                            .bias = true,
                            .bias_left = 50,
                            .window = i == 3 ? 200 : 0,
                            .dtype = DTYPES[i % 2]};
        weir_backend *be = open_for(&c, 12);
        att_cache *cache = att_cache_new(be, &c, n_key, &rng);
        att_rows r = att_rows_groups(cache, 6, &rng);
        const size_t width = (size_t)(c.n_head * c.head_dim);
        float *want = guarded_new(12 * width), *o = guarded_new(12 * width);
        r.group = 1;
        for (int32_t j = 0; j < 12; j++) att_run(cache, &r, j, 1, want + (size_t)j * width);
        for (int32_t group = 1; group <= 6; group++) {
            if (6 % group != 0) continue;
            r.group = group;
            att_run(cache, &r, 0, 12, o);
            assert_same(o, want, 12 * width, "group");
            att_run(cache, &r, 6, 6, o);
            assert_same(o, want + 6 * width, 6 * width, "the second slot alone");
        }
        r.group = 6, r.slot[3] = -1, r.n_key[3] = INT32_MAX;
        for (size_t d = 0; d < width; d++) want[3 * width + d] = 0.0f;
        att_run(cache, &r, 0, 12, o);
        assert_same(o, want, 12 * width, "beside a dead row");
        guarded_free(want), guarded_free(o);
        att_rows_free(&r);
        att_cache_free(cache);
        weir__backend_close(be);
    }
}

/* The grid follows the table's stride and the number of rows; a call is cut where scratch is short. No bit
 * follows. */
Test(cuda_attention, grid_and_scratch_change_no_bit) {
    uint64_t rng = 451;
    const int32_t n_key[3] = {400, 10, 200};
    att_case c = {
        .n_head = 2, .n_head_kv = 2, .head_dim = 8, .n_slot = 3, .max_key = 448, .dtype = WEIR_DTYPE_BF16};
    float want[6 * 16], o[6 * 16];
    static const char *const what[4] = {"all at once", "one group at a time", "one row at a time",
                                        "window over everything"};
    for (int i = 0; i < 4; i++) {
        uint64_t same = rng;
        const bool little = i == 1 || i == 2;
        weir_backend *be = open_for(&c, little ? 2 : 6);
        const size_t scratch = be->scratch_floats;
        if (little) be->scratch_floats = weir__attention_cuda_scratch_floats(3 - i, 2, 8, 448, 0);
        att_cache *cache = att_cache_new(be, &c, n_key, &same);
        att_rows r = att_rows_groups(cache, 2, &same);
        att_run(cache, &r, 0, 6, i == 0 ? want : o);
        if (i > 0) assert_same(o, want, 6 * 16, what[i]);
        if (i == 2) {
            be->scratch_floats = weir__attention_cuda_scratch_floats(1, 2, 8, 448, 0) - 1;
            cr_assert_eq(att_try(cache, &r, 0, 6, o), WEIR_ENOMEM);
            c.window = 1000; /* another grid */
        }
        be->scratch_floats = scratch;
        att_rows_free(&r);
        att_cache_free(cache);
        weir__backend_close(be);
    }
}

/* Dead rows, and rows whose window leaves nothing, are zeros; what else they hold is not looked at. */
Test(cuda_attention, dead_rows_are_zeros) {
    uint64_t rng = 461;
    for (int i = 0; i < 4; i++) {
        if (!in_sample(i, 3)) continue;
        const int32_t n_key[2] = {140, 30};
        const att_case c = {.n_head = 2,
                            .n_head_kv = 1,
                            .head_dim = 16,
                            .n_slot = 2,
                            .max_key = 192,
                            .window = i / 2 ? 20 : 0,
                            .dtype = DTYPES[i % 2]};
        weir_backend *be = open_for(&c, 4);
        att_cache *cache = att_cache_new(be, &c, n_key, &rng);
        att_rows r = att_rows_groups(cache, 2, &rng);
        r.slot[0] = r.slot[1] = r.slot[3] = -1;
        r.pos[0] = r.n_key[0] = INT32_MAX, r.pos[1] = r.n_key[1] = INT32_MIN;
        if (i / 2) r.n_key[2] = r.pos[2] - 19;
        att_check(cache, &r, false, "dead");
        r.prefill = true, r.slot[2] = -1;
        att_check(cache, &r, i % 2, "dead prompt");
        att_rows_free(&r);
        att_cache_free(cache);
        weir__backend_close(be);
    }
}

/* A prompt: causal rows in chunks, an encoder's rows that see everything, every shape of the tensor cores and
 * some they leave to the other kernel. Causal rows of a first chunk leave NaN after them in the page. */
Test(cuda_attention, prompts_are_within_their_bound) {
    uint64_t rng = 471;
    static const int32_t dims[] = {16, 32, 48, 64, 80, 128, 8, 256, 10};
    for (int i = 0; i < 18; i++) {
        if (!in_sample(i, 5)) continue;
        const int32_t n_key = i % 2 ? 150 : 101, n_row = i % 3 ? 70 : 33, first = i % 2 ? 0 : n_key - n_row;
        const att_case c = {.n_head = 2,
                            .n_head_kv = 1 + i % 2,
                            .head_dim = dims[i % 9],
                            .n_slot = 1,
                            .max_key = 192,
                            .bias = i % 4 != 0,
                            .bias_left = 20,
                            .bias_right = i % 2 ? 31 : 0,
                            .softcap = i % 5 == 3 ? 5.0f : 0.0f,
                            .window = i % 6 == 4 ? 40 : 0,
                            .dtype = DTYPES[i < 12]};
        weir_backend *be = open_for(&c, 8);
        att_cache *cache = att_cache_new(be, &c, &n_key, &rng);
        att_rows r = att_rows_new(cache, n_row, &rng);
        r.prefill = true;
        for (int32_t j = 0; j < n_row; j++) r.pos[j] = first + j, r.n_key[j] = i % 2 ? n_key : first + j + 1;
        char what[96];
        (void)snprintf(what, sizeof what, "prompt %s dim %d window %d", weir_dtype_name(c.dtype), c.head_dim,
                       c.window);
        att_check(cache, &r, c.dtype == WEIR_DTYPE_BF16 && c.head_dim % 16 == 0 && c.head_dim <= 128, what);
        att_rows_free(&r);
        att_cache_free(cache);
        weir__backend_close(be);
    }
}

/* An encoder's layers that slide: rows see as far ahead as back, over more splits than the window back alone
 * would need; on tensor cores and beside them. */
Test(cuda_attention, a_window_on_both_sides_is_within_its_bound) {
    uint64_t rng = 477;
    static const int32_t dims[] = {10, 32, 256}, windows[] = {129, 30, 129};
    for (int i = 0; i < 3; i++) {
        const int32_t n_key = 310, n_row = 24, w = windows[i];
        const att_case c = {.n_head = 2,
                            .n_head_kv = 1,
                            .head_dim = dims[i],
                            .n_slot = 1,
                            .max_key = 320,
                            .softcap = 5.0f,
                            .window = w,
                            .ahead = w - 1,
                            .dtype = DTYPES[i > 0]};
        weir_backend *be = open_for(&c, 8);
        att_cache *cache = att_cache_new(be, &c, &n_key, &rng);
        att_rows r = att_rows_new(cache, n_row, &rng);
        r.prefill = true;
        for (int32_t j = 0; j < n_row; j++) {
            r.pos[j] = 170 + j;
            r.n_key[j] = r.pos[j] + w < n_key ? r.pos[j] + w : n_key;
        }
        char what[96];
        (void)snprintf(what, sizeof what, "both sides, %s dim %d window %d", weir_dtype_name(c.dtype),
                       c.head_dim, w);
        att_check(cache, &r, i == 1, what);
        att_rows_free(&r);
        att_cache_free(cache);
        weir__backend_close(be);
    }
}

/* A row of a prompt: the same bits wherever its chunk begins. Under the short window rows of one tile have
 * nothing in the page that others begin in. */
static void same_bits_in_any_chunk(int32_t window) {
    uint64_t rng = 481;
    const int32_t n_key = 140;
    const att_case c = {.n_head = 1,
                        .n_head_kv = 1,
                        .head_dim = 32,
                        .n_slot = 1,
                        .max_key = 192,
                        .bias = true,
                        .bias_left = 60,
                        .window = window,
                        .dtype = WEIR_DTYPE_BF16};
    weir_backend *be = open_for(&c, 8);
    att_cache *cache = att_cache_new(be, &c, &n_key, &rng);
    att_rows r = att_rows_new(cache, n_key, &rng);
    r.prefill = true;
    for (int32_t j = 0; j < n_key; j++) r.pos[j] = j, r.n_key[j] = j + 1;
    float want[140 * 32], o[140 * 32];
    att_check(cache, &r, true, "prompt");
    att_run(cache, &r, 0, n_key, want);
    for (int32_t first = 9; first < n_key; first += 60) {
        const int32_t n = n_key - first < 50 ? n_key - first : 50;
        att_run(cache, &r, first, n, o);
        assert_same(o, want + first * 32, (size_t)n * 32, "chunk");
    }
    att_rows_free(&r);
    att_cache_free(cache);
    weir__backend_close(be);
}

Test(cuda_attention, a_row_of_a_prompt_has_the_same_bits_in_any_chunk) {
    same_bits_in_any_chunk(90);
    same_bits_in_any_chunk(20);
}

/* Scores thousands apart, the largest in any split: the merge must not overflow nor lose it. */
Test(cuda_attention, far_apart_scores_pick_one_value) {
    uint64_t rng = 491;
    const int32_t n_key = 300;
    for (int32_t best = 5; best < 300; best += build_is_tsan() ? 196 : 98) {
        const att_case c = {.n_head = 1,
                            .n_head_kv = 1,
                            .head_dim = 16,
                            .n_slot = 1,
                            .max_key = 320,
                            .bias = true,
                            .bias_left = 320};
        weir_backend *be = open_for(&c, 1);
        att_cache *cache = att_cache_new(be, &c, &n_key, &rng);
        for (int32_t t = 0; t < 300; t++)
            cache->bias[t - 299 + 320] = t == best ? 5000.0f : -5000.0f * (float)(1 + t % 3);
        cr_assert_eq(weir__backend_upload(be, cache->device_bias, cache->bias, 321 * sizeof(float)), WEIR_OK);
        att_rows r = att_rows_groups(cache, 1, &rng);
        float o[16];
        att_run(cache, &r, 0, 1, o);
        for (int d = 0; d < 16; d++) cr_assert_eq(o[d], cache->v[best * 16 + d], "best %d", best);
        att_rows_free(&r);
        att_cache_free(cache);
        weir__backend_close(be);
    }
}

Test(cuda_attention, refuses_what_its_contract_refuses) {
    weir_backend *be = device_open();
    float x[4] = {0};
    const int32_t zero = 0, one = 1;
    weir_kv_view kv = {x, 256, &zero, 1, 1, 1, 2, WEIR_DTYPE_F32};
    const weir_attention good = {.kv = &kv,
                                 .q = x,
                                 .ldq = 2,
                                 .o = x,
                                 .ldo = 2,
                                 .slot = &zero,
                                 .pos = &zero,
                                 .n_key = &one,
                                 .n_head = 1,
                                 .scale = 1};
    weir_attention a = good;
    cr_assert_eq(be->op.attention(be, &a), WEIR_OK); /* no rows */
    weir_attention bad[9];
    for (int i = 0; i < 9; i++) bad[i] = good;
    bad[0].kv = NULL, bad[1].q = NULL, bad[2].n_row = -1, bad[3].layer = 1, bad[4].n_head = 0,
    bad[5].softcap = NAN, bad[6].window = -1;
    bad[7].n_row = 3, bad[7].group = 2, bad[8].ahead = -1;
    for (int i = 0; i < 9; i++) cr_assert_eq(be->op.attention(be, &bad[i]), WEIR_EINVAL, "case %d", i);
    kv.dtype = WEIR_DTYPE_F16, a.n_row = 1;
    cr_assert_eq(be->op.attention(be, &a), WEIR_EINVAL);
    kv.dtype = WEIR_DTYPE_F32, kv.head_dim = 257;
    cr_assert_eq(be->op.attention(be, &a), WEIR_ENOTSUP);
    weir__backend_close(be);
}
