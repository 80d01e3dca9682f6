#include <math.h>
#include <stdio.h>

#include "host/cli/cli.h"
#include "host/cli/io/terminal.h"
#include "host/cli/options/source.h"
#include "host/wire/settings.h"

/* weir replay: a recording in, then one line of estimates a setting. */

typedef struct study {
    weir_replay *replay;
    weir_law sampled, law; /* of the recording; of the flags */
    int gamma;             /* of the flags */
    double tail_mass;
} study;

/* ---- the recording ------------------------------------------------------------------------------------- */

static weir_status read_law(study *s, wire_object *in, weir_err *err) {
    wire_object inner = {.json = json_object_get(in->json, "law")};
    if (!json_is_object(inner.json))
        return wire_object_fail(in, "law", err, "expected an object; is this a recording?");
    weir_session_options o = weir_session_options_default();
    WEIR_TRY(wire_read_settings(&inner, WIRE_LAW, 0, &o, err));
    WEIR_TRY(weir_law_check(&o.law, err));
    if (!s->replay) {
        WEIR_TRY(weir_replay_create(&o.law, &s->replay, err));
        weir_replay_set_interrupt(s->replay, (weir_interrupt){terminal_interrupted, NULL});
        s->sampled = o.law;
    }
    return wire_law_equal(&o.law, &s->sampled)
               ? WEIR_OK
               : wire_object_fail(in, "law", err, "not the law of the earlier texts");
}

static weir_status add_row(study *s, wire_object *row, bool counted, weir_err *err) {
    float *logits[2] = {NULL, NULL};
    size_t n[2] = {0, 0};
    bool seen[3] = {false, false, false};
    int64_t token = 0;
    weir_err said = {{0}};
    weir_status st = wire_read_floats(row, "q", &logits[0], &n[0], &seen[0], err);
    if (st == WEIR_OK) st = wire_read_floats(row, "p", &logits[1], &n[1], &seen[1], err);
    if (st == WEIR_OK) st = wire_read_int(row, "token", 0, INT32_MAX, &token, &seen[2], err);
    if (st == WEIR_OK && !(seen[0] && seen[1] && seen[2]))
        st = wire_object_fail(row, "rows", err, "each needs token, q and p");
    if (st == WEIR_OK && (n[0] != n[1] || n[0] > INT32_MAX))
        st = wire_object_fail(row, "p", err, "%zu logits, but q has %zu", n[1], n[0]);
    if (st == WEIR_OK && weir_replay_add(s->replay, logits[0], logits[1], (int32_t)n[0], (int32_t)token,
                                         counted, &said) != WEIR_OK)
        st = wire_object_fail(row, "rows", err, "%s", said.text);
    weir_free(logits[0]);
    weir_free(logits[1]);
    return st;
}

static weir_status add_text(study *s, wire_object *in, weir_err *err) {
    bool ended = false;
    double tail = 0;
    WEIR_TRY(read_law(s, in, err));
    WEIR_TRY(wire_read_bool(in, "ended", &ended, NULL, err));
    WEIR_TRY(wire_read_number(in, "tail_mass", &tail, NULL, err));
    const json_t *rows = json_object_get(in->json, "rows");
    if (!json_is_array(rows)) return wire_object_fail(in, "rows", err, "expected a list");
    WEIR_TRY(weir_replay_begin(s->replay, err));
    s->tail_mass = fmax(s->tail_mass, tail);
    const size_t n = json_array_size(rows);
    for (size_t i = 0; i < n; i++) {
        wire_object row = {.json = json_array_get(rows, i)};
        if (!json_is_object(row.json))
            return wire_object_fail(in, "rows", err, "entry %zu: expected an object", i);
        WEIR_TRY(add_row(s, &row, !(ended && i + 1 == n), err));
    }
    return WEIR_OK;
}

static int recording_line(void *ud, const cli_reader *r, const char *text, size_t n) {
    wire_object in;
    weir_err err = {{0}};
    terminal_begin_blind();
    weir_status st = wire_object_parse(&in, text, n, &err);
    if (st == WEIR_OK) st = add_text(ud, &in, &err);
    terminal_end_blind();
    wire_object_free(&in);
    return st == WEIR_OK ? CLI_OK : cli_reader_fail(r, st, &err);
}

static int read_recording(study *s, const cli_args *a) {
    const char *path = cli_text(a, OPT_RECORDING);
    if (!path)
        return cli_fail(CLI_USAGE, "no recording: give --recording FILE.jsonl (weir record makes one)");
    cli_reader r;
    int rc = cli_reader_open(&r, path);
    if (rc) return rc;
    rc = cli_each_line(&r, s, recording_line);
    if (!rc && !s->replay) rc = cli_fail(CLI_FAILED, "%s: contains no text", r.name);
    cli_reader_close(&r);
    return rc;
}

/* ---- settings ------------------------------------------------------------------------------------------ */

static void set_estimate(json_t *to, const char *name, weir_estimate e) {
    char error[64];
    snprintf(error, sizeof error, "%s_error", name);
    wire_set(to, name, wire_real(e.value));
    wire_set(to, error, wire_real(e.error));
}

static json_t *figures_json(const weir_replay_figures *f) {
    json_t *out = json_object();
    set_estimate(out, "rejection_rate", f->rejection);
    set_estimate(out, "deferral_rate", f->deferral);
    set_estimate(out, "mean_acceptance_length", f->acceptance);
    set_estimate(out, "verifier_calls_per_token", f->calls);
    set_estimate(out, "tokens_per_answer", f->length);
    wire_set(out, "effective_texts", wire_real(f->texts));
    return out;
}

static int print_estimate(const study *s, const weir_law *law, int gamma, const char *where) {
    weir_replay_result r;
    weir_err err = {{0}};
    const weir_status st = weir_replay_estimate(s->replay, law, gamma, &r, &err);
    if (st == WEIR_ECANCELED) return 128 + terminal_signal();
    if (st != WEIR_OK) return cli_fail(CLI_FAILED, "%s: %s", where, err.text);
    json_t *out = wire_law_json(law);
    wire_set(out, "gamma", json_integer(gamma));
    wire_set(out, "texts", json_integer(r.n_text));
    wire_set(out, "rows", json_integer(r.n_row));
    wire_set(out, "tail_mass", wire_real(s->tail_mass));
    wire_set(out, "recorded", figures_json(&r.recorded));
    wire_set(out, "reweighted", figures_json(&r.reweighted));
    wire_set(out, "quality", json_null());
    int rc = cli_json_write(out, NULL);
    cli_out_flush();
    return rc;
}

static int setting_line(void *ud, const cli_reader *reader, const char *text, size_t n) {
    const study *s = ud;
    weir_session_options o = weir_session_options_default();
    o.law = s->law;
    o.n_draft = s->gamma;
    wire_object in;
    weir_err err = {{0}};
    weir_status st = wire_object_parse(&in, text, n, &err);
    if (st == WEIR_OK) st = wire_check_known(&in, WIRE_REPLAY, &err);
    if (st == WEIR_OK) st = wire_read_settings(&in, WIRE_REPLAY, NULL, &o, &err);
    if (st == WEIR_OK && o.n_draft == WEIR_GAMMA_AUTO)
        st = wire_object_fail(&in, wire_name(&wire_fields[WIRE_GAMMA], WIRE_REPLAY), &err,
                              "expected a number: what auto would choose is not recorded");
    wire_object_free(&in);
    if (st != WEIR_OK) return cli_reader_fail(reader, st, &err);
    char where[300];
    snprintf(where, sizeof where, "%.250s:%ld", reader->name, reader->line);
    return print_estimate(s, &o.law, o.n_draft, where);
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
    study s = {.gamma = 0};
    int rc = cli_fixed_gamma(a, &s.gamma);
    if (!rc) rc = cli_law(a, &s.law);
    weir_err err = {{0}};
    if (!rc && weir_law_check(&s.law, &err) != WEIR_OK) rc = cli_fail(CLI_USAGE, "%s", err.text);
    terminal_catch_signals();
    if (!rc) rc = read_recording(&s, a);
    if (!rc) rc = replay_settings(&s, a);
    weir_replay_free(s.replay);
    return rc;
}
