/* /weir/score: the object of the command, with null as absent. */
#include "host/serve/api/body.h"
#include "host/serve/api/calls.h"
#include "host/wire/json.h"

static bool check_texts(api_body *b) {
    static const wire_id texts[] = {WIRE_PROMPT, WIRE_COMPLETION, WIRE_WHOLE_TEXT};
    for (int i = 0; i < 3 && !b->server->facts.has_tokenizer; i++)
        if (api_body_has(b, texts[i]))
            return api_body_fail(b, "invalid_value", wire_fields[texts[i]].name,
                                 "this model has no tokenizer, expected token ids");
    return true;
}

bool api_score_read(const api_server *s, const char *body, size_t n, wire_pair *p, serve_error *e) {
    const wire_context c = {.engine = s->engine, .parse_special = true};
    api_body b;
    *p = (wire_pair){0};
    const bool ok = api_body_parse(&b, s, WIRE_SCORE, body, n, e) && check_texts(&b) &&
                    api_body_ok(&b, wire_pair_read(&c, &b.in, p, &b.err));
    api_body_free(&b);
    return ok;
}

bool api_score_write(const wire_pair *p, const float *logprobs, wire_buf *out, serve_error *e) {
    return wire_write(wire_scores_json(p, logprobs), out) || api_no_memory(e);
}
