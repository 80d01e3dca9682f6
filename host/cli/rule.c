#include <math.h>
#include <string.h>

#include "host/cli/law.h"
#include "host/cli/request.h"
#include "host/cli/terminal.h"

typedef struct study {
    weir_law law; /* of the flags */
    int64_t n_draw;
    uint64_t seed;
} study;

/* One position: logits in, everything about it out. */
typedef struct position {
    float *logits[2]; /* q, p; weir_free() */
    size_t n[2];
    weir_rule_result result;
    float *arrays;   /* (4, n) behind result; weir_free() */
    int64_t *counts; /* (n), or NULL; weir_free() */
    int64_t n_accepted;
} position;

static int logit_fields(const cli_line *l, position *at) {
    static const char *const keys[] = {"q_logits", "p_logits"};
    for (int i = 0; i < 2; i++) {
        bool seen = false;
        int rc = cli_line_floats(l, keys[i], &at->logits[i], &at->n[i], &seen);
        if (rc) return rc;
        if (!seen) return cli_line_fail(l, keys[i], "missing");
        if (at->n[i] == 0) return cli_line_fail(l, keys[i], "empty, expected one logit for each token");
        if (at->n[i] > INT32_MAX) return cli_line_fail(l, keys[i], "more than %d logits", INT32_MAX);
    }
    if (at->n[0] != at->n[1])
        return cli_line_fail(l, "p_logits", "%zu logits, but q_logits has %zu", at->n[1], at->n[0]);
    return CLI_OK;
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

static int evaluate(const cli_line *l, const study *s, const weir_law *law, position *at) {
    size_t n = at->n[0];
    at->arrays = cli_alloc(4 * n, sizeof *at->arrays);
    if (s->n_draw > 0) at->counts = cli_alloc(n, sizeof *at->counts);
    if (!at->arrays || (s->n_draw > 0 && !at->counts)) return CLI_FAILED;
    at->result.pi = at->arrays;
    at->result.keep = at->arrays + n;
    at->result.accept = at->arrays + 2 * n;
    at->result.residual = at->arrays + 3 * n;
    weir_err err = {{0}};
    weir_status st = weir_rule_eval(law, at->logits[0], at->logits[1], (int32_t)n, &at->result, &err);
    if (st == WEIR_OK && at->counts) st = draw(s, law, at, &err);
    if (st == WEIR_OK) return CLI_OK;
    if (st == WEIR_ECANCELED) return 128 + terminal_signal();
    return cli_fail(CLI_FAILED, "%s:%ld: %s", l->name, l->number,
                    err.text[0] ? err.text : weir_status_str(st));
}

static json_t *array_or_null(bool has, const float *x, size_t n) {
    return has ? cli_json_floats(x, n) : json_null();
}

static int print_position(const study *s, const weir_law *law, const position *at) {
    const weir_rule_info *facts = weir_rule_facts((weir_rule)law->rule);
    const weir_rule_result *r = &at->result;
    size_t n = at->n[0];
    json_t *out = json_object();
    cli_json_set(out, "rule", json_string(facts->name));
    cli_json_set(out, "alpha", law->rule == WEIR_RULE_EXACT ? json_null() : cli_json_knob(law->alpha));
    cli_json_set(out, "beta", cli_json_knob(r->beta));
    cli_json_set(out, "deferred", r->deferred < 0 ? json_null() : json_boolean(r->deferred));
    cli_json_set(out, "eta", cli_json_real((double)r->eta));
    cli_json_set(out, "keep", array_or_null(r->has_keep, r->keep, n));
    cli_json_set(out, "pi", array_or_null(r->has_pi, r->pi, n));
    cli_json_set(out, "reject", cli_json_real((double)r->reject));
    cli_json_set(out, "accept", cli_json_floats(r->accept, n));
    cli_json_set(out, "residual", array_or_null(r->has_residual, r->residual, n));
    if (at->counts) {
        json_t *counts = json_array();
        for (size_t i = 0; i < n; i++) cli_json_add(counts, json_integer(at->counts[i]));
        cli_json_set(out, "draws", json_integer(s->n_draw));
        cli_json_set(out, "counts", counts);
        cli_json_set(out, "accepted_fraction", cli_json_real((double)at->n_accepted / (double)s->n_draw));
    }
    int rc = cli_json_write(out, NULL);
    cli_out_flush();
    return rc;
}

static int rule_line(void *ud, const cli_reader *r, const char *text, size_t n) {
    static const char *const known[] = {"rule",  "alpha", "beta",  "temperature", "top_k",   "top_p",
                                        "min_p", "gate",  "bonus", "q_logits",    "p_logits"};
    const study *s = ud;
    weir_law law = s->law;
    position at = {0};
    cli_line l;
    int rc = cli_line_parse(&l, r->name, r->line, text, n);
    if (rc) return rc;
    rc = cli_line_known(&l, known, (int)(sizeof known / sizeof known[0]));
    if (!rc) rc = cli_law_read(&l, &law);
    if (!rc) rc = logit_fields(&l, &at);
    if (!rc) rc = evaluate(&l, s, &law, &at);
    if (!rc) rc = print_position(s, &law, &at);
    weir_free(at.logits[0]);
    weir_free(at.logits[1]);
    weir_free(at.arrays);
    weir_free(at.counts);
    cli_line_free(&l);
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
