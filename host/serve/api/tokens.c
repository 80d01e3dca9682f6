/* /tokenize, /detokenize, /tokenizer_info and /apply-template: texts to ids and back. */
#include <string.h>

#include "host/serve/api/calls.h"
#include "host/serve/api/model.h"
#include "host/serve/api/prompt.h"
#include "host/wire/json.h"

/* A body whose model, if it names one, is here. */
static bool open_body(api_body *b, const api_server *s, unsigned where, const char *body, size_t n,
                      serve_error *e) {
    const char *name = NULL;
    size_t len = 0;
    weir_session_options unused;
    return api_body_open(b, s, where, body, n, e) && api_body_text(b, WIRE_MODEL, &name, &len) &&
           api_model_resolve(s, name, len, &unused, e);
}

static json_t *text_or_null(const char *text) { return text ? wire_text(text, strlen(text)) : json_null(); }

static bool read_talk(api_body *b, api_prompt *out) {
    api_talk t = {0};
    const bool ok = api_talk_read(b, &t) && api_talk_tokenize(b, &t, out);
    api_talk_free(&t);
    return ok;
}

/* ---- /tokenize ----------------------------------------------------------------------------------------- */

/* Under llama.cpp's name nothing is added by default, under vLLM's what a prompt gets, as there. */
static bool read_text(api_body *b, wire_id id, bool add_special, api_prompt *out) {
    const char *text = NULL;
    size_t n = 0;
    bool parse_special = true;
    return api_body_text(b, id, &text, &n) && api_body_flag(b, WIRE_ADD_SPECIAL, &add_special) &&
           api_body_flag(b, WIRE_PARSE_SPECIAL, &parse_special) &&
           api_tokens_of_text(b, wire_fields[id].name, text, n, add_special, parse_special, out);
}

static bool read_any(api_body *b, api_prompt *out) {
    const bool content = api_body_has(b, WIRE_CONTENT), prompt = api_body_has(b, WIRE_TEXT_PROMPT),
               talk = api_body_has(b, WIRE_MESSAGES);
    if (content + prompt + talk != 1)
        return api_body_fail(b, "invalid_value", "prompt", "expected one of content, prompt and messages");
    if (talk) return read_talk(b, out);
    return read_text(b, content ? WIRE_CONTENT : WIRE_TEXT_PROMPT, prompt, out);
}

static json_t *pieces_json(const api_server *s, const api_prompt *p) {
    json_t *list = json_array();
    for (size_t i = 0; i < p->n; i++) {
        const char *piece = weir_token_piece(s->engine, p->ids[i]);
        json_t *one = json_object();
        wire_set(one, "id", json_integer(p->ids[i]));
        wire_set(one, "piece", text_or_null(piece));
        wire_add(list, one);
    }
    return list;
}

bool api_tokenize(const api_server *s, const char *body, size_t n, wire_buf *out, serve_error *e) {
    api_body b;
    api_prompt p = {0};
    bool pieces = false;
    bool ok = open_body(&b, s, WIRE_TOKENIZE, body, n, e) && api_body_flag(&b, WIRE_WITH_PIECES, &pieces) &&
              read_any(&b, &p);
    if (ok) {
        json_t *v = json_object();
        wire_set(v, "tokens", pieces ? pieces_json(s, &p) : wire_ids(p.ids, p.n));
        wire_set(v, "count", json_integer((json_int_t)p.n));
        wire_set(v, "max_model_len", json_integer(s->facts.ctx_size));
        ok = wire_write(v, out) || api_no_memory(e);
    }
    weir_ids_free(p.ids);
    api_body_free(&b);
    return ok;
}

/* ---- /detokenize --------------------------------------------------------------------------------------- */

static bool write_text(api_body *b, const api_prompt *p, wire_buf *out) {
    char *text = NULL;
    size_t n = 0;
    if (!api_body_ok(b, weir_detokenize(b->server->engine, p->ids, p->n, &text, &n, &b->err))) return false;
    json_t *v = json_object();
    wire_set(v, "content", wire_text(text, n));
    wire_set(v, "prompt", wire_text(text, n));
    weir_text_free(text);
    return wire_write(v, out) || api_no_memory(b->e);
}

static bool read_tokens(api_body *b, api_prompt *p) {
    static const char field[] = "tokens";
    const json_t *list = json_object_get(b->in.json, field);
    if (!list) return api_body_fail(b, "invalid_value", field, "missing");
    if (!json_is_array(list)) return api_body_fail(b, "invalid_value", field, "expected a list of token ids");
    if (!b->server->facts.has_tokenizer)
        return api_body_fail(b, "invalid_value", field, "this model has no tokenizer");
    return api_ids_read(b, field, list, API_ALONE, p);
}

bool api_detokenize(const api_server *s, const char *body, size_t n, wire_buf *out, serve_error *e) {
    api_body b;
    api_prompt p = {0};
    const bool ok =
        open_body(&b, s, WIRE_DETOKENIZE, body, n, e) && read_tokens(&b, &p) && write_text(&b, &p, out);
    weir_ids_free(p.ids);
    api_body_free(&b);
    return ok;
}

/* ---- /tokenizer_info ----------------------------------------------------------------------------------- */

bool api_tokenizer_info(const api_server *s, wire_buf *out, serve_error *e) {
    json_t *v = json_object();
    wire_set(v, "bos_token", text_or_null(s->facts.bos_text));
    wire_set(v, "eos_token", text_or_null(s->facts.eos_text));
    wire_set(v, "chat_template", text_or_null(weir_chat_template_text(s->engine)));
    return wire_write(v, out) || api_no_memory(e);
}

/* ---- /apply-template ----------------------------------------------------------------------------------- */

static bool write_prompt(api_body *b, const api_talk *t, const api_prompt *p, wire_buf *out) {
    char *text = NULL;
    size_t n = 0;
    if (!api_talk_text(b, t, &text, &n)) return false;
    json_t *v = json_object();
    wire_set(v, "prompt", wire_text(text, n));
    wire_set(v, "tokens", wire_ids(p->ids, p->n));
    weir_text_free(text);
    return wire_write(v, out) || api_no_memory(b->e);
}

bool api_apply_template(const api_server *s, const char *body, size_t n, wire_buf *out, serve_error *e) {
    api_body b;
    api_talk t = {0};
    api_prompt p = {0};
    const bool ok = open_body(&b, s, WIRE_TEMPLATE, body, n, e) && api_talk_read(&b, &t) &&
                    api_talk_tokenize(&b, &t, &p) && write_prompt(&b, &t, &p, out);
    weir_ids_free(p.ids);
    api_talk_free(&t);
    api_body_free(&b);
    return ok;
}
