#include "host/wire/request.h"

#include <string.h>

#include "host/wire/settings.h"

void wire_request_free(wire_request *r) {
    weir_free(r->ids);
    for (int i = 0; r->stop && i < WIRE_MAX_STOP; i++) weir_free(r->stop[i]);
    weir_free(r->stop);
    *r = (wire_request){0};
}

/* ---- settings ------------------------------------------------------------------------------------------ */

static weir_status read_stop(wire_object *in, wire_request *r, weir_err *err) {
    const json_t *v = json_object_get(in->json, "stop");
    if (!v || json_is_null(v)) return WEIR_OK;
    const bool one = json_is_string(v);
    const size_t n = one ? 1 : json_array_size(v);
    if (!one && !json_is_array(v))
        return wire_object_fail(in, "stop", err, "expected a string or a list of strings");
    if (n > WIRE_MAX_STOP)
        return wire_object_fail(in, "stop", err, "%zu strings, expected at most %d", n, WIRE_MAX_STOP);
    r->stop = weir_calloc(WIRE_MAX_STOP, sizeof *r->stop);
    if (!r->stop) return weir_fail(err, WEIR_ENOMEM, "out of memory for stop strings");
    for (size_t i = 0; i < n; i++) {
        const json_t *s = one ? v : json_array_get(v, i);
        const size_t len = json_string_length(s);
        if (!json_is_string(s) || len == 0 || strlen(json_string_value(s)) != len)
            return wire_object_fail(in, "stop", err, "entry %zu: expected a string that is not empty", i);
        r->stop[i] = weir_strdup(json_string_value(s));
        if (!r->stop[i]) return weir_fail(err, WEIR_ENOMEM, "out of memory for stop strings");
    }
    r->o.stop = (const char *const *)r->stop;
    r->o.n_stop = (int)n;
    return WEIR_OK;
}

/* Names the field that asks for a drafter where there is none. */
static weir_status no_draft(const wire_context *c, wire_object *in, const char *key, const char *what,
                            weir_err *err) {
    return wire_object_fail(in, key, err, "%sneeds a drafter%s%s", what, c->draft_hint ? ": " : "",
                            c->draft_hint ? c->draft_hint : "");
}

static weir_status check_method(const wire_context *c, wire_object *in, weir_session_options *o,
                                weir_err *err) {
    static const char rule[] = "deferral_rule";
    bool speculative = true, asked = false;
    WEIR_TRY(wire_read_bool(in, "speculative", &speculative, &asked, err));
    const bool ruled = wire_object_has(in, rule) || wire_object_has(in, "deferral_alpha") ||
                       wire_object_has(in, "deferral_beta");
    if (asked && speculative && !c->has_draft) return no_draft(c, in, "speculative", "true ", err);
    if (asked && !speculative) o->method = WEIR_METHOD_VERIFIER;
    if (ruled && !c->has_draft) return no_draft(c, in, rule, "", err);
    if (ruled && !wire_method_has_rule(o->method) && o->method != WEIR_METHOD_SEQUENCE_CASCADE)
        return wire_object_fail(in, rule, err, "has no effect under method %s", weir_method_name(o->method));
    return wire_method_has_rule(o->method) ? weir_law_check(&o->law, err) : WEIR_OK;
}

/* ---- the prompt ---------------------------------------------------------------------------------------- */

/* A failure of the engine with its words, or the status's where it has none. */
static weir_status in_words(weir_status s, weir_err *err) {
    return s == WEIR_OK || !err || err->text[0] ? s : weir_fail(err, s, "%s", weir_status_str(s));
}

weir_status wire_tokenize(const weir_engine *e, const char *text, size_t n, bool add_special,
                          bool parse_special, int32_t **ids, size_t *n_ids, weir_err *err) {
    return in_words(weir_tokenize(e, text, n, add_special, parse_special, ids, n_ids, err), err);
}

weir_status wire_read_prompt(const wire_context *c, wire_object *in, const char *text_key,
                             const char *ids_key, bool add_special, int32_t **ids, size_t *n, weir_err *err) {
    const char *text = NULL;
    size_t bytes = 0;
    bool has_text = false, has_ids = false, parse_special = c->parse_special;
    WEIR_TRY(wire_read_text(in, text_key, &text, &bytes, &has_text, err));
    WEIR_TRY(wire_read_bool(in, "parse_special", &parse_special, NULL, err));
    WEIR_TRY(wire_read_ids(in, ids_key, ids, n, &has_ids, err));
    if (has_text == has_ids) {
        weir_free(*ids);
        *ids = NULL;
        return wire_object_fail(in, text_key, err, "expected either %s or %s", text_key, ids_key);
    }
    return has_ids ? WEIR_OK : wire_tokenize(c->engine, text, bytes, add_special, parse_special, ids, n, err);
}

/* One message of a conversation, as OpenAI's requests write it; its strings are borrowed from the object. */
static weir_status read_message(wire_object *in, size_t i, const json_t *v, weir_chat_message *out,
                                weir_err *err) {
    const json_t *role = json_object_get(v, "role"), *content = json_object_get(v, "content");
    const bool whole = json_is_string(role) && strlen(json_string_value(role)) == json_string_length(role);
    if (!whole || !json_is_string(content) || json_object_size(v) != 2)
        return wire_object_fail(in, "messages", err,
                                "entry %zu: expected an object with the strings role and content", i);
    *out = (weir_chat_message){.role = json_string_value(role),
                               .content = json_string_value(content),
                               .bytes = json_string_length(content)};
    return WEIR_OK;
}

static weir_status read_messages(const wire_context *c, wire_object *in, wire_request *r, weir_err *err) {
    const json_t *list = json_object_get(in->json, "messages");
    const size_t n = json_array_size(list);
    if (!json_is_array(list)) return wire_object_fail(in, "messages", err, "expected a list of messages");
    weir_chat_message *m = weir_alloc(n, sizeof *m);
    if (!m) return weir_fail(err, WEIR_ENOMEM, "out of memory for %zu messages", n);
    weir_status st = WEIR_OK;
    for (size_t i = 0; st == WEIR_OK && i < n; i++)
        st = read_message(in, i, json_array_get(list, i), &m[i], err);
    weir_err said = {{0}};
    if (st == WEIR_OK) {
        st = in_words(weir_chat_tokenize(c->engine, m, n, false, &r->ids, &r->n_ids, &said), &said);
        if (st != WEIR_OK) {
            (void)wire_object_fail(in, "messages", err, "%s", said.text);
        }
    }
    weir_free(m);
    return st;
}

static weir_status read_any_prompt(const wire_context *c, wire_object *in, wire_request *r, weir_err *err) {
    const bool text = wire_object_has(in, "prompt"), ids = wire_object_has(in, "prompt_ids"),
               talk = wire_object_has(in, "messages");
    if (text + ids + talk != 1)
        return wire_object_fail(in, "prompt", err, "expected one of prompt, prompt_ids and messages");
    if (!talk) return wire_read_prompt(c, in, "prompt", "prompt_ids", true, &r->ids, &r->n_ids, err);
    bool unused = false;
    WEIR_TRY(wire_read_bool(in, "parse_special", &unused, NULL, err));
    return read_messages(c, in, r, err);
}

weir_status wire_request_read(const wire_context *c, wire_object *in, wire_request *r, weir_err *err) {
    WEIR_TRY(wire_check_known(in, WIRE_GENERATE, err));
    WEIR_TRY(wire_read_settings(in, WIRE_GENERATE, c->ctx_size, &r->o, err));
    WEIR_TRY(check_method(c, in, &r->o, err));
    WEIR_TRY(read_stop(in, r, err));
    return read_any_prompt(c, in, r, err);
}
