#include "host/serve/run/record.h"

#include <math.h>

#include "host/serve/watch/notify.h"

static double usage_of(const serve *s, int side) {
    int64_t n_free = 0, n_total = 0;
    if (side == 1 && !s->api.facts.has_draft) return (double)NAN;
    weir_engine_pages(s->engine, side, &n_free, &n_total);
    return n_total > 0 ? 1.0 - (double)n_free / (double)n_total : 0.0;
}

static void read_gauges(void *ud, watch_gauges *out) {
    serve *s = ud;
    const http_counts h = http_server_counts(s->http);
    weir_queue_facts f;
    weir_ranks_facts ranks;
    weir_queue_get_facts(s->queue, &f);
    weir_engine_ranks(s->engine, &ranks);
    *out = (watch_gauges){.running = f.prompts + f.running,
                          .waiting = f.waiting,
                          .connections = h.connections,
                          .buffered = h.buffered + s->waiting,
                          .kv_usage = {usage_of(s, 0), usage_of(s, 1)},
                          .preemptions = (uint64_t)f.suspended_total,
                          .ranks = ranks.n_rank,
                          .ranks_ended = ranks.ended,
                          .rank_exchanges = ranks.exchanges,
                          .rank_sent = ranks.bytes,
                          .log_dropped = watch_log_dropped(s->log)};
}

weir_status serve_records_open_log(serve *s, weir_err *err) {
    const watch_log_options o = {.path = s->opt->log_file, .json = s->opt->log_json};
    return s->opt->log_off ? WEIR_OK : watch_log_open(&s->log, &o, err);
}

weir_status serve_records_open_metrics(serve *s, weir_err *err) {
    for (size_t i = 0; i < serve_n_route; i++) s->paths[i] = serve_routes[i].path;
    const watch_metrics_options o = {.prefix = s->opt->metrics_prefix,
                                     .model_name = s->api.names[0],
                                     .device = s->api.facts.device,
                                     .paths = s->paths,
                                     .n_path = serve_n_route,
                                     .max_draft = s->api.facts.max_draft,
                                     .gauges = read_gauges,
                                     .ud = s};
    return watch_metrics_open(&s->metrics, &o, err);
}

void serve_records_close(serve *s) {
    watch_metrics_close(s->metrics);
    watch_log_close(s->log);
}

void serve_record_tokens(serve_choice *c, size_t n) {
    const double now = weir_seconds();
    watch_tokens(c->of->s->metrics, (int)n, c->last_token > 0.0 ? now - c->last_token : (double)NAN);
    c->n_token += (int64_t)n;
    if (c->first_token == 0.0) c->first_token = now;
    c->last_token = now;
}

static watch_finish finish_of(const serve_choice *c) {
    if (c->starved || c->status != WEIR_OK) return WATCH_FINISH_ERROR;
    if (c->how.finish == WEIR_FINISH_STOP) return WATCH_FINISH_STOP;
    return c->how.finish == WEIR_FINISH_LENGTH || c->deadline ? WATCH_FINISH_LENGTH : WATCH_FINISH_ABORT;
}

void serve_record_choice(serve_choice *c) {
    const serve_exchange *e = c->of;
    const weir_session_stats *st = &c->how.stats;
    if (c->scoring) return;
    const bool began = st->seconds_prefill > 0.0;
    const watch_choice it = {.finish = finish_of(c),
                             .phase = c->first_token > 0.0 ? WATCH_RUNNING
                                      : began              ? WATCH_PREFILL
                                                           : WATCH_QUEUED,
                             .rule = (weir_rule)e->ask.o.law.rule,
                             .eos = c->how.ended_by == WEIR_ENDED_EOS,
                             .reads_prompt = c->index % e->ask.n == 0,
                             .cached = c->how.n_cached,
                             .cache_asked = e->s->api.facts.prefix_cache[0],
                             .queue_seconds = c->how.queue_seconds,
                             .prefill_seconds = began ? st->seconds_prefill : (double)NAN,
                             .first_seconds = c->first_token > 0.0 ? c->first_token - e->began : (double)NAN,
                             .seconds = weir_seconds() - e->began,
                             .stats = *st};
    watch_choice_ended(e->s->metrics, &it);
}

void serve_record_refusal(serve *s, const serve_error *e) {
    if (s->metrics && e->status == 503) watch_rejected(s->metrics, e->code);
}

/* Tokens of all choices that have ended. Before the body is read, what it asks for is its worker's; before a
 * choice has arrived, its figures are the stepping thread's. */
static void add_choices(const serve_exchange *e, watch_request *r) {
    r->end = e->end;
    if (!e->read) return;
    r->n_choice = e->submitted ? e->n_choice : 0;
    for (int i = 0; i < r->n_choice; i++) {
        const serve_choice *c = &e->choices[i];
        const weir_session_stats *st = &c->how.stats;
        if (!c->arrived) continue;
        if (i == 0) r->queue_seconds = c->how.queue_seconds;
        r->prompt += i % e->ask.n == 0 ? st->n_prompt : 0;
        r->cached += i % e->ask.n == 0 ? c->how.n_cached : 0;
        r->output += st->n_output;
        r->drafted += st->drafted;
        r->accepted += st->accepted;
    }
    if (e->first_token > 0.0) r->first_seconds = e->first_token - e->began;
    if (e->has_ask) r->rule = weir_rule_facts((weir_rule)e->ask.o.law.rule)->name;
}

void serve_record_exchange(serve *s, const serve_exchange *e, const http_exchange *x, int status,
                           double seconds) {
    const http_route *route = http_route_of(x);
    watch_request r = {.id = http_id(x),
                       .peer = http_peer(x),
                       .route = route ? route->path : NULL,
                       .status = status,
                       .seconds = seconds,
                       .queue_seconds = (double)NAN,
                       .first_seconds = (double)NAN};
    if (e) add_choices(e, &r);
    watch_log_request(s->log, &r);
    if (!s->metrics) return;
    watch_http_ended(s->metrics, r.route ? r.route : "other", status);
    if (e && e->read && e->has_ask && e->ask.ignored)
        watch_unknown_fields(s->metrics, (int)json_array_size(e->ask.ignored));
}
