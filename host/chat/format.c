#include "host/chat/format.h"

#include <stdio.h>
#include <string.h>

#include "host/formats/json/json_file.h"
#include "kernels/base/mem.h"

/* ---- what all formats need --------------------------------------------------------------------------- */

static weir_status unknown_name(const char *name, weir_err *err) {
    char names[200];
    weir_chat_template_names(names, sizeof names);
    return weir_fail(err, WEIR_EINVAL, "unknown chat template %.60s, expected one of %s", name, names);
}

/* Writes the note: why there is no format. */
static void note_none(weir__chat *c, weir_status s, const char *why) {
    char names[200];
    weir_chat_template_names(names, sizeof names);
    weir_fail(&c->note, s, "%.150s%s%.200s; name one with --chat-template (%s)", c->ck->dir,
              *why ? ": " : " has no chat template", why, names);
}

static bool add_end(weir__chat_ends *ends, int32_t id) {
    enum { CAP = sizeof ends->ids / sizeof ends->ids[0] };
    for (int k = 0; k < ends->n; k++)
        if (ends->ids[k] == id) return true;
    if (ends->n == CAP) return false;
    ends->ids[ends->n++] = id;
    return true;
}

static weir_status no_room(weir_err *err, const char *name) {
    return weir_fail(err, WEIR_ENOTSUP, "too many ends of text: no room for %.60s", name);
}

/* ---- a format by name ------------------------------------------------------------------------------- */

/* The ends of turns become ends of text, so every loop stops at them. Only the first must be in the
 * vocabulary: the others exist in some checkpoints of a family. */
static weir_status add_ends(const weir__chat *c, weir__chat_ends *ends, weir_err *err) {
    if (!c->tok && c->named->end[0])
        return weir_fail(err, WEIR_ENOTSUP, "chat template %s needs a tokenizer: %s has none", c->named->name,
                         c->ck->dir);
    for (int i = 0; i < WEIR_CHAT_MAX_END && c->named->end[i]; i++) {
        const char *name = c->named->end[i];
        const int32_t id = weir__tokenizer_find(c->tok, name, strlen(name));
        if (id < 0 && i > 0) continue;
        if (id < 0)
            return weir_fail(err, WEIR_ENOTSUP,
                             "chat template %s ends a turn with %s, which is not a token of %s",
                             c->named->name, name, c->ck->dir);
        if (!add_end(ends, id)) return no_room(err, name);
    }
    return WEIR_OK;
}

/* SentencePiece finds a user-defined piece in any text, so a user could end a turn by typing it. A format is
 * refused if plain text can become its marks. Other readers keep control tokens apart. */
static weir_status check_mark(const weir__chat *c, const weir_segment *s, weir_err *err) {
    const int32_t mark = s->special ? weir__tokenizer_find(c->tok, s->text, s->bytes) : -1;
    int32_t *ids = NULL;
    size_t n = 0;
    bool found = false;
    if (mark < 0) return WEIR_OK;
    WEIR_TRY(weir__tokenizer_encode(c->tok, s->text, s->bytes, &ids, &n, err));
    for (size_t i = 0; i < n; i++) found |= ids[i] == mark;
    weir_free(ids);
    if (!found) return WEIR_OK;
    return weir_fail(
        err, WEIR_ENOTSUP,
        "chat template %s: the .model file of %.150s makes %.*s of what a user types: it needs a "
        "tokenizer.json, which tells them apart",
        c->named->name, c->ck->dir, (int)s->bytes, s->text);
}

static weir_status check_marks(const weir__chat *c, weir_err *err) {
    static const weir_chat_message talk[] = {{"user", "a", 1}, {"assistant", "b", 1}, {"user", "c", 1}};
    weir_chat_text text = {0};
    weir_status st = WEIR_OK;
    if (!c->tok || c->ck->tokenizer != WEIR_TOKENIZER_SPM) return WEIR_OK;
    WEIR_TRY(weir_chat_render(c->named, talk, 3, WEIR_CHAT_ANSWER, &text, err));
    for (size_t i = 0; i < text.n && st == WEIR_OK; i++) st = check_mark(c, &text.segments[i], err);
    weir_chat_text_free(&text);
    return st;
}

static weir_status open_named(weir__chat *c, const char *name, weir__chat_ends *ends, weir_err *err) {
    c->named = weir_chat_template_find(name);
    if (!c->named) return unknown_name(name, err);
    WEIR_TRY(check_marks(c, err));
    return add_ends(c, ends, err);
}

/* ---- a template that is run ------------------------------------------------------------------------- */

static const char *name_by_id(const weir__chat *c, weir_special role) {
    const int32_t id = role == WEIR_SPECIAL_BOS                       ? c->ck->bos_id
                       : role == WEIR_SPECIAL_EOS && c->ck->n_eos > 0 ? c->ck->eos[0]
                       : role == WEIR_SPECIAL_PAD                     ? c->ck->pad_id
                                                                      : -1;
    return c->tok ? weir__tokenizer_piece(c->tok, id) : NULL;
}

const char *weir__chat_token_name(const weir__chat *c, weir_special role) {
    const char *name = c->ck->gguf ? NULL : c->ck->special[role];
    return name ? name : name_by_id(c, role);
}

/* Names of tokens from the tokenizer's files; a GGUF file has only ids. */
static void name_tokens(const weir__chat *c, const char *special[WEIR_SPECIAL_N]) {
    for (int i = 0; i < WEIR_SPECIAL_N; i++) special[i] = c->ck->special[i];
    if (!c->ck->gguf) return;
    static const weir_special by_id[] = {WEIR_SPECIAL_BOS, WEIR_SPECIAL_EOS, WEIR_SPECIAL_PAD};
    for (int i = 0; i < 3; i++) special[by_id[i]] = name_by_id(c, by_id[i]);
}

/* What ends a turn: the first control token that the template writes after an answer. It becomes an end of
 * text. Without one, only the checkpoint's own ends count. */
static weir_status add_own_end(const weir__chat *c, weir__chat_ends *ends, weir_err *err) {
    char *text = NULL;
    size_t bytes = 0, n = 0;
    int32_t *ids = NULL;
    WEIR_TRY(weir__chat_own_after_answer(c->own, &text, &bytes, err));
    weir_status s = weir__tokenizer_encode_special(c->tok, text, bytes, &ids, &n, err);
    weir_free(text);
    size_t i = 0;
    while (s == WEIR_OK && i < n && !weir__tokenizer_is_control(c->tok, ids[i])) i++;
    if (s == WEIR_OK && i < n && !add_end(ends, ids[i]))
        s = no_room(err, weir__tokenizer_piece(c->tok, ids[i]));
    weir_free(ids);
    return s;
}

/* Pieces of a .model in <…> that plain text becomes, though the template means them as tokens. */
static weir_status check_own_span(const weir__chat *c, const weir_jinja_span *span, weir_err *err) {
    int32_t *ids = NULL;
    size_t n = 0;
    const char *found = NULL;
    WEIR_TRY(weir__tokenizer_encode(c->tok, span->text, span->bytes, &ids, &n, err));
    for (size_t i = 0; i < n && !found; i++) {
        const char *piece = weir__tokenizer_piece(c->tok, ids[i]);
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

static weir_status check_own_marks(const weir__chat *c, weir_err *err) {
    static const weir_chat_message talk[] = {{"user", "a", 1}, {"assistant", "b", 1}, {"user", "c", 1}};
    weir_jinja_text t = {0};
    weir_status s = WEIR_OK;
    if (c->ck->tokenizer != WEIR_TOKENIZER_SPM) return WEIR_OK;
    if (weir__chat_own_render(c->own, talk, 3, WEIR_CHAT_ANSWER, &t, err) == WEIR_ENOMEM) return WEIR_ENOMEM;
    for (size_t i = 0; i < t.n && s == WEIR_OK; i++)
        if (t.spans[i].of_template) s = check_own_span(c, &t.spans[i], err);
    weir__jinja_text_free(&t);
    return s;
}

static weir_status open_own(weir__chat *c, const char *source, size_t bytes, const char *whose,
                            weir__chat_ends *ends, weir_err *err) {
    const char *special[WEIR_SPECIAL_N];
    if (!c->tok) return weir_fail(err, WEIR_ENOTSUP, "a chat template needs a tokenizer");
    name_tokens(c, special);
    WEIR_TRY(weir__chat_own_open(&c->own, source, bytes, special, err));
    WEIR_TRY(check_own_marks(c, err));
    WEIR_TRY(add_own_end(c, ends, err));
    const weir_chat_template *same = weir__chat_own_format(c->own);
    snprintf(c->about, sizeof c->about, "%s (Jinja, %zu bytes; %s%s)", whose, bytes,
             same ? "writes what this format by name does: " : "none of the formats by name",
             same ? same->name : "");
    return WEIR_OK;
}

static weir_status keep_source(weir__chat *c, const char *source, size_t bytes, weir_err *err) {
    c->file = weir_alloc(bytes + 1, 1);
    if (!c->file) return weir_fail(err, WEIR_ENOMEM, "no memory for a chat template of %zu bytes", bytes);
    memcpy(c->file, source, bytes);
    c->file[bytes] = '\0';
    return WEIR_OK;
}

static weir_status open_file(weir__chat *c, const char *path, weir__chat_ends *ends, weir_err *err) {
    char *source = NULL;
    size_t bytes = 0;
    weir_err why = {""};
    WEIR_TRY(weir__file_read(path, 16 << 20, &source, &bytes, err));
    weir_status s = open_own(c, source, bytes, weir__label(path), ends, &why);
    if (s == WEIR_OK) s = keep_source(c, source, bytes, &why);
    weir_free(source);
    return s == WEIR_OK ? s : weir_fail(err, s, "%s: %s", weir__label(path), why.text);
}

/* ---- open --------------------------------------------------------------------------------------------- */

static weir_status open_any(weir__chat *c, const weir__chat_choice *choice, weir__chat_ends *ends,
                            weir_err *err) {
    const char *jinja = c->ck->chat_template;
    if (choice->name) return open_named(c, choice->name, ends, err);
    if (choice->file) return open_file(c, choice->file, ends, err);
    if (jinja) return open_own(c, jinja, strlen(jinja), "the checkpoint's own", ends, err);
    return weir_fail(err, WEIR_ENOTSUP, "%s", "");
}

void weir__chat_close(weir__chat *c) {
    weir__chat_own_free(c->own);
    weir_free(c->file);
    c->own = NULL;
    c->named = NULL;
    c->file = NULL;
}

weir_status weir__chat_open(weir__chat *out, const weir_tokenizer *tok, const weir_checkpoint *ck,
                            const weir__chat_choice *choice, weir__chat_ends *ends, weir_err *err) {
    weir_err why = {""};
    weir__chat_ends own = {.n = ck->n_eos}, all;
    memcpy(own.ids, ck->eos, sizeof own.ids);
    all = own;
    *out = (weir__chat){.tok = tok, .ck = ck};
    const weir_status s = open_any(out, choice, &all, &why);
    *ends = s == WEIR_OK ? all : own; /* a format that is off ends nothing */
    if (s == WEIR_OK) return WEIR_OK;
    weir__chat_close(out);
    if (choice->name || choice->file || s == WEIR_ENOMEM) return weir_fail(err, s, "%s", why.text);
    note_none(out, s, why.text);
    return choice->required ? weir_fail(err, WEIR_ENOTSUP, "%s", out->note.text) : WEIR_OK;
}

const char *weir__chat_about(const weir__chat *c) {
    return c->named ? c->named->name : c->own ? c->about : NULL;
}

const char *weir__chat_source(const weir__chat *c) {
    if (c->named) return NULL;
    return c->file ? c->file : c->ck ? c->ck->chat_template : NULL;
}
