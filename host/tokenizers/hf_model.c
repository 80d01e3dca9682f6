/* tokenizer.json: "model" and "added_tokens". */
#include <string.h>

#include "host/tokenizers/hf_json.h"
#include "kernels/base/mem.h"

/* ---- values ---------------------------------------------------------------------------------------------------------- */

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

weir_status weir__hf_each(weir__bpe *b, const json_t *o, const char *key, int depth, weir__hf_one *one, weir_err *err) {
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

/* ---- vocabulary ------------------------------------------------------------------------------------------------------ */

typedef struct entry {
    const char *text; /* NULL: no token has this id */
    size_t n;
    weir__token_kind kind;
} entry;

static weir_status check_id(json_int_t id, const char *what, weir_err *err) {
    if (id >= 0 && id < WEIR__MAX_TOKENS) return WEIR_OK;
    return weir_fail(err, WEIR_EFORMAT, "id %lld of \"%.60s\", expected 0 to %d", (long long)id, what, WEIR__MAX_TOKENS - 1);
}

/* The largest id of both, and that all are in range. */
static weir_status find_last(json_t *vocab, const json_t *added, json_int_t *last, weir_err *err) {
    const char *key;
    json_t *v;
    if (!json_is_object(vocab)) return weir_fail(err, WEIR_EFORMAT, "vocab: expected an object");
    if (added && !json_is_null(added) && !json_is_array(added))
        return weir_fail(err, WEIR_EFORMAT, "added_tokens: expected an array");
    *last = -1;
    json_object_foreach(vocab, key, v) {
        if (!json_is_integer(v)) return weir_fail(err, WEIR_EFORMAT, "vocab: id of \"%.60s\" is no integer", key);
        WEIR_TRY(check_id(json_integer_value(v), key, err));
        if (json_integer_value(v) > *last) *last = json_integer_value(v);
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *id = json_object_get(json_array_get(added, i), "id");
        const json_t *content = json_object_get(json_array_get(added, i), "content");
        if (!json_is_integer(id) || !json_is_string(content))
            return weir_fail(err, WEIR_EFORMAT, "added_tokens: element %zu has no id or no content", i);
        WEIR_TRY(check_id(json_integer_value(id), json_string_value(content), err));
        if (json_integer_value(id) > *last) *last = json_integer_value(id);
    }
    if (*last < 0) return weir_fail(err, WEIR_EFORMAT, "vocab: no tokens");
    return WEIR_OK;
}

static weir_status put(entry *all, json_int_t id, entry e, weir_err *err) {
    entry *at = &all[id];
    if (at->text && (at->n != e.n || memcmp(at->text, e.text, e.n) != 0))
        return weir_fail(err, WEIR_EFORMAT, "id %lld is both \"%.60s\" and \"%.60s\"", (long long)id, at->text, e.text);
    *at = e;
    return WEIR_OK;
}

static weir_status collect(json_t *vocab, const json_t *added, entry *all, weir_err *err) {
    const char *key;
    json_t *v;
    json_object_foreach(vocab, key, v)
        WEIR_TRY(put(all, json_integer_value(v), (entry){key, strlen(key), WEIR__TOKEN_NORMAL}, err));
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *o = json_array_get(added, i), *content = json_object_get(o, "content");
        bool special = false;
        WEIR_TRY(weir__hf_bool(o, "special", &special, err));
        const entry e = {json_string_value(content), json_string_length(content),
                         special ? WEIR__TOKEN_CONTROL : WEIR__TOKEN_USER};
        WEIR_TRY(put(all, json_integer_value(json_object_get(o, "id")), e, err));
    }
    return WEIR_OK;
}

weir_status weir__hf_vocab(weir__bpe *b, json_t *vocab, const json_t *added, weir_err *err) {
    json_int_t last;
    WEIR_TRY(find_last(vocab, added, &last, err));
    entry *all = weir_calloc((size_t)last + 1, sizeof *all);
    if (!all) return weir_fail(err, WEIR_ENOMEM, "no memory for %lld tokens", (long long)last + 1);
    weir_status s = collect(vocab, added, all, err);
    if (s == WEIR_OK) s = weir__vocab_reserve(&b->vocab, (size_t)last + 1, err);
    for (json_int_t i = 0; i <= last && s == WEIR_OK; i++)
        s = weir__vocab_add(&b->vocab, all[i].text ? all[i].text : "", all[i].n,
                            all[i].text ? all[i].kind : WEIR__TOKEN_UNUSED, 0, err);
    weir_free(all);
    return s;
}

/* "<0x00>" … of a character-level vocabulary. */
static void mark_bytes(weir__bpe *b) {
    for (int i = 0; i < 256; i++) {
        static const char digits[] = "0123456789ABCDEF";
        const char name[] = {'<', '0', 'x', digits[i / 16], digits[i % 16], '>'};
        const int32_t id = weir__vocab_find(&b->vocab, name, sizeof name);
        if (id >= 0 && b->vocab.kind[id] == WEIR__TOKEN_NORMAL) b->vocab.kind[id] = WEIR__TOKEN_BYTE;
    }
}

/* ---- model ----------------------------------------------------------------------------------------------------------- */

/* "left right", or ["left", "right"]. */
static weir_status add_merge(weir__bpe *b, const json_t *m, weir_err *err) {
    if (json_is_string(m)) return weir__bpe_merge_line(b, json_string_value(m), json_string_length(m), err);
    const json_t *l = json_array_get(m, 0), *r = json_array_get(m, 1);
    if (!json_is_string(l) || !json_is_string(r) || json_array_size(m) != 2)
        return weir_fail(err, WEIR_EFORMAT, "merges: expected strings or pairs of strings");
    return weir__bpe_merge(b, json_string_value(l), json_string_length(l), json_string_value(r), json_string_length(r), err);
}

/* What would change ids and no known decoder-only model has. */
static weir_status check_model(const json_t *model, weir_err *err) {
    static const char *const unknown[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    if (!json_is_object(model)) return weir_fail(err, WEIR_EFORMAT, "model: expected an object");
    if (strcmp(weir__hf_type(model), "BPE") != 0)
        return weir_fail(err, WEIR_ENOTSUP, "model of type \"%.60s\" is not supported, expected BPE", weir__hf_type(model));
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        const char *s = "";
        WEIR_TRY(weir__hf_string(model, unknown[i], &s, err));
        if (*s) return weir_fail(err, WEIR_ENOTSUP, "model: %s is not supported", unknown[i]);
    }
    const json_t *dropout = present(model, "dropout");
    if (dropout && json_number_value(dropout) != 0) return weir_fail(err, WEIR_ENOTSUP, "model: dropout is not supported");
    return WEIR_OK;
}

weir_status weir__hf_model(weir__bpe *b, const json_t *model, const json_t *added, weir_err *err) {
    const char *unk = NULL;
    WEIR_TRY(check_model(model, err));
    WEIR_TRY(weir__hf_bool(model, "byte_fallback", &b->byte_fallback, err));
    WEIR_TRY(weir__hf_bool(model, "fuse_unk", &b->fuse_unk, err));
    WEIR_TRY(weir__hf_bool(model, "ignore_merges", &b->ignore_merges, err));
    WEIR_TRY(weir__hf_string(model, "unk_token", &unk, err));
    WEIR_TRY(weir__hf_vocab(b, json_object_get(model, "vocab"), added, err));
    if (b->byte_fallback) mark_bytes(b);
    if (unk) b->unk_id = weir__vocab_find(&b->vocab, unk, strlen(unk));
    const json_t *merges = json_object_get(model, "merges");
    if (!json_is_array(merges)) return weir_fail(err, WEIR_EFORMAT, "merges: expected an array");
    WEIR_TRY(weir__bpe_merges(b, json_array_size(merges), err));
    for (size_t i = 0; i < json_array_size(merges); i++) WEIR_TRY(add_merge(b, json_array_get(merges, i), err));
    return WEIR_OK;
}

/* ---- added tokens ---------------------------------------------------------------------------------------------------- */

static weir_status add_token(weir__bpe *b, const json_t *o, weir_err *err) {
    static const struct {
        const char *key;
        unsigned flag;
    } flags[] = {{"special", WEIR__ADDED_SPECIAL}, {"lstrip", WEIR__ADDED_LSTRIP},
                 {"rstrip", WEIR__ADDED_RSTRIP},   {"single_word", WEIR__ADDED_WORD}};
    const json_t *content = json_object_get(o, "content");
    const int32_t id = (int32_t)json_integer_value(json_object_get(o, "id"));
    bool normalized = false, on;
    unsigned set = 0;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        on = false;
        WEIR_TRY(weir__hf_bool(o, flags[i].key, &on, err));
        if (on) set |= flags[i].flag;
    }
    WEIR_TRY(weir__hf_bool(o, "normalized", &normalized, err));
    if (!normalized)
        return weir__added_put(&b->before, json_string_value(content), json_string_length(content), id, set, err);
    char *t = NULL;
    size_t n = 0;
    WEIR_TRY(weir__bpe_run_steps(b->norm, b->n_norm, true, json_string_value(content), json_string_length(content), &t, &n, err));
    const weir_status s = weir__added_put(&b->after, t, n, id, set, err);
    weir_free(t);
    return s;
}

weir_status weir__hf_added(weir__bpe *b, const json_t *added, weir_err *err) {
    for (size_t i = 0; i < json_array_size(added); i++) WEIR_TRY(add_token(b, json_array_get(added, i), err));
    return WEIR_OK;
}
