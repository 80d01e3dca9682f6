/* tokenizer.json: "model" and "added_tokens". */
#include <math.h>
#include <string.h>

#include "host/tokenizers/open/hf_json.h"
#include "host/tokenizers/pipeline/bpe.h"
#include "kernels/base/mem.h"

/* ---- values -------------------------------------------------------------------------------------------- */

static const json_t *present(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v) ? v : NULL;
}

weir_status weir__hf_bool(const json_t *o, const char *key, bool *out, weir_err *err) {
    const json_t *v = present(o, key);
    if (v && !json_is_boolean(v)) return weir_fail(err, WEIR_EFORMAT, "%s: expected true or false", key);
    if (v) *out = json_is_true(v);
    return WEIR_OK;
}

weir_status weir__hf_string(const json_t *o, const char *key, const char **out, weir_err *err) {
    const json_t *v = present(o, key);
    if (v && !json_is_string(v)) return weir_fail(err, WEIR_EFORMAT, "%s: expected a string", key);
    if (v) *out = json_string_value(v);
    return WEIR_OK;
}

weir_status weir__hf_int(const json_t *o, const char *key, json_int_t *out, weir_err *err) {
    const json_t *v = present(o, key);
    if (v && !json_is_integer(v)) return weir_fail(err, WEIR_EFORMAT, "%s: expected an integer", key);
    if (v) *out = json_integer_value(v);
    return WEIR_OK;
}

const char *weir__hf_type(const json_t *o) {
    const json_t *v = json_object_get(o, "type");
    return json_is_string(v) ? json_string_value(v) : "";
}

weir_status weir__hf_each(weir__pipeline *b, const json_t *o, const char *key, int depth, weir__hf_one *one,
                          weir_err *err) {
    if (!o || json_is_null(o)) return WEIR_OK;
    if (!json_is_object(o)) return weir_fail(err, WEIR_EFORMAT, "%s: expected objects", key);
    if (strcmp(weir__hf_type(o), "Sequence") != 0) return one(b, o, err);
    const json_t *list = json_object_get(o, key);
    if (!json_is_array(list)) return weir_fail(err, WEIR_EFORMAT, "%s: expected an array", key);
    if (depth == 4) return weir_fail(err, WEIR_ENOTSUP, "%s: sequences in sequences in sequences", key);
    for (size_t i = 0; i < json_array_size(list); i++)
        WEIR_TRY(weir__hf_each(b, json_array_get(list, i), key, depth + 1, one, err));
    return WEIR_OK;
}

/* ---- vocabulary ---------------------------------------------------------------------------------------- */

typedef struct entry {
    const char *text; /* NULL: no token has this id */
    size_t n;
    bool apart; /* an added token, which the model does not know */
} entry;

static weir_status check_id(json_int_t id, const char *what, weir_err *err) {
    if (id >= 0 && id < WEIR__MAX_TOKENS) return WEIR_OK;
    return weir_fail(err, WEIR_EFORMAT, "id %lld of \"%.60s\", expected 0 to %d", (long long)id, what,
                     WEIR__MAX_TOKENS - 1);
}

/* The largest id of both, -1 before; and that all are in range. */
static weir_status find_last(json_t *vocab, const weir__token *fixed, size_t n, json_int_t *last,
                             weir_err *err) {
    const char *key;
    json_t *v;
    if (!json_is_object(vocab)) return weir_fail(err, WEIR_EFORMAT, "vocab: expected an object");
    json_object_foreach(vocab, key, v) {
        if (!json_is_integer(v))
            return weir_fail(err, WEIR_EFORMAT, "vocab: id of \"%.60s\" is not an integer", key);
        WEIR_TRY(check_id(json_integer_value(v), key, err));
        if (json_integer_value(v) > *last) *last = json_integer_value(v);
    }
    for (size_t i = 0; i < n; i++)
        if (fixed[i].index > *last) *last = fixed[i].index;
    if (*last < 0) return weir_fail(err, WEIR_EFORMAT, "vocab: no tokens");
    return WEIR_OK;
}

static weir_status put(entry *all, json_int_t id, entry e, weir_err *err) {
    entry *at = &all[id];
    const bool same = at->text && at->n == e.n && memcmp(at->text, e.text, e.n) == 0;
    if (at->text && !same)
        return weir_fail(err, WEIR_EFORMAT, "id %lld is both \"%.60s\" and \"%.60s\"", (long long)id,
                         at->text, e.text);
    if (!same) *at = e;
    return WEIR_OK;
}

static weir_status collect(json_t *vocab, const weir__token *fixed, size_t n, entry *all, weir_err *err) {
    const char *key;
    json_t *v;
    size_t bytes;
    json_object_keylen_foreach(vocab, key, bytes, v)
        WEIR_TRY(put(all, json_integer_value(v), (entry){key, bytes, false}, err));
    for (size_t i = 0; i < n; i++)
        if (fixed[i].index >= 0)
            WEIR_TRY(put(all, fixed[i].index, (entry){fixed[i].text, fixed[i].n, true}, err));
    return WEIR_OK;
}

weir_status weir__hf_vocab(weir__pipeline *p, json_t *vocab, const weir__token *fixed, size_t n,
                           weir_err *err) {
    json_int_t last = -1;
    WEIR_TRY(find_last(vocab, fixed, n, &last, err));
    entry *all = weir_calloc((size_t)last + 1, sizeof *all);
    if (!all) return weir_fail(err, WEIR_ENOMEM, "no memory for %lld tokens", (long long)last + 1);
    weir_status s = collect(vocab, fixed, n, all, err);
    if (s == WEIR_OK) s = weir__vocab_reserve(&p->vocab, (size_t)last + 1, err);
    for (json_int_t i = 0; i <= last && s == WEIR_OK; i++) {
        const entry *e = &all[i];
        s = !e->text   ? weir__vocab_add(&p->vocab, "", 0, WEIR__TOKEN_UNUSED, 0, err)
            : e->apart ? weir__vocab_add_apart(&p->vocab, e->text, e->n, WEIR__TOKEN_NORMAL, 0, err)
                       : weir__vocab_add(&p->vocab, e->text, e->n, WEIR__TOKEN_NORMAL, 0, err);
    }
    weir_free(all);
    return s;
}

/* "<0x00>" … of a character-level vocabulary. */
static void mark_bytes(weir__pipeline *b) {
    for (int i = 0; i < 256; i++) {
        static const char digits[] = "0123456789ABCDEF";
        const char name[] = {'<', '0', 'x', digits[i / 16], digits[i % 16], '>'};
        const int32_t id = weir__vocab_find(&b->vocab, name, sizeof name);
        if (id >= 0 && b->vocab.kind[id] == WEIR__TOKEN_NORMAL) b->vocab.kind[id] = WEIR__TOKEN_BYTE;
    }
}

/* ---- model --------------------------------------------------------------------------------------------- */

/* "left right", or ["left", "right"]. */
static weir_status add_merge(weir__pipeline *b, const json_t *m, weir_err *err) {
    if (json_is_string(m)) return weir__bpe_merge_line(b, json_string_value(m), json_string_length(m), err);
    const json_t *l = json_array_get(m, 0), *r = json_array_get(m, 1);
    if (!json_is_string(l) || !json_is_string(r) || json_array_size(m) != 2)
        return weir_fail(err, WEIR_EFORMAT, "merges: expected strings or pairs of strings");
    return weir__bpe_merge(b, json_string_value(l), json_string_length(l), json_string_value(r),
                           json_string_length(r), err);
}

/* What would change ids and no known decoder-only model has. */
static weir_status check_bpe(const json_t *model, weir_err *err) {
    static const char *const unknown[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        const char *s = "";
        WEIR_TRY(weir__hf_string(model, unknown[i], &s, err));
        if (*s) return weir_fail(err, WEIR_ENOTSUP, "model: %s is not supported", unknown[i]);
    }
    const json_t *dropout = present(model, "dropout");
    if (dropout && json_number_value(dropout) != 0)
        return weir_fail(err, WEIR_ENOTSUP, "model: dropout is not supported");
    return WEIR_OK;
}

static weir_status read_bpe(weir__pipeline *p, const json_t *model, weir_err *err) {
    const char *unk = NULL;
    WEIR_TRY(check_bpe(model, err));
    WEIR_TRY(weir__hf_bool(model, "byte_fallback", &p->byte_fallback, err));
    WEIR_TRY(weir__hf_bool(model, "fuse_unk", &p->fuse_unk, err));
    WEIR_TRY(weir__hf_bool(model, "ignore_merges", &p->ignore_merges, err));
    WEIR_TRY(weir__hf_string(model, "unk_token", &unk, err));
    WEIR_TRY(weir__hf_vocab(p, json_object_get(model, "vocab"), NULL, 0, err));
    if (unk) p->unk_id = weir__vocab_find(&p->vocab, unk, strlen(unk));
    const json_t *merges = json_object_get(model, "merges");
    if (!json_is_array(merges)) return weir_fail(err, WEIR_EFORMAT, "merges: expected an array");
    WEIR_TRY(weir__bpe_merges(p, json_array_size(merges), err));
    for (size_t i = 0; i < json_array_size(merges); i++)
        WEIR_TRY(add_merge(p, json_array_get(merges, i), err));
    return WEIR_OK;
}

/* Pairs of a token and its score; the index is the id. */
static weir_status read_scored(weir__pipeline *p, const json_t *vocab, double *scores, weir_err *err) {
    for (size_t i = 0; i < json_array_size(vocab); i++) {
        const json_t *pair = json_array_get(vocab, i), *text = json_array_get(pair, 0),
                     *score = json_array_get(pair, 1);
        scores[i] = json_number_value(score);
        if (!json_is_string(text) || !json_is_number(score) || !isfinite(scores[i]))
            return weir_fail(err, WEIR_EFORMAT, "vocab: element %zu: expected a token and its score", i);
        WEIR_TRY(weir__vocab_add(&p->vocab, json_string_value(text), json_string_length(text),
                                 WEIR__TOKEN_NORMAL, 0, err));
    }
    return WEIR_OK;
}

static weir_status read_unigram(weir__pipeline *p, const json_t *model, weir_err *err) {
    const json_t *vocab = json_object_get(model, "vocab");
    const size_t n = json_array_size(vocab);
    json_int_t unk = -1;
    if (n == 0) return weir_fail(err, WEIR_EFORMAT, "vocab: expected an array of tokens");
    WEIR_TRY(weir__hf_bool(model, "byte_fallback", &p->byte_fallback, err));
    WEIR_TRY(weir__hf_int(model, "unk_id", &unk, err));
    if (unk < -1 || unk >= (json_int_t)n)
        return weir_fail(err, WEIR_EFORMAT, "unk_id = %lld, expected 0 to %zu", (long long)unk, n - 1);
    p->unk_id = (int32_t)unk;
    WEIR_TRY(weir__vocab_reserve(&p->vocab, n, err));
    double *scores = weir_alloc(n, sizeof *scores);
    if (!scores) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu tokens", n);
    weir_status s = read_scored(p, vocab, scores, err);
    if (s == WEIR_OK) s = weir__unigram_new(&p->unigram, &p->vocab, scores, (int32_t)n, p->unk_id, err);
    weir_free(scores);
    return s;
}

/* Files of old have no "type": then the one that fits. */
weir_status weir__hf_model(weir__pipeline *p, const json_t *model, weir_err *err) {
    const char *type = weir__hf_type(model);
    if (!json_is_object(model)) return weir_fail(err, WEIR_EFORMAT, "model: expected an object");
    if (!json_object_get(model, "type"))
        type = json_is_array(json_object_get(model, "merges"))  ? "BPE"
               : json_is_array(json_object_get(model, "vocab")) ? "Unigram"
                                                                : "";
    const bool unigram = strcmp(type, "Unigram") == 0;
    if (!unigram && strcmp(type, "BPE") != 0)
        return weir_fail(err, WEIR_ENOTSUP,
                         "model of type \"%.60s\" is not supported, expected BPE or Unigram", type);
    if (unigram && p->byte_level)
        return weir_fail(err, WEIR_ENOTSUP,
                         "model of type Unigram with a ByteLevel pre_tokenizer is not supported");
    WEIR_TRY(unigram ? read_unigram(p, model, err) : read_bpe(p, model, err));
    if (p->byte_fallback) mark_bytes(p);
    return WEIR_OK;
}
