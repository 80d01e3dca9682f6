/* The chat format of an engine: one by name, or the template that the checkpoint or a file has. */
#include <stdio.h>
#include <string.h>

#include "host/chat/open.h"
#include "host/formats/json_file.h"
#include "kernels/base/mem.h"

/* ---- the engine's format ---------------------------------------------------------------------------- */

static weir_status unknown_name(const char *name, weir_err *err) {
    char names[200];
    weir_chat_template_names(names, sizeof names);
    return weir_fail(err, WEIR_EINVAL, "unknown chat template %.60s, expected one of %s", name, names);
}

/* Why there is no format, into chat_note. */
static void note_none(weir_engine *e, weir_status s, const char *why) {
    char names[200];
    weir_chat_template_names(names, sizeof names);
    weir_fail(&e->pair.chat_note, s, "%.150s%s%.200s; name one with --chat-template (%s)",
              e->pair.side[WEIR_VERIFIER].ck.dir, *why ? ": " : " has no chat template", why, names);
}

static bool add_end(weir_engine *e, int32_t id) {
    weir_engine_facts *f = &e->pair.facts;
    enum { CAP = sizeof f->eos / sizeof f->eos[0] };
    for (int k = 0; k < f->n_eos; k++)
        if (f->eos[k] == id) return true;
    if (f->n_eos == CAP) return false;
    f->eos[f->n_eos++] = id;
    return true;
}

static weir_status no_room(weir_err *err, const char *name) {
    return weir_fail(err, WEIR_ENOTSUP, "too many ends of text: no room for %.60s", name);
}

/* ---- a format by name ------------------------------------------------------------------------------- */

/* The ends of turns become ends of text, so that every loop, the device's too, stops at them. Only the
 * first must be in the vocabulary: the others are of some checkpoints of a family. */
static weir_status add_ends(weir_engine *e, weir_err *err) {
    if (!e->pair.tok && e->pair.chat->end[0])
        return weir_fail(err, WEIR_ENOTSUP, "chat template %s needs a tokenizer: %s has none",
                         e->pair.chat->name, e->pair.side[WEIR_VERIFIER].ck.dir);
    for (int i = 0; i < WEIR_CHAT_MAX_END && e->pair.chat->end[i]; i++) {
        const char *name = e->pair.chat->end[i];
        const int32_t id = weir__chat_token(e, name, strlen(name));
        if (id < 0 && i > 0) continue;
        if (id < 0)
            return weir_fail(err, WEIR_ENOTSUP,
                             "chat template %s ends a turn with %s, which is no token of %s",
                             e->pair.chat->name, name, e->pair.side[WEIR_VERIFIER].ck.dir);
        if (!add_end(e, id)) return no_room(err, name);
    }
    return WEIR_OK;
}

/* SentencePiece finds a user-defined piece in any text, so that a user could end a turn by words: a format
 * is refused whose marks plain text becomes. Other readers keep control tokens apart. */
static weir_status check_mark(const weir_engine *e, const weir_segment *s, weir_err *err) {
    const int32_t mark = s->special ? weir__chat_token(e, s->text, s->bytes) : -1;
    int32_t *ids = NULL;
    size_t n = 0;
    bool found = false;
    if (mark < 0) return WEIR_OK;
    WEIR_TRY(weir__tokenizer_encode(e->pair.tok, s->text, s->bytes, &ids, &n, err));
    for (size_t i = 0; i < n; i++) found |= ids[i] == mark;
    weir_free(ids);
    if (!found) return WEIR_OK;
    return weir_fail(
        err, WEIR_ENOTSUP,
        "chat template %s: the .model file of %.150s makes %.*s of what a user types: it needs a "
        "tokenizer.json, which tells them apart",
        e->pair.chat->name, e->pair.side[WEIR_VERIFIER].ck.dir, (int)s->bytes, s->text);
}

static weir_status check_marks(const weir_engine *e, weir_err *err) {
    static const weir_chat_message talk[] = {{"user", "a", 1}, {"assistant", "b", 1}, {"user", "c", 1}};
    weir_chat_text text = {0};
    weir_status st = WEIR_OK;
    if (!e->pair.tok || e->pair.side[WEIR_VERIFIER].ck.tokenizer != WEIR_TOKENIZER_SPM) return WEIR_OK;
    WEIR_TRY(weir_chat_render(e->pair.chat, talk, 3, true, &text, err));
    for (size_t i = 0; i < text.n && st == WEIR_OK; i++) st = check_mark(e, &text.segments[i], err);
    weir_chat_text_free(&text);
    return st;
}

static weir_status open_named(weir_engine *e, const char *name, weir_err *err) {
    e->pair.chat = weir_chat_template_find(name);
    if (!e->pair.chat) return unknown_name(name, err);
    WEIR_TRY(check_marks(e, err));
    return add_ends(e, err);
}

/* ---- a template that is run ------------------------------------------------------------------------- */

/* Names of tokens as the files of the tokenizer have them; a GGUF file has ids alone. */
static void name_tokens(const weir_engine *e, const char *special[WEIR_SPECIAL_N]) {
    const weir_checkpoint *c = &e->pair.side[WEIR_VERIFIER].ck;
    for (int i = 0; i < WEIR_SPECIAL_N; i++) special[i] = c->special[i];
    if (!c->gguf) return;
    special[WEIR_SPECIAL_BOS] = weir__tokenizer_piece(e->pair.tok, c->bos_id);
    special[WEIR_SPECIAL_EOS] = c->n_eos > 0 ? weir__tokenizer_piece(e->pair.tok, c->eos[0]) : NULL;
    special[WEIR_SPECIAL_PAD] = weir__tokenizer_piece(e->pair.tok, c->pad_id);
}

/* What ends a turn: the first control token that the template writes after an answer. It becomes an end of
 * text. Where there is none, the checkpoint's own ends of text are all. */
static weir_status add_own_end(weir_engine *e, weir_err *err) {
    char *text = NULL;
    size_t bytes = 0, n = 0;
    int32_t *ids = NULL;
    WEIR_TRY(weir__chat_own_after_answer(e->pair.own, &text, &bytes, err));
    weir_status s = weir__tokenizer_encode_special(e->pair.tok, text, bytes, &ids, &n, err);
    weir_free(text);
    size_t i = 0;
    while (s == WEIR_OK && i < n && !weir__tokenizer_is_control(e->pair.tok, ids[i])) i++;
    if (s == WEIR_OK && i < n && !add_end(e, ids[i]))
        s = no_room(err, weir__tokenizer_piece(e->pair.tok, ids[i]));
    weir_free(ids);
    return s;
}

/* Pieces of a .model in <…> that plain text becomes, though the template means them as tokens. */
static weir_status check_own_span(const weir_engine *e, const weir_jinja_span *span, weir_err *err) {
    int32_t *ids = NULL;
    size_t n = 0;
    const char *found = NULL;
    WEIR_TRY(weir__tokenizer_encode(e->pair.tok, span->text, span->bytes, &ids, &n, err));
    for (size_t i = 0; i < n && !found; i++) {
        const char *piece = weir__tokenizer_piece(e->pair.tok, ids[i]);
        const size_t k = piece ? strlen(piece) : 0;
        if (k > 3 && piece[0] == '<' && piece[k - 1] == '>' && memmem(span->text, span->bytes, piece, k))
            found = piece;
    }
    weir_free(ids);
    if (!found) return WEIR_OK;
    return weir_fail(
        err, WEIR_ENOTSUP,
        "the .model file makes %.60s of what a user types: it needs a tokenizer.json, which tells "
        "them apart",
        found);
}

static weir_status check_own_marks(const weir_engine *e, weir_err *err) {
    static const weir_chat_message talk[] = {{"user", "a", 1}, {"assistant", "b", 1}, {"user", "c", 1}};
    weir_jinja_text t = {0};
    weir_status s = WEIR_OK;
    if (e->pair.side[WEIR_VERIFIER].ck.tokenizer != WEIR_TOKENIZER_SPM) return WEIR_OK;
    if (weir__chat_own_render(e->pair.own, talk, 3, true, &t, err) == WEIR_ENOMEM) return WEIR_ENOMEM;
    for (size_t i = 0; i < t.n && s == WEIR_OK; i++)
        if (t.spans[i].of_template) s = check_own_span(e, &t.spans[i], err);
    weir__jinja_text_free(&t);
    return s;
}

static weir_status open_own(weir_engine *e, const char *source, size_t bytes, const char *whose,
                            weir_err *err) {
    const char *special[WEIR_SPECIAL_N];
    if (!e->pair.tok) return weir_fail(err, WEIR_ENOTSUP, "a chat template needs a tokenizer");
    name_tokens(e, special);
    WEIR_TRY(weir__chat_own_open(&e->pair.own, source, bytes, special, err));
    WEIR_TRY(check_own_marks(e, err));
    WEIR_TRY(add_own_end(e, err));
    const weir_chat_template *same = weir__chat_own_format(e->pair.own);
    snprintf(e->pair.chat_about, sizeof e->pair.chat_about, "%s (Jinja, %zu bytes; %s%s)", whose, bytes,
             same ? "writes what this format by name does: " : "none of the formats by name",
             same ? same->name : "");
    return WEIR_OK;
}

static weir_status open_file(weir_engine *e, const char *path, weir_err *err) {
    char *source = NULL;
    size_t bytes = 0;
    weir_err why = {""};
    WEIR_TRY(weir__file_read(path, 16 << 20, &source, &bytes, err));
    const weir_status s = open_own(e, source, bytes, weir__label(path), &why);
    weir_free(source);
    return s == WEIR_OK ? s : weir_fail(err, s, "%s: %s", weir__label(path), why.text);
}

/* ---- the engine's ----------------------------------------------------------------------------------- */

static weir_status open_any(weir_engine *e, const weir_engine_options *o, weir_err *err) {
    const char *jinja = e->pair.side[WEIR_VERIFIER].ck.chat_template;
    if (o->chat_template) return open_named(e, o->chat_template, err);
    if (o->chat_template_file) return open_file(e, o->chat_template_file, err);
    if (jinja) return open_own(e, jinja, strlen(jinja), "the checkpoint's own", err);
    return weir_fail(err, WEIR_ENOTSUP, "%s", "");
}

void weir__chat_close(weir_engine *e) {
    weir__chat_own_free(e->pair.own);
    e->pair.own = NULL;
    e->pair.chat = NULL;
}

/* What the user asked for must be there; what the checkpoint says and weir cannot run is noted, for the
 * day somebody asks. */
weir_status weir__chat_open(weir_engine *e, const weir_engine_options *o, weir_err *err) {
    weir_err why = {""};
    const int n_eos = e->pair.facts.n_eos;
    const weir_status s = open_any(e, o, &why);
    const bool asked = o->chat_template || o->chat_template_file;
    if (s != WEIR_OK) {
        weir__chat_close(e);
        e->pair.facts.n_eos = n_eos; /* a format that is off ends nothing */
        if (asked || s == WEIR_ENOMEM) return weir_fail(err, s, "%s", why.text);
        note_none(e, s, why.text);
        if (o->chat_required) return weir_fail(err, WEIR_ENOTSUP, "%s", e->pair.chat_note.text);
    }
    e->pair.facts.chat_template = e->pair.chat ? e->pair.chat->name : e->pair.own ? e->pair.chat_about : NULL;
    e->pair.facts.chat_note = e->pair.facts.chat_template ? NULL : e->pair.chat_note.text;
    return WEIR_OK;
}
