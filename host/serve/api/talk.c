/* Messages of a conversation, as OpenAI's requests write them. */
#include <stdio.h>
#include <string.h>

#include "host/serve/api/prompt.h"

static const char field[] = "messages";

void api_talk_free(api_talk *t) {
    for (size_t i = 0; t->texts && i < t->n; i++) weir_free(t->texts[i]);
    weir_free(t->texts);
    weir_free(t->messages);
    *t = (api_talk){0};
}

/* ---- one message --------------------------------------------------------------------------------------- */

static bool read_role(api_body *b, size_t i, const json_t *v, weir_chat_message *m) {
    static const char *const roles[] = {"system", "user", "assistant"};
    const char *role = json_string_value(v);
    if (role && strlen(role) != json_string_length(v)) role = "with a NUL byte";
    if (role && strcmp(role, "developer") == 0) role = "system"; /* OpenAI's other word for it */
    for (int k = 0; role && k < 3; k++) {
        if (strcmp(roles[k], role) != 0) continue;
        m->role = roles[k];
        return true;
    }
    return api_body_fail(b, "invalid_value", field,
                         "entry %zu: role %.40s%s, expected system, developer, user or assistant", i,
                         role ? role : "is no string", role ? " is not known" : "");
}

/* Parts of text, a line each. */
static bool read_parts(api_body *b, size_t i, const json_t *parts, weir_chat_message *m, char **text) {
    wire_buf joined = {0};
    bool ok = wire_buf_add(&joined, "", 0) || api_no_memory(b->e);
    for (size_t k = 0; ok && k < json_array_size(parts); k++) {
        const json_t *part = json_array_get(parts, k), *words = json_object_get(part, "text");
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!type || strcmp(type, "text") != 0 || !json_is_string(words))
            ok = api_body_fail(b, type ? "unsupported_parameter" : "invalid_value", field,
                               "entry %zu, part %zu: expected {\"type\": \"text\", \"text\": …}", i, k);
        else if ((k > 0 && !wire_buf_add(&joined, "\n", 1)) ||
                 !wire_buf_add(&joined, json_string_value(words), json_string_length(words)))
            ok = api_no_memory(b->e);
    }
    *text = joined.data; /* weir_free() takes a buffer's bytes */
    m->content = joined.data;
    m->bytes = joined.len;
    return ok;
}

static bool read_content(api_body *b, size_t i, const json_t *v, weir_chat_message *m, char **text) {
    if (json_is_array(v)) return read_parts(b, i, v, m, text);
    if (!json_is_string(v))
        return api_body_fail(b, "invalid_value", field, "entry %zu: content is no text", i);
    m->content = json_string_value(v);
    m->bytes = json_string_length(v);
    return true;
}

/* Clients send back what an answer of another server had in its message. */
static bool check_rest(api_body *b, size_t i, json_t *message) {
    const char *key;
    json_t *value;
    json_object_foreach(message, key, value) {
        if (strcmp(key, "role") == 0 || strcmp(key, "content") == 0 || strcmp(key, "name") == 0) continue;
        if (json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0)) continue;
        if (strcmp(key, "tool_calls") == 0 || strcmp(key, "function_call") == 0)
            return api_body_fail(b, "unsupported_parameter", field, "entry %zu: %s is not supported", i, key);
        char prefix[40];
        snprintf(prefix, sizeof prefix, "messages[%zu].", i);
        if (!api_body_ignore(b, prefix, key)) return false;
    }
    return true;
}

static bool read_message(api_body *b, size_t i, json_t *v, weir_chat_message *m, char **text) {
    if (!json_is_object(v))
        return api_body_fail(b, "invalid_value", field, "entry %zu: expected an object with role and content",
                             i);
    return read_role(b, i, json_object_get(v, "role"), m) &&
           read_content(b, i, json_object_get(v, "content"), m, text) && check_rest(b, i, v);
}

/* ---- all of them --------------------------------------------------------------------------------------- */

/* The assistant's last message is continued unless another turn is asked for. */
static bool read_open_last(api_body *b, api_talk *t) {
    static const char go_on[] = "continue_final_message";
    const bool own = strcmp(t->messages[t->n - 1].role, "assistant") == 0;
    const bool asked = api_body_has(b, WIRE_ADD_GENERATION_PROMPT);
    bool another = !own;
    if (!api_body_flag(b, WIRE_ADD_GENERATION_PROMPT, &another)) return false;
    t->open_last = own && !another;
    if (!api_body_flag(b, WIRE_CONTINUE_FINAL, &t->open_last)) return false;
    if (t->open_last && !own)
        return api_body_fail(b, "invalid_value", go_on, "true, but the last message is not the assistant's");
    if (t->open_last && asked && another)
        return api_body_fail(b, "invalid_value", go_on, "true, but so is add_generation_prompt");
    if (!t->open_last && asked && !another)
        return api_body_fail(b, "invalid_value", "add_generation_prompt",
                             "false, but no message is continued: an answer has to begin somewhere");
    return true;
}

bool api_talk_read(api_body *b, api_talk *t) {
    const json_t *list = json_object_get(b->in.json, field);
    const size_t n = json_array_size(list);
    if (!list) return api_body_fail(b, "invalid_value", field, "missing");
    if (!json_is_array(list) || n == 0)
        return api_body_fail(b, "invalid_value", field, "expected a list of at least one message");
    t->messages = weir_calloc(n, sizeof *t->messages);
    t->texts = weir_calloc(n, sizeof *t->texts);
    if (!t->messages || !t->texts) return api_no_memory(b->e);
    t->n = n;
    for (size_t i = 0; i < n; i++)
        if (!read_message(b, i, json_array_get(list, i), &t->messages[i], &t->texts[i])) return false;
    return read_open_last(b, t);
}

/* The engine's words, but for those that may name a path. */
static bool talk_ok(api_body *b, const api_talk *t, weir_status st) {
    if (st == WEIR_ENOTSUP && t->open_last)
        return api_body_fail(
            b, "invalid_value", field,
            "the chat template cannot continue this last message; add_generation_prompt true "
            "begins another");
    if (st == WEIR_ENOTSUP)
        return api_body_fail(b, "invalid_value", field, "the chat template does not go with this model");
    if (st == WEIR_EINVAL) return api_body_fail(b, "invalid_value", field, "%s", b->err.text);
    return api_body_ok(b, st);
}

bool api_talk_tokenize(api_body *b, const api_talk *t, api_prompt *out) {
    const api_server *s = b->server;
    if (!s->facts.chat_template)
        return api_body_fail(b, "invalid_value", field,
                             "this model has no chat template: use /v1/completions, or start the server with "
                             "--chat-template");
    const weir_status st =
        weir_chat_tokenize(s->engine, t->messages, t->n, t->open_last, &out->ids, &out->n, &b->err);
    if (st == WEIR_ENOTSUP) /* whose line may name a path */
        return api_body_fail(b, "invalid_value", field, "the chat template does not go with this model");
    if (st == WEIR_EINVAL) return api_body_fail(b, "invalid_value", field, "%s", b->err.text);
    return api_body_ok(b, st);
    return talk_ok(
        b, t, weir_chat_tokenize(s->engine, t->messages, t->n, t->open_last, &out->ids, &out->n, &b->err));
}

bool api_talk_text(api_body *b, const api_talk *t, char **text, size_t *n) {
    return talk_ok(b, t,
                   weir_chat_prompt(b->server->engine, t->messages, t->n, t->open_last, text, n, &b->err));
}
