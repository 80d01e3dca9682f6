/* The comparator is what every other figure stands on. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/compare.h"

static bool close_one(float got, double want, double atol, double rtol) {
    char msg[200];
    return close_f32(&got, &want, 1, atol, rtol, INFINITY, msg, sizeof msg);
}

Test(compare, nan_and_infinities_fail_unless_the_oracle_has_them) {
    cr_assert(!close_one(NAN, 1.0, INFINITY, INFINITY));
    cr_assert(!close_one(1.0f, NAN, INFINITY, INFINITY));
    cr_assert(!close_one(INFINITY, 1e30, INFINITY, 0.0));
    cr_assert(!close_one(INFINITY, -INFINITY, INFINITY, 0.0));
    cr_assert(!close_one(NAN, INFINITY, INFINITY, 0.0));
    cr_assert(close_one(NAN, NAN, 0.0, 0.0));
    cr_assert(close_one(-INFINITY, -INFINITY, 0.0, 0.0));
}

Test(compare, bounds_are_absolute_plus_relative) {
    cr_assert(close_one(1.5f, 1.0, 0.5, 0.0));
    cr_assert(!close_one(1.5f, 1.0, 0.25, 0.125));
    cr_assert(close_one(-3.0f, -2.0, 0.5, 0.25));
    cr_assert(close_one(-0.0f, 0.0, 0.0, 0.0));
}

Test(compare, one_wrong_element_in_a_million_is_found) {
    const size_t n = 1000000;
    float *got = calloc(n, sizeof *got);
    double *want = calloc(n, sizeof *want);
    char msg[200];
    for (size_t i = 0; i < n; i++) want[i] = got[i] = 1.0f;
    cr_assert(close_f32(got, want, n, 0.0, 0.0, 0.0, msg, sizeof msg));
    got[777777] = 1.001f;
    cr_assert(!close_f32(got, want, n, 1e-4, 0.0, 1.0, msg, sizeof msg));
    cr_assert(strstr(msg, "777777") && strstr(msg, "1.001"), "%s", msg);
    free(got);
    free(want);
}

Test(compare, a_bias_below_the_element_bound_is_found_by_the_norm) {
    float got[100];
    double want[100];
    char msg[200];
    for (int i = 0; i < 100; i++) want[i] = 1.0, got[i] = 1.009f;
    cr_assert(!close_f32(got, want, 100, 0.01, 0.0, 1e-6, msg, sizeof msg));
    cr_assert(strstr(msg, "nmse"), "%s", msg);
}

Test(compare, bits_tell_zero_from_minus_zero) {
    const float a[2] = {0.0f, 1.0f}, b[2] = {-0.0f, 1.0f};
    char msg[200];
    cr_assert(!same_bits_f32(a, b, 2, msg, sizeof msg));
    cr_assert(same_bits_f32(a + 1, b + 1, 1, msg, sizeof msg));
}

Test(compare, guards_see_a_write_on_either_side) {
    float *p = guarded_new(10);
    for (int i = 0; i < 10; i++) p[i] = 1.0f;
    cr_assert(guarded_intact(p, 10));
    const long at[] = {-GUARD, -1, 10, 10 + GUARD - 1};
    for (int i = 0; i < 4; i++) {
        const float saved = p[at[i]];
        p[at[i]] = 0.0f;
        cr_assert(!guarded_intact(p, 10), "offset %ld", at[i]);
        memcpy(p + at[i], &saved, sizeof saved);
        cr_assert(guarded_intact(p, 10));
    }
    guarded_free(p);
}
