#include "host/cli/cli.h"
#include "host/cli/io/terminal.h"
#include "host/cli/options/source.h"
#include "host/wire/score.h"

static int print_scores(const wire_pair *p, const float *logprobs) {
    const int rc = cli_json_write(wire_scores_json(p, logprobs), NULL);
    cli_out_flush();
    return rc;
}

static int score_pair(const cli_reader *r, weir_engine *e, const wire_pair *p) {
    float *logprobs = cli_alloc(p->n[1], sizeof *logprobs);
    if (!logprobs) return CLI_FAILED;
    weir_err err = {{0}};
    weir_status s = WEIR_OK;
    if (p->n[1] > 0) s = weir_score(e, p->ids[0], p->n[0], p->ids[1], p->n[1], logprobs, &err);
    int rc = CLI_OK;
    if (s == WEIR_ECANCELED)
        rc = 128 + terminal_signal();
    else
        rc = s == WEIR_OK ? print_scores(p, logprobs) : cli_reader_fail(r, s, &err);
    weir_free(logprobs);
    return rc;
}

typedef struct scorer {
    weir_engine *engine;
    bool parse_special; /* default of a line */
} scorer;

static int score_line(void *ud, const cli_reader *r, const char *text, size_t n) {
    const scorer *s = ud;
    const wire_context c = {.engine = s->engine, .parse_special = s->parse_special};
    wire_object in;
    weir_err err = {{0}};
    wire_pair p = {.n = {0, 0}};
    terminal_begin_blind();
    weir_status st = wire_object_parse(&in, text, n, &err);
    if (st == WEIR_OK) st = wire_pair_read(&c, &in, &p, &err);
    terminal_end_blind();
    const int rc = st == WEIR_OK ? score_pair(r, s->engine, &p) : cli_reader_fail(r, st, &err);
    wire_pair_free(&p);
    wire_object_free(&in);
    return rc;
}

int cli_score(const cli_args *a) {
    cli_reader r;
    weir_engine *e = NULL;
    int rc = cli_reader_open(&r, cli_text(a, OPT_INPUT));
    if (rc) return rc;
    rc = cli_open(a, false, &e);
    terminal_catch_signals();
    scorer s = {.engine = e, .parse_special = !cli_flag(a, OPT_NO_PARSE_SPECIAL)};
    rc = rc ? rc : cli_each_line(&r, &s, score_line);
    weir_engine_close(e);
    cli_reader_close(&r);
    return rc;
}
