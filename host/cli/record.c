#include <math.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/cli/io/terminal.h"
#include "host/cli/options/source.h"
#include "host/wire/settings.h"

/* weir record: an answer under the law of the flags, then both models' rows along it, least likely tokens
 * merged. */

typedef struct recorder {
    weir_engine *engine;
    weir_queue *queue;
    weir_engine_facts facts;
    cli_source source;
    double tail;     /* most mass that may be merged, under either model */
    double tail_now; /* of the answer at hand */
    bool told;       /* that an answer's tail was kept */
    double *prob[2]; /* (n_vocab) of the row at hand: q, p; weir_free() */
    int64_t n_done;
    terminal_bar bar;
    /* the answer at hand */
    int32_t *ids; /* (n) with end-of-text; weir_free() */
    size_t n;
    json_t *rows;
    double tail_mass; /* largest that was merged */
} recorder;

/* ---- one row ------------------------------------------------------------------------------------------- */

/* Raw probabilities; *top: the largest logit. */
static double softmax(const float *logits, int32_t n, double *prob) {
    double top = -INFINITY, sum = 0;
    for (int32_t v = 0; v < n; v++) top = fmax(top, (double)logits[v]);
    for (int32_t v = 0; v < n; v++) sum += prob[v] = exp((double)logits[v] - top);
    for (int32_t v = 0; v < n; v++) prob[v] /= sum;
    return top + log(sum);
}

/* Mass of the tokens below the threshold under both models. */
static double mass_below(const recorder *r, double threshold, int32_t keep, double mass[2]) {
    mass[0] = mass[1] = 0;
    for (int32_t v = 0; v < r->facts.n_vocab; v++)
        if (v != keep && r->prob[0][v] < threshold && r->prob[1][v] < threshold)
            for (int side = 0; side < 2; side++) mass[side] += r->prob[side][v];
    return fmax(mass[0], mass[1]);
}

/* A merged entry is the sum of its tokens at temperature 1. Below, their share only shrinks; above it
 * grows past the bound, and truncation would keep or drop the entry as if it were one token. */
static double tail_of(recorder *r, const weir_law *law) {
    if (r->tail == 0 || (law->temp <= 1 && law->top_k <= 0 && law->top_p >= 1 && law->min_p <= 0))
        return r->tail;
    if (!r->told)
        cli_note(
            "above temperature 1, and with top-k, top-p or min-p, no tail is merged: rows are kept whole");
    r->told = true;
    return 0;
}

/* The largest power of two of the tail's bound whose merged mass is within it; 0 merges nothing. */
static double threshold_of(const recorder *r, int32_t keep, double mass[2]) {
    double threshold = r->tail_now;
    while (threshold > 1e-30 && mass_below(r, threshold, keep, mass) > r->tail_now) threshold /= 2;
    if (threshold > 1e-30 && mass[0] > 0 && mass[1] > 0) return threshold;
    mass[0] = mass[1] = 0;
    return 0;
}

static bool on_row(void *ud, size_t i, const float *q_logits, const float *p_logits, int32_t n) {
    recorder *r = ud;
    const float *logits[2] = {q_logits, p_logits};
    double scale[2], mass[2];
    for (int side = 0; side < 2; side++) scale[side] = softmax(logits[side], n, r->prob[side]);
    const double threshold = threshold_of(r, r->ids[i], mass);
    json_t *list[2] = {json_array(), json_array()};
    int64_t token = 0, kept = 0;
    for (int32_t v = 0; v < n; v++) {
        if (v != r->ids[i] && r->prob[0][v] < threshold && r->prob[1][v] < threshold) continue;
        if (v == r->ids[i]) token = kept;
        for (int side = 0; side < 2; side++) wire_add(list[side], wire_real((double)logits[side][v]));
        kept++;
    }
    for (int side = 0; side < 2 && threshold > 0; side++)
        wire_add(list[side], wire_real(scale[side] + log(mass[side])));
    json_t *row = json_object();
    wire_set(row, "token", json_integer(token));
    wire_set(row, "q", list[0]);
    wire_set(row, "p", list[1]);
    wire_add(r->rows, row);
    r->tail_mass = fmax(r->tail_mass, fmax(mass[0], mass[1]));
    return !terminal_signal();
}

/* ---- one answer ---------------------------------------------------------------------------------------- */

static int failed(const recorder *r, const wire_request *q, weir_status s, const weir_err *err) {
    const char *text = err->text[0] ? err->text : weir_status_str(s);
    if (q->number) return cli_fail(CLI_FAILED, "%s:%ld: %s", cli_source_name(&r->source), q->number, text);
    return cli_fail(CLI_FAILED, "%s: %s", cli_source_name(&r->source), text);
}

/* Ids of the answer, then the end-of-text id where one ended it; after a stop string the answer is left
 * open. */
static int keep_answer(recorder *r, const weir_session_view *v, bool *ended) {
    *ended = v->eos >= 0;
    r->n = v->n + *ended;
    r->ids = cli_alloc(r->n, sizeof *r->ids);
    if (!r->ids) return CLI_FAILED;
    if (v->n > 0) memcpy(r->ids, v->ids, v->n * sizeof *v->ids);
    if (*ended) r->ids[v->n] = v->eos;
    return CLI_OK;
}

static int answer(recorder *r, const wire_request *q, weir_finish *finish, bool *ended) {
    weir_request *asked;
    weir_queue_event ev;
    const weir_status st = cli_answer(r->queue, &q->o, q->ids, q->n_ids, NULL, NULL, &asked, &ev);
    int rc = st == WEIR_OK ? keep_answer(r, &ev.view, ended) : failed(r, q, st, &ev.err);
    *finish = ev.view.finish;
    weir_request_free(asked);
    return rc;
}

static int print_answer(recorder *r, const wire_request *q, weir_finish finish, bool ended) {
    json_t *out = json_object();
    wire_set(out, "index", json_integer(r->n_done));
    wire_set(out, "law", wire_law_json(&q->o.law));
    wire_set(out, "finish_reason", json_string(weir_finish_name(finish)));
    wire_set(out, "ended", json_boolean(ended));
    wire_set(out, "token_ids", wire_ids(r->ids, r->n));
    wire_set(out, "tail_mass", wire_real(r->tail_mass));
    wire_set(out, "rows", r->rows);
    r->rows = NULL;
    int rc = cli_json_write(out, NULL);
    cli_out_flush();
    return rc;
}

static int record_one(recorder *r, const wire_request *q) {
    if (q->o.method != WEIR_METHOD_SPECULATIVE)
        return cli_fail(CLI_FAILED, "%s:%ld: \"speculative\": a recording needs both models",
                        cli_source_name(&r->source), q->number);
    weir_finish finish;
    bool ended = false;
    int rc = answer(r, q, &finish, &ended);
    if (rc || finish == WEIR_FINISH_CANCELLED) return rc;
    r->rows = json_array();
    r->tail_mass = 0;
    r->tail_now = tail_of(r, &q->o.law);
    weir_err err = {{0}};
    const weir_status st = weir_score_pair(r->engine, q->ids, q->n_ids, r->ids, r->n, on_row, r, &err);
    if (st != WEIR_OK && st != WEIR_ECANCELED) rc = failed(r, q, st, &err);
    if (!rc && !terminal_signal()) rc = print_answer(r, q, finish, ended);
    r->n_done++;
    return rc;
}

static int record_all(recorder *r) {
    for (int rc = CLI_OK;;) {
        wire_request q = {0};
        const cli_read got = cli_source_next(&r->source, true, &q);
        if (got == CLI_READ_STOPPED || terminal_signal()) return 128 + terminal_signal();
        if (got != CLI_READ_LINE) return got == CLI_READ_END ? CLI_OK : CLI_FAILED;
        rc = record_one(r, &q);
        wire_request_free(&q);
        json_decref(r->rows);
        weir_free(r->ids);
        r->rows = NULL;
        r->ids = NULL;
        if (terminal_signal()) return 128 + terminal_signal();
        if (rc || cli_out_failed()) return CLI_FAILED;
        terminal_bar_show(&r->bar, r->n_done, r->source.total, r->n_done);
    }
}

static int prepare(recorder *r, const cli_args *a) {
    if (!cli_is_set(a, OPT_MODEL_DRAFT))
        return cli_fail(CLI_USAGE, "a recording needs a drafter: give -md DIR");
    int rc = cli_need_q(weir_draft_facts(cli_draft_kind(a)), "record");
    if (!rc) rc = cli_session(a, &r->source.defaults);
    if (!rc) rc = cli_source_open(&r->source, a);
    if (!rc) rc = cli_open(a, false, &r->engine);
    return rc ? rc : cli_queue_open(r->engine, &r->queue);
}

int cli_record(const cli_args *a) {
    recorder r = {.source.reader.fd = -1, .tail = a->value[OPT_TAIL].number};
    int rc = prepare(&r, a);
    if (!rc) {
        weir_engine_get_facts(r.engine, &r.facts);
        rc = cli_need_q(weir_draft_facts(r.facts.draft), "record");
    }
    if (!rc) {
        rc = cli_fit_context(a, &r.facts, &r.source.defaults);
    }
    if (!rc) {
        r.source.engine = r.engine;
        cli_note_setting(&r.facts, &r.source.defaults);
        for (int side = 0; side < 2; side++)
            r.prob[side] = cli_alloc((size_t)r.facts.n_vocab, sizeof(double));
        terminal_bar_start(&r.bar, !cli_flag(a, OPT_QUIET));
        terminal_catch_signals();
        rc = r.prob[0] && r.prob[1] ? record_all(&r) : CLI_FAILED;
        terminal_bar_end(&r.bar);
    }
    cli_source_close(&r.source);
    weir_queue_close(r.queue);
    weir_engine_close(r.engine);
    for (int side = 0; side < 2; side++) weir_free(r.prob[side]);
    return rc;
}
