#include "host/wire/request.h"

#include <string.h>

#include "host/wire/settings.h"

void wire_request_free(wire_request *r) {
    weir_free(r->ids);
    wire_stop_free(r->stop);
    *r = (wire_request){0};
}

/* ---- settings ------------------------------------------------------------------------------------------ */

/* Entry i of a list of stop strings, or the only one; NULL for one that means nothing, as HTTP clients send
 * them. */
static const json_t *stop_at(const json_t *v, size_t i, unsigned where) {
    const json_t *s = json_is_string(v) ? v : json_array_get(v, i);
    const bool empty = json_is_null(s) || (json_is_string(s) && json_string_length(s) == 0);
    return empty && (where & WIRE_HTTP) ? NULL : s;
}

void wire_stop_free(char **stop) {
    for (int i = 0; stop && i < WIRE_MAX_STOP; i++) weir_free(stop[i]);
    weir_free(stop);
}

weir_status wire_read_stop(wire_object *in, unsigned where, char ***stop, weir_session_options *o,
                           weir_err *err) {
    const json_t *v = json_object_get(in->json, "stop");
    if (!v || json_is_null(v)) return WEIR_OK;
    const size_t n = json_is_string(v) ? 1 : json_array_size(v);
    if (!json_is_string(v) && !json_is_array(v))
        return wire_object_fail(in, "stop", err, "expected a string or a list of strings");
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += stop_at(v, i, where) != NULL;
    if (count > WIRE_MAX_STOP)
        return wire_object_fail(in, "stop", err, "%zu strings, expected at most %d", count, WIRE_MAX_STOP);
    char **list = *stop = weir_calloc(WIRE_MAX_STOP, sizeof *list);
    if (!list) return weir_fail(err, WEIR_ENOMEM, "out of memory for stop strings");
    int kept = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *s = stop_at(v, i, where);
        const size_t len = json_string_length(s);
        if (!s) continue;
        if (!json_is_string(s) || len == 0 || strlen(json_string_value(s)) != len)
            return wire_object_fail(in, "stop", err, "entry %zu: expected a string that is not empty", i);
        list[kept] = weir_strdup(json_string_value(s));
        if (!list[kept++]) return weir_fail(err, WEIR_ENOMEM, "out of memory for stop strings");
    }
    o->stop = (const char *const *)list;
    o->n_stop = kept;
    return WEIR_OK;
}

/* Names the field that asks for a drafter where there is none. */
static weir_status no_draft(const wire_context *c, wire_object *in, const char *key, const char *what,
                            weir_err *err) {
    return wire_object_fail(in, key, err, "%sneeds a drafter%s%s", what, c->draft_hint ? ": " : "",
                            c->draft_hint ? c->draft_hint : "");
}

/* Names the field that such drafts cannot serve. Without any the session reports it, or the caller has. */
static weir_status check_draft(const wire_context *c, wire_object *in, const weir_session_options *o,
                               weir_err *err) {
    const bool any = weir_draft_facts(c->draft)->blocks;
    const weir_status st = any ? weir_draft_check(c->draft, o->method, &o->law, err) : WEIR_OK;
    if (st != WEIR_OK) in->failed = o->method == WEIR_METHOD_SPECULATIVE ? "deferral_rule" : "method";
    return st;
}

/* A knob that was given under a rule without it is a mistake, as a rule is under a method without one. */
static weir_status check_knobs(wire_object *in, const weir_session_options *o, weir_err *err) {
    static const wire_id knobs[] = {WIRE_ALPHA, WIRE_BETA};
    for (int i = 0; i < 2; i++) {
        const wire_field *f = &wire_fields[knobs[i]];
        if (wire_object_has(in, f->name) && !wire_counts(f, o))
            return wire_object_fail(in, f->name, err, "has no effect under rule %s",
                                    weir_rule_facts((weir_rule)o->law.rule)->name);
    }
    return WEIR_OK;
}

weir_status wire_read_method(const wire_context *c, wire_object *in, weir_session_options *o, weir_err *err) {
    static const char rule[] = "deferral_rule";
    const bool drafts = weir_draft_facts(c->draft)->blocks;
    bool speculative = true, asked = false;
    WEIR_TRY(wire_read_bool(in, "speculative", &speculative, &asked, err));
    const bool ruled = wire_object_has(in, rule) || wire_object_has(in, "deferral_alpha") ||
                       wire_object_has(in, "deferral_beta");
    if (asked && speculative && !drafts) return no_draft(c, in, "speculative", "true ", err);
    if (asked && !speculative) o->method = WEIR_METHOD_VERIFIER;
    if (ruled && !drafts) return no_draft(c, in, rule, "", err);
    if (ruled && !wire_method_has_rule(o->method) && o->method != WEIR_METHOD_SEQUENCE_CASCADE)
        return wire_object_fail(in, rule, err, "has no effect under method %s", weir_method_name(o->method));
    WEIR_TRY(check_draft(c, in, o, err));
    WEIR_TRY(check_knobs(in, o, err));
    return wire_method_has_rule(o->method) ? wire_check_law(in, WIRE_GENERATE, &o->law, err) : WEIR_OK;
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
    const wire_limits limits = {.max_tokens = c->ctx_size};
    WEIR_TRY(wire_read_settings(in, WIRE_GENERATE, &limits, &r->o, err));
    WEIR_TRY(wire_read_method(c, in, &r->o, err));
    WEIR_TRY(wire_read_stop(in, WIRE_GENERATE, &r->stop, &r->o, err));
    return read_any_prompt(c, in, r, err);
}
