#include "host/cli/options/source.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/io/message.h"
#include "host/cli/io/out.h"
#include "host/cli/io/terminal.h"

/* ---- where prompts come from --------------------------------------------------------------------------- */

int cli_source_open(cli_source *s, const cli_args *a) {
    s->args = a;
    s->parse_special = !cli_flag(a, OPT_NO_PARSE_SPECIAL);
    s->kind = SOURCE_ONE; /* closing it before anything was opened closes nothing */
    s->spent = false;
    const char *prompt = cli_text(a, OPT_PROMPT), *file = cli_text(a, OPT_FILE),
               *input = cli_text(a, OPT_INPUT);
    if ((prompt != NULL) + (file != NULL) + (input != NULL) > 1)
        return cli_fail(CLI_USAGE, "give one of -p, -f and --input");
    if (prompt) {
        s->kind = SOURCE_ONE;
        s->total = 1;
        return CLI_OK;
    }
    bool objects = input || (a->command == CMD_GENERATE && cli_flag(a, OPT_JSONL));
    s->kind = file ? SOURCE_FILE : objects ? SOURCE_JSONL : SOURCE_LINES;
    int rc = cli_reader_open(&s->reader, file ? file : input);
    if (rc) return rc;
    s->total = file ? 1 : cli_reader_count(&s->reader);
    if (!file && terminal_is(s->reader.fd)) {
        cli_note("reading %s from the terminal, one per line; Ctrl-D ends the input",
                 objects ? "objects" : "texts");
    }
    return CLI_OK;
}

void cli_source_close(cli_source *s) {
    if (s->kind != SOURCE_ONE) cli_reader_close(&s->reader);
}

const char *cli_source_name(const cli_source *s) {
    return s->kind == SOURCE_ONE ? "--prompt" : s->reader.name;
}

cli_read cli_source_text(cli_source *s, bool wait, const char **text, size_t *n) {
    if (s->kind == SOURCE_LINES || s->kind == SOURCE_JSONL) return cli_reader_next(&s->reader, wait, text, n);
    if (s->spent) return CLI_READ_END;
    s->spent = true;
    if (s->kind == SOURCE_ONE) {
        *text = cli_text(s->args, OPT_PROMPT);
        *n = strlen(*text);
        return CLI_READ_LINE;
    }
    cli_read got = cli_reader_rest(&s->reader, text, n);
    if (got == CLI_READ_LINE && *n > 0 && (*text)[*n - 1] == '\n') *n -= 1;
    return got;
}

int cli_tokenize_text(const weir_engine *e, const char *where, const char *text, size_t n, bool add_special,
                      bool parse_special, int32_t **ids, size_t *n_ids) {
    weir_err err = {{0}};
    const weir_status s = wire_tokenize(e, text, n, add_special, parse_special, ids, n_ids, &err);
    return s == WEIR_OK ? CLI_OK : cli_fail(CLI_FAILED, "%s: %s", where, err.text);
}

/* ---- requests ------------------------------------------------------------------------------------------ */

static int parse_object(const cli_source *s, const char *text, size_t n, wire_request *r) {
    weir_engine_facts f;
    weir_engine_get_facts(s->engine, &f);
    const wire_context c = {.engine = s->engine,
                            .ctx_size = f.ctx_size,
                            .draft = f.draft,
                            .parse_special = s->parse_special,
                            .draft_hint = "give -md DIR"};
    wire_object in;
    weir_err err = {{0}};
    weir_status st = wire_object_parse(&in, text, n, &err);
    if (st == WEIR_OK) st = wire_request_read(&c, &in, r, &err);
    wire_object_free(&in);
    return st == WEIR_OK ? CLI_OK : cli_reader_fail(&s->reader, st, &err);
}

static bool blank(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' && text[i] != '\t') return false;
    return true;
}

/* The request of a text that the source gave. */
static int read_prompt(const cli_source *s, const char *text, size_t n, wire_request *r) {
    if (s->kind == SOURCE_JSONL) return parse_object(s, text, n, r);
    char where[300];
    int len = snprintf(where, sizeof where, "%.250s", cli_source_name(s));
    if (r->number) snprintf(where + len, sizeof where - (size_t)len, ":%ld", r->number);
    return cli_tokenize_text(s->engine, where, text, n, true, s->parse_special, &r->ids, &r->n_ids);
}

cli_read cli_source_next(cli_source *s, bool wait, wire_request *out) {
    const char *text = NULL;
    size_t n = 0;
    cli_read got;
    do {
        got = cli_source_text(s, wait, &text, &n);
        if (got != CLI_READ_LINE) return got;
    } while (s->kind == SOURCE_JSONL && blank(text, n));
    wire_request r = {.o = s->defaults};
    if (s->kind == SOURCE_LINES || s->kind == SOURCE_JSONL) r.number = s->reader.line;
    if (wait) terminal_begin_blind(); /* otherwise answers are in flight, which a signal is to end */
    const int rc = read_prompt(s, text, n, &r);
    terminal_end_blind();
    if (rc) {
        wire_request_free(&r);
        return CLI_READ_FAILED;
    }
    *out = r;
    return CLI_READ_LINE;
}

int cli_each_line(cli_reader *r, void *ud, cli_line_fn fn) {
    for (;;) {
        const char *text = NULL;
        size_t n = 0;
        cli_read got = cli_reader_next(r, true, &text, &n);
        if (got == CLI_READ_STOPPED) return 128 + terminal_signal();
        if (got != CLI_READ_LINE) return got == CLI_READ_END ? CLI_OK : CLI_FAILED;
        if (blank(text, n)) continue;
        int rc = fn(ud, r, text, n);
        if (rc || cli_out_failed()) return rc ? rc : CLI_FAILED;
    }
}
