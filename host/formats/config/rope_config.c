/* rope_scaling of config.json, as transformers' modeling_rope_utils reads it: same names and defaults. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/formats/config/config.h"

static const double MAX_FACTOR = 1e6, MAX_THETA = 1e12;

/* Kinds that a key belongs to; elsewhere it is noted, since it is without effect there. */
enum {
    LINEAR = 1 << WEIR_ROPE_LINEAR,
    LLAMA3 = 1 << WEIR_ROPE_LLAMA3,
    YARN = 1 << WEIR_ROPE_YARN,
    LONGROPE = 1 << WEIR_ROPE_LONGROPE,
    ALL = LINEAR | LLAMA3 | YARN | LONGROPE | 1 << WEIR_ROPE_DEFAULT
};

static const struct {
    const char *name;
    int kinds;
} KEYS[] = {
    {"rope_type", ALL},
    {"type", ALL}, /* its name before 2024 */
    {"rope_theta", ALL},
    {"factor", LINEAR | LLAMA3 | YARN},
    {"original_max_position_embeddings", LLAMA3 | YARN | LONGROPE},
    {"short_factor", LONGROPE},
    {"long_factor", LONGROPE},
    {"low_freq_factor", LLAMA3},
    {"high_freq_factor", LLAMA3},
    {"beta_fast", YARN},
    {"beta_slow", YARN},
    {"attention_factor", YARN | LONGROPE},
    {"mscale", YARN},
    {"mscale_all_dim", YARN},
    {"truncate", YARN},
};

/* Phi-3's first files call longrope su, and what they call yarn is longrope too. */
static weir_status parse_kind(const json_t *rope, bool longrope, const char *label, weir_rope_kind *out,
                              weir_err *err) {
    static const char *const names[] = {"default", "linear", "llama3", "yarn", "longrope"};
    const char *name = NULL;
    const size_t n = sizeof names / sizeof *names - !longrope;
    WEIR_TRY(weir__get_string(rope, "rope_type", &name, label, err));
    WEIR_TRY(weir__get_string(rope, "type", &name, label, err)); /* wins: transformers copies it over
                                                                    rope_type */
    if (!name) return weir_fail(err, WEIR_EFORMAT, "%s: rope_scaling has no rope_type", weir__label(label));
    if (longrope && (strcmp(name, "su") == 0 || strcmp(name, "yarn") == 0)) name = "longrope";
    for (size_t i = 0; i < n; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (weir_rope_kind)i;
            return WEIR_OK;
        }
    }
    return weir_fail(err, WEIR_ENOTSUP,
                     "%s: rope_scaling's rope_type = \"%.40s\": not supported, expected default, linear, %s",
                     weir__label(label), name, longrope ? "llama3 or longrope" : "llama3 or yarn");
}

/* Keys by which other programs stretch positions; transformers ignores them under these kinds. */
static bool is_variant(const char *key) {
    static const char *const names[] = {
        "short_factor",      "long_factor", "short_mscale",         "long_mscale", "mrope_section",
        "mrope_interleaved", "alpha",       "extrapolation_factor", "attn_factor", "partial_rotary_factor"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], key) == 0) return true;
    return false;
}

static weir_status check_keys(const json_t *rope, weir_rope_kind kind, bool partial, const char *label,
                              weir_checkpoint *ck, weir_err *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)rope, key, value) {
        size_t i = 0;
        while (i < sizeof KEYS / sizeof *KEYS && strcmp(KEYS[i].name, key) != 0) i++;
        if (json_is_null(value) || (i < sizeof KEYS / sizeof *KEYS && KEYS[i].kinds >> kind & 1)) continue;
        const bool neutral = (json_is_number(value) && json_number_value(value) == 1.0) ||
                             (partial && strcmp(key, "partial_rotary_factor") == 0);
        if (is_variant(key) && !neutral) return weir__fail_neutral(key, value, label, err);
        if (!is_variant(key)) WEIR_TRY(weir__note_field(key, value, label, ck, err));
    }
    return WEIR_OK;
}

static weir_status need(const json_t *rope, const char *key, double lo, double hi, float *out,
                        const char *label, weir_err *err) {
    double x = 0;
    if (!weir__is_set(rope, key))
        return weir_fail(err, WEIR_EFORMAT, "%s: rope_scaling has no %s", weir__label(label), key);
    WEIR_TRY(weir__get_real(rope, key, lo, hi, &x, label, err));
    *out = (float)x;
    return WEIR_OK;
}

static double mscale_of(double factor, double mscale) {
    return factor <= 1.0 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

static weir_status parse_yarn(const json_t *rope, const char *label, weir_rope_config *out, weir_err *err) {
    double fast = 0, slow = 0, attention = 0, mscale = 0, mscale_all = 0;
    bool truncate = true;
    WEIR_TRY(weir__get_real(rope, "beta_fast", 0, MAX_FACTOR, &fast, label, err));
    WEIR_TRY(weir__get_real(rope, "beta_slow", 0, MAX_FACTOR, &slow, label, err));
    WEIR_TRY(weir__get_real(rope, "attention_factor", 1e-6, MAX_FACTOR, &attention, label, err));
    WEIR_TRY(weir__get_real(rope, "mscale", 0, MAX_FACTOR, &mscale, label, err));
    WEIR_TRY(weir__get_real(rope, "mscale_all_dim", 0, MAX_FACTOR, &mscale_all, label, err));
    WEIR_TRY(weir__get_bool(rope, "truncate", &truncate, label, err));
    out->untruncated = !truncate;
    out->beta_fast = fast > 0 ? (float)fast : 32.0f; /* 0 is as absent, as in transformers */
    out->beta_slow = slow > 0 ? (float)slow : 1.0f;
    if (attention == 0 && mscale > 0 && mscale_all > 0)
        attention = mscale_of((double)out->factor, mscale) / mscale_of((double)out->factor, mscale_all);
    if (attention == 0) attention = mscale_of((double)out->factor, 1.0);
    out->attention_factor = (float)attention;
    return WEIR_OK;
}

static weir_status parse_original(const json_t *rope, int32_t otherwise, const char *label,
                                  weir_rope_config *out, weir_err *err) {
    out->n_ctx_original = otherwise;
    if (otherwise > 0 && !weir__is_set(rope, "original_max_position_embeddings")) return WEIR_OK;
    out->n_ctx_original = 0;
    WEIR_TRY(weir__get_int(rope, "original_max_position_embeddings", 1, INT32_MAX, &out->n_ctx_original,
                           label, err));
    if (out->n_ctx_original > 0) return WEIR_OK;
    return weir_fail(err, WEIR_EFORMAT, "%s: rope_scaling has no original_max_position_embeddings",
                     weir__label(label));
}

/* ---- longrope ------------------------------------------------------------------------------------------ */

/* One number for each pair of elements that turns. */
static weir_status parse_divisors(const json_t *rope, const char *key, int32_t n, const char *label,
                                  float *out, weir_err *err) {
    const json_t *list = json_object_get(rope, key);
    char why[80];
    if (!list || json_is_null(list))
        return weir_fail(err, WEIR_EFORMAT, "%s: rope_scaling has no %s", weir__label(label), key);
    snprintf(why, sizeof why, "expected a list of %d numbers above 0", (int)n);
    if (!json_is_array(list) || json_array_size(list) != (size_t)n)
        return weir__fail_field(err, WEIR_EFORMAT, label, key, list, why);
    for (int32_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, (size_t)i);
        const double x = json_number_value(v);
        if (!json_is_number(v) || !(x >= 1e-6 && x <= MAX_FACTOR))
            return weir__fail_field(err, WEIR_EFORMAT, label, key, v, why);
        out[i] = (float)x;
    }
    return WEIR_OK;
}

/* transformers takes the factor from the two contexts, whatever the object says. */
static weir_status parse_longrope(const json_t *rope, const weir_rope_base *base, const char *label,
                                  weir_checkpoint *ck, weir_rope_config *r, weir_err *err) {
    const int32_t n = weir__rope_dims(r, ck->decoder.head_dim) / 2;
    double attention = 0, factor;
    if (n > WEIR_ROPE_DIMS / 2)
        return weir_fail(err, WEIR_ENOTSUP, "%s: %d elements of a head turn, expected at most %d",
                         weir__label(label), (int)(2 * n), WEIR_ROPE_DIMS);
    WEIR_TRY(parse_original(rope, base->n_ctx_original, label, r, err));
    WEIR_TRY(parse_divisors(rope, "short_factor", n, label, ck->rope_divisors[0], err));
    WEIR_TRY(parse_divisors(rope, "long_factor", n, label, ck->rope_divisors[1], err));
    WEIR_TRY(weir__get_real(rope, "attention_factor", 1e-6, MAX_FACTOR, &attention, label, err));
    if (r->n_ctx_original < 2)
        return weir_fail(err, WEIR_EFORMAT, "%s: original_max_position_embeddings = %d, expected 2 or more",
                         weir__label(label), (int)r->n_ctx_original);
    factor = (double)base->n_ctx / r->n_ctx_original;
    if (attention == 0)
        attention = factor > 1.0 ? sqrt(1.0 + log(factor) / log((double)r->n_ctx_original)) : 1.0;
    r->factor = (float)factor;
    r->attention_factor = (float)attention;
    return WEIR_OK;
}

weir_status weir__rope_parse(const json_t *rope, const weir_rope_base *base, const char *label,
                             weir_checkpoint *ck, weir_rope_config *out, weir_err *err) {
    double theta = base->theta;
    weir_rope_config r = {
        .kind = WEIR_ROPE_DEFAULT, .theta = (float)theta, .factor = 1.0f, .n_dim = base->n_dim};
    if (!rope || json_is_null(rope)) {
        *out = r;
        return WEIR_OK;
    }
    if (!json_is_object(rope))
        return weir__fail_field(err, WEIR_EFORMAT, label, "rope_scaling", rope, "expected an object");
    WEIR_TRY(parse_kind(rope, base->longrope, label, &r.kind, err));
    WEIR_TRY(check_keys(rope, r.kind, base->longrope, label, ck, err));
    WEIR_TRY(weir__get_real(rope, "rope_theta", 1.0, MAX_THETA, &theta, label, err));
    r.theta = (float)theta;
    if (r.kind == WEIR_ROPE_LONGROPE) {
        WEIR_TRY(parse_longrope(rope, base, label, ck, &r, err));
        *out = r;
        return WEIR_OK;
    }
    if (r.kind != WEIR_ROPE_DEFAULT) WEIR_TRY(need(rope, "factor", 1.0, MAX_FACTOR, &r.factor, label, err));
    if (r.kind == WEIR_ROPE_LLAMA3) {
        WEIR_TRY(need(rope, "low_freq_factor", 1e-3, MAX_FACTOR, &r.low_freq, label, err));
        WEIR_TRY(need(rope, "high_freq_factor", 1e-3, MAX_FACTOR, &r.high_freq, label, err));
        if (!(r.high_freq > r.low_freq))
            return weir_fail(err, WEIR_EFORMAT,
                             "%s: high_freq_factor = %g, expected more than low_freq_factor = %g",
                             weir__label(label), (double)r.high_freq, (double)r.low_freq);
    }
    if (r.kind == WEIR_ROPE_YARN) WEIR_TRY(parse_yarn(rope, label, &r, err));
    if (r.kind == WEIR_ROPE_LLAMA3 || r.kind == WEIR_ROPE_YARN)
        WEIR_TRY(parse_original(rope, r.kind == WEIR_ROPE_YARN ? base->n_ctx : 0, label, &r, err));
    *out = r;
    return WEIR_OK;
}
