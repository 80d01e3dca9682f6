/* tokenizer.json: "added_tokens", and what the other files of the directory add. */
#include <string.h>

#include "host/tokenizers/open/hf_json.h"
#include "kernels/base/mem.h"

/* An added token and its place in the vocabulary, in the order in which they came; of one text the last
 * counts. */
typedef struct list {
    weir__token *at; /* index: its id */
    size_t n;
    weir__vocab texts; /* to numbers of `at` */
    json_int_t last;   /* the highest id of an added token */
    int32_t n_model;   /* tokens of the model, gaps apart */
} list;

/* Ids are not those that the file gives: tokenizers takes the model's, or counts on from the model's size. */
static weir_status add(const weir__pipeline *p, list *l, weir__token x, weir_err *err) {
    const int32_t known = weir__vocab_find(&l->texts, x.text, x.n);
    if (x.n == 0) return WEIR_OK;
    if (known >= 0) {
        l->at[known].flags = x.flags;
        return WEIR_OK;
    }
    const int32_t id = weir__vocab_find(&p->vocab, x.text, x.n);
    x.index = id >= 0 ? id : l->last >= l->n_model ? l->last + 1 : l->n_model;
    if (x.index > l->last) l->last = x.index;
    WEIR_TRY(weir__vocab_add(&l->texts, x.text, x.n, WEIR__TOKEN_NORMAL, 0, err));
    l->at[l->n++] = x;
    return WEIR_OK;
}

static weir_status read_token(const json_t *o, size_t i, weir__token *out, weir_err *err) {
    static const struct {
        const char *key;
        unsigned flag;
    } flags[] = {{"special", WEIR__ADDED_SPECIAL},
                 {"lstrip", WEIR__ADDED_LSTRIP},
                 {"rstrip", WEIR__ADDED_RSTRIP},
                 {"single_word", WEIR__ADDED_WORD},
                 {"normalized", WEIR__ADDED_NORMALIZED}};
    const json_t *content = json_object_get(o, "content");
    if (!json_is_string(content) || !json_is_integer(json_object_get(o, "id")))
        return weir_fail(err, WEIR_EFORMAT, "added_tokens: element %zu has no id or no content", i);
    *out = (weir__token){json_string_value(content), json_string_length(content), -1, 0, true};
    for (size_t k = 0; k < sizeof flags / sizeof *flags; k++) {
        bool on = false;
        WEIR_TRY(weir__hf_bool(o, flags[k].key, &on, err));
        if (on) out->flags |= flags[k].flag;
    }
    return WEIR_OK;
}

/* tokenizers' own list, then what transformers' fast classes add to it. A token that is there already gets
 * the flags that other files give it, if they give any. */
static weir_status collect(const weir__pipeline *p, const json_t *added, const weir__tokens *tokens, list *l,
                           weir_err *err) {
    for (size_t i = 0; i < json_array_size(added); i++) {
        weir__token x;
        WEIR_TRY(read_token(json_array_get(added, i), i, &x, err));
        WEIR_TRY(add(p, l, x, err));
    }
    for (size_t i = 0; i < tokens->n; i++) {
        const weir__token *x = &tokens->list[i];
        const bool known = weir__vocab_find(&l->texts, x->text, x->n) >= 0;
        if (!known || x->told) WEIR_TRY(add(p, l, *x, err));
    }
    return WEIR_OK;
}

/* ---- into the tokenizer -------------------------------------------------------------------------------- */

static weir_status take(weir__pipeline *p, const weir__token *x, weir_err *err) {
    const int32_t id = (int32_t)x->index;
    weir__vocab *v = &p->vocab;
    if (x->index >= WEIR__MAX_TOKENS)
        return weir_fail(err, WEIR_EFORMAT, "more than %d tokens", WEIR__MAX_TOKENS);
    while (v->n < id) WEIR_TRY(weir__vocab_add(v, "", 0, WEIR__TOKEN_UNUSED, 0, err));
    if (id == v->n) WEIR_TRY(weir__vocab_add_apart(v, x->text, x->n, WEIR__TOKEN_NORMAL, 0, err));
    if (weir__vocab_bytes(v, id) != x->n || memcmp(weir__vocab_text(v, id), x->text, x->n) != 0)
        return weir_fail(
            err, WEIR_EFORMAT,
            "added_tokens: \"%.60s\" gets the id %d, which is \"%.60s\": the vocabulary has gaps", x->text,
            (int)id, weir__vocab_text(v, id));
    v->kind[id] = x->flags & WEIR__ADDED_SPECIAL ? WEIR__TOKEN_CONTROL : WEIR__TOKEN_USER;
    return WEIR_OK;
}

weir_status weir__pipeline_add_token(weir__pipeline *p, const weir__token *x, weir_err *err) {
    weir__marked t;
    if (!(x->flags & WEIR__ADDED_NORMALIZED))
        return weir__added_put(&p->before, x->text, x->n, (int32_t)x->index, x->flags, err);
    weir_status s = weir__marked_copy(&t, x->text, x->n, NULL, 0, err);
    if (s == WEIR_OK) s = weir__steps_run(&p->norm, true, &t, err);
    if (s == WEIR_OK && weir__vocab_find(&p->after.texts, t.text, t.bytes) < 0)
        s = weir__added_put(&p->after, t.text, t.bytes, (int32_t)x->index, x->flags, err);
    weir__marked_free(&t);
    return s;
}

static int32_t count_model(const weir__vocab *v) {
    int32_t n = 0;
    for (int32_t i = 0; i < v->n; i++) n += v->kind[i] != WEIR__TOKEN_UNUSED;
    return n;
}

weir_status weir__hf_added(weir__pipeline *p, const json_t *added, const weir__tokens *tokens,
                           weir_err *err) {
    list l = {.last = -1, .n_model = count_model(&p->vocab)};
    if (added && !json_is_null(added) && !json_is_array(added))
        return weir_fail(err, WEIR_EFORMAT, "added_tokens: expected an array");
    l.at = weir_alloc(json_array_size(added) + tokens->n, sizeof *l.at);
    weir_status s =
        l.at ? collect(p, added, tokens, &l, err) : weir_fail(err, WEIR_ENOMEM, "no memory for added tokens");
    for (size_t i = 0; i < l.n && s == WEIR_OK; i++) s = take(p, &l.at[i], err);
    /* Of two that normalising makes one text the first counts, and control tokens come before the others. */
    for (size_t i = 0; i < l.n && s == WEIR_OK; i++)
        if (l.at[i].flags & WEIR__ADDED_SPECIAL) s = weir__pipeline_add_token(p, &l.at[i], err);
    for (size_t i = 0; i < l.n && s == WEIR_OK; i++)
        if (!(l.at[i].flags & WEIR__ADDED_SPECIAL)) s = weir__pipeline_add_token(p, &l.at[i], err);
    weir__vocab_free(&l.texts);
    weir_free(l.at);
    return s;
}
