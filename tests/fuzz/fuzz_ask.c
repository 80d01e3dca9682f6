#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/serve/api/ask.h"
#include "host/serve/api/calls.h"
#include "host/wire/settings.h"
#include "tests/fuzz/target.h"

/* The demo pair without its weights; in a build with WEIR_FUZZ an engine that has the same facts
 * (fake_engine.c). */
static const api_server *server(void) {
    static const char *const names[] = {"demo"};
    static api_profile fast = {.name = "fast"};
    static api_server s = {.names = names, .n_name = 1, .profiles = &fast, .n_profile = 1};
    static weir_engine *e;
    if (e) return &s;
    weir_engine_options o = weir_engine_options_default();
    o.model = WEIR_SOURCE_DIR "/models/demo/verifier";
    o.model_draft = WEIR_SOURCE_DIR "/models/demo/drafter";
    o.device = "cpu";
    o.chat_template = "plain";
    o.dry_run = true;
    weir_err err = {""};
    FUZZ_CHECK(weir_engine_open(&e, &o, &err) == WEIR_OK);
    s.engine = e;
    s.defaults = fast.o = weir_session_options_default();
    wire_set_rule(&fast.o.law, WEIR_RULE_LOSSY);
    weir_engine_get_facts(e, &s.facts);
    return &s;
}

/* ---- what a request that was taken promises ------------------------------------------------------------ */

static void check_settings(const api_ask *a, const api_server *s) {
    const weir_session_options *o = &a->o;
    weir_err err = {""};
    FUZZ_CHECK(o->max_tokens >= 0 && o->max_tokens <= s->facts.ctx_size);
    FUZZ_CHECK(o->n_draft >= WEIR_GAMMA_AUTO && o->n_draft <= s->facts.max_draft && o->seed <= INT64_MAX);
    FUZZ_CHECK(o->method >= WEIR_METHOD_SPECULATIVE && o->method <= WEIR_METHOD_SEQUENCE_CASCADE);
    FUZZ_CHECK(!wire_method_has_rule(o->method) || weir_law_check(&o->law, &err) == WEIR_OK);
    FUZZ_CHECK(o->law.top_p > 0 && o->law.top_p <= 1 && o->law.top_k >= 0 && o->law.temp >= 0);
    FUZZ_CHECK(o->n_stop >= 0 && o->n_stop <= 16 && o->n_top >= 0 && o->n_top <= WEIR_N_TOP_MAX);
    for (int i = 0; i < o->n_stop; i++) FUZZ_CHECK(o->stop == (const char *const *)a->stop && a->stop[i][0]);
}

static void check_ask(const api_ask *a, const api_server *s) {
    check_settings(a, s);
    FUZZ_CHECK(a->n >= 1 && a->n_prompt >= 1 && a->n * a->n_prompt <= API_MAX_CHOICES && a->model);
    FUZZ_CHECK(a->priority >= -8 && a->priority <= 8 && a->answer_seconds > 0 && a->n_top == a->o.n_top);
    FUZZ_CHECK((a->n_ignored > 0) == (a->ignored != NULL) && json_array_size(a->ignored) <= 64);
    for (int i = 0; i < a->n_prompt; i++) {
        FUZZ_CHECK(a->prompts[i].n > 0 && a->prompts[i].n <= (size_t)s->facts.ctx_size);
        for (size_t k = 0; k < a->prompts[i].n; k++)
            FUZZ_CHECK(a->prompts[i].ids[k] >= 0 && a->prompts[i].ids[k] < s->facts.n_vocab);
    }
    for (const char *p = a->request_id; p && *p; p++) FUZZ_CHECK(isgraph((unsigned char)*p));
}

static void check_error(const serve_error *e) {
    FUZZ_CHECK(e->status == 400 || e->status == 404);
    FUZZ_CHECK(e->code && e->message.text[0] && !strchr(e->message.text, '\n'));
    wire_buf b = {0};
    FUZZ_CHECK(serve_error_write(e, &b));
    json_t *v = json_loadb(b.data, b.len, 0, NULL);
    FUZZ_CHECK(v);
    json_decref(v);
    wire_buf_free(&b);
}

/* ---- the target ---------------------------------------------------------------------------------------- */

static bool take_ask(const api_server *s, bool chat, const char *body, size_t n, serve_error *e) {
    api_ask a;
    if (!api_ask_read(s, chat, body, n, &a, e)) return false;
    check_ask(&a, s);
    api_ask_free(&a);
    return true;
}

static bool take_score(const api_server *s, const char *body, size_t n, serve_error *e) {
    wire_pair p;
    const bool ok = api_score_read(s, body, n, &p, e);
    FUZZ_CHECK(!ok || (p.ids[0] && p.ids[1]));
    wire_pair_free(&p);
    return ok;
}

static bool take_call(const api_server *s, int kind, const char *body, size_t n, serve_error *e) {
    wire_buf out = {0};
    const bool ok = kind == 0   ? api_tokenize(s, body, n, &out, e)
                    : kind == 1 ? api_detokenize(s, body, n, &out, e)
                                : api_apply_template(s, body, n, &out, e);
    if (ok) {
        json_t *v = json_loadb(out.data, out.len, JSON_ALLOW_NUL, NULL);
        FUZZ_CHECK(json_is_object(v));
        json_decref(v);
    }
    wire_buf_free(&out);
    return ok;
}

/* The first byte chooses the request. */
FUZZ_TARGET(ask) {
    if (n == 0) return 0;
    const api_server *s = server();
    const char *body = (const char *)data + 1;
    const int kind = data[0] % 8;
    serve_error e = {0};
    bool ok = false;
    if (kind < 4)
        ok = take_ask(s, kind % 2, body, n - 1, &e);
    else if (kind < 7)
        ok = take_call(s, kind - 4, body, n - 1, &e);
    else
        ok = take_score(s, body, n - 1, &e);
    if (!ok) check_error(&e);
    return 0;
}
