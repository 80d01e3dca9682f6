#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/cli/io/terminal.h"
#include "host/cli/options/source.h"

/* ---- tokenize ------------------------------------------------------------------------------------------ */

typedef struct task {
    const weir_engine *engine;
    bool add_special, parse_special, json;
} task;

static int print_ids(const task *t, const int32_t *ids, size_t n) {
    if (!t->json) {
        for (size_t i = 0; i < n; i++) cli_outf(i ? " %d" : "%d", ids[i]);
        cli_outs("\n");
        cli_out_flush();
        return CLI_OK;
    }
    json_t *pieces = json_array(), *out = json_object();
    for (size_t i = 0; i < n; i++) {
        const char *piece = weir_token_piece(t->engine, ids[i]);
        wire_add(pieces, piece ? wire_text(piece, strlen(piece)) : json_null());
    }
    wire_set(out, "token_ids", wire_ids(ids, n));
    wire_set(out, "pieces", pieces);
    int rc = cli_json_write(out, NULL);
    cli_out_flush();
    return rc;
}

static int tokenize_text(const task *t, const char *name, const char *text, size_t n, bool parse_special) {
    int32_t *ids = NULL;
    size_t n_ids = 0;
    terminal_begin_blind();
    int rc = cli_tokenize_text(t->engine, name, text, n, t->add_special, parse_special, &ids, &n_ids);
    terminal_end_blind();
    if (!rc) rc = print_ids(t, ids, n_ids);
    weir_free(ids);
    return rc;
}

/* Objects of generate's input are fine here too: fields beside the text are not looked at. */
static int tokenize_object(const task *t, const cli_reader *r, const char *text, size_t n) {
    wire_object in;
    weir_err err = {{0}};
    const char *value = NULL;
    size_t len = 0;
    bool parse_special = t->parse_special;
    weir_status st = wire_object_parse(&in, text, n, &err);
    if (st == WEIR_OK) st = wire_read_text(&in, "text", &value, &len, NULL, &err);
    if (st == WEIR_OK && !value) st = wire_read_text(&in, "prompt", &value, &len, NULL, &err);
    if (st == WEIR_OK && !value) st = wire_object_fail(&in, "text", &err, "missing");
    if (st == WEIR_OK) st = wire_read_bool(&in, "parse_special", &parse_special, NULL, &err);
    const int rc =
        st == WEIR_OK ? tokenize_text(t, r->name, value, len, parse_special) : cli_reader_fail(r, st, &err);
    wire_object_free(&in);
    return rc;
}

int cli_tokenize(const cli_args *a) {
    cli_source s = {.reader.fd = -1};
    weir_engine *e = NULL;
    int rc = cli_source_open(&s, a);
    if (rc) return rc;
    rc = cli_open(a, true, &e);
    terminal_catch_signals();
    bool objects = s.kind == SOURCE_JSONL;
    task t = {.engine = e,
              .add_special = !cli_flag(a, OPT_NO_SPECIAL),
              .parse_special = s.parse_special,
              .json = cli_flag(a, OPT_JSONL) || objects};
    while (rc == CLI_OK && !cli_out_failed()) {
        const char *text = NULL;
        size_t n = 0;
        cli_read got = cli_source_text(&s, true, &text, &n);
        if (got == CLI_READ_STOPPED) rc = 128 + terminal_signal();
        if (got == CLI_READ_FAILED) rc = CLI_FAILED;
        if (got != CLI_READ_LINE) break;
        if (objects)
            rc = n > 0 ? tokenize_object(&t, &s.reader, text, n) : CLI_OK;
        else
            rc = tokenize_text(&t, cli_source_name(&s), text, n, s.parse_special);
    }
    weir_engine_close(e);
    cli_source_close(&s);
    return rc;
}

/* ---- detokenize ---------------------------------------------------------------------------------------- */

static int print_text(const task *t, const char *where, const int32_t *ids, size_t n) {
    char *text = NULL;
    size_t bytes = 0;
    weir_err err = {{0}};
    terminal_begin_blind();
    weir_status s = weir_detokenize(t->engine, ids, n, &text, &bytes, &err);
    terminal_end_blind();
    if (s != WEIR_OK)
        return cli_fail(CLI_FAILED, "%s: %s", where, err.text[0] ? err.text : weir_status_str(s));
    int rc = CLI_OK;
    if (t->json) {
        json_t *out = json_object();
        wire_set(out, "token_ids", wire_ids(ids, n));
        wire_set(out, "text", wire_text(text, bytes));
        rc = cli_json_write(out, NULL);
    } else {
        cli_out(text, bytes);
        cli_outs("\n");
    }
    weir_text_free(text);
    cli_out_flush();
    return rc;
}

typedef struct id_list {
    int32_t *ids; /* weir_free() */
    size_t n, cap;
} id_list;

/* Adds the ids of a text such as "[83, 39 213]". */
static int add_ids(id_list *l, const char *where, const char *text) {
    const char *p = text;
    for (;;) {
        p += strspn(p, " \t,[]");
        if (!*p) return CLI_OK;
        char *end = NULL;
        errno = 0;
        long long x = strtoll(p, &end, 10);
        if (end == p || (*end && !strchr(" \t,[]", *end)) || errno || x < 0 || x > INT32_MAX)
            return cli_fail(CLI_FAILED, "%s: %.*s: expected a token id", where, (int)strcspn(p, " \t,[]"), p);
        if (l->n == l->cap) {
            size_t cap = l->cap ? 2 * l->cap : 64;
            int32_t *ids = cli_alloc(cap, sizeof *ids);
            if (!ids) return CLI_FAILED;
            if (l->n) memcpy(ids, l->ids, l->n * sizeof *ids);
            weir_free(l->ids);
            l->ids = ids;
            l->cap = cap;
        }
        l->ids[l->n++] = (int32_t)x;
        p = end;
    }
}

static int detokenize_line(void *ud, const cli_reader *r, const char *text, size_t n) {
    char where[300];
    snprintf(where, sizeof where, "%.250s:%ld", r->name, r->line);
    wire_buf copy = {0};
    id_list l = {0};
    int rc = wire_buf_add(&copy, text, n) ? CLI_OK : cli_fail(CLI_FAILED, "out of memory");
    if (!rc) rc = add_ids(&l, where, copy.data);
    if (!rc) rc = print_text(ud, where, l.ids, l.n);
    weir_free(l.ids);
    wire_buf_free(&copy);
    return rc;
}

static int detokenize_object(void *ud, const cli_reader *r, const char *text, size_t n) {
    char where[300];
    snprintf(where, sizeof where, "%.250s:%ld", r->name, r->line);
    wire_object in;
    weir_err err = {{0}};
    int32_t *ids = NULL;
    size_t n_ids = 0;
    weir_status st = wire_object_parse(&in, text, n, &err);
    if (st == WEIR_OK) st = wire_read_ids(&in, "token_ids", &ids, &n_ids, NULL, &err);
    if (st == WEIR_OK && !ids) st = wire_object_fail(&in, "token_ids", &err, "missing");
    const int rc = st == WEIR_OK ? print_text(ud, where, ids, n_ids) : cli_reader_fail(r, st, &err);
    weir_free(ids);
    wire_object_free(&in);
    return rc;
}

static int detokenize_arguments(const cli_args *a, task *t) {
    id_list l = {0};
    int rc = CLI_OK;
    for (int i = 0; i < a->n_rest && !rc; i++) rc = add_ids(&l, "argument", a->rest[i]);
    if (!rc) rc = print_text(t, "arguments", l.ids, l.n);
    weir_free(l.ids);
    return rc;
}

int cli_detokenize(const cli_args *a) {
    const char *input = cli_text(a, OPT_INPUT);
    if (input && a->n_rest > 0) return cli_fail(CLI_USAGE, "give ids as arguments or --input, not both");
    cli_reader r = {.fd = -1};
    int rc = a->n_rest > 0 ? CLI_OK : cli_reader_open(&r, input);
    if (rc) return rc;
    weir_engine *e = NULL;
    rc = cli_open(a, true, &e);
    terminal_catch_signals();
    task t = {.engine = e, .json = input || cli_flag(a, OPT_JSONL)};
    if (!rc && a->n_rest > 0)
        rc = detokenize_arguments(a, &t);
    else if (!rc)
        rc = cli_each_line(&r, &t, input ? detokenize_object : detokenize_line);
    weir_engine_close(e);
    cli_reader_close(&r);
    return rc;
}
