/* Writes the counters of metrics.c in Prometheus' text format, version 0.0.4. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/serve/watch/metrics.h"
#include "host/serve/watch/registry.h"

/* ok turns false on the first failure and stays so. */
typedef struct page {
    const watch_metrics *m;
    wire_buf *out;
    bool ok;
} page;

__attribute__((format(printf, 2, 3))) static void put(page *p, const char *fmt, ...) {
    char line[512];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    p->ok = p->ok && n >= 0 && (size_t)n < sizeof line && wire_buf_add(p->out, line, (size_t)n);
}

static void put_text(page *p, const char *s) { p->ok = p->ok && wire_buf_puts(p->out, s); }

/* The shortest spelling that reads back as x, spelt as vLLM's library spells it ("1.0", "2560.0", "5e-05"):
 * some readers compare the edges of buckets as text. */
static void put_number(page *p, double x) {
    if (!isfinite(x)) {
        put_text(p, isnan(x) ? "NaN" : x > 0 ? "+Inf" : "-Inf");
        return;
    }
    char text[64];
    const bool plain = x == 0 || (fabs(x) >= 1e-4 && fabs(x) < 1e16);
    int digits = 1;
    do snprintf(text, sizeof text, plain ? "%.*f" : "%.*g", digits, x);
    while (strtod(text, NULL) != x && ++digits <= 24);
    put_text(p, text);
}

static void head(page *p, const char *name, const char *type, const char *help) {
    put(p, "# HELP %s:%s %s\n", p->m->prefix, name, help);
    put(p, "# TYPE %s:%s %s\n", p->m->prefix, name, type);
}

/* Up to where further labels follow; model_name may be long. */
static void begin(page *p, const char *name, const char *suffix) {
    put(p, "%s:%s%s{model_name=\"", p->m->prefix, name, suffix);
    put_text(p, p->m->model_name);
    put_text(p, "\"");
}

static void end_count(page *p, uint64_t n) { put(p, "} %" PRIu64 "\n", n); }

static void end_real(page *p, double x) {
    put_text(p, "} ");
    put_number(p, x);
    put_text(p, "\n");
}

static uint64_t read_cell(const _Atomic uint64_t *cell) {
    return atomic_load_explicit(cell, memory_order_relaxed);
}

/* ---- counters ------------------------------------------------------------------------------------------ */

static void put_counter(page *p, int id) {
    const watch_family *f = &watch_counters[id];
    const int n = f->label == WATCH_LABEL_POSITION ? p->m->max_draft : watch_label_size(f->label);
    head(p, f->name, "counter", f->help);
    for (int i = 0; i < n; i++) {
        char number[12];
        begin(p, f->name, "");
        if (f->label != WATCH_LABEL_NONE)
            put(p, ",%s=\"%s\"", watch_label_name(f->label), watch_label_value(f->label, i, number));
        end_count(p, read_cell(&p->m->counter[id][i]));
    }
}

/* Only what has happened: most pairs of path and status never do. */
static void put_http(page *p) {
    const char *name = "http_requests_total";
    head(p, name, "counter", "Requests over HTTP, by path and status.");
    for (size_t i = 0; i <= p->m->n_path; i++) {
        for (size_t j = 0; j < WATCH_N_STATUS; j++) {
            const uint64_t n = read_cell(&p->m->http[i * WATCH_N_STATUS + j]);
            if (n == 0) continue;
            begin(p, name, "");
            put(p, ",path=\"%s\"", i < p->m->n_path ? p->m->paths[i] : "other");
            if (watch_statuses[j])
                put(p, ",code=\"%d\"", watch_statuses[j]);
            else
                put_text(p, ",code=\"other\"");
            end_count(p, n);
        }
    }
}

static void put_total(page *p, const char *name, const char *help, uint64_t n) {
    head(p, name, "counter", help);
    begin(p, name, "");
    end_count(p, n);
}

/* ---- histograms ---------------------------------------------------------------------------------------- */

/* _count is the sum of the buckets that were read, so that both agree while others add. */
static void put_histogram(page *p, int id) {
    const watch_family *f = &watch_histograms[id];
    const watch_histogram *h = &p->m->histogram[id];
    uint64_t n = 0;
    head(p, f->name, "histogram", f->help);
    for (int i = 0; i <= h->n_edge; i++) {
        n += read_cell(&h->bucket[i]);
        begin(p, f->name, "_bucket");
        put_text(p, ",le=\"");
        put_number(p, i < h->n_edge ? h->edges[i] : INFINITY);
        put_text(p, "\"");
        end_count(p, n);
    }
    begin(p, f->name, "_sum");
    end_real(p, watch_histogram_sum(h));
    begin(p, f->name, "_count");
    end_count(p, n);
}

/* ---- gauges -------------------------------------------------------------------------------------------- */

static void put_gauge(page *p, const char *name, const char *help, double x) {
    head(p, name, "gauge", help);
    begin(p, name, "");
    end_real(p, x);
}

static void put_kv(page *p, const double usage[2]) {
    const char *name = "kv_cache_usage_perc", *models[2] = {"verifier", "drafter"};
    head(p, name, "gauge", "Share of the key-value cache's pages in use, 0 to 1.");
    for (int i = 0; i < 2; i++) {
        if (isnan(usage[i])) continue;
        begin(p, name, "");
        put(p, ",model=\"%s\"", models[i]);
        end_real(p, usage[i]);
    }
}

static void put_build(page *p) {
    const char *name = "build_info";
    head(p, name, "gauge", "Version and device, as labels.");
    begin(p, name, "");
    put_text(p, ",version=\"" WEIR_VERSION "\",device=\"");
    put_text(p, p->m->device);
    put_text(p, "\"");
    end_real(p, 1);
}

static void put_ranks(page *p, const watch_gauges *g) {
    put_gauge(p, "ranks", "Ranks that share the models.", g->ranks);
    put_gauge(p, "ranks_ended", "1 if the group of ranks has failed, else 0.", g->ranks_ended);
    put_total(p, "rank_exchanges_total", "Exchanges between ranks.", g->rank_exchanges);
    put_total(p, "rank_sent_bytes_total", "Bytes that rank 0 has sent to each other rank in exchanges.",
              g->rank_sent);
}

static void put_gauges(page *p, const watch_gauges *g) {
    put_gauge(p, "num_requests_running", "Answers being read or written.", g->running);
    put_gauge(p, "num_requests_waiting", "Requests that wait for a slot.", g->waiting);
    put_kv(p, g->kv_usage);
    put_gauge(p, "connections", "Open connections.", g->connections);
    put_gauge(p, "buffer_bytes", "Bytes of answers that wait for their readers.", (double)g->buffered);
    put_build(p);
}

bool watch_metrics_write(const watch_metrics *m, wire_buf *b) {
    page p = {.m = m, .out = b, .ok = true};
    watch_gauges g = {0};
    if (m->gauges) m->gauges(m->ud, &g);
    put_gauges(&p, &g);
    for (int i = 0; i < WATCH_N_COUNTER; i++) put_counter(&p, i);
    put_http(&p);
    put_total(&p, "num_preemptions_total", "Answers suspended so that others had memory.", g.preemptions);
    put_total(&p, "log_dropped_total", "Lines that the request log had no room for.", g.log_dropped);
    put_ranks(&p, &g);
    for (int i = 0; i < WATCH_N_HISTOGRAM; i++) put_histogram(&p, i);
    return p.ok;
}
