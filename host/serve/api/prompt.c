#include "host/serve/api/prompt.h"

#include <stdio.h>
#include <string.h>

void api_prompts_free(api_prompt *prompts, int n) {
    for (int i = 0; prompts && i < n; i++) weir_ids_free(prompts[i].ids);
    weir_free(prompts);
}

bool api_tokens_of_text(api_body *b, const char *field, const char *text, size_t n, bool add_special,
                        bool parse_special, api_prompt *out) {
    if (!b->server->facts.has_tokenizer)
        return api_body_fail(b, "invalid_value", field, "this model has no tokenizer, expected token ids");
    return api_body_ok(b, wire_tokenize(b->server->engine, text, n, add_special, parse_special, &out->ids,
                                        &out->n, &b->err));
}

/* ---- ids ----------------------------------------------------------------------------------------------- */

/* "entry 3: " of a list of prompts; "" of a prompt alone. */
static void entry_text(size_t entry, char *buf, size_t cap) {
    buf[0] = '\0';
    if (entry != API_ALONE) snprintf(buf, cap, "entry %zu: ", entry);
}

bool api_ids_read(api_body *b, const char *field, const json_t *list, size_t entry, api_prompt *out) {
    const size_t n = json_array_size(list);
    const int32_t n_vocab = b->server->facts.n_vocab;
    char where[32];
    entry_text(entry, where, sizeof where);
    out->ids = weir_alloc(n, sizeof *out->ids);
    if (!out->ids) return api_no_memory(b->e);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        const json_int_t id = json_integer_value(v);
        if (!json_is_integer(v))
            return api_body_fail(b, "invalid_value", field, "%stoken %zu is no id, expected a whole number",
                                 where, i);
        if (id < 0 || id >= n_vocab)
            return api_body_fail(b, "invalid_value", field,
                                 "%stoken %zu: %lld is out of range, expected 0 to %d", where, i,
                                 (long long)id, n_vocab - 1);
        out->ids[i] = (int32_t)id;
    }
    out->n = n;
    return true;
}

/* ---- one prompt, several prompts ----------------------------------------------------------------------- */

/* An output token has to fit, too, where prompt and output share the context. */
bool api_check_room(api_body *b, const char *field, size_t entry, size_t n, bool answered) {
    const weir_engine_facts *f = &b->server->facts;
    const bool shared = !f->encoder_decoder;
    char where[32];
    entry_text(entry, where, sizeof where);
    if (n == 0) return api_body_fail(b, "invalid_value", field, "%scontains no tokens", where);
    if (n < (size_t)f->ctx_size + !(shared && answered)) return true;
    /* litellm looks for these words in Python's repr of the error, which would escape the apostrophe if the text
     * held a double quote, too. So the field is not quoted here. */
    return serve_fail(b->e, 400, "context_length_exceeded", field,
                      "This model's maximum context length is %d tokens%s; %s: %s%zu tokens", f->ctx_size,
                      shared ? " of prompt and output together" : "", field, where, n);
}

typedef struct how {
    bool add_special, parse_special, answered;
} how;

static bool read_one(api_body *b, const json_t *v, size_t entry, const how *h, api_prompt *out) {
    static const char field[] = "prompt";
    char where[32];
    entry_text(entry, where, sizeof where);
    bool ok = false;
    if (json_is_string(v))
        ok = api_tokens_of_text(b, field, json_string_value(v), json_string_length(v), h->add_special,
                                h->parse_special, out);
    else if (json_is_array(v))
        ok = api_ids_read(b, field, v, entry, out);
    else
        ok = api_body_fail(b, "invalid_value", field, "%sexpected a string or a list of token ids", where);
    return ok && api_check_room(b, field, entry, out->n, h->answered);
}

bool api_prompts_read(api_body *b, bool answered, api_prompt **prompts, int *n) {
    const json_t *v = json_object_get(b->in.json, "prompt");
    how h = {.add_special = true, .parse_special = true, .answered = answered};
    if (!api_body_flag(b, WIRE_ADD_SPECIAL, &h.add_special) ||
        !api_body_flag(b, WIRE_PARSE_SPECIAL, &h.parse_special))
        return false;
    if (!v) return api_body_fail(b, "invalid_value", "prompt", "missing");
    const bool several = json_is_array(v) && !json_is_number(json_array_get(v, 0));
    const size_t count = several ? json_array_size(v) : 1;
    if (count == 0 || count > API_MAX_PROMPTS)
        return api_body_fail(b, "invalid_value", "prompt", "%zu prompts, expected 1 to %d", count,
                             API_MAX_PROMPTS);
    *prompts = weir_calloc(count, sizeof **prompts);
    if (!*prompts) return api_no_memory(b->e);
    *n = (int)count;
    for (size_t i = 0; i < count; i++)
        if (!read_one(b, several ? json_array_get(v, i) : v, several ? i : API_ALONE, &h, &(*prompts)[i]))
            return false;
    return true;
}
