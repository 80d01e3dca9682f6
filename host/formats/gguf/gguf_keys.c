/* The keys "<architecture>.…" that llama.cpp's readers know (llama-arch.cpp), and what is done about each. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/formats/gguf/gguf_file.h"
#include "host/formats/gguf/gguf_model.h"
#include "host/formats/json/json_file.h"

/* ---- typed reads --------------------------------------------------------------------------------------- */

const char *weir__gguf_key(const family_row *f, const char *name, char buf[128]) {
    snprintf(buf, 128, "%s.%s", f->gguf, name);
    return buf;
}

/* Of an array: the value that all elements have. */
static bool uniform_int(const weir_gguf *g, const char *key, int64_t *out) {
    size_t n;
    int64_t first, v;
    if (weir__gguf_int(g, key, out)) return true;
    if (!weir__gguf_array_length(g, key, &n) || !weir__gguf_array_int(g, key, 0, &first)) return false;
    for (size_t i = 1; i < n; i++)
        if (!weir__gguf_array_int(g, key, i, &v) || v != first) return false;
    *out = first;
    return true;
}

weir_status weir__gguf_get_int(const weir_gguf *g, const char *key, int64_t lo, int64_t hi, int32_t *out,
                               weir_err *err) {
    int64_t v;
    if (!weir__gguf_has(g, key)) return WEIR_OK;
    if (!uniform_int(g, key, &v))
        return weir_fail(err, WEIR_EFORMAT, "%s: %.100s is not an integer, or not the same in all layers",
                         weir__label(g->label), key);
    if (v < lo || v > hi)
        return weir_fail(err, WEIR_EFORMAT, "%s: %.100s = %lld, expected %lld to %lld", weir__label(g->label),
                         key, (long long)v, (long long)lo, (long long)hi);
    *out = (int32_t)v;
    return WEIR_OK;
}

weir_status weir__gguf_get_real(const weir_gguf *g, const char *key, double lo, double hi, double *out,
                                weir_err *err) {
    double v;
    if (!weir__gguf_has(g, key)) return WEIR_OK;
    if (!weir__gguf_real(g, key, &v))
        return weir_fail(err, WEIR_EFORMAT, "%s: %.100s is not a number", weir__label(g->label), key);
    if (!(v >= lo && v <= hi)) /* also NaN */
        return weir_fail(err, WEIR_EFORMAT, "%s: %.100s = %g, expected %g to %g", weir__label(g->label), key,
                         v, lo, hi);
    *out = v;
    return WEIR_OK;
}

/* ---- which keys there are ------------------------------------------------------------------------------ */

/* Honoured by families of these choices. In the others only the neutral value will do (NAN: there is
 * none). */
typedef struct known_key {
    const char *name;
    int32_t honoured;
    double neutral;
} known_key;

static const known_key KEYS[] = {
    {"context_length", FAMILY_ALL, NAN},
    {"embedding_length", FAMILY_ALL, NAN},
    {"block_count", FAMILY_ALL, NAN},
    {"feed_forward_length", FAMILY_ALL, NAN},
    {"vocab_size", FAMILY_ALL, NAN},
    {"attention.head_count", FAMILY_ALL, NAN},
    {"attention.head_count_kv", FAMILY_ALL, NAN},
    {"attention.key_length", FAMILY_ALL, NAN},
    {"attention.value_length", FAMILY_ALL, NAN},
    {"attention.layer_norm_rms_epsilon", FAMILY_ALL, NAN},
    {"attention.scale", FAMILY_ALL, NAN},
    {"rope.dimension_count", FAMILY_ALL, NAN},
    {"rope.freq_base", FAMILY_ALL, NAN},
    {"rope.scale_linear", FAMILY_ALL, NAN}, /* rope.scaling.factor in older files */
    {"rope.scaling.type", FAMILY_ALL, NAN},
    {"rope.scaling.factor", FAMILY_ALL, NAN},
    {"rope.scaling.attn_factor", FAMILY_ALL, NAN},
    {"rope.scaling.original_context_length", FAMILY_ALL, NAN},
    {"rope.scaling.yarn_beta_fast", FAMILY_ALL, NAN},
    {"rope.scaling.yarn_beta_slow", FAMILY_ALL, NAN},
    {"attention.sliding_window", FAMILY_PERIOD | FAMILY_LONGROPE, 0},
    {"attention.sliding_window_pattern", FAMILY_PERIOD, NAN},
    {"rope.freq_base_swa", FAMILY_PERIOD, NAN},
    {"rope.global.freq_base", FAMILY_LOCAL_THETA,
     NAN}, /* freq_base and freq_base_swa as Ollama writes them */
    {"rope.local.freq_base", FAMILY_LOCAL_THETA, NAN},
    {"attn_logit_softcapping", FAMILY_FINAL_CAP, 0},
    {"final_logit_softcapping", FAMILY_FINAL_CAP, 0},
    /* change the computation unless neutral */
    {"expert_count", FAMILY_MIXES, 0},
    {"expert_used_count", FAMILY_MIXES, 0},
    {"expert_feed_forward_length", FAMILY_EXPERTS | FAMILY_SINKS, 0},
    {"expert_shared_feed_forward_length", FAMILY_SHARED_EXPERT, 0},
    {"embedding_scale", FAMILY_MULTIPLIERS, 1},
    {"residual_scale", FAMILY_MULTIPLIERS, 1},
    {"logit_scale", FAMILY_MULTIPLIERS, 1},
    {"use_parallel_residual", 0, 0},
    {"attention.causal", 0, 1},
    {"attention.max_alibi_bias", 0, 0},
    {"attention.clamp_kqv", 0, 0},
    {"rope.scaling.yarn_ext_factor", 0, 1},
    {"rope.scaling.yarn_attn_factor", 0, 1},
    {"rope.scaling.yarn_log_multiplier", 0, 0},
};

/* Of T5. The cross-attention and the encoder have the decoder's shapes. */
static const known_key T5_KEYS[] = {
    {"context_length", FAMILY_ALL, NAN}, /* relative positions have no limit */
    {"embedding_length", FAMILY_ALL, NAN},
    {"block_count", FAMILY_ALL, NAN},
    {"decoder_block_count", FAMILY_ALL, NAN},
    {"feed_forward_length", FAMILY_ALL, NAN},
    {"vocab_size", FAMILY_ALL, NAN},
    {"attention.head_count", FAMILY_ALL, NAN},
    {"attention.head_count_kv", FAMILY_ALL, NAN},
    {"attention.key_length", FAMILY_ALL, NAN},
    {"attention.value_length", FAMILY_ALL, NAN},
    {"attention.layer_norm_epsilon", FAMILY_ALL, NAN},
    {"attention.layer_norm_rms_epsilon", FAMILY_ALL, NAN},
    {"attention.relative_buckets_count", FAMILY_ALL, NAN},
    {"decoder_start_token_id", FAMILY_ALL, NAN},
};

/* Bookkeeping, and keys for other uses of the file than text. */
static const char *const HARMLESS[] = {"rope.scaling.finetuned", "tensor_data_layout", "pooling_type",
                                       "vision.", "mm."};

static bool is_harmless(const char *name, size_t n) {
    for (size_t i = 0; i < sizeof HARMLESS / sizeof *HARMLESS; i++) {
        size_t m = strlen(HARMLESS[i]);
        bool prefix = HARMLESS[i][m - 1] == '.';
        if (n >= m && (prefix || n == m) && memcmp(name, HARMLESS[i], m) == 0) return true;
    }
    return false;
}

static const known_key *find_key(weir_family_kind kind, const char *name, size_t n) {
    const bool t5 = kind == WEIR_FAMILY_T5;
    const known_key *keys = t5 ? T5_KEYS : KEYS;
    const size_t count = t5 ? sizeof T5_KEYS / sizeof *T5_KEYS : sizeof KEYS / sizeof *KEYS;
    for (size_t i = 0; i < count; i++)
        if (strlen(keys[i].name) == n && memcmp(keys[i].name, name, n) == 0) return &keys[i];
    return NULL;
}

static weir_status check_key(const weir_gguf *g, const family_row *f, const gguf_pair *p, weir_err *err) {
    size_t skip = strlen(f->gguf) + 1;
    const char *label = weir__label(g->label), *name = p->key + skip;
    const known_key *k = find_key(f->kind, name, p->key_bytes - skip);
    int shown = p->key_bytes < 100 ? (int)p->key_bytes : 100;
    char key[128];
    double v = NAN;
    bool b;
    if (is_harmless(name, p->key_bytes - skip)) return WEIR_OK;
    if (!k)
        return weir_fail(err, WEIR_ENOTSUP, "%s: key %.*s is unknown, it may change the result", label, shown,
                         p->key);
    if (weir__family_has(f, k->honoured)) return WEIR_OK;
    weir__gguf_key(f, k->name, key);
    if (weir__gguf_bool(g, key, &b))
        v = b;
    else
        (void)weir__gguf_real(g, key, &v);
    if (v == k->neutral) return WEIR_OK;
    return weir_fail(err, WEIR_ENOTSUP, "%s: %s = %g is not supported, it changes the result", label, key, v);
}

weir_status weir__gguf_check_keys(const weir_gguf *g, const family_row *f, weir_err *err) {
    size_t n = strlen(f->gguf);
    char key[128];
    int64_t experts;
    if (!weir__family_has(f, FAMILY_MIXES) &&
        weir__gguf_int(g, weir__gguf_key(f, "expert_count", key), &experts) && experts > 0)
        return weir_fail(err, WEIR_ENOTSUP,
                         "%s: a mixture of %lld experts is not supported in a %s, expected a dense model",
                         weir__label(g->label), (long long)experts, f->gguf);
    for (size_t i = 0; i < g->n_pair; i++) {
        const gguf_pair *p = &g->pair[i];
        if (p->key_bytes > n && p->key[n] == '.' && memcmp(p->key, f->gguf, n) == 0)
            WEIR_TRY(check_key(g, f, p, err));
    }
    return WEIR_OK;
}
