/* From messages and segments to ids. */
#include <string.h>

#include "host/state.h"
#include "kernels/base/mem.h"

static weir_status no_memory(weir_err *err) {
    return weir_fail(err, WEIR_ENOMEM, "no memory for the ids of a prompt");
}

/* Segments [from, upto), none special, as one text: a template's words and a message's are tokenised
 * together, as transformers does with the text it gets. */
static weir_status add_run(const weir_engine *e, const weir_segment *s, size_t from, size_t upto,
                           weir__ids *l, weir_err *err) {
    size_t bytes = 0;
    for (size_t i = from; i < upto; i++) bytes += s[i].bytes;
    char *text = weir_alloc(bytes, 1), *p = text;
    if (!text) return no_memory(err);
    for (size_t i = from; i < upto; i++) {
        memcpy(p, s[i].text, s[i].bytes);
        p += s[i].bytes;
    }
    const weir_status st = weir__tokenizer_append(e->pair.tok, text, bytes, false, from == 0, l, err);
    weir_free(text);
    return st;
}

/* Tokens found so far: a conversation names the same few again and again, as the same static strings. */
typedef struct found {
    const char *text[8];
    int32_t id[8];
    int n;
} found;

static weir_status add_token(const weir_engine *e, const weir_segment *s, found *f, weir__ids *l,
                             weir_err *err) {
    int k = 0;
    while (k < f->n && f->text[k] != s->text) k++;
    const int32_t id = k < f->n ? f->id[k] : weir__tokenizer_find(e->pair.tok, s->text, s->bytes);
    if (k == f->n && k < 8) {
        f->text[k] = s->text;
        f->id[f->n++] = id;
    }
    if (id < 0)
        return weir_fail(err, WEIR_ENOTSUP, "%.*s is not a token of %s", s->bytes < 60 ? (int)s->bytes : 60,
                         s->text, e->pair.side[WEIR_VERIFIER].ck.dir);
    return weir__ids_push(l, id, err);
}

weir_status weir_tokenize_segments(const weir_engine *e, const weir_segment *segments, size_t n,
                                   int32_t **ids, size_t *n_ids, weir_err *err) {
    if (!e->pair.tok)
        return weir_fail(err, WEIR_ENOTSUP, "%s has no tokenizer: texts need one, ids do not",
                         e->pair.side[WEIR_VERIFIER].ck.dir);
    weir__ids l = {0};
    found f = {.n = 0};
    weir_status st = WEIR_OK;
    for (size_t i = 0; st == WEIR_OK && i < n;) {
        size_t end = i;
        while (end < n && !segments[end].special) end++;
        if (end > i)
            st = add_run(e, segments, i, end, &l, err);
        else
            st = add_token(e, &segments[end++], &f, &l, err);
        i = end;
    }
    return weir__ids_take(&l, st, ids, n_ids, err);
}

/* All of it as one text, in which names of tokens count where the template wrote them. */
static weir_status tokenize_own(const weir_engine *e, const weir_chat_message *messages, size_t n,
                                weir_chat_ending ending, int32_t **ids, size_t *n_ids, weir_err *err) {
    weir_jinja_text text = {0};
    WEIR_TRY(weir__chat_own_render(e->pair.chat.own, messages, n, ending, &text, err));
    weir_text_span *spans = weir_alloc(text.n, sizeof *spans);
    weir_status s = WEIR_OK;
    for (size_t i = 0; spans && i < text.n; i++)
        spans[i] = (weir_text_span){.text = text.spans[i].text,
                                    .bytes = text.spans[i].bytes,
                                    .parse_special = text.spans[i].of_template};
    if (!spans)
        s = no_memory(err);
    else
        s = weir__tokenizer_encode_spans(e->pair.tok, spans, text.n, ids, n_ids, err);
    weir_free(spans);
    weir__jinja_text_free(&text);
    return s;
}

static weir_status choose_ending(const weir_chat_message *messages, size_t n, bool open_last,
                                 weir_chat_ending *out, weir_err *err) {
    *out = open_last ? WEIR_CHAT_OPEN : WEIR_CHAT_ANSWER;
    if (!open_last || n == 0 || strcmp(messages[n - 1].role, "assistant") == 0) return WEIR_OK;
    return weir_fail(err, WEIR_EINVAL,
                     "message %zu (%.40s): only an answer, the assistant's, can be continued", n - 1,
                     messages[n - 1].role);
}

static weir_status render_named(const weir_engine *e, const weir_chat_message *messages, size_t n,
                                weir_chat_ending ending, weir_chat_text *out, weir_err *err) {
    if (!e->pair.chat.named) return weir_fail(err, WEIR_ENOTSUP, "%s", e->pair.chat.note.text);
    return weir_chat_render(e->pair.chat.named, messages, n, ending, out, err);
}

weir_status weir_chat_tokenize(const weir_engine *e, const weir_chat_message *messages, size_t n,
                               bool open_last, int32_t **ids, size_t *n_ids, weir_err *err) {
    weir_chat_ending ending;
    WEIR_TRY(choose_ending(messages, n, open_last, &ending, err));
    if (e->pair.chat.own) return tokenize_own(e, messages, n, ending, ids, n_ids, err);
    weir_chat_text text = {0};
    WEIR_TRY(render_named(e, messages, n, ending, &text, err));
    const weir_segment whole = text.n > 0 ? text.segments[0] : (weir_segment){.text = ""};
    const weir_status st = text.add_special
                               ? weir_tokenize(e, whole.text, whole.bytes, true, false, ids, n_ids, err)
                               : weir_tokenize_segments(e, text.segments, text.n, ids, n_ids, err);
    weir_chat_text_free(&text);
    return st;
}

/* Zero-terminated. */
static char *join(const weir_chat_text *t, size_t *bytes) {
    *bytes = 0;
    for (size_t i = 0; i < t->n; i++) *bytes += t->segments[i].bytes;
    char *text = weir_alloc(*bytes + 1, 1), *p = text;
    if (!text) return NULL;
    for (size_t i = 0; i < t->n; i++) {
        memcpy(p, t->segments[i].text, t->segments[i].bytes);
        p += t->segments[i].bytes;
    }
    *p = '\0';
    return text;
}

weir_status weir_chat_prompt(const weir_engine *e, const weir_chat_message *messages, size_t n,
                             bool open_last, char **text, size_t *bytes, weir_err *err) {
    weir_chat_ending ending;
    WEIR_TRY(choose_ending(messages, n, open_last, &ending, err));
    if (e->pair.chat.own) {
        weir_jinja_text own = {0};
        WEIR_TRY(weir__chat_own_render(e->pair.chat.own, messages, n, ending, &own, err));
        *text = own.text;
        *bytes = own.bytes;
        own.text = NULL;
        weir__jinja_text_free(&own);
        return WEIR_OK;
    }
    weir_chat_text named = {0};
    WEIR_TRY(render_named(e, messages, n, ending, &named, err));
    size_t all = 0;
    char *joined = join(&named, &all);
    weir_chat_text_free(&named);
    if (!joined) return weir_fail(err, WEIR_ENOMEM, "no memory for the text of a prompt");
    *text = joined;
    *bytes = all;
    return WEIR_OK;
}

const char *weir_chat_template_text(const weir_engine *e) { return weir__chat_source(&e->pair.chat); }
