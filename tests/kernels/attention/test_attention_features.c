/* Soft-cap, sliding window, groups and dead rows, on the CPU under every instruction set. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/kernels/attention/attention_fixture.h"
#include "tests/kernels/op_fixture.h"
#include "tests/support/compare.h"

Test(attention, softcap_and_window_are_within_their_bound) {
    uint64_t rng = 171;
    static const float caps[] = {0.0f, 0.5f, 50.0f};
    static const int32_t windows[] = {0, 1, 5, 16, 63, 64, 65, 130, 1000};
    static const att_case shapes[] = {
        {.n_head = 4,
         .n_head_kv = 2,
         .head_dim = 32,
         .n_slot = 2,
         .bias = true,
         .bias_left = 20,
         .bias_right = 3},
        {.n_head = 2, .n_head_kv = 1, .head_dim = 7, .n_slot = 1},
        {.n_head = 1, .n_head_kv = 1, .head_dim = 1, .n_slot = 1},
        {.n_head = 1, .n_head_kv = 1, .head_dim = 260, .n_slot = 1},
    };
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 3 * 9; j++) {
            att_case s = shapes[i];
            s.max_key = ATT_MAX_KEY, s.softcap = caps[j % 3], s.window = windows[j / 3];
            for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
                weir_backend *be = open_backend(2, (weir_isa)isa);
                att_cache *c = att_cache_new(be, &s, att_full, &rng);
                att_rows r = att_rows_causal(c, &rng);
                char what[96];
                (void)snprintf(what, sizeof what, "%s shape %d cap %g window %d", weir__isa_name(be->isa), i,
                               (double)s.softcap, s.window);
                att_check(c, &r, false, what);
                att_rows_free(&r);
                att_cache_free(c);
                weir__backend_close(be);
            }
        }
    }
}

/* cap(s) -> 0 as the cap does: the mean of the values. A huge cap changes scores by less than their
 * rounding. */
Test(attention, limits_of_the_softcap) {
    uint64_t rng = 181;
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(1, (weir_isa)isa);
        att_case s = {.n_head = 2, .n_head_kv = 2, .head_dim = 16, .n_slot = 1, .max_key = ATT_MAX_KEY};
        att_cache *c = att_cache_new(be, &s, att_full, &rng);
        att_rows r = att_rows_causal(c, &rng);
        float o[ATT_KEYS * 32], plain[ATT_KEYS * 32];
        att_run(c, &r, 0, r.n, plain);
        c->c.softcap = 1e-20f;
        att_run(c, &r, 0, r.n, o);
        for (int32_t j = 0; j < r.n; j++) {
            for (int d = 0; d < 32; d++) {
                double mean = 0;
                for (int32_t t = 0; t < r.n_key[j]; t++) mean += (double)c->v[t * 32 + d];
                mean /= r.n_key[j];
                cr_assert(fabs((double)o[j * 32 + d] - mean) <= 1e-5, "%s n_key %d", weir__isa_name(be->isa),
                          r.n_key[j]);
            }
        }
        c->c.softcap = 1e6f; /* scores up to 15: s^3 / (3 cap^2) is 1e-9 */
        att_run(c, &r, 0, r.n, o);
        for (int i = 0; i < r.n * 32; i++) {
            cr_assert(fabsf(o[i] - plain[i]) <= 3e-5f, "%s [%d] %g %g", weir__isa_name(be->isa), i,
                      (double)o[i], (double)plain[i]);
        }
        att_rows_free(&r);
        att_cache_free(c);
        weir__backend_close(be);
    }
}

/* Sinks near the scores, far below them and so far above that the weight of e^(sink - max) is infinite: then
 * nothing is left for the values. */
Test(attention, sinks_are_within_their_bound) {
    uint64_t rng = 184;
    static const float sink[] = {0.0f, 6.0f, -200.0f, 500.0f};
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        for (int i = 0; i < 8; i++) {
            const att_case s = {.n_head = 4,
                                .n_head_kv = 2,
                                .head_dim = i % 3 ? 24 : 7,
                                .n_slot = 2,
                                .max_key = ATT_MAX_KEY,
                                .sinks = true,
                                .sink = sink[i % 4],
                                .softcap = i % 5 == 4 ? 5.0f : 0.0f,
                                .window = i < 4 ? 0 : 70};
            att_cache *c = att_cache_new(be, &s, att_full, &rng);
            att_rows r = att_rows_causal(c, &rng);
            char what[96];
            (void)snprintf(what, sizeof what, "%s sinks near %g window %d", weir__isa_name(be->isa),
                           (double)s.sink, s.window);
            att_check(c, &r, false, what);
            att_rows_free(&r);
            att_cache_free(c);
        }
        weir__backend_close(be);
    }
}

/* A sink of -inf has no weight: the same bits as without one. A row without positions stays zeros. */
Test(attention, sinks_of_no_weight_change_no_bit) {
    uint64_t rng = 185;
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(1, (weir_isa)isa);
        const att_case s = {.n_head = 2,
                            .n_head_kv = 1,
                            .head_dim = 16,
                            .n_slot = 1,
                            .max_key = ATT_MAX_KEY,
                            .sink = -INFINITY};
        att_cache *c = att_cache_new(be, &s, att_full, &rng);
        att_rows r = att_rows_causal(c, &rng);
        float want[ATT_KEYS * 32], o[ATT_KEYS * 32];
        att_run(c, &r, 0, r.n, want);
        c->c.sinks = true;
        att_run(c, &r, 0, r.n, o);
        assert_same(o, want, (size_t)(r.n * 32), weir__isa_name(be->isa));
        c->c.window = 10, r.slot[0] = 0, r.pos[0] = 100, r.n_key[0] = 91, r.slot[1] = -1;
        att_run(c, &r, 0, 2, o);
        for (int d = 0; d < 64; d++) cr_assert_eq(o[d], 0.0f);
        att_rows_free(&r);
        att_cache_free(c);
        weir__backend_close(be);
    }
}

/* An encoder's layer that slides: as many positions after a row's own as before it. */
Test(attention, a_window_on_both_sides_is_within_its_bound) {
    uint64_t rng = 187;
    static const int32_t windows[] = {1, 9, 64, 130};
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        for (int i = 0; i < 4; i++) {
            const int32_t w = windows[i];
            const att_case s = {.n_head = 4,
                                .n_head_kv = 2,
                                .head_dim = 12,
                                .n_slot = 1,
                                .max_key = ATT_MAX_KEY,
                                .softcap = 3.0f,
                                .window = w,
                                .ahead = w - 1};
            att_cache *c = att_cache_new(be, &s, att_full, &rng);
            att_rows r = att_rows_new(c, 100, &rng);
            r.prefill = true;
            for (int32_t j = 0; j < 100; j++)
                r.pos[j] = 2 * j, r.n_key[j] = 2 * j + w < ATT_MAX_KEY ? 2 * j + w : ATT_MAX_KEY;
            att_check(c, &r, false, weir__isa_name(be->isa));
            att_rows_free(&r);
            att_cache_free(c);
        }
        weir__backend_close(be);
    }
}

/* Pages before every window and after every length have no number; a row reads neither them nor the positions
 * of its first page that are before its window. */
Test(attention, positions_outside_a_window_are_never_used) {
    uint64_t rng = 191;
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(1, (weir_isa)isa);
        const att_case s = {
            .n_head = 2, .n_head_kv = 1, .head_dim = 24, .n_slot = 1, .max_key = ATT_MAX_KEY, .window = 20};
        for (int32_t n_key = 65; n_key <= 150; n_key += 7) {
            att_cache *c = att_cache_new(be, &s, &n_key, &rng);
            att_cache_release(c, 0, n_key - s.window);
            att_rows r = att_rows_new(c, 1, &rng);
            r.n_key[0] = n_key, r.pos[0] = n_key - 1;
            att_check(c, &r, false, weir__isa_name(be->isa));
            att_rows_free(&r);
            att_cache_free(c);
        }
        weir__backend_close(be);
    }
}

Test(attention, a_window_of_everything_and_a_group_change_no_bit) {
    uint64_t rng = 201;
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        const att_case s = {.n_head = 2,
                            .n_head_kv = 2,
                            .head_dim = 33,
                            .n_slot = 2,
                            .max_key = ATT_MAX_KEY,
                            .bias = true,
                            .bias_left = 9};
        att_cache *c = att_cache_new(be, &s, att_full, &rng);
        att_rows r = att_rows_new(c, 12, &rng);
        for (int32_t i = 0; i < 12; i++) r.slot[i] = i / 6, r.pos[i] = 100 + i, r.n_key[i] = r.pos[i] + 1;
        float want[12 * 66], o[12 * 66];
        att_run(c, &r, 0, 12, want);
        for (int32_t group = 0; group <= 6; group++) {
            if (group > 1 && 12 % group != 0) continue;
            r.group = group, c->c.window = group % 2 ? ATT_MAX_KEY : 0;
            att_run(c, &r, 0, 12, o);
            assert_same(o, want, 12 * 66, weir__isa_name(be->isa));
        }
        att_rows_free(&r);
        att_cache_free(c);
        weir__backend_close(be);
    }
}

/* A dead row is zeros, whatever its other fields are, and touches no companion. A window after the last key
 * leaves nothing. */
Test(attention, dead_rows_are_zeros) {
    uint64_t rng = 211;
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        att_case s = {.n_head = 2, .n_head_kv = 2, .head_dim = 20, .n_slot = 1, .max_key = ATT_MAX_KEY};
        att_cache *c = att_cache_new(be, &s, att_full, &rng);
        att_rows r = att_rows_causal(c, &rng);
        float want[ATT_KEYS * 40], o[ATT_KEYS * 40];
        att_run(c, &r, 0, r.n, want);
        for (int32_t i = 0; i < r.n; i += 3) {
            r.slot[i] = -1, r.pos[i] = INT32_MIN, r.n_key[i] = i % 2 ? INT32_MAX : INT32_MIN;
            for (int d = 0; d < 40; d++) want[i * 40 + d] = 0.0f;
        }
        att_run(c, &r, 0, r.n, o);
        assert_same(o, want, (size_t)(r.n * 40), weir__isa_name(be->isa));
        c->c.window = 10;
        r.slot[0] = 0, r.pos[0] = 100, r.n_key[0] = 91;
        att_run(c, &r, 0, 1, o);
        for (int d = 0; d < 40; d++) cr_assert_eq(o[d], 0.0f);
        att_rows_free(&r);
        att_cache_free(c);
        weir__backend_close(be);
    }
}

Test(kv_append, dead_rows_write_nothing) {
    uint64_t rng = 221;
    weir_backend *be = open_backend(1, weir__isa_best());
    const att_case s = {.n_head = 1, .n_head_kv = 1, .head_dim = 4, .n_slot = 1, .max_key = 64};
    const int32_t none = 0;
    att_cache *c = att_cache_new(be, &s, &none, &rng);
    const int32_t zero = 0;
    cr_assert_eq(weir__backend_upload(be, (void *)c->view.table, &zero, sizeof zero), WEIR_OK);
    const int32_t slot[3] = {-1, 0, -1}, pos[3] = {INT32_MAX, 5, INT32_MIN};
    weir_kv_append a = {&c->view, c->k, c->v, 4, slot, pos, 3, ATT_LAYER};
    cr_assert_eq(be->op.kv_append(be, &a), WEIR_OK);
    const float *pool = c->view.pool;
    int written = 0;
    for (size_t i = 0; i < c->pool_bytes / sizeof *pool; i++) written += !isnan(pool[i]);
    cr_assert_eq(written, 8);
    att_cache_free(c);
    weir__backend_close(be);
}

Test(attention, a_pool_of_bf16_is_for_devices) {
    uint64_t rng = 231;
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(1, (weir_isa)isa);
        const att_case s = {.n_head = 1, .n_head_kv = 1, .head_dim = 4, .n_slot = 1, .max_key = 64};
        const int32_t one = 1;
        att_cache *c = att_cache_new(be, &s, &one, &rng);
        c->view.dtype = WEIR_DTYPE_BF16;
        att_rows r = att_rows_new(c, 1, &rng);
        r.n_key[0] = 1;
        float o[4];
        cr_assert_eq(att_try(c, &r, 0, 1, o), WEIR_EINVAL);
        const int32_t zero = 0;
        weir_kv_append a = {&c->view, c->k, c->v, 4, &zero, &zero, 1, ATT_LAYER};
        cr_assert_eq(be->op.kv_append(be, &a), WEIR_EINVAL);
        c->c.softcap = -1.0f, c->view.dtype = WEIR_DTYPE_F32;
        cr_assert_eq(att_try(c, &r, 0, 1, o), WEIR_EINVAL);
        c->c.softcap = 0.0f, c->c.window = -1;
        cr_assert_eq(att_try(c, &r, 0, 1, o), WEIR_EINVAL);
        c->c.window = 0, c->c.ahead = -1;
        cr_assert_eq(att_try(c, &r, 0, 1, o), WEIR_EINVAL);
        c->c.ahead = 0, r.group = 2;
        cr_assert_eq(att_try(c, &r, 0, 1, o), WEIR_EINVAL);
        att_rows_free(&r);
        att_cache_free(c);
        weir__backend_close(be);
    }
}
