#include "host/tokenizers/vocab/tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/formats/json/json_file.h"
#include "kernels/base/mem.h"

/* The class that transformers uses if tokenizer_config.json names none. */
static const struct {
    const char *model_type, *class;
} by_model[] = {
    {"t5", "T5Tokenizer"},         {"mt5", "MT5Tokenizer"},           {"llama", "LlamaTokenizer"},
    {"mistral", "LlamaTokenizer"}, {"gemma", "GemmaTokenizer"},       {"gemma2", "GemmaTokenizer"},
    {"gemma3", "GemmaTokenizer"},  {"gemma3_text", "GemmaTokenizer"}, {"qwen2", "Qwen2Tokenizer"},
    {"qwen3", "Qwen2Tokenizer"},   {"gpt2", "GPT2Tokenizer"},         {"phi3", "LlamaTokenizer"},
    {"granite", "GPT2Tokenizer"},  {"umt5", "T5Tokenizer"},           {"t5gemma", "GemmaTokenizer"}};

/* ---- files --------------------------------------------------------------------------------------------- */

/* *out stays NULL if the file does not exist. */
static weir_status read_file(const char *vocab_path, const char *name, json_t **out, weir_err *err) {
    static const size_t MAX_FILE = 64u << 20;
    const char *slash = strrchr(vocab_path, '/');
    const size_t dir = slash ? (size_t)(slash + 1 - vocab_path) : 0, n = dir + strlen(name) + 1;
    char *path = weir_alloc(n, 1);
    if (!path) return weir_fail(err, WEIR_ENOMEM, "%s: no memory for a path", weir__label(vocab_path));
    snprintf(path, n, "%.*s%s", (int)dir, vocab_path, name);
    const weir_status s = access(path, F_OK) == 0 ? weir__json_file(path, MAX_FILE, out, err) : WEIR_OK;
    weir_free(path);
    return s;
}

static weir_status read_files(weir__tokens *t, const char *path, weir_err *err) {
    WEIR_TRY(read_file(path, "tokenizer_config.json", &t->config, err));
    WEIR_TRY(read_file(path, "added_tokens.json", &t->added, err));
    WEIR_TRY(read_file(path, "special_tokens_map.json", &t->map, err));
    return read_file(path, "config.json", &t->model, err);
}

static void find_class(weir__tokens *t, const char *otherwise) {
    const char *type = json_string_value(json_object_get(t->model, "model_type")), *name;
    name = t->class_name = json_string_value(json_object_get(t->config, "tokenizer_class"));
    for (size_t i = 0; !name && type && i < sizeof by_model / sizeof *by_model; i++)
        if (strcmp(by_model[i].model_type, type) == 0) name = by_model[i].class;
    if (!name) name = otherwise;
    t->class = name ? weir__class_find(name) : NULL;
}

bool weir__tokens_class_is(const weir__tokens *t, const char *name) {
    return t->class && strcmp(t->class->name, name) == 0;
}

/* ---- the list ------------------------------------------------------------------------------------------ */

static weir_status add(weir__tokens *t, weir__token x, weir_err *err) {
    if (t->n == t->cap) {
        const size_t cap = t->cap * 2 + 64;
        weir__token *more = weir_alloc(cap, sizeof *more);
        if (!more) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu added tokens", cap);
        if (t->n) memcpy(more, t->list, t->n * sizeof *more);
        weir_free(t->list);
        t->list = more;
        t->cap = cap;
    }
    t->list[t->n++] = x;
    return WEIR_OK;
}

/* A string, or an object with flags. *ok: it is one. */
static weir__token token_of(const json_t *v, bool special, bool *ok) {
    static const struct {
        const char *key;
        unsigned flag;
    } flags[] = {{"special", WEIR__ADDED_SPECIAL},
                 {"lstrip", WEIR__ADDED_LSTRIP},
                 {"rstrip", WEIR__ADDED_RSTRIP},
                 {"single_word", WEIR__ADDED_WORD},
                 {"normalized", WEIR__ADDED_NORMALIZED}};
    const json_t *content = json_is_object(v) ? json_object_get(v, "content") : v;
    weir__token x = {json_string_value(content), json_string_length(content), -1,
                     special ? WEIR__ADDED_SPECIAL : 0, false};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (json_is_true(json_object_get(v, flags[i].key))) x.flags |= flags[i].flag;
    if (!json_object_get(v, "normalized") && !(x.flags & WEIR__ADDED_SPECIAL))
        x.flags |= WEIR__ADDED_NORMALIZED;
    *ok = json_is_string(content);
    x.told = json_is_object(v);
    return x;
}

static weir_status add_decoder(weir__tokens *t, json_t *decoder, weir_err *err) {
    const char *key;
    json_t *v;
    bool ok;
    json_object_foreach(decoder, key, v) {
        char *end;
        const long long id = strtoll(key, &end, 10);
        weir__token x = token_of(v, false, &ok);
        if (!ok || !json_is_object(v) || *end != '\0' || end == key || id < 0 || id >= WEIR__MAX_TOKENS)
            return weir_fail(
                err, WEIR_EFORMAT,
                "tokenizer_config.json: added_tokens_decoder: \"%.40s\": expected an id and a token", key);
        x.index = id;
        WEIR_TRY(add(t, x, err));
    }
    return WEIR_OK;
}

static bool has_decoder(const weir__tokens *t) {
    return json_is_object(json_object_get(t->config, "added_tokens_decoder"));
}

/* The value of a role. Without an added_tokens_decoder, special_tokens_map.json wins over
 * tokenizer_config.json. */
static const json_t *role_of(const weir__tokens *t, const char *role) {
    const json_t *v = has_decoder(t) ? NULL : json_object_get(t->map, role);
    return v ? v : json_object_get(t->config, role);
}

static weir__token *find(const weir__tokens *t, const char *s, size_t n) {
    for (size_t i = 0; i < t->n; i++)
        if (t->list[i].n == n && memcmp(t->list[i].text, s, n) == 0) return &t->list[i];
    return NULL;
}

/* A token that is already in the list becomes a control token. It keeps the list's flags unless x's win. */
static weir_status add_special(weir__tokens *t, weir__token x, bool wins, weir_err *err) {
    weir__token *known = x.n > 0 ? find(t, x.text, x.n) : NULL;
    if (known && wins && x.told) {
        known->flags = x.flags;
        known->told = true;
    }
    if (known) known->flags |= WEIR__ADDED_SPECIAL;
    return known || x.n == 0 ? WEIR_OK : add(t, x, err);
}

static weir_status add_roles(weir__tokens *t, weir_err *err) {
    bool ok;
    for (int i = 0; i < WEIR_SPECIAL_N; i++) {
        const json_t *v = role_of(t, weir_special_names[i]);
        const char *own = t->class ? t->class->special[i] : NULL;
        const weir__token x = token_of(v, true, &ok);
        const weir__token none = {"", 0, -1, 0, false},
                          by_class = {own, own ? strlen(own) : 0, -1, WEIR__ADDED_SPECIAL, false};
        const weir__token this = ok ? x : !v && own ? by_class : none;
        WEIR_TRY(add_special(t, this, !has_decoder(t), err));
        if (i != WEIR_SPECIAL_EOS || this.n == 0) continue;
        t->end = this.text;
        t->n_end = this.n;
    }
    return WEIR_OK;
}

static weir_status add_more(weir__tokens *t, const json_t *list, weir_err *err) {
    bool ok;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const weir__token x = token_of(json_array_get(list, i), true, &ok);
        if (ok) WEIR_TRY(add_special(t, x, true, err));
    }
    return WEIR_OK;
}

static weir_status add_all_roles(weir__tokens *t, weir_err *err) {
    static const char MORE[] = "additional_special_tokens";
    WEIR_TRY(add_roles(t, err));
    WEIR_TRY(add_more(t, json_object_get(t->config, MORE), err));
    if (!has_decoder(t)) WEIR_TRY(add_more(t, json_object_get(t->map, MORE), err));
    for (int i = 0; t->class && i < 4 && t->class->more[i]; i++)
        WEIR_TRY(add_special(
            t, (weir__token){t->class->more[i], strlen(t->class->more[i]), -1, WEIR__ADDED_SPECIAL, false},
            false, err));
    return WEIR_OK;
}

static weir_status add_legacy(weir__tokens *t, weir_err *err) {
    const char *key;
    json_t *v;
    json_object_foreach(t->added, key, v) {
        const json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || id >= WEIR__MAX_TOKENS)
            return weir_fail(err, WEIR_EFORMAT, "added_tokens.json: \"%.40s\": expected an id below %d", key,
                             WEIR__MAX_TOKENS);
        WEIR_TRY(add(t, (weir__token){key, strlen(key), id, WEIR__ADDED_NORMALIZED, false}, err));
    }
    return WEIR_OK;
}

static int by_index(const void *a, const void *b) {
    const json_int_t x = ((const weir__token *)a)->index, y = ((const weir__token *)b)->index;
    return (x > y) - (x < y);
}

static weir_status collect(weir__tokens *t, weir_err *err) {
    json_t *decoder = json_object_get(t->config, "added_tokens_decoder");
    const bool whole = has_decoder(t);
    WEIR_TRY(whole ? add_decoder(t, decoder, err) : add_legacy(t, err));
    if (t->n > 1) qsort(t->list, t->n, sizeof *t->list, by_index);
    WEIR_TRY(add_all_roles(t, err));
    for (size_t i = 0; !whole && i < t->n; i++) /* added_tokens.json: what has a role is not normalised */
        if (t->list[i].index >= 0 && !t->list[i].told && (t->list[i].flags & WEIR__ADDED_SPECIAL))
            t->list[i].flags &= ~(unsigned)WEIR__ADDED_NORMALIZED;
    return WEIR_OK;
}

weir_status weir__tokens_read(weir__tokens *out, const char *vocab_path, const char *class_name,
                              weir_err *err) {
    weir__tokens t = {0};
    weir_status s = read_files(&t, vocab_path, err);
    if (s == WEIR_OK) {
        find_class(&t, class_name);
        s = collect(&t, err);
    }
    if (s != WEIR_OK) {
        weir__tokens_free(&t);
        return s;
    }
    *out = t;
    return WEIR_OK;
}

void weir__tokens_free(weir__tokens *t) {
    json_decref(t->config);
    json_decref(t->added);
    json_decref(t->map);
    json_decref(t->model);
    weir_free(t->list);
    memset(t, 0, sizeof *t);
}
