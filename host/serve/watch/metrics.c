#include "host/serve/watch/metrics.h"

#include <math.h>
#include <string.h>

#include "host/serve/watch/registry.h"
#include "host/wire/answer.h"

/* ---- open ---------------------------------------------------------------------------------------------- */

static bool is_name(const char *s) {
    if (!*s || (*s >= '0' && *s <= '9')) return false;
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || *s == '_'))
            return false;
    return true;
}

/* As it is written between quotes: valid UTF-8, three characters escaped. NULL: out of memory. */
static char *label_text(const char *s) {
    wire_buf utf8 = {0}, b = {0};
    bool ok = wire_buf_add_utf8(&utf8, s, strlen(s)) && wire_buf_puts(&b, "");
    for (size_t i = 0; ok && i < utf8.len; i++) {
        const char c = utf8.data[i];
        const bool plain = c != '\\' && c != '"' && c != '\n';
        if (!plain) ok = wire_buf_puts(&b, "\\");
        if (ok) ok = wire_buf_add(&b, c == '\n' ? "n" : &c, 1);
    }
    char *text = ok ? weir_strdup(b.data) : NULL;
    wire_buf_free(&utf8);
    wire_buf_free(&b);
    return text;
}

weir_status watch_metrics_open(watch_metrics **out, const watch_metrics_options *opt, weir_err *err) {
    const char *prefix = opt->prefix ? opt->prefix : "weir";
    if (!is_name(prefix))
        return weir_fail(err, WEIR_EINVAL,
                         "metrics prefix \"%s\": expected letters, digits and _, no digit first", prefix);
    watch_metrics *m = weir_calloc(1, sizeof *m);
    if (!m) return weir_fail(err, WEIR_ENOMEM, "metrics: out of memory");
    m->prefix = weir_strdup(prefix);
    m->model_name = label_text(opt->model_name ? opt->model_name : "");
    m->device = label_text(opt->device ? opt->device : "");
    m->paths = opt->paths;
    m->n_path = opt->n_path;
    m->max_draft = opt->max_draft;
    m->gauges = opt->gauges;
    m->ud = opt->ud;
    m->http = weir_calloc(opt->n_path + 1, WATCH_N_STATUS * sizeof *m->http);
    for (int i = 0; i < WATCH_N_HISTOGRAM; i++)
        m->histogram[i].edges = watch_edges(i, &m->histogram[i].n_edge);
    if (!m->prefix || !m->model_name || !m->device || !m->http) {
        watch_metrics_close(m);
        return weir_fail(err, WEIR_ENOMEM, "metrics: out of memory");
    }
    *out = m;
    return WEIR_OK;
}

void watch_metrics_close(watch_metrics *m) {
    if (!m) return;
    weir_free(m->prefix);
    weir_free(m->model_name);
    weir_free(m->device);
    weir_free(m->http);
    weir_free(m);
}

/* ---- updates ------------------------------------------------------------------------------------------- */

/* Only totals are read, so no order between them is needed. */
static void add(watch_metrics *m, int counter, int cell, int64_t n) {
    if (n > 0) atomic_fetch_add_explicit(&m->counter[counter][cell], (uint64_t)n, memory_order_relaxed);
}

static void observe(watch_metrics *m, int histogram, double x) {
    watch_histogram_add(&m->histogram[histogram], x, 1);
}

static void add_blocks(watch_metrics *m, weir_rule rule, const weir_session_stats *s) {
    add(m, WATCH_DRAFTS, 0, s->blocks);
    add(m, WATCH_DRAFT_TOKENS, 0, s->drafted);
    add(m, WATCH_ACCEPTED_TOKENS, 0, s->accepted);
    int64_t blocks = 0; /* that accepted more than i drafts */
    for (int i = WEIR_GAMMA_MAX - 1; i >= 0; i--) {
        blocks += s->accept_hist[i + 1];
        add(m, WATCH_ACCEPTED_AT, i, blocks);
    }
    if (rule < 0 || rule >= WEIR_RULE_COUNT) return;
    add(m, WATCH_DEFERRALS, (int)rule, s->rows_deferred);
    add(m, WATCH_EXAMINED_ROWS, (int)rule, s->rows_examined);
    if (s->rows_examined > 0 && !isnan(s->reject_mass))
        observe(m, WATCH_REJECT_MASS, s->reject_mass / (double)s->rows_examined);
}

static void add_sources(watch_metrics *m, const weir_session_stats *s) {
    const int64_t by_source[] = {s->kept,  wire_agreed(s),  s->resampled,
                                 s->bonus, s->from_drafter, s->from_verifier};
    for (int i = 0; i < watch_label_size(WATCH_LABEL_SOURCE); i++) add(m, WATCH_TOKENS, i, by_source[i]);
}

void watch_choice_ended(watch_metrics *m, const watch_choice *c) {
    add(m, WATCH_REQUEST_SUCCESS, (int)c->finish, 1);
    if (c->finish == WATCH_FINISH_ABORT) add(m, WATCH_CANCELLED, (int)c->phase, 1);
    observe(m, WATCH_QUEUE_TIME, c->queue_seconds);
    observe(m, WATCH_PREFILL_TIME, c->prefill_seconds);
    observe(m, WATCH_FIRST_TOKEN, c->first_seconds);
    observe(m, WATCH_E2E, c->seconds);
    observe(m, WATCH_DECODE_TIME, c->seconds - c->first_seconds);
    observe(m, WATCH_OUTPUT_SIZE, (double)(c->stats.n_output + c->eos));
    add(m, WATCH_GENERATION_TOKENS, 0, c->eos);
    if (c->reads_prompt) {
        add(m, WATCH_PROMPT_TOKENS, 0, c->stats.n_prompt);
        observe(m, WATCH_PROMPT_SIZE, (double)c->stats.n_prompt);
    }
    if (c->cache_asked) {
        add(m, WATCH_PREFIX_QUERIES, 0, c->stats.n_prompt);
        add(m, WATCH_PREFIX_HITS, 0, c->cached);
    }
    add_blocks(m, c->rule, &c->stats);
    add_sources(m, &c->stats);
}

void watch_tokens(watch_metrics *m, int n, double seconds) {
    add(m, WATCH_GENERATION_TOKENS, 0, n);
    if (n > 0) watch_histogram_add(&m->histogram[WATCH_INTER_TOKEN], seconds / n, (uint64_t)n);
}

void watch_step(watch_metrics *m, double seconds) { observe(m, WATCH_STEP, seconds); }

void watch_http_ended(watch_metrics *m, const char *path, int status) {
    size_t row = 0;
    while (row < m->n_path && !(path && strcmp(m->paths[row], path) == 0)) row++;
    size_t column = 0;
    while (column < WATCH_N_STATUS - 1 && watch_statuses[column] != status) column++;
    atomic_fetch_add_explicit(&m->http[row * WATCH_N_STATUS + column], 1, memory_order_relaxed);
}

void watch_rejected(watch_metrics *m, const char *code) { add(m, WATCH_REJECTIONS, watch_reason(code), 1); }
void watch_unknown_fields(watch_metrics *m, int n) { add(m, WATCH_UNKNOWN_FIELDS, 0, n); }
