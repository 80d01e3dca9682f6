#include <math.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/cli/io/terminal.h"
#include "host/cli/options/source.h"
#include "host/wire/settings.h"

typedef struct study {
    weir_law law; /* set by the flags */
    int64_t n_draw;
    uint64_t seed;
} study;

/* One position: logits in, everything about it out. */
typedef struct position {
    float *logits[2]; /* q, p; weir_free() */
    size_t n[2];
    weir_rule_result result;
    float *arrays;   /* (4, n), what result points to; weir_free() */
    int64_t *counts; /* (n), or NULL; weir_free() */
    int64_t n_accepted;
} position;

static weir_status read_logits(wire_object *in, position *at, weir_err *err) {
    static const char *const keys[] = {"q_logits", "p_logits"};
    for (int i = 0; i < 2; i++) {
        bool seen = false;
        WEIR_TRY(wire_read_floats(in, keys[i], &at->logits[i], &at->n[i], &seen, err));
        if (!seen) return wire_object_fail(in, keys[i], err, "missing");
        if (at->n[i] == 0)
            return wire_object_fail(in, keys[i], err, "empty, expected one logit for each token");
        if (at->n[i] > INT32_MAX) return wire_object_fail(in, keys[i], err, "more than %d logits", INT32_MAX);
    }
    if (at->n[0] != at->n[1])
        return wire_object_fail(in, "p_logits", err, "%zu logits, but q_logits has %zu", at->n[1], at->n[0]);
    return WEIR_OK;
}

/* In slices, so that a signal is seen: ECANCELED. */
static weir_status draw(const study *s, const weir_law *law, position *at, weir_err *err) {
    enum { SLICE = 1024 };
    const int32_t n = (int32_t)at->n[0];
    memset(at->counts, 0, at->n[0] * sizeof *at->counts);
    for (int64_t done = 0; done < s->n_draw; done += SLICE) {
        if (terminal_signal()) return WEIR_ECANCELED;
        const int64_t slice = s->n_draw - done < SLICE ? s->n_draw - done : SLICE;
        WEIR_TRY(weir_rule_draw(law, at->logits[0], at->logits[1], n, s->seed, done, slice, at->counts,
                                &at->n_accepted, err));
    }
    return WEIR_OK;
}

static weir_status evaluate(const study *s, const weir_law *law, position *at, weir_err *err) {
    const size_t n = at->n[0];
    at->arrays = weir_alloc(4 * n, sizeof *at->arrays);
    if (s->n_draw > 0) at->counts = weir_alloc(n, sizeof *at->counts);
    if (!at->arrays || (s->n_draw > 0 && !at->counts))
        return weir_fail(err, WEIR_ENOMEM, "out of memory for %zu tokens", n);
    at->result.pi = at->arrays;
    at->result.keep = at->arrays + n;
    at->result.accept = at->arrays + 2 * n;
    at->result.residual = at->arrays + 3 * n;
    WEIR_TRY(weir_rule_eval(law, at->logits[0], at->logits[1], (int32_t)n, &at->result, err));
    return at->counts ? draw(s, law, at, err) : WEIR_OK;
}

static json_t *array_or_null(bool has, const float *x, size_t n) {
    return has ? wire_floats(x, n) : json_null();
}

static int print_position(const study *s, const weir_session_options *o, const position *at) {
    const weir_rule_result *r = &at->result;
    size_t n = at->n[0];
    json_t *out = json_object();
    wire_set_setting(out, WIRE_DEFERRAL_RULE, o);
    wire_set_setting(out, WIRE_ALPHA, o);
    wire_set(out, "beta", wire_knob(r->beta));
    wire_set(out, "deferred", r->deferred < 0 ? json_null() : json_boolean(r->deferred));
    wire_set(out, "eta", wire_real((double)r->eta));
    wire_set(out, "keep", array_or_null(r->has_keep, r->keep, n));
    wire_set(out, "pi", array_or_null(r->has_pi, r->pi, n));
    wire_set(out, "reject", wire_real((double)r->reject));
    wire_set(out, "accept", wire_floats(r->accept, n));
    wire_set(out, "residual", array_or_null(r->has_residual, r->residual, n));
    if (at->counts) {
        json_t *counts = json_array();
        for (size_t i = 0; i < n; i++) wire_add(counts, json_integer(at->counts[i]));
        wire_set(out, "draws", json_integer(s->n_draw));
        wire_set(out, "counts", counts);
        wire_set(out, "accepted_fraction", wire_real((double)at->n_accepted / (double)s->n_draw));
    }
    int rc = cli_json_write(out, NULL);
    cli_out_flush();
    return rc;
}

static int rule_line(void *ud, const cli_reader *r, const char *text, size_t n) {
    const study *s = ud;
    weir_session_options o = weir_session_options_default();
    o.law = s->law;
    position at = {0};
    wire_object in;
    weir_err err = {{0}};
    weir_status st = wire_object_parse(&in, text, n, &err);
    if (st == WEIR_OK) st = wire_check_known(&in, WIRE_RULE, &err);
    if (st == WEIR_OK) st = wire_read_settings(&in, WIRE_RULE, NULL, &o, &err);
    if (st == WEIR_OK) st = weir_law_check(&o.law, &err);
    if (st == WEIR_OK) st = read_logits(&in, &at, &err);
    if (st == WEIR_OK) st = evaluate(s, &o.law, &at, &err);
    int rc = CLI_OK;
    if (st == WEIR_ECANCELED)
        rc = 128 + terminal_signal();
    else
        rc = st == WEIR_OK ? print_position(s, &o, &at) : cli_reader_fail(r, st, &err);
    weir_free(at.logits[0]);
    weir_free(at.logits[1]);
    weir_free(at.arrays);
    weir_free(at.counts);
    wire_object_free(&in);
    return rc;
}

int cli_rule(const cli_args *a) {
    study s = {.n_draw = a->value[OPT_DRAWS].integer, .seed = a->value[OPT_SEED].bits};
    cli_reader r;
    int rc = cli_law(a, &s.law);
    weir_err err = {{0}};
    if (!rc && weir_law_check(&s.law, &err) != WEIR_OK) rc = cli_fail(CLI_USAGE, "%s", err.text);
    if (!rc) rc = cli_reader_open(&r, cli_text(a, OPT_INPUT));
    if (rc) return rc;
    terminal_catch_signals();
    rc = cli_each_line(&r, &s, rule_line);
    cli_reader_close(&r);
    return rc;
}
