#include <math.h>
#include <stdio.h>

#include "host/cli/law.h"
#include "host/cli/request.h"
#include "host/cli/terminal.h"

/* weir replay: a recording in, then one line of estimates a setting. */

typedef struct study {
    weir_replay *replay;
    weir_law sampled, law; /* of the recording; of the flags */
    int gamma;             /* of the flags */
    double tail_mass;
} study;

/* ---- the recording ------------------------------------------------------------------------------------- */

static bool same_law(const weir_law *a, const weir_law *b) {
    const bool beta = a->beta == b->beta || (isnan(a->beta) && isnan(b->beta));
    return a->rule == b->rule && a->alpha == b->alpha && beta && a->temp == b->temp && a->top_k == b->top_k &&
           a->top_p == b->top_p && a->min_p == b->min_p && a->gate_scaled == b->gate_scaled &&
           a->bonus_pi == b->bonus_pi && a->exact_first == b->exact_first;
}

static int read_law(study *s, const cli_line *l) {
    json_t *object = json_object_get(l->object, "law");
    if (!json_is_object(object)) return cli_line_fail(l, "law", "expected an object; is this a recording?");
    const cli_line inner = {.object = object, .name = l->name, .number = l->number};
    weir_law law = weir_law_default();
    int rc = cli_law_read(&inner, &law);
    if (rc) return rc;
    if (!s->replay) {
        weir_err err = {{0}};
        if (weir_replay_create(&law, &s->replay, &err) != WEIR_OK)
            return cli_fail(CLI_FAILED, "%s:%ld: %s", l->name, l->number, err.text);
        weir_replay_set_interrupt(s->replay, (weir_interrupt){terminal_interrupted, NULL});
        s->sampled = law;
    }
    return same_law(&law, &s->sampled) ? CLI_OK : cli_line_fail(l, "law", "not the law of the texts before");
}

static int add_row(study *s, const cli_line *row, bool counted) {
    float *logits[2] = {NULL, NULL};
    size_t n[2] = {0, 0};
    bool seen[3] = {false, false, false};
    int64_t token = 0;
    int rc = cli_line_floats(row, "q", &logits[0], &n[0], &seen[0]);
    if (!rc) rc = cli_line_floats(row, "p", &logits[1], &n[1], &seen[1]);
    if (!rc) rc = cli_line_int(row, "token", 0, INT32_MAX, &token, &seen[2]);
    if (!rc && !(seen[0] && seen[1] && seen[2])) rc = cli_line_fail(row, "rows", "each needs token, q and p");
    if (!rc && (n[0] != n[1] || n[0] > INT32_MAX))
        rc = cli_line_fail(row, "p", "%zu logits, but q has %zu", n[1], n[0]);
    weir_err err = {{0}};
    if (!rc && weir_replay_add(s->replay, logits[0], logits[1], (int32_t)n[0], (int32_t)token, counted,
                               &err) != WEIR_OK)
        rc = cli_line_fail(row, "rows", "%s", err.text);
    weir_free(logits[0]);
    weir_free(logits[1]);
    return rc;
}

static int add_text(study *s, const cli_line *l) {
    bool ended = false;
    double tail = 0;
    int rc = read_law(s, l);
    if (!rc) rc = cli_line_bool(l, "ended", &ended, NULL);
    if (!rc) rc = cli_line_number(l, "tail_mass", &tail, NULL);
    json_t *rows = json_object_get(l->object, "rows");
    if (!rc && !json_is_array(rows)) rc = cli_line_fail(l, "rows", "expected a list");
    if (rc) return rc;
    weir_err err = {{0}};
    if (weir_replay_begin(s->replay, &err) != WEIR_OK) return cli_fail(CLI_FAILED, "%s", err.text);
    s->tail_mass = fmax(s->tail_mass, tail);
    const size_t n = json_array_size(rows);
    for (size_t i = 0; i < n && !rc; i++) {
        const cli_line row = {.object = json_array_get(rows, i), .name = l->name, .number = l->number};
        if (!json_is_object(row.object)) return cli_line_fail(l, "rows", "entry %zu: expected an object", i);
        rc = add_row(s, &row, !(ended && i + 1 == n));
    }
    return rc;
}

static int recording_line(void *ud, const cli_reader *r, const char *text, size_t n) {
    cli_line l;
    terminal_begin_blind();
    int rc = cli_line_parse(&l, r->name, r->line, text, n);
    if (!rc) rc = add_text(ud, &l);
    terminal_end_blind();
    cli_line_free(&l);
    return rc;
}

static int read_recording(study *s, const cli_args *a) {
    const char *path = cli_text(a, OPT_RECORDING);
    if (!path)
        return cli_fail(CLI_USAGE, "no recording: give --recording FILE.jsonl (weir record makes one)");
    cli_reader r;
    int rc = cli_reader_open(&r, path);
    if (rc) return rc;
    rc = cli_each_line(&r, s, recording_line);
    if (!rc && !s->replay) rc = cli_fail(CLI_FAILED, "%s: no text in it", r.name);
    cli_reader_close(&r);
    return rc;
}

/* ---- settings ------------------------------------------------------------------------------------------ */

static void set_estimate(json_t *to, const char *name, weir_estimate e) {
    char error[64];
    snprintf(error, sizeof error, "%s_error", name);
    cli_json_set(to, name, cli_json_real(e.value));
    cli_json_set(to, error, cli_json_real(e.error));
}

static json_t *figures_json(const weir_replay_figures *f) {
    json_t *out = json_object();
    set_estimate(out, "rejection_rate", f->rejection);
    set_estimate(out, "deferral_rate", f->deferral);
    set_estimate(out, "mean_acceptance_length", f->acceptance);
    set_estimate(out, "verifier_calls_per_token", f->calls);
    set_estimate(out, "tokens_per_answer", f->length);
    cli_json_set(out, "effective_texts", cli_json_real(f->texts));
    return out;
}

static int print_estimate(const study *s, const weir_law *law, int gamma, const char *where) {
    weir_replay_result r;
    weir_err err = {{0}};
    const weir_status st = weir_replay_estimate(s->replay, law, gamma, &r, &err);
    if (st == WEIR_ECANCELED) return 128 + terminal_signal();
    if (st != WEIR_OK) return cli_fail(CLI_FAILED, "%s: %s", where, err.text);
    json_t *out = cli_law_json(law);
    cli_json_set(out, "gamma", json_integer(gamma));
    cli_json_set(out, "texts", json_integer(r.n_text));
    cli_json_set(out, "rows", json_integer(r.n_row));
    cli_json_set(out, "tail_mass", cli_json_real(s->tail_mass));
    cli_json_set(out, "recorded", figures_json(&r.recorded));
    cli_json_set(out, "reweighted", figures_json(&r.reweighted));
    cli_json_set(out, "quality", json_null());
    int rc = cli_json_write(out, NULL);
    cli_out_flush();
    return rc;
}

static int setting_line(void *ud, const cli_reader *reader, const char *text, size_t n) {
    static const char *const known[] = {
        "deferral_rule", "deferral_alpha", "deferral_beta", "num_speculative_tokens",
        "gate",          "bonus",          "exact_first"};
    const study *s = ud;
    weir_law law = s->law;
    int64_t gamma = s->gamma, first = law.exact_first;
    cli_line l;
    int rc = cli_line_parse(&l, reader->name, reader->line, text, n);
    if (rc) return rc;
    rc = cli_line_known(&l, known, (int)(sizeof known / sizeof known[0]));
    if (!rc) rc = cli_line_rule(&l, "deferral_rule", "deferral_alpha", "deferral_beta", &law, NULL);
    if (!rc) rc = cli_line_int(&l, "num_speculative_tokens", 1, WEIR_GAMMA_MAX, &gamma, NULL);
    if (!rc) rc = cli_line_word(&l, "gate", "raw", "scaled", &law.gate_scaled);
    if (!rc) rc = cli_line_word(&l, "bonus", "verifier", "pi", &law.bonus_pi);
    if (!rc) rc = cli_line_int(&l, "exact_first", 0, INT32_MAX, &first, NULL);
    law.exact_first = (int32_t)first;
    char where[300];
    snprintf(where, sizeof where, "%.250s:%ld", reader->name, reader->line);
    if (!rc) rc = print_estimate(s, &law, (int)gamma, where);
    cli_line_free(&l);
    return rc;
}

static int replay_settings(study *s, const cli_args *a) {
    /* temperature and truncation are the recording's */
    s->law.temp = s->sampled.temp;
    s->law.top_k = s->sampled.top_k;
    s->law.top_p = s->sampled.top_p;
    s->law.min_p = s->sampled.min_p;
    if (!cli_is_set(a, OPT_INPUT) && (cli_given(a, OPT_RULE) || cli_given(a, OPT_ALPHA)))
        return print_estimate(s, &s->law, s->gamma, "the flags");
    cli_reader r;
    int rc = cli_reader_open(&r, cli_text(a, OPT_INPUT));
    if (rc) return rc;
    rc = cli_each_line(&r, s, setting_line);
    cli_reader_close(&r);
    return rc;
}

int cli_replay(const cli_args *a) {
    study s = {.gamma = cli_int(a, OPT_DRAFT_N_MAX)};
    int rc = cli_law(a, &s.law);
    weir_err err = {{0}};
    if (!rc && weir_law_check(&s.law, &err) != WEIR_OK) rc = cli_fail(CLI_USAGE, "%s", err.text);
    terminal_catch_signals();
    if (!rc) rc = read_recording(&s, a);
    if (!rc) rc = replay_settings(&s, a);
    weir_replay_free(s.replay);
    return rc;
}
