#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "kernels/base/isa.h"
#include "kernels/base/mem.h"
#include "kernels/base/pool.h"
#include "kernels/base/status.h"
#include "kernels/base/types.h"
#include "tests/support/alloc.h"
#include "tests/support/compare.h"

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* --- status ---------------------------------------------------------------------------------- */

Test(status, every_code_has_a_text_and_others_do_too) {
    cr_assert_str_eq(weir_status_str(WEIR_OK), "ok");
    cr_assert_str_eq(weir_status_str(WEIR_ETOOLONG), "longer than the context");
    cr_assert_str_eq(weir_status_str((weir_status)99), "unknown status");
}

Test(status, fail_returns_its_code_and_takes_no_buffer_for_an_answer) {
    weir_err err;
    cr_assert_eq(weir_fail(&err, WEIR_EIO, "%s: %d", "a", 7), WEIR_EIO);
    cr_assert_str_eq(err.text, "a: 7");
    cr_assert_eq(weir_fail(NULL, WEIR_EINVAL, "%d", 1), WEIR_EINVAL);
}

Test(status, control_characters_of_a_file_do_not_reach_the_terminal) {
    weir_err err;
    weir_fail(&err, WEIR_EFORMAT, "%s", "a\x1b[31m\n\tb\x7f");
    cr_assert_str_eq(err.text, "a?[31m??b?");
}

Test(status, a_long_text_is_cut_between_characters) {
    char text[2 * sizeof(weir_err)];
    for (size_t pad = 0; pad < 4; pad++) {
        memset(text, 'x', pad);
        for (size_t i = pad; i + 3 < sizeof text; i += 3) memcpy(text + i, "\xe2\x82\xac", 4);
        weir_err err;
        weir_fail(&err, WEIR_EIO, "%s", text);
        const size_t len = strlen(err.text);
        cr_assert(len < sizeof err.text && len + 3 >= sizeof err.text, "pad %zu: %zu bytes", pad, len);
        cr_assert_eq((len - pad) % 3, 0, "pad %zu: %zu bytes", pad, len);
    }
}

/* --- conversions ----------------------------------------------------------------------------- */

/* The definition, in double: (-1)^s 2^(e - bias) (1 + m / 2^bits), subnormals without the 1. */
static double by_definition(uint32_t h, int e_bits, int m_bits) {
    const int bias = (1 << (e_bits - 1)) - 1, e = (int)(h >> m_bits) & ((1 << e_bits) - 1);
    const double m = (double)(h & ((1u << m_bits) - 1)) / (double)(1u << m_bits);
    const double mag = e == 0 ? ldexp(m, 1 - bias) : ldexp(1.0 + m, e - bias);
    return h >> 15 & 1 ? -mag : mag;
}

static void check_all(float (*widen)(uint16_t), int e_bits, int m_bits) {
    for (uint32_t h = 0; h < 65536; h++) {
        const float f = widen((uint16_t)h);
        const uint32_t e = h >> m_bits & ((1u << e_bits) - 1), m = h & ((1u << m_bits) - 1);
        cr_assert_eq(bits_of(f) >> 31, h >> 15, "%04x: sign", h);
        if (e != (1u << e_bits) - 1) {
            cr_assert_eq((double)f, by_definition(h, e_bits, m_bits), "%04x gave %a", h, (double)f);
        } else {
            cr_assert_eq(bits_of(f) & 0x7f800000u, 0x7f800000u, "%04x is finite", h);
            cr_assert_eq((bits_of(f) & 0x7fffffu) == 0, m == 0, "%04x: infinity or NaN", h);
        }
    }
}

Test(types, all_f16_patterns_widen_to_their_definition) { check_all(weir_f32_from_f16, 5, 10); }
Test(types, all_bf16_patterns_widen_to_their_definition) { check_all(weir_f32_from_bf16, 8, 7); }

Test(types, every_bf16_survives_the_way_back) {
    for (uint32_t h = 0; h < 65536; h++) {
        const float f = weir_f32_from_bf16((uint16_t)h);
        const uint16_t back = weir_bf16_from_f32(f);
        if (isnan(f)) {
            cr_assert(isnan(weir_f32_from_bf16(back)), "%04x", h);
        } else {
            cr_assert_eq(back, h, "%04x came back as %04x", h, back);
        }
    }
}

Test(types, bf16_rounds_to_the_nearest_and_ties_to_even) {
    const struct {
        uint32_t f;
        uint16_t want;
    } cases[] = {
        {0x3f800000, 0x3f80}, {0x3f807fff, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81},
        {0x3f818000, 0x3f82}, {0x7f7fffff, 0x7f80}, {0xff7fffff, 0xff80}, {0x00008001, 0x0001},
        {0x7f800001, 0x7fc0}, {0x7fffffff, 0x7fff}, {0x80000000, 0x8000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float f;
        memcpy(&f, &cases[i].f, sizeof f);
        cr_assert_eq(weir_bf16_from_f32(f), cases[i].want, "%08x gave %04x", cases[i].f,
                     weir_bf16_from_f32(f));
    }
}

/* Between two neighbours the middle goes to the even one, and what is beside it to the nearer one. */
Test(types, f16_rounds_to_the_nearest_and_ties_to_even) {
    for (uint32_t h = 0; h < 0x7c00; h++) {
        const float f = weir_f32_from_f16((uint16_t)h);
        const float next = h == 0x7bff ? 65536.0f : weir_f32_from_f16((uint16_t)(h + 1));
        const float middle = f / 2 + next / 2;
        for (int sign = 0; sign < 2; sign++) {
            const float s = sign ? -1.0f : 1.0f;
            const uint32_t low = h | (uint32_t)sign << 15, even = (h + (h & 1)) | (uint32_t)sign << 15;
            cr_assert_eq(weir_f16_from_f32(s * f), low);
            cr_assert_eq(weir_f16_from_f32(s * middle), even, "%04x", h);
            cr_assert_eq(weir_f16_from_f32(s * nextafterf(middle, 0.0f)), low, "%04x", h);
            cr_assert_eq(weir_f16_from_f32(s * nextafterf(middle, INFINITY)), low + 1, "%04x", h);
        }
    }
    cr_assert(weir_f16_from_f32(INFINITY) == 0x7c00 && weir_f16_from_f32(-3e38f) == 0xfc00);
    cr_assert(isnan(weir_f32_from_f16(weir_f16_from_f32(NAN))));
}

Test(types, a_tensor_is_read_from_any_address) {
    unsigned char bytes[1 + 2 * 3 * 4];
    for (int d = 0; d < 3; d++) {
        weir_tensor t = {bytes + 1, (weir_dtype)d, 2, 3};
        for (int i = 0; i < 6; i++) {
            const float f = (float)(i - 3) * 0.5f;
            const uint16_t f16[6] = {0xbe00, 0xbc00, 0xb800, 0, 0x3800, 0x3c00};
            const uint16_t b[2] = {weir_bf16_from_f32(f), 0}; /* as wide as a float: gcc bounds the copy by
                                                                 that */
            const void *src = d == 0 ? (const void *)&f : d == 1 ? (const void *)&f16[i] : (const void *)b;
            memcpy(bytes + 1 + i * weir_dtype_bytes(t.dtype), src, (size_t)weir_dtype_bytes(t.dtype));
        }
        for (int i = 0; i < 6; i++) {
            cr_assert_eq(weir_tensor_get(&t, i / 3, i % 3), (float)(i - 3) * 0.5f, "%s [%d]",
                         weir_dtype_name(t.dtype), i);
        }
    }
}

Test(types, a_shape_in_words_has_its_outer_dimensions_first) {
    static const int64_t shape[4] = {INT64_MAX, 2, INT64_MAX, INT64_MAX};
    char text[WEIR_SHAPE_TEXT];
    for (int n = 1; n <= 4; n++) {
        const weir_tensor t = weir_tensor_of(NULL, WEIR_DTYPE_F32, shape, n);
        cr_expect(t.cols == shape[n - 1] && t.rows == (n > 1 ? shape[n - 2] : 1) &&
                  t.n_outer == (n > 2 ? n - 2 : 0));
    }
    const weir_tensor vector = weir_tensor_of(NULL, WEIR_DTYPE_F32, shape + 1, 1);
    const weir_tensor all = weir_tensor_of(NULL, WEIR_DTYPE_F32, shape, 4);
    cr_expect_str_eq(weir_tensor_shape(&vector, text), "(1, 2)");
    cr_expect_str_eq(weir_tensor_shape(&all, text),
                     "(9223372036854775807, 2, 9223372036854775807, 9223372036854775807)");
}

/* --- memory ---------------------------------------------------------------------------------- */

Test(mem, sizes_that_overflow_are_refused_and_all_is_aligned) {
    cr_assert_null(weir_alloc(SIZE_MAX, 2));
    cr_assert_null(weir_alloc(SIZE_MAX / 2 + 1, 2));
    cr_assert_null(weir_alloc(1, SIZE_MAX));
    cr_assert_null(weir_calloc(SIZE_MAX / 64, 65));
    for (size_t n = 0; n < 200; n += 33) {
        unsigned char *p = weir_calloc(n, 1);
        cr_assert(p && (uintptr_t)p % 64 == 0, "%zu bytes at %p", n, (void *)p);
        for (size_t i = 0; i < n; i++) cr_assert_eq(p[i], 0);
        weir_free(p);
    }
    weir_free(NULL);
}

Test(mem, the_hook_sees_and_fails_every_allocation) {
    alloc_install(2);
    void *p = weir_alloc(1, 1);
    cr_assert(p && !weir_alloc(1, 1) && !weir_strdup("a"));
    cr_assert_eq(alloc_count(), 3);
    cr_assert_eq(alloc_live(), 1);
    weir_free(p);
    cr_assert_eq(alloc_live(), 0);
    alloc_uninstall();
    char *s = weir_strdup("text");
    cr_assert_str_eq(s, "text");
    weir_free(s);
}

/* --- isa ------------------------------------------------------------------------------------- */

Test(isa, names_parse_to_themselves) {
    for (int i = 0; i <= WEIR_ISA_AMX; i++) {
        cr_assert_eq(weir__isa_parse(weir__isa_name((weir_isa)i)), i);
    }
    cr_assert_eq(weir__isa_parse("sse"), -1);
    cr_assert_eq(weir__isa_parse(""), -1);
    cr_assert_str_eq(weir__isa_name((weir_isa)-1), "unknown");
    cr_assert(weir__isa_best() <= WEIR_ISA_AMX);
}

/* --- pool ------------------------------------------------------------------------------------ */

Test(pool, a_split_covers_every_item_once_in_order) {
    for (long n = 0; n < 70; n++) {
        for (long grain = 1; grain <= 9; grain += 4) {
            for (int workers = 1; workers <= 5; workers++) {
                long at = 0;
                for (int w = 0; w < workers; w++) {
                    long begin, end;
                    weir__pool_split(n, grain, w, workers, &begin, &end);
                    cr_assert(begin == at && end >= begin && end <= n, "n %ld grain %ld worker %d/%d", n,
                              grain, w, workers);
                    cr_assert(begin % grain == 0 || begin == n);
                    at = end;
                }
                cr_assert_eq(at, n);
            }
        }
    }
}

Test(pool, sizes_out_of_range_are_refused) {
    weir_pool *p = NULL;
    const int bad[] = {0, -1, 257};
    for (size_t i = 0; i < 3; i++) cr_assert_eq(weir__pool_create(&p, bad[i]), WEIR_EINVAL);
    cr_assert_eq(weir__pool_create(NULL, 1), WEIR_EINVAL);
    cr_assert_null(p);
    weir__pool_free(NULL);
}

typedef struct region {
    long value[8]; /* written by one worker each, read by the caller: no atomics, so TSan checks the pool */
    long round;
} region;

static void add_round(void *arg, int worker, int n_worker) {
    region *r = arg;
    cr_assert(worker < n_worker);
    r->value[worker] += r->round;
}

Test(pool, every_worker_runs_once_a_region_and_is_seen) {
    for (int n = 1; n <= 5; n++) {
        weir_pool *p = NULL;
        cr_assert_eq(weir__pool_create(&p, n), WEIR_OK);
        cr_assert_eq(weir__pool_size(p), n);
        region r = {{0}, 0};
        long want = 0;
        for (r.round = 1; r.round <= 2000; r.round++) {
            weir__pool_run(p, add_round, &r);
            want += r.round;
            for (int w = 0; w < n; w++) cr_assert_eq(r.value[w], want, "%d threads, worker %d", n, w);
        }
        weir__pool_free(p);
    }
}

/* Pauses of all lengths around the moment when spinning turns into sleeping. */
Test(pool, regions_after_a_pause_find_the_workers) {
    weir_pool *p = NULL;
    cr_assert_eq(weir__pool_create(&p, 3), WEIR_OK);
    region r = {{0}, 1};
    for (long i = 1; i <= 300; i++) {
        const struct timespec pause = {0, i * 2000};
        nanosleep(&pause, NULL);
        weir__pool_run(p, add_round, &r);
        for (int w = 0; w < 3; w++) cr_assert_eq(r.value[w], i);
    }
    weir__pool_free(p);
}

static void *own_pool(void *arg) {
    long *sum = arg;
    weir_pool *p = NULL;
    if (weir__pool_create(&p, 3) != WEIR_OK) return NULL;
    region r = {{0}, 1};
    for (int i = 0; i < 500; i++) weir__pool_run(p, add_round, &r);
    *sum = r.value[0] + r.value[1] + r.value[2];
    weir__pool_free(p);
    return NULL;
}

Test(pool, pools_of_several_callers_do_not_disturb_each_other) {
    pthread_t thread[4];
    long sum[4] = {0};
    for (int i = 0; i < 4; i++) cr_assert_eq(pthread_create(&thread[i], NULL, own_pool, &sum[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        cr_assert_eq(sum[i], 1500);
    }
}

Test(pool, failing_allocations_leave_nothing_behind) {
    for (long fail_at = 1;; fail_at++) {
        alloc_install(fail_at);
        weir_pool *p = NULL;
        const weir_status s = weir__pool_create(&p, 2);
        if (s == WEIR_OK) weir__pool_free(p);
        const long live = alloc_live(), count = alloc_count();
        alloc_uninstall();
        cr_assert_eq(live, 0);
        if (s == WEIR_OK) {
            cr_assert(count < fail_at);
            break;
        }
        cr_assert_eq(s, WEIR_ENOMEM);
    }
}
