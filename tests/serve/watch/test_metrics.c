/* What the server counts, read back from the text that Prometheus gets. */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "host/serve/watch/metrics.h"
#include "tests/serve/watch/exposition.h"
#include "tests/support/alloc.h"
#include "tests/support/build.h"
#include "tests/support/files.h"

static const char *const paths[] = {"/v1/completions", "/v1/models/", "/health"};

static void some_gauges(void *ud, watch_gauges *out) {
    (void)ud;
    *out = (watch_gauges){.running = 3,
                          .waiting = 7,
                          .connections = 11,
                          .kv_usage = {0.25, NAN},
                          .buffered = 4096,
                          .preemptions = 2,
                          .log_dropped = 5,
                          .ranks = 4,
                          .ranks_ended = true,
                          .rank_exchanges = 1234,
                          .rank_sent = 5000000000};
}

static watch_metrics *open_with(const char *prefix, const char *model) {
    const watch_metrics_options o = {.prefix = prefix,
                                     .model_name = model,
                                     .device = "cpu",
                                     .paths = paths,
                                     .n_path = 3,
                                     .max_draft = 5,
                                     .gauges = some_gauges};
    watch_metrics *m = NULL;
    weir_err err;
    cr_assert(watch_metrics_open(&m, &o, &err) == WEIR_OK, "%s", err.text);
    return m;
}

static exposition scrape(const watch_metrics *m) {
    wire_buf b = {0};
    exposition e;
    cr_assert(watch_metrics_write(m, &b));
    const char *bad = exposition_read(&e, b.data);
    cr_assert(!bad, "%s", bad);
    wire_buf_free(&b);
    return e;
}

static void expect(const exposition *e, const char *name, const char *labels, double value) {
    const double got = exposition_value(e, name, labels);
    cr_expect(fabs(got - value) <= 1e-12 * fabs(value), "%s{%s}: %.17g, expected %.17g", name, labels, got,
              value);
}

static double of_label(const watch_metrics *m, const char *name, const char *labels) {
    exposition e = scrape(m);
    const double x = exposition_value(&e, name, labels);
    exposition_free(&e);
    return x;
}

/* Blocks of 3, 0 and 5 accepted drafts; 14 tokens, end-of-text after them. */
static watch_choice a_choice(void) {
    watch_choice c = {.finish = WATCH_FINISH_STOP,
                      .rule = WEIR_RULE_TOKEN_V3,
                      .eos = true,
                      .reads_prompt = true,
                      .cache_asked = true,
                      .cached = 64,
                      .queue_seconds = 0.25,
                      .prefill_seconds = 0.5,
                      .first_seconds = 1,
                      .seconds = 3};
    c.stats = (weir_session_stats){.n_prompt = 100,
                                   .n_output = 14,
                                   .blocks = 3,
                                   .drafted = 15,
                                   .accepted = 8,
                                   .kept = 6,
                                   .resampled = 2,
                                   .bonus = 1,
                                   .from_verifier = 3,
                                   .rows_examined = 10,
                                   .rows_deferred = 4,
                                   .reject_mass = 1.2};
    c.stats.accept_hist[0] = c.stats.accept_hist[3] = c.stats.accept_hist[5] = 1;
    return c;
}

Test(watch_metrics, nothing_yet) {
    watch_metrics *m = open_with(NULL, "demo");
    exposition e = scrape(m);
    expect(&e, "weir:num_requests_running", "model_name=\"demo\"", 3);
    expect(&e, "weir:num_requests_waiting", "", 7);
    expect(&e, "weir:connections", "", 11);
    expect(&e, "weir:buffer_bytes", "", 4096);
    expect(&e, "weir:kv_cache_usage_perc", "model=\"verifier\"", 0.25);
    for (size_t i = 0; i < e.n; i++) cr_expect(!strstr(e.samples[i].labels, "model=\"drafter\""));
    expect(&e, "weir:num_preemptions_total", "", 2);
    expect(&e, "weir:log_dropped_total", "", 5);
    expect(&e, "weir:ranks", "model_name=\"demo\"", 4);
    expect(&e, "weir:ranks_ended", "", 1);
    expect(&e, "weir:rank_exchanges_total", "", 1234);
    expect(&e, "weir:rank_sent_bytes_total", "", 5000000000);
    expect(&e, "weir:build_info", "version=\"" WEIR_VERSION "\",device=\"cpu\"", 1);
    expect(&e, "weir:request_success_total", "finished_reason=\"abort\"", 0);
    expect(&e, "weir:deferrals_total", "rule=\"token-v3-exact-tail\"", 0);
    expect(&e, "weir:spec_decode_num_accepted_tokens_per_pos_total", "position=\"4\"", 0);
    cr_expect(isnan(exposition_value(&e, "weir:spec_decode_num_accepted_tokens_per_pos_total", "\"5\"")));
    expect(&e, "weir:time_to_first_token_seconds_count", "", 0);
    for (int r = 0; r < WEIR_RULE_COUNT; r++) {
        char label[64];
        snprintf(label, sizeof label, "rule=\"%s\"", weir_rule_facts((weir_rule)r)->name);
        expect(&e, "weir:examined_rows_total", label, 0);
    }
    exposition_free(&e);
    watch_metrics_close(m);
}

Test(watch_metrics, choice) {
    watch_metrics *m = open_with(NULL, "demo");
    const watch_choice c = a_choice();
    watch_tokens(m, 14, NAN);
    watch_choice_ended(m, &c);
    exposition e = scrape(m);
    expect(&e, "weir:prompt_tokens_total", "", 100);
    expect(&e, "weir:generation_tokens_total", "", 15);
    expect(&e, "weir:request_success_total", "finished_reason=\"stop\"", 1);
    expect(&e, "weir:prefix_cache_queries_total", "", 100);
    expect(&e, "weir:prefix_cache_hits_total", "", 64);
    expect(&e, "weir:spec_decode_num_drafts_total", "", 3);
    expect(&e, "weir:spec_decode_num_draft_tokens_total", "", 15);
    expect(&e, "weir:spec_decode_num_accepted_tokens_total", "", 8);
    const double at[] = {2, 2, 2, 1, 1};
    for (int i = 0; i < 5; i++) {
        char label[32];
        snprintf(label, sizeof label, "position=\"%d\"", i);
        expect(&e, "weir:spec_decode_num_accepted_tokens_per_pos_total", label, at[i]);
    }
    expect(&e, "weir:deferrals_total", "rule=\"token-v3\"", 4);
    expect(&e, "weir:examined_rows_total", "rule=\"token-v3\"", 10);
    expect(&e, "weir:reject_mass_sum", "", 0.12);
    const double by_source[] = {6, 2, 2, 1, 0, 3};
    for (int i = 0; i < 6; i++) {
        char label[32];
        snprintf(label, sizeof label, "source=\"%s\"", weir_source_name(i));
        expect(&e, "weir:tokens_total", label, by_source[i]);
    }
    expect(&e, "weir:request_queue_time_seconds_sum", "", 0.25);
    expect(&e, "weir:request_prefill_time_seconds_sum", "", 0.5);
    expect(&e, "weir:time_to_first_token_seconds_sum", "", 1);
    expect(&e, "weir:e2e_request_latency_seconds_sum", "", 3);
    expect(&e, "weir:request_decode_time_seconds_sum", "", 2);
    expect(&e, "weir:request_prompt_tokens_sum", "", 100);
    expect(&e, "weir:request_generation_tokens_sum", "", 15);
    expect(&e, "weir:cancelled_total", "phase=\"queued\"", 0);
    exposition_free(&e);
    watch_metrics_close(m);
}

/* A further choice of a prompt, and one that was cancelled before it had a slot. */
Test(watch_metrics, what_never_came) {
    watch_metrics *m = open_with(NULL, "demo");
    watch_choice c = a_choice();
    c.reads_prompt = c.cache_asked = c.eos = false;
    c.finish = WATCH_FINISH_ABORT;
    c.phase = WATCH_PREFILL;
    c.queue_seconds = c.prefill_seconds = c.first_seconds = NAN;
    c.stats = (weir_session_stats){.n_prompt = 100};
    watch_choice_ended(m, &c);
    exposition e = scrape(m);
    expect(&e, "weir:prompt_tokens_total", "", 0);
    expect(&e, "weir:prefix_cache_queries_total", "", 0);
    expect(&e, "weir:prefix_cache_hits_total", "", 0);
    expect(&e, "weir:request_success_total", "finished_reason=\"abort\"", 1);
    expect(&e, "weir:cancelled_total", "phase=\"prefill\"", 1);
    expect(&e, "weir:time_to_first_token_seconds_count", "", 0);
    expect(&e, "weir:request_decode_time_seconds_count", "", 0);
    expect(&e, "weir:request_queue_time_seconds_count", "", 0);
    expect(&e, "weir:request_prefill_time_seconds_count", "", 0);
    expect(&e, "weir:reject_mass_count", "", 0);
    expect(&e, "weir:e2e_request_latency_seconds_count", "", 1);
    exposition_free(&e);
    watch_metrics_close(m);
}

/* An answer without R is no answer of R = 0. */
Test(watch_metrics, a_mass_that_was_not_measured_is_left_out) {
    watch_metrics *m = open_with(NULL, "demo");
    watch_choice c = a_choice();
    watch_choice_ended(m, &c);
    c.stats.reject_mass = NAN;
    watch_choice_ended(m, &c);
    exposition e = scrape(m);
    expect(&e, "weir:spec_decode_num_drafts_total", "", 6);
    expect(&e, "weir:reject_mass_count", "", 1);
    expect(&e, "weir:reject_mass_sum", "", 0.12);
    exposition_free(&e);
    watch_metrics_close(m);
}

Test(watch_metrics, edges_of_buckets) {
    watch_metrics *m = open_with("vllm", "demo");
    const char *bucket = "vllm:step_seconds_bucket";
    watch_step(m, 0.001); /* an edge belongs to its bucket */
    watch_step(m, 0.0010001);
    watch_step(m, 0);
    watch_step(m, -1);
    watch_step(m, NAN);
    watch_step(m, 1e9);
    exposition e = scrape(m);
    expect(&e, bucket, "le=\"5e-05\"", 2);
    expect(&e, bucket, "le=\"0.0005\"", 2);
    expect(&e, bucket, "le=\"0.001\"", 3);
    expect(&e, bucket, "le=\"0.002\"", 4);
    expect(&e, bucket, "le=\"120.0\"", 4);
    expect(&e, bucket, "le=\"+Inf\"", 5);
    expect(&e, "vllm:step_seconds_count", "", 5);
    expect(&e, "vllm:step_seconds_sum", "", 0.001 + 0.0010001 + 1e9);
    expect(&e, "vllm:time_to_first_token_seconds_bucket", "le=\"2560.0\"", 0);
    expect(&e, "vllm:inter_token_latency_seconds_bucket", "le=\"1.0\"", 0);
    exposition_free(&e);
    watch_metrics_close(m);
}

Test(watch_metrics, tokens_of_a_block) {
    watch_metrics *m = open_with(NULL, "demo");
    watch_tokens(m, 3, NAN);
    watch_tokens(m, 4, 0.1);
    watch_tokens(m, 0, 0.1);
    exposition e = scrape(m);
    expect(&e, "weir:generation_tokens_total", "", 7);
    expect(&e, "weir:inter_token_latency_seconds_count", "", 4);
    expect(&e, "weir:inter_token_latency_seconds_sum", "", 0.1);
    expect(&e, "weir:inter_token_latency_seconds_bucket", "le=\"0.01\"", 0);
    expect(&e, "weir:inter_token_latency_seconds_bucket", "le=\"0.025\"", 4);
    exposition_free(&e);
    watch_metrics_close(m);
}

Test(watch_metrics, http_by_table_alone) {
    watch_metrics *m = open_with(NULL, "demo");
    watch_http_ended(m, "/v1/completions", 200);
    watch_http_ended(m, "/v1/completions", 200);
    watch_http_ended(m, "/v1/completions", 503);
    watch_http_ended(m, "/health", 299);
    watch_http_ended(m, "/secret?key=x\",y=\"", 404);
    watch_http_ended(m, NULL, 400);
    exposition e = scrape(m);
    expect(&e, "weir:http_requests_total", "path=\"/v1/completions\",code=\"200\"", 2);
    expect(&e, "weir:http_requests_total", "path=\"/v1/completions\",code=\"503\"", 1);
    expect(&e, "weir:http_requests_total", "path=\"/health\",code=\"other\"", 1);
    expect(&e, "weir:http_requests_total", "path=\"other\",code=\"404\"", 1);
    expect(&e, "weir:http_requests_total", "path=\"other\",code=\"400\"", 1);
    cr_expect(isnan(exposition_value(&e, "weir:http_requests_total", "/v1/models/")));
    for (size_t i = 0; i < e.n; i++) cr_expect(!strstr(e.samples[i].labels, "secret"));
    exposition_free(&e);
    watch_metrics_close(m);
}

Test(watch_metrics, rejections) {
    watch_metrics *m = open_with(NULL, "demo");
    watch_rejected(m, "queue_full");
    watch_rejected(m, "draining");
    watch_rejected(m, "draining");
    watch_rejected(m, "what is this");
    watch_rejected(m, NULL);
    watch_unknown_fields(m, 3);
    watch_unknown_fields(m, 0);
    exposition e = scrape(m);
    expect(&e, "weir:admission_rejections_total", "reason=\"queue_full\"", 1);
    expect(&e, "weir:admission_rejections_total", "reason=\"draining\"", 2);
    expect(&e, "weir:admission_rejections_total", "reason=\"other\"", 2);
    expect(&e, "weir:admission_rejections_total", "reason=\"loading\"", 0);
    expect(&e, "weir:unknown_fields_total", "", 3);
    exposition_free(&e);
    watch_metrics_close(m);
}

Test(watch_metrics, name_is_escaped) {
    watch_metrics *m = open_with(NULL, "a\\b\"c\nd\xff}");
    cr_expect(of_label(m, "weir:connections", "model_name=\"a\\\\b\\\"c\\nd\xef\xbf\xbd}\"") == 11);
    watch_metrics_close(m);
}

Test(watch_metrics, prefix) {
    static const char *const bad[] = {"", "1a", "we:ir", "we ir", "w\"", "\xc3\xa4"};
    watch_metrics *m = NULL;
    weir_err err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const watch_metrics_options o = {.prefix = bad[i]};
        cr_expect(watch_metrics_open(&m, &o, &err) == WEIR_EINVAL, "%s", bad[i]);
        cr_expect(err_is_line(&err, "metrics prefix"));
    }
    cr_expect(m == NULL);
    const watch_metrics_options o = {.prefix = "_W9"}; /* nothing else given */
    cr_assert(watch_metrics_open(&m, &o, &err) == WEIR_OK);
    cr_expect(of_label(m, "_W9:connections", "model_name=\"\"") == 0);
    watch_metrics_close(m);
    watch_metrics_close(NULL);
}

Test(watch_metrics, no_memory) {
    bool whole = false;
    for (long at = 1; !whole; at++) {
        alloc_install(at);
        const watch_metrics_options o = {.model_name = "demo", .paths = paths, .n_path = 3};
        watch_metrics *m = NULL;
        weir_err err;
        const weir_status s = watch_metrics_open(&m, &o, &err);
        wire_buf b = {0};
        if (s != WEIR_OK)
            cr_expect(s == WEIR_ENOMEM && err_is_line(&err, "memory"));
        else
            whole = watch_metrics_write(m, &b);
        wire_buf_free(&b);
        watch_metrics_close(m);
        cr_expect(alloc_live() == 0, "allocation %ld", at);
        alloc_uninstall();
        cr_assert(at < 100);
    }
}

/* ---- threads ------------------------------------------------------------------------------------------- */

enum { THREADS = 4 };

typedef struct crowd {
    watch_metrics *m;
    int times;
    atomic_int left;
} crowd;

static void *count(void *ud) {
    crowd *c = ud;
    const watch_choice choice = a_choice();
    for (int i = 0; i < c->times; i++) {
        watch_choice_ended(c->m, &choice);
        watch_tokens(c->m, 2, 0.5);
        watch_step(c->m, 0.25);
        watch_http_ended(c->m, "/health", 200);
        watch_rejected(c->m, "loading");
    }
    atomic_fetch_sub(&c->left, 1);
    return NULL;
}

Test(watch_metrics, threads) {
    crowd c = {.m = open_with(NULL, "demo"), .times = build_is_sanitized() ? 300 : 3000, .left = THREADS};
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++) cr_assert(pthread_create(&t[i], NULL, count, &c) == 0);
    double last = 0;
    while (atomic_load(&c.left) > 0) { /* every scrape is sound by itself, and none goes back */
        const double n = of_label(c.m, "weir:step_seconds_count", "");
        cr_assert(n >= last);
        last = n;
    }
    for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
    exposition e = scrape(c.m);
    const double all = (double)THREADS * c.times;
    expect(&e, "weir:step_seconds_count", "", all);
    expect(&e, "weir:step_seconds_sum", "", 0.25 * all); /* powers of two: no rounding in any order */
    expect(&e, "weir:inter_token_latency_seconds_sum", "", 0.5 * all);
    expect(&e, "weir:prompt_tokens_total", "", 100 * all);
    expect(&e, "weir:generation_tokens_total", "", 3 * all);
    expect(&e, "weir:http_requests_total", "path=\"/health\",code=\"200\"", all);
    expect(&e, "weir:admission_rejections_total", "reason=\"loading\"", all);
    exposition_free(&e);
    watch_metrics_close(c.m);
}
