#include "kernels/weight/quantise.h"

#include <string.h>

#include "kernels/math/fmath.h"
#include "kernels/weight/quant.h"

static uint32_t bits_of(float f) { return (uint32_t)wf_bits(f); }
static float from_bits(uint32_t u) { return wf_from_bits((int32_t)u); }

/* n elements widened. One loop per dtype: a call per element would take longer than the rest. */
static void widen(weir_dtype from, const unsigned char *p, int64_t n, float *out) {
    if (from == WEIR_DTYPE_F32) {
        memcpy(out, p, (size_t)n * sizeof *out);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, p + 2 * i, sizeof h);
        out[i] = from == WEIR_DTYPE_BF16 ? from_bits((uint32_t)h << 16) : weir_f32_from_f16(h);
    }
}

/* The bits of the largest |x|: as integers, NaN is above infinity, and both are above numbers. */
static uint32_t largest(const float *x, int n) {
    uint32_t most = 0;
    for (int i = 0; i < n; i++) {
        const uint32_t u = bits_of(x[i]) & 0x7fffffffu;
        most = u > most ? u : most;
    }
    return most;
}

/* The nearest integer, ties to even, of |f| <= 2^21. */
static int32_t nearest(float f) {
    const float moved = f + 0x1.8p23f; /* its last bit is 1 */
    return (int32_t)(bits_of(moved) - bits_of(0x1.8p23f));
}

static const uint16_t NAN_F16 = 0x7e00;

static void block_q8_0(const float *x, unsigned char *out) {
    const uint32_t most = largest(x, 32);
    uint16_t h = most < 0x7f800000u ? weir_f16_from_f32(from_bits(most) / 127.0f) : NAN_F16;
    if (h >= 0x7c00) h = NAN_F16;
    const float d = weir_f32_from_f16(h);
    memcpy(out, &h, sizeof h);
    for (int i = 0; i < 32; i++) {
        /* a subnormal d may be half of what it stands for */
        const float q = d > 0.0f ? x[i] / d : 0.0f;
        const float most_q = q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q;
        out[2 + i] = (unsigned char)nearest(most_q);
    }
}

/* The code nearest to a number of at most 448; past 464 it would be that of NaN. */
static uint8_t e4m3_of(float f) {
    const uint32_t u = bits_of(f), sign = u >> 24 & 0x80u, size = u & 0x7fffffffu;
    if (size < 0x3c800000u) /* below 2^-6: multiples of 2^-9, the last one of which is 2^-6 itself */
        return (uint8_t)(sign | (uint32_t)nearest(from_bits(size) * 512.0f));
    return (uint8_t)(sign | (((size + 0x7ffffu + (size >> 20 & 1u)) >> 20) - (120u << 3)));
}

static void put_f32(unsigned char *to, float f) { memcpy(to, &f, sizeof f); }

static void block_fp8(const float *x, unsigned char *out) {
    static const uint32_t LEAST = 0x0d800000u, MOST = 0x7f800000u; /* 2^-100, infinity */
    const uint32_t most = largest(x, 64);
    const bool some = most >= LEAST && most < MOST;
    const float d = some ? from_bits(most) / WEIR_E4M3_MOST : 0.0f;
    put_f32(out, most < MOST ? d : from_bits(0x7fc00000u));
    for (int i = 0; i < 64; i++) {
        const float q = some ? x[i] / d : 0.0f; /* a quotient may be rounded up */
        out[4 + i] = e4m3_of(q > WEIR_E4M3_MOST ? WEIR_E4M3_MOST : q < -WEIR_E4M3_MOST ? -WEIR_E4M3_MOST : q);
    }
}

void weir__fp8_block(float d, const uint8_t *code, void *out) {
    unsigned char *to = out;
    bool nan = false;
    for (int i = 0; i < 64; i++) nan |= (code[i] & 0x7f) == 0x7f;
    put_f32(to, nan ? from_bits(0x7fc00000u) : d);
    for (int i = 0; i < 64; i++) to[4 + i] = nan ? 0 : code[i];
}

void weir__quantise_row(weir_dtype from, weir_dtype to, const void *row, int64_t n, void *out) {
    const unsigned char *p = row;
    unsigned char *block = out;
    const int each = weir_dtype_block(to);
    float x[WEIR_QUANT_BLOCK];
    for (int64_t i = 0; i < n; i += each, block += weir_dtype_block_bytes(to)) {
        widen(from, p + i * weir_dtype_bytes(from), each, x);
        if (to == WEIR_DTYPE_Q8_0)
            block_q8_0(x, block);
        else
            block_fp8(x, block);
    }
}
