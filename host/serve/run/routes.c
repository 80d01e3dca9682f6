#include <string.h>

#include "host/serve/api/calls.h"
#include "host/serve/page/page.h"
#include "host/serve/run/state.h"
#include "host/wire/json.h"

/* Paths, and what is answered at once. */

void serve_reply_buffer(http_exchange *x, const char *type, bool ok, const wire_buf *b) {
    if (ok) {
        http_reply(x, 200, type, b->data, b->len);
        return;
    }
    serve_error e;
    serve_fail(&e, 500, "internal_error", NULL, "out of memory for an answer");
    http_fail(x, &e);
}

static void health(void *ud, http_exchange *x) {
    static const char well[] = "{\"status\":\"ok\"}";
    serve_error e;
    serve_health(ud, &e);
    if (e.status == 200)
        http_reply(x, 200, "application/json", well, sizeof well - 1);
    else
        http_fail(x, &e);
}

static void ping(void *ud, http_exchange *x) {
    (void)ud;
    http_reply(x, 200, "text/plain", "pong\n", 5);
}

/* What is written from the server's facts alone. */
static void reply_facts(serve *s, http_exchange *x,
                        bool (*write)(const api_server *, wire_buf *, serve_error *)) {
    serve_error e;
    s->out.len = 0;
    if (serve_is_ready(s, &e) && write(&s->api, &s->out, &e))
        http_reply(x, 200, "application/json", s->out.data, s->out.len);
    else
        http_fail(x, &e);
}

static void models(void *ud, http_exchange *x) { reply_facts(ud, x, api_models); }
static void props(void *ud, http_exchange *x) { reply_facts(ud, x, api_props); }
static void tokenizer_info(void *ud, http_exchange *x) { reply_facts(ud, x, api_tokenizer_info); }

static void model(void *ud, http_exchange *x) {
    serve *s = ud;
    serve_error e;
    const char *name = strstr(http_path(x), "models/") + strlen("models/");
    s->out.len = 0;
    if (!serve_is_ready(s, &e) || !api_model_named(&s->api, name, strlen(name), &s->out, &e))
        http_fail(x, &e);
    else
        http_reply(x, 200, "application/json", s->out.data, s->out.len);
}

static void metrics(void *ud, http_exchange *x) {
    serve *s = ud;
    serve_error e;
    if (!s->opt->metrics) {
        serve_fail(&e, 404, "not_found", NULL, "metrics are off: start the server with --metrics");
        http_fail(x, &e);
    } else if (!s->metrics) {
        (void)serve_is_ready(s, &e);
        http_fail(x, &e);
    } else {
        s->out.len = 0;
        serve_reply_buffer(x, WATCH_METRICS_TYPE, watch_metrics_write(s->metrics, &s->out), &s->out);
    }
}

static void slots(void *ud, http_exchange *x) {
    serve *s = ud;
    serve_error e;
    api_slot *list = NULL;
    const int n = s->api.facts.n_parallel;
    s->out.len = 0;
    if (!s->opt->slots)
        serve_fail(&e, 404, "not_found", NULL, "slots are not shown: start the server with --slots");
    else if (!serve_is_ready(s, &e))
        list = NULL;
    else if (!(list = weir_calloc((size_t)n, sizeof *list)))
        serve_fail(&e, 500, "internal_error", NULL, "out of memory for an answer");
    else
        (void)serve_exchanges_slots(s, list, n);
    if (list && api_slots(&s->api, list, n, &s->out, &e))
        http_reply(x, 200, "application/json", s->out.data, s->out.len);
    else
        http_fail(x, &e);
    weir_free(list);
}

static void page(void *ud, http_exchange *x) {
    const serve *s = ud;
    const serve_page *p = serve_page_get();
    if (!s->opt->page) {
        serve_error e;
        serve_fail(&e, 404, "not_found", NULL, "no page here (--no-webui); POST /v1/chat/completions");
        http_fail(x, &e);
        return;
    }
    http_add_header(x, "Content-Security-Policy", p->csp);
    http_add_header(x, "X-Content-Type-Options", "nosniff");
    http_add_header(x, "Referrer-Policy", "no-referrer");
    http_add_header(x, "ETag", p->etag);
    http_add_header(x, "Cache-Control", "no-cache");
    if (serve_page_known(http_header(x, "If-None-Match")))
        http_reply(x, 304, p->type, NULL, 0);
    else
        http_reply(x, 200, p->type, p->bytes, p->length);
}

#define TWICE(path, methods, fn) \
    {"/v1" path, false, methods, false, NULL, fn}, { path, false, methods, false, NULL, fn }

const http_route serve_routes[] = {
    TWICE("/completions", HTTP_POST, serve_completions),
    TWICE("/chat/completions", HTTP_POST, serve_chat),
    TWICE("/models", HTTP_GET, models),
    {"/v1/models/", true, HTTP_GET, false, NULL, model},
    {"/models/", true, HTTP_GET, false, NULL, model},
    TWICE("/tokenize", HTTP_POST, serve_tokenize),
    TWICE("/detokenize", HTTP_POST, serve_detokenize),
    TWICE("/tokenizer_info", HTTP_GET, tokenizer_info),
    TWICE("/apply-template", HTTP_POST, serve_apply_template),
    {"/weir/rule", false, HTTP_POST, false, NULL, serve_rule},
    {"/weir/score", false, HTTP_POST, false, NULL, serve_score},
    {"/props", false, HTTP_GET, false, NULL, props},
    {"/health", false, HTTP_GET, true, NULL, health},
    {"/v1/health", false, HTTP_GET, true, NULL, health},
    {"/slots", false, HTTP_GET, false, NULL, slots},
    {"/metrics", false, HTTP_GET, false, NULL, metrics},
    {"/ping", false, HTTP_GET, true, NULL, ping},
    {"/", false, HTTP_GET, true, NULL, page},
    {"/v1/embeddings", false, HTTP_POST, false, "weir computes no embeddings", NULL},
    {"/v1/responses", false, HTTP_POST, false, "use POST /v1/chat/completions", NULL},
    {"/v1/messages", false, HTTP_POST, false, "use POST /v1/chat/completions", NULL},
    {"/api/chat", false, HTTP_POST, false, "use POST /v1/chat/completions", NULL},
    {"/api/generate", false, HTTP_POST, false, "use POST /v1/completions", NULL},
};
_Static_assert(sizeof serve_routes / sizeof *serve_routes <= SERVE_MAX_ROUTES,
               "serve.paths has a place for each");
const size_t serve_n_route = sizeof serve_routes / sizeof *serve_routes;
