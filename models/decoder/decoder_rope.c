/* Rotary frequencies and the ways to stretch them, as transformers' modeling_rope_utils computes them. Sums
 * in double, one rounding at the end: within an ulp or two of its f32. */
#include <math.h>

#include "models/decoder/decoder.h"

/* Long waves are stretched whole, short ones not at all, between them it goes by the number of turns in the
 * trained context (Llama 3.1). */
static double llama3(const weir_rope_config *r, double freq) {
    const double turns = r->n_ctx_original * freq / (2.0 * M_PI);
    if (turns < (double)r->low_freq) return freq / (double)r->factor;
    if (turns > (double)r->high_freq) return freq;
    const double smooth = (turns - (double)r->low_freq) / ((double)r->high_freq - (double)r->low_freq);
    return (1.0 - smooth) * freq / (double)r->factor + smooth * freq;
}

/* The dimension that turns so many times in the trained context (arXiv 2309.00071, section 3.2). */
static double yarn_dimension(const weir_rope_config *r, int32_t n_dim, double turns) {
    return n_dim * log(r->n_ctx_original / (turns * 2.0 * M_PI)) / (2.0 * log((double)r->theta));
}

/* Stretched from dimension `high` on, as trained up to `low`, a ramp between them. */
static double yarn(const weir_rope_config *r, int32_t n_dim, int32_t i, double freq) {
    const double from = yarn_dimension(r, n_dim, (double)r->beta_fast),
                 to = yarn_dimension(r, n_dim, (double)r->beta_slow);
    const double low = fmax(r->untruncated ? from : floor(from), 0.0);
    double high = fmin(r->untruncated ? to : ceil(to), n_dim - 1.0);
    if (high == low) high += 0.001;
    const double ramp = fmin(fmax((i - low) / (high - low), 0.0), 1.0);
    return ramp * freq / (double)r->factor + (1.0 - ramp) * freq;
}

float weir__rope_table(const weir_rope_config *r, int32_t n_dim, float *inv_freq) {
    for (int32_t i = 0; i < n_dim / 2; i++) {
        double freq = pow((double)r->theta, -2.0 * i / n_dim);
        switch (r->kind) {
        case WEIR_ROPE_DEFAULT: break;
        case WEIR_ROPE_LINEAR: freq /= (double)r->factor; break;
        case WEIR_ROPE_LLAMA3: freq = llama3(r, freq); break;
        case WEIR_ROPE_YARN: freq = yarn(r, n_dim, i, freq); break;
        case WEIR_ROPE_LONGROPE: break; /* the divisors are tensors */
        }
        inv_freq[i] = (float)freq;
    }
    if (r->kind != WEIR_ROPE_YARN && r->kind != WEIR_ROPE_LONGROPE) return 1.0f;
    if (r->attention_factor > 0.0f) return r->attention_factor;
    if (!(r->factor > 1.0f)) return 1.0f;
    const double stretch = log((double)r->factor);
    return r->kind == WEIR_ROPE_YARN ? (float)(0.1 * stretch + 1.0)
                                     : (float)sqrt(1.0 + stretch / log((double)r->n_ctx_original));
}
