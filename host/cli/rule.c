#include "host/cli/cli.h"
#include "host/cli/io/terminal.h"
#include "host/cli/options/source.h"
#include "host/wire/rule.h"

typedef struct study {
    weir_law law; /* set by the flags */
    int64_t n_draw;
    uint64_t seed;
} study;

static int print_position(const wire_position *at) {
    const int rc = cli_json_write(wire_position_json(at), NULL);
    cli_out_flush();
    return rc;
}

static int rule_line(void *ud, const cli_reader *r, const char *text, size_t n) {
    const study *s = ud;
    const weir_interrupt stop = {terminal_interrupted, NULL};
    wire_position at = {0};
    wire_object in;
    weir_err err = {{0}};
    weir_status st = wire_object_parse(&in, text, n, &err);
    if (st == WEIR_OK) st = wire_position_read(&in, &s->law, &at, &err);
    if (st == WEIR_OK) st = wire_position_study(&at, s->n_draw, s->seed, stop, &err);
    int rc = CLI_OK;
    if (st == WEIR_ECANCELED)
        rc = 128 + terminal_signal();
    else
        rc = st == WEIR_OK ? print_position(&at) : cli_reader_fail(r, st, &err);
    wire_position_free(&at);
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
