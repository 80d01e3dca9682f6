#include "host/serve/api/ask.h"

#include <math.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "host/serve/api/body.h"
#include "host/serve/api/model.h"
#include "host/serve/api/prompt.h"

void api_ask_free(api_ask *a) {
    api_prompts_free(a->prompts, a->n_prompt);
    wire_stop_free(a->stop);
    weir_free(a->model);
    weir_free(a->request_id);
    json_decref(a->ignored);
    *a = (api_ask){0};
}

/* ---- settings ------------------------------------------------------------------------------------------ */

static bool read_model(api_body *b, api_ask *a) {
    const char *name = NULL;
    size_t n = 0;
    if (!api_body_text(b, WIRE_MODEL, &name, &n) || !api_model_resolve(b->server, name, n, &a->o, b->e))
        return false;
    a->model = weir_strdup(name ? name : b->server->names[0]);
    return a->model || api_no_memory(b->e);
}

/* `speculative` is a word for two methods; beside `method` it must say the same. */
static bool read_method(api_body *b, api_ask *a) {
    const weir_method m = a->o.method;
    bool speculative = false;
    if (!api_body_flag(b, WIRE_SPECULATIVE, &speculative)) return false;
    const bool alone = m == WEIR_METHOD_VERIFIER, asked = api_body_has(b, WIRE_SPECULATIVE);
    if (asked && api_body_has(b, WIRE_METHOD) && speculative == alone)
        return api_body_fail(b, "invalid_value", "speculative", "%s, but method is %s",
                             speculative ? "true" : "false", weir_method_name(m));
    if (asked && speculative && alone) wire_set_method(&a->o, WEIR_METHOD_SPECULATIVE);
    if (wire_method_needs_draft(a->o.method) && !weir_can_draft(&b->server->facts) &&
        api_body_has(b, WIRE_METHOD))
        return api_body_fail(b, "invalid_value", "method", "%s needs a drafter; this server has none",
                             weir_method_name(m));
    return true;
}

/* Its alpha is a threshold, which no rule's is, and has no default. */
static bool check_threshold(api_body *b, weir_method before, const weir_session_options *o) {
    static const char field[] = "deferral_alpha";
    if (o->method != WEIR_METHOD_SEQUENCE_CASCADE) return true;
    if (before != o->method && !api_body_has(b, WIRE_ALPHA))
        return api_body_fail(b, "invalid_value", field,
                             "missing: method sequence-cascade needs its threshold in nats");
    if (o->law.alpha < 0)
        return api_body_fail(b, "invalid_value", field,
                             "%.6g is out of range, expected at least 0 under sequence-cascade",
                             (double)o->law.alpha);
    return true;
}

static bool read_seed(api_body *b, api_ask *a) {
    a->seed_given = api_body_has(b, WIRE_SEED) && a->o.seed <= INT64_MAX;
    if (a->seed_given) return true;
    if (getrandom(&a->o.seed, sizeof a->o.seed, 0) != (ssize_t)sizeof a->o.seed)
        return serve_fail(b->e, 500, "internal_error", NULL, "no random seed can be had");
    a->o.seed >>= 1;
    return true;
}

static void fit_max_tokens(const api_body *b, api_ask *a) {
    const int ctx = b->server->facts.ctx_size;
    if (!api_body_has(b, WIRE_MAX_TOKENS)) a->o.max_tokens = a->chat ? -1 : 16;
    if (a->o.max_tokens < 0 || a->o.max_tokens > ctx) a->o.max_tokens = ctx;
}

static bool read_settings(api_body *b, api_ask *a) {
    const api_server *s = b->server;
    const weir_method before = a->o.method;
    const wire_limits limits = {.max_draft = s->facts.max_draft};
    const wire_context c = {.engine = s->engine, .ctx_size = s->facts.ctx_size, .draft = s->facts.draft};
    if (!api_body_ok(b, wire_read_settings(&b->in, b->where, &limits, &a->o, &b->err)) ||
        !read_method(b, a) || !api_body_ok(b, wire_read_method(&c, &b->in, &a->o, &b->err)) ||
        !check_threshold(b, before, &a->o) || !read_seed(b, a))
        return false;
    fit_max_tokens(b, a);
    return true;
}

/* The body's, or a copy of the server's. */
static bool read_stop(api_body *b, api_ask *a) {
    if (api_body_has(b, WIRE_STOP)) {
        a->o.n_stop = 0;
        if (!api_body_ok(b, wire_read_stop(&b->in, b->where, &a->stop, &a->o, &b->err))) return false;
    } else if (a->o.n_stop > 0) {
        a->stop = weir_calloc(WIRE_MAX_STOP, sizeof *a->stop);
        if (!a->stop) return api_no_memory(b->e);
        for (int i = 0; i < a->o.n_stop; i++)
            if (!(a->stop[i] = weir_strdup(a->o.stop[i]))) return api_no_memory(b->e);
    }
    a->o.stop = (const char *const *)a->stop;
    if (a->o.n_stop > 0 && !b->server->facts.has_tokenizer)
        return api_body_fail(b, "invalid_value", "stop", "this model has no tokenizer, expected none");
    return true;
}

/* ---- what is answered, and how ------------------------------------------------------------------------- */

static bool read_stream_options(api_body *b, api_ask *a) {
    json_t *options = json_object_get(b->in.json, "stream_options");
    const char *key;
    json_t *value;
    if (options && !json_is_object(options))
        return api_body_fail(b, "invalid_value", "stream_options", "expected an object");
    json_object_foreach(options, key, value) {
        const bool usage = strcmp(key, "include_usage") == 0,
                   running = strcmp(key, "continuous_usage_stats") == 0;
        if (json_is_null(value) || strcmp(key, "include_obfuscation") == 0) continue;
        if (!usage && !running) {
            if (!api_body_ignore(b, "stream_options.", key)) return false;
        } else if (!json_is_boolean(value)) {
            return api_body_fail(b, "invalid_value",
                                 usage ? "stream_options.include_usage"
                                       : "stream_options.continuous_usage_stats",
                                 "expected true or false");
        } else {
            *(usage ? &a->usage : &a->running_usage) = json_is_true(value);
        }
    }
    return true;
}

static bool read_logprobs(api_body *b, api_ask *a) {
    if (!a->chat) {
        a->logprobs = api_body_has(b, WIRE_LOGPROBS);
        if (!api_body_count(b, WIRE_LOGPROBS, &a->n_top)) return false;
    } else if (!api_body_flag(b, WIRE_CHAT_LOGPROBS, &a->logprobs) ||
               !api_body_count(b, WIRE_TOP_LOGPROBS, &a->n_top)) {
        return false;
    }
    if (a->n_top > 0 && !a->logprobs)
        return api_body_fail(b, "invalid_value", "top_logprobs", "%d without logprobs true", a->n_top);
    a->o.n_top = a->n_top;
    return true;
}

static bool read_shape(api_body *b, api_ask *a) {
    a->n = 1;
    if (!api_body_flag(b, WIRE_STREAM, &a->stream) || !read_stream_options(b, a) || !read_logprobs(b, a) ||
        !api_body_flag(b, WIRE_ECHO, &a->echo) || !api_body_flag(b, WIRE_RETURN_IDS, &a->token_ids) ||
        !api_body_flag(b, WIRE_RETURN_SOURCES, &a->sources) || !api_body_count(b, WIRE_N, &a->n))
        return false;
    if (a->echo && b->server->facts.encoder_decoder)
        return api_body_fail(b, "unsupported_parameter", "echo",
                             "an encoder-decoder model's prompt is no part of its text; /weir/score scores a "
                             "completion of a prompt");
    return true;
}

/* ---- how it is served ---------------------------------------------------------------------------------- */

/* Only equal salts may share pages: a hash that nobody finds an equal text for. */
static bool read_salt(api_body *b, api_ask *a) {
    const char *text = NULL;
    size_t n = 0;
    unsigned char hash[SHA256_DIGEST_LENGTH];
    if (!api_body_text(b, WIRE_CACHE_SALT, &text, &n)) return false;
    if (!text) return true;
    if (n == 0) return api_body_fail(b, "invalid_value", "cache_salt", "empty, expected a string");
    if (!SHA256((const unsigned char *)text, n, hash)) return api_no_memory(b->e);
    memcpy(&a->cache_salt, hash, sizeof a->cache_salt);
    return true;
}

static bool read_request_id(api_body *b, api_ask *a) {
    const char *text = NULL;
    size_t n = 0;
    if (!api_body_text(b, WIRE_REQUEST_ID, &text, &n)) return false;
    if (!text) return true;
    bool visible = n > 0 && n <= 128;
    for (size_t i = 0; visible && i < n; i++) visible = text[i] > ' ' && text[i] < 0x7f;
    if (!visible)
        return api_body_fail(b, "invalid_value", "request_id", "expected 1 to 128 visible ASCII characters");
    a->request_id = weir_strdup(text);
    return a->request_id || api_no_memory(b->e);
}

static bool read_service(api_body *b, api_ask *a) {
    int ms = 0;
    if (!api_body_count(b, WIRE_PRIORITY, &a->priority) || !api_body_count(b, WIRE_ANSWER_MS, &ms) ||
        !read_salt(b, a) || !read_request_id(b, a))
        return false;
    a->answer_seconds = ms > 0 ? ms / 1e3 : (double)INFINITY;
    return true;
}

/* ---- prompts ------------------------------------------------------------------------------------------- */

static bool read_talk(api_body *b, api_ask *a) {
    api_talk t = {0};
    a->prompts = weir_calloc(1, sizeof *a->prompts);
    if (!a->prompts) return api_no_memory(b->e);
    a->n_prompt = 1;
    const bool ok = api_talk_read(b, &t) && api_talk_tokenize(b, &t, &a->prompts[0]) &&
                    api_check_room(b, "messages", API_ALONE, a->prompts[0].n, a->o.max_tokens > 0);
    api_talk_free(&t);
    return ok;
}

static bool read_prompts(api_body *b, api_ask *a) {
    const bool ok =
        a->chat ? read_talk(b, a) : api_prompts_read(b, a->o.max_tokens > 0, &a->prompts, &a->n_prompt);
    if (!ok) return false;
    if (a->n * a->n_prompt <= API_MAX_CHOICES) return true;
    return api_body_fail(b, "invalid_value", "n",
                         "%d answers to each of %d prompts, expected at most %d in all", a->n, a->n_prompt,
                         API_MAX_CHOICES);
}

bool api_ask_read(const api_server *s, bool chat, const char *body, size_t n, api_ask *out, serve_error *e) {
    api_body b;
    api_ask a = {.chat = chat};
    const bool ok = api_body_open(&b, s, chat ? WIRE_CHAT : WIRE_COMPLETIONS, body, n, e) &&
                    read_model(&b, &a) && read_settings(&b, &a) && read_stop(&b, &a) && read_shape(&b, &a) &&
                    read_service(&b, &a) && read_prompts(&b, &a);
    a.ignored = json_incref(b.ignored);
    a.n_ignored = b.n_ignored;
    api_body_free(&b);
    if (ok)
        *out = a;
    else
        api_ask_free(&a);
    return ok;
}
