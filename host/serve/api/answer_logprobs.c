/* Log-probabilities of tokens in OpenAI's two forms. Completions have lists beside each other and a map of
 * the likeliest; a chat has a list of entries. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/serve/api/answer_parts.h"
#include "host/wire/put.h"

/* JSON has no infinity: minus infinity is what vLLM writes for it. Unknown is null. */
static void put_logprob(wire_buf *b, float x) {
    wire_put_real(b, isnan(x) ? (double)x : x < -9999 ? -9999.0 : (double)x);
}

static bool is_text(const char *bytes, size_t n) {
    for (size_t i = 0, len; i < n; i += len)
        if ((len = wire_utf8_length(bytes + i, n - i)) == 0) return false;
    return true;
}

/* A part of a character has no text: "bytes:" and hexadecimal codes, as OpenAI spells it. */
static void put_bytes(wire_buf *b, const char *bytes, size_t n) {
    char code[8];
    wire_buf_puts(b, "bytes:");
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)bytes[i];
        if (c > ' ' - 1 && c < 0x7f && c != '\\')
            wire_buf_add(b, bytes + i, 1);
        else
            wire_buf_add(b, code, (size_t)snprintf(code, sizeof code, "\\x%02x", c));
    }
}

/* The bytes of a token; without a tokenizer its number stands for it. */
typedef struct piece {
    char *bytes; /* weir_text_free */
    size_t n;
    char number[32];
} piece;

static void piece_get(api_answer *a, int32_t id, piece *p) {
    p->bytes = NULL;
    p->n = 0;
    const weir_status s = weir_token_bytes(a->server->engine, id, &p->bytes, &p->n, NULL);
    if (s == WEIR_OK) return;
    if (s == WEIR_ENOMEM) a->spelled.failed = true;
    p->n = (size_t)snprintf(p->number, sizeof p->number, "token_id:%d", (int)id);
}

static const char *piece_bytes(const piece *p) { return p->bytes ? p->bytes : p->number; }

/* Its spelling, not yet escaped. */
static void spell(wire_buf *b, const piece *p) {
    const char *bytes = piece_bytes(p);
    if (is_text(bytes, p->n))
        wire_buf_add(b, bytes, p->n);
    else
        put_bytes(b, bytes, p->n);
}

/* ---- completions --------------------------------------------------------------------------------------- */

/* Keys of a map: spellings that were written, one after the other in a->spelled. */
typedef struct keys {
    size_t begin[WEIR_N_TOP_MAX + 2];
    int n;
} keys;

/* Whether the spelling from `from` to the end is a key already. */
static bool is_known(const wire_buf *spelled, const keys *k, size_t from) {
    const size_t n = spelled->len - from;
    for (int i = 0; i < k->n; i++)
        if (k->begin[i + 1] - k->begin[i] == n &&
            memcmp(spelled->data + k->begin[i], spelled->data + from, n) == 0)
            return true;
    return false;
}

/* Likeliest first, so the first of equal spellings has the largest value. */
static void put_key(api_answer *a, keys *k, wire_buf *map, int32_t id, float logprob) {
    piece p;
    const size_t from = a->spelled.len;
    piece_get(a, id, &p);
    spell(&a->spelled, &p);
    weir_text_free(p.bytes);
    if (a->spelled.failed) return;
    if (is_known(&a->spelled, k, from)) {
        a->spelled.len = from;
        return;
    }
    if (k->n > 0) wire_buf_add(map, ",", 1);
    wire_put_text(map, a->spelled.data + from, a->spelled.len - from);
    wire_buf_add(map, ":", 1);
    put_logprob(map, logprob);
    k->begin[k->n++] = from;
    k->begin[k->n] = a->spelled.len;
}

/* The token itself is there too, as in OpenAI's answers, if it is not among the likeliest. */
static void put_map(api_answer *a, wire_buf *out, const api_token *t) {
    keys k = {.n = 0};
    a->spelled.len = 0;
    wire_buf_add(out, "{", 1);
    for (int i = 0; i < t->n_top; i++)
        if (t->top[i].id >= 0) put_key(a, &k, out, t->top[i].id, t->top[i].logprob);
    put_key(a, &k, out, t->id, t->logprob);
    wire_buf_add(out, "}", 1);
}

static void add_completion(api_answer *a, api_choice *c, const api_entry *e) {
    const bool known = !e->first && !isnan(e->t->logprob);
    piece p;
    piece_get(a, e->t->id, &p);
    a->spelled.len = 0;
    spell(&a->spelled, &p);
    weir_text_free(p.bytes);
    if (a->spelled.failed) return;
    api_comma(&c->tokens);
    wire_put_text(&c->tokens, a->spelled.data, a->spelled.len);
    api_comma(&c->values);
    put_logprob(&c->values, known ? e->t->logprob : NAN);
    api_comma(&c->offsets);
    wire_put_int(&c->offsets, e->offset);
    api_comma(&c->top);
    if (known)
        put_map(a, &c->top, e->t);
    else
        wire_buf_puts(&c->top, "null");
}

/* ---- chat ---------------------------------------------------------------------------------------------- */

/* Without its closing brace. */
static void open_entry(api_answer *a, wire_buf *out, int32_t id, float logprob) {
    piece p;
    piece_get(a, id, &p);
    a->spelled.len = 0;
    spell(&a->spelled, &p);
    if (!a->spelled.failed) {
        wire_buf_puts(out, "{\"token\":");
        wire_put_text(out, a->spelled.data, a->spelled.len);
        wire_buf_puts(out, ",\"logprob\":");
        put_logprob(out, logprob);
        wire_buf_puts(out, ",\"bytes\":[");
        for (size_t i = 0; i < p.n; i++) {
            if (i > 0) wire_buf_add(out, ",", 1);
            wire_put_int(out, (unsigned char)piece_bytes(&p)[i]);
        }
        wire_buf_add(out, "]", 1);
    }
    weir_text_free(p.bytes);
}

static void add_chat(api_answer *a, api_choice *c, const api_entry *e) {
    api_comma(&c->tokens);
    open_entry(a, &c->tokens, e->t->id, e->t->logprob);
    wire_buf_puts(&c->tokens, ",\"top_logprobs\":[");
    for (int i = 0, n = 0; i < e->t->n_top; i++) {
        if (e->t->top[i].id < 0) continue;
        if (n++ > 0) wire_buf_add(&c->tokens, ",", 1);
        open_entry(a, &c->tokens, e->t->top[i].id, e->t->top[i].logprob);
        wire_buf_add(&c->tokens, "}", 1);
    }
    wire_buf_puts(&c->tokens, "]}");
}

void api_logprob_add(api_answer *a, api_choice *c, const api_entry *e) {
    if (a->ask->chat)
        add_chat(a, c, e);
    else
        add_completion(a, c, e);
}
