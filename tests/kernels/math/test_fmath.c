#include <criterion/criterion.h>

#include "kernels/accept/sweep/lanes.h"
#include "kernels/math/fmath.h"

/* Error of `got` in units of the last place of the double result. */
static double ulps(float got, double want) {
    int e;
    frexp(want, &e);
    return fabs((double)got - want) / ldexp(1.0, e - 24);
}

static float from_bits(uint32_t b) { return wf_from_bits((int32_t)b); }

/* wf_exp of 1,024 arguments through the loops that the ops use. */
static void exp_chunk(const weir_lanes *lanes, const float *x, float *y) {
    const weir_row_view view = {.logits = x, .inv_sum = 1.0f};
    lanes->probs(&view, true, 0, WEIR_CHUNK, y);
}

/* All 1.12 billion floats from -0 down to -88: the order of logits is the order of weights. */
Test(fmath, exp_rises_over_every_float) {
    const weir_lanes *lanes = weir__lanes_of(weir__isa_best());
    if (lanes == &weir__lanes_portable) cr_skip_test("minutes without vector instructions");
    static _Alignas(64) float x[WEIR_CHUNK], y[WEIR_CHUNK];
    float last = 2.0f;
    for (uint32_t b = 0x80000000u; b < 0xc2b00000u; b += WEIR_CHUNK) {
        for (uint32_t i = 0; i < WEIR_CHUNK; i++) x[i] = from_bits(b + i);
        exp_chunk(lanes, x, y);
        int bad = !(y[0] <= last);
        for (int i = 1; i < WEIR_CHUNK; i++) bad |= !(y[i] <= y[i - 1]);
        cr_assert(!bad, "not monotone near bits %08x", b);
        last = y[WEIR_CHUNK - 1];
    }
    cr_expect(last == 0.0f);
}

Test(fmath, exp_is_within_its_stated_error) {
    double worst = 0.0;
    for (uint32_t b = 0x80000000u; b < 0xc2ae9999u; b += 331) {
        const float x = from_bits(b);
        const double u = ulps(wf_exp(x), exp((double)x));
        if (!(u <= worst)) worst = u;
    }
    cr_expect(worst <= 1.1, "worst error %g ulp", worst);
}

Test(fmath, exp_has_exact_ends) {
    cr_expect(wf_exp(0.0f) == 1.0f);
    cr_expect(wf_exp(-0.0f) == 1.0f);
    cr_expect(wf_exp(-INFINITY) == 0.0f);
    cr_expect(wf_exp(-3.4e38f) == 0.0f);
    cr_expect(wf_exp(nextafterf(WF_EXP_MIN, -INFINITY)) == 0.0f);
    cr_expect(wf_exp(WF_EXP_MIN) >= 0x1p-126f);
}

Test(fmath, log_is_within_its_stated_error) {
    double worst = 0.0;
    for (uint32_t b = 1; b < 0x7f800000u; b += 577) {
        const float x = from_bits(b);
        if (x == 1.0f) continue;
        const double u = ulps(wf_log(x), log((double)x));
        if (!(u <= worst)) worst = u;
    }
    for (uint32_t b = 0x3f7f0000u; b < 0x3f810000u; b++) { /* around 1, where log is small */
        const float x = from_bits(b);
        if (x == 1.0f) continue;
        const double u = ulps(wf_log(x), log((double)x));
        if (!(u <= worst)) worst = u;
    }
    cr_expect(worst <= 1.0, "worst error %g ulp", worst);
    cr_expect(wf_log(1.0f) == 0.0f);
    cr_expect(wf_log(0.0f) == -INFINITY);
}

/* -log1p(-u) in double from the exact u, by whichever form loses nothing. */
static double exponential_of(uint32_t x) {
    const double u = ((double)x + 0.5) * 0x1p-32;
    return u < 0.5 ? -log1p(-u) : -log(((double)(uint32_t)~x + 0.5) * 0x1p-32);
}

Test(fmath, exponential_keeps_all_32_bits) {
    double worst = 0.0;
    for (uint64_t x = 0; x < UINT64_C(1) << 32; x += x < 300000 || x > 4294600000u ? 1 : 1021) {
        const double u = ulps(wf_exponential((uint32_t)x), exponential_of((uint32_t)x));
        if (!(u <= worst)) worst = u;
    }
    cr_expect(worst <= 2.5, "worst error %g ulp", worst);
    for (uint32_t x = 0; x < 1u << 22; x++) /* distinct words near u = 0 are distinct exponentials */
        cr_assert(wf_exponential(x) < wf_exponential(x + 1), "words %u and %u meet", x, x + 1);
    cr_expect(wf_exponential(0) > 0.0f);
    cr_expect(wf_exponential(UINT32_MAX) < 24.0f);
}

Test(fmath, coin_lies_in_the_half_open_interval) {
    cr_expect(wf_coin(0) > 0.0f);
    cr_expect(wf_coin(UINT32_MAX) == 1.0f);
    for (uint32_t x = 0; x < UINT32_MAX - 65537u; x += 65521u)
        cr_assert(wf_coin(x) < wf_coin(x + 65536u), "coins fall at %08x", x);
}

/* One source, three builds: the same bits for arguments of every size. */
Test(fmath, instruction_sets_agree_bit_for_bit) {
    static _Alignas(64) float x[WEIR_CHUNK], want[WEIR_CHUNK], got[WEIR_CHUNK];
    uint64_t n = 0;
    for (uint32_t b = 0x80000000u; b < 0xc2b00000u; b += 1024 * 331) {
        for (uint32_t i = 0; i < WEIR_CHUNK; i++) x[i] = from_bits(b + i * 331);
        exp_chunk(&weir__lanes_portable, x, want);
        for (int isa = WEIR_ISA_PORTABLE; isa <= (int)weir__isa_best(); isa++) {
            exp_chunk(weir__lanes_of((weir_isa)isa), x, got);
            cr_assert(!memcmp(got, want, sizeof got), "%s differs near %08x", weir__isa_name((weir_isa)isa),
                      b);
        }
        n += WEIR_CHUNK;
    }
    cr_log_info("%llu arguments", (unsigned long long)n);
}
