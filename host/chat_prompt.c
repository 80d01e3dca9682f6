/* From an engine's chat format to ids. */
#include <stdio.h>
#include <string.h>

#include "host/engine.h"
#include "kernels/base/mem.h"

/* The token of that name, -1 if the vocabulary has none. Vocabularies keep no index of names: this walks through all. */
static int32_t find_token(const weir_engine *e, const char *name, size_t bytes) {
    const int32_t size = e->tok ? weir_tokenizer_size(e->tok) : 0;
    for (int32_t id = 0; id < size; id++) {
        const char *piece = weir_tokenizer_piece(e->tok, id);
        if (piece && strncmp(piece, name, bytes) == 0 && piece[bytes] == '\0') return id;
    }
    return -1;
}

/* ---- the engine's format --------------------------------------------------------------------------------- */

static weir_status unknown_name(const char *name, weir_err *err) {
    char names[200];
    weir_chat_template_names(names, sizeof names);
    return weir_fail(err, WEIR_EINVAL, "unknown chat template %.60s, expected one of %s", name, names);
}

/* Why there is no format, into chat_note. */
static void note_none(weir_engine *e, const char *jinja) {
    char names[200];
    weir_chat_template_names(names, sizeof names);
    const char *dir = e->side[WEIR_VERIFIER].ck.dir;
    if (!jinja) {
        weir_fail(&e->chat_note, WEIR_ENOTSUP, "%.150s has no chat template: name one with --chat-template (%s)", dir,
                  names);
        return;
    }
    weir_fail(&e->chat_note, WEIR_ENOTSUP, "%.150s: its chat template (\"%.60s...\") is none that weir knows: name one with "
              "--chat-template (%s)", dir, jinja, names);
}

/* The ends of turns become ends of text, so that every loop, the device's too, stops at them. Only the first must be in the
 * vocabulary: the others are of some checkpoints of a family. */
static weir_status add_ends(weir_engine *e, weir_err *err) {
    weir_engine_facts *f = &e->facts;
    if (!e->tok && e->chat->end[0])
        return weir_fail(err, WEIR_ENOTSUP, "chat template %s needs a tokenizer: %s has none", e->chat->name,
                         e->side[WEIR_VERIFIER].ck.dir);
    enum { CAP = sizeof f->eos / sizeof f->eos[0] };
    for (int i = 0; i < WEIR_CHAT_MAX_END && e->chat->end[i]; i++) {
        const char *name = e->chat->end[i];
        const int32_t id = find_token(e, name, strlen(name));
        bool known = false;
        for (int k = 0; k < f->n_eos; k++) known |= f->eos[k] == id;
        if (known || (id < 0 && i > 0)) continue;
        if (id < 0)
            return weir_fail(err, WEIR_ENOTSUP, "chat template %s ends a turn with %s, which is no token of %s",
                             e->chat->name, name, e->side[WEIR_VERIFIER].ck.dir);
        if (f->n_eos == CAP) return weir_fail(err, WEIR_ENOTSUP, "more than %d ends of text: no room for %s", CAP, name);
        f->eos[f->n_eos++] = id;
    }
    return WEIR_OK;
}

/* SentencePiece finds a user-defined piece in any text, so that a user could end a turn by words: a format is refused whose marks
 * plain text becomes. Other readers keep control tokens apart. */
static weir_status check_mark(const weir_engine *e, const weir_segment *s, weir_err *err) {
    const int32_t mark = s->special ? find_token(e, s->text, s->bytes) : -1;
    int32_t *ids = NULL;
    size_t n = 0;
    bool found = false;
    if (mark < 0) return WEIR_OK;
    WEIR_TRY(weir_tokenizer_encode(e->tok, s->text, s->bytes, &ids, &n, err));
    for (size_t i = 0; i < n; i++) found |= ids[i] == mark;
    weir_free(ids);
    if (!found) return WEIR_OK;
    return weir_fail(err, WEIR_ENOTSUP, "chat template %s: the .model file of %.150s makes %.*s of what a user types: it needs a "
                     "tokenizer.json, which tells them apart", e->chat->name, e->side[WEIR_VERIFIER].ck.dir, (int)s->bytes,
                     s->text);
}

static weir_status check_marks(const weir_engine *e, weir_err *err) {
    static const weir_chat_message talk[] = {{"user", "a", 1}, {"assistant", "b", 1}, {"user", "c", 1}};
    weir_chat_text text = {0};
    weir_status st = WEIR_OK;
    if (!e->tok || e->side[WEIR_VERIFIER].ck.tokenizer != WEIR_TOKENIZER_SPM) return WEIR_OK;
    WEIR_TRY(weir_chat_render(e->chat, talk, 3, true, &text, err));
    for (size_t i = 0; i < text.n && st == WEIR_OK; i++) st = check_mark(e, &text.segments[i], err);
    weir_chat_text_free(&text);
    return st;
}

weir_status weir_chat_open(weir_engine *e, const weir_engine_options *o, weir_err *err) {
    const char *name = o->chat_template, *jinja = e->side[WEIR_VERIFIER].ck.chat_template;
    e->chat = name ? weir_chat_template_find(name) : jinja ? weir_chat_template_detect(jinja, strlen(jinja)) : NULL;
    if (name && !e->chat) return unknown_name(name, err);
    weir_err why = {{0}};
    const int n_eos = e->facts.n_eos;
    weir_status st = e->chat ? check_marks(e, &why) : WEIR_OK;
    if (st == WEIR_OK && e->chat) st = add_ends(e, &why);
    if (st != WEIR_OK) e->facts.n_eos = n_eos; /* a format that is off ends nothing */
    if (st != WEIR_OK && name) return weir_fail(err, st, "%s", why.text);
    if (st != WEIR_OK) {
        e->chat = NULL;
        e->chat_note = why;
    } else if (!e->chat) {
        note_none(e, jinja);
    }
    if (!e->chat && o->chat_required) return weir_fail(err, WEIR_ENOTSUP, "%s", e->chat_note.text);
    e->facts.chat_template = e->chat ? e->chat->name : NULL;
    e->facts.chat_note = e->chat ? NULL : e->chat_note.text;
    return WEIR_OK;
}

/* ---- ids ------------------------------------------------------------------------------------------------- */

typedef struct id_list {
    int32_t *ids;
    size_t n, cap;
} id_list;

static bool add_ids(id_list *l, const int32_t *ids, size_t n) {
    if (n > l->cap - l->n) {
        size_t cap = 0;
        if (__builtin_add_overflow(l->n, n, &cap) || __builtin_mul_overflow(cap, (size_t)2, &cap)) return false;
        int32_t *p = weir_alloc(cap, sizeof *p);
        if (!p) return false;
        if (l->n > 0) memcpy(p, l->ids, l->n * sizeof *p);
        weir_free(l->ids);
        l->ids = p;
        l->cap = cap;
    }
    if (n > 0) memcpy(l->ids + l->n, ids, n * sizeof *ids);
    l->n += n;
    return true;
}

static weir_status no_memory(weir_err *err) { return weir_fail(err, WEIR_ENOMEM, "no memory for the ids of a prompt"); }

/* Segments [from, upto), none special, as one text: a template's words and a message's are tokenised together, as
 * transformers does with the text it gets. */
static weir_status add_run(const weir_engine *e, const weir_segment *s, size_t from, size_t upto, id_list *l, weir_err *err) {
    size_t bytes = 0, n = 0;
    for (size_t i = from; i < upto; i++) bytes += s[i].bytes;
    char *text = weir_alloc(bytes, 1), *p = text;
    if (!text) return no_memory(err);
    for (size_t i = from; i < upto; i++) {
        memcpy(p, s[i].text, s[i].bytes);
        p += s[i].bytes;
    }
    int32_t *ids = NULL;
    weir_status st = weir_tokenizer_encode_run(e->tok, text, bytes, from == 0, &ids, &n, err);
    weir_free(text);
    if (st == WEIR_OK && !add_ids(l, ids, n)) st = no_memory(err);
    weir_free(ids);
    return st;
}

/* Tokens found so far: a conversation names the same few again and again, as the same static strings. */
typedef struct found {
    const char *text[8];
    int32_t id[8];
    int n;
} found;

static weir_status add_token(const weir_engine *e, const weir_segment *s, found *f, id_list *l, weir_err *err) {
    int k = 0;
    while (k < f->n && f->text[k] != s->text) k++;
    const int32_t id = k < f->n ? f->id[k] : find_token(e, s->text, s->bytes);
    if (k == f->n && k < 8) {
        f->text[k] = s->text;
        f->id[f->n++] = id;
    }
    if (id < 0)
        return weir_fail(err, WEIR_ENOTSUP, "%.*s is no token of %s", s->bytes < 60 ? (int)s->bytes : 60, s->text,
                         e->side[WEIR_VERIFIER].ck.dir);
    return add_ids(l, &id, 1) ? WEIR_OK : no_memory(err);
}

weir_status weir_tokenize_segments(const weir_engine *e, const weir_segment *segments, size_t n, int32_t **ids,
                                   size_t *n_ids, weir_err *err) {
    if (!e->tok)
        return weir_fail(err, WEIR_ENOTSUP, "%s has no tokenizer: texts need one, ids do not", e->side[WEIR_VERIFIER].ck.dir);
    id_list l = {NULL, 0, 0};
    found f = {.n = 0};
    weir_status st = WEIR_OK;
    for (size_t i = 0; st == WEIR_OK && i < n;) {
        size_t end = i;
        while (end < n && !segments[end].special) end++;
        if (end > i) st = add_run(e, segments, i, end, &l, err);
        else st = add_token(e, &segments[end++], &f, &l, err);
        i = end;
    }
    if (st == WEIR_OK && !l.ids && !(l.ids = weir_alloc(1, sizeof *l.ids))) st = no_memory(err);
    if (st != WEIR_OK) {
        weir_free(l.ids);
        return st;
    }
    *ids = l.ids;
    *n_ids = l.n;
    return WEIR_OK;
}

weir_status weir_chat_tokenize(const weir_engine *e, const weir_chat_message *messages, size_t n, int32_t **ids,
                               size_t *n_ids, weir_err *err) {
    if (!e->chat) return weir_fail(err, WEIR_ENOTSUP, "%s", e->chat_note.text);
    weir_chat_text text = {0};
    WEIR_TRY(weir_chat_render(e->chat, messages, n, true, &text, err));
    const weir_segment whole = text.n > 0 ? text.segments[0] : (weir_segment){.text = ""};
    const weir_status st = text.add_special
                               ? weir_tokenize(e, whole.text, whole.bytes, true, false, ids, n_ids, err)
                               : weir_tokenize_segments(e, text.segments, text.n, ids, n_ids, err);
    weir_chat_text_free(&text);
    return st;
}
