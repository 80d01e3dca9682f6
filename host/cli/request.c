#include "host/cli/request.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/terminal.h"

void cli_request_free(cli_request *r) {
    weir_free(r->ids);
    for (int i = 0; r->stop && i < CLI_MAX_LIST; i++) weir_free(r->stop[i]);
    weir_free(r->stop);
    *r = (cli_request){0};
}

/* ---- where prompts come from --------------------------------------------------------------------------- */

int cli_source_open(cli_source *s, const cli_args *a) {
    *s = (cli_source){.args = a, .kind = SOURCE_LINES, .reader.fd = -1, .total = -1};
    s->parse_special = !cli_flag(a, OPT_NO_PARSE_SPECIAL);
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
        cli_note("reading %s from the terminal, one a line; Ctrl-D ends them", objects ? "objects" : "texts");
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

/* The engine's ids as the program's own, in memory of cli_alloc. */
static int take_ids(int32_t *borrowed, size_t count, int32_t **ids, size_t *n_ids) {
    int32_t *copy = cli_alloc(count, sizeof *copy);
    if (copy && count) memcpy(copy, borrowed, count * sizeof *copy);
    weir_ids_free(borrowed);
    if (!copy) return CLI_FAILED;
    *ids = copy;
    *n_ids = count;
    return CLI_OK;
}

int cli_tokenize_text(const weir_engine *e, const char *where, const char *text, size_t n, bool add_special,
                      bool parse_special, int32_t **ids, size_t *n_ids) {
    int32_t *borrowed = NULL;
    size_t count = 0;
    weir_err err = {{0}};
    weir_status s = weir_tokenize(e, text, n, add_special, parse_special, &borrowed, &count, &err);
    if (s != WEIR_OK)
        return cli_fail(CLI_FAILED, "%s: %s", where, err.text[0] ? err.text : weir_status_str(s));
    return take_ids(borrowed, count, ids, n_ids);
}

/* ---- fields of an input line --------------------------------------------------------------------------- */

static const char *const known_fields[] = {
    "prompt",        "prompt_ids",
    "messages",      "seed",
    "max_tokens",    "stop",
    "temperature",   "top_k",
    "top_p",         "min_p",
    "deferral_rule", "deferral_alpha",
    "deferral_beta", "num_speculative_tokens",
    "exact_first",   "speculative",
    "parse_special",
};

/* A number that lands in a 32-bit float of the law. */
static int float_field(const cli_line *l, const char *key, double lo, bool lo_open, double hi, float *out) {
    double x = 0;
    bool seen = false;
    int rc = cli_line_number(l, key, &x, &seen);
    if (rc || !seen) return rc;
    if (lo_open ? !((double)(float)x > lo && x <= hi) : !(x >= lo && x <= hi)) {
        return cli_line_fail(l, key, "%.6g is out of range, expected %s%.6g to %.6g", x,
                             lo_open ? "above " : "", lo, hi);
    }
    *out = (float)x;
    return CLI_OK;
}

static int int_field(const cli_line *l, const char *key, int lo, int hi, int32_t *out) {
    int64_t x = *out;
    int rc = cli_line_int(l, key, lo, hi, &x, NULL);
    if (rc == CLI_OK) *out = (int32_t)x;
    return rc;
}

static int sampling_fields(const cli_line *l, weir_session_options *o, int ctx) {
    int rc = cli_line_uint(l, "seed", &o->seed, NULL);
    if (!rc) rc = int_field(l, "max_tokens", 1, ctx, &o->max_tokens);
    if (!rc) rc = float_field(l, "temperature", 0, false, 2, &o->law.temp);
    if (!rc) rc = int_field(l, "top_k", 0, INT32_MAX, &o->law.top_k);
    if (!rc) rc = float_field(l, "top_p", 0, true, 1, &o->law.top_p);
    if (!rc) rc = float_field(l, "min_p", 0, false, 1, &o->law.min_p);
    return rc;
}

int cli_line_rule(const cli_line *l, const char *rule_key, const char *alpha_key, const char *beta_key,
                  weir_law *law, bool *any) {
    const char *name = NULL;
    size_t n = 0;
    bool named = false, seen = false;
    int rc = cli_line_text(l, rule_key, &name, &n, &named);
    if (rc) return rc;
    if (named) {
        int rule = strlen(name) == n ? weir_rule_parse(name) : -1;
        if (rule < 0)
            return cli_line_fail(l, rule_key, "unknown rule %.40s; the nearest is %s", name,
                                 cli_rule_nearest(name));
        /* The flags' knobs belong to the flags' rule. */
        if (rule != law->rule) cli_law_set_rule(law, (weir_rule)rule);
    }
    rc = cli_line_float(l, alpha_key, &law->alpha, &seen);
    if (rc) return rc;
    json_t *beta = json_object_get(l->object, beta_key);
    if (beta && json_is_string(beta) && strcmp(json_string_value(beta), "auto") == 0)
        law->beta = NAN;
    else if (beta && !json_is_number(beta))
        return cli_line_fail(l, beta_key, "expected a number or \"auto\"");
    else
        rc = cli_line_float(l, beta_key, &law->beta, NULL);
    if (rc) return rc;
    if (any) *any = named || seen || beta;
    return CLI_OK;
}

static int stop_field(const cli_line *l, cli_request *r) {
    json_t *v = json_object_get(l->object, "stop");
    if (!v || json_is_null(v)) return CLI_OK;
    bool one = json_is_string(v);
    size_t n = one ? 1 : json_array_size(v);
    if (!one && !json_is_array(v)) return cli_line_fail(l, "stop", "expected a string or a list of strings");
    if (n > CLI_MAX_LIST)
        return cli_line_fail(l, "stop", "%zu strings, expected at most %d", n, CLI_MAX_LIST);
    r->stop = cli_alloc(CLI_MAX_LIST, sizeof *r->stop);
    if (!r->stop) return CLI_FAILED;
    for (int i = 0; i < CLI_MAX_LIST; i++) r->stop[i] = NULL;
    for (size_t i = 0; i < n; i++) {
        json_t *s = one ? v : json_array_get(v, i);
        size_t len = json_string_length(s);
        if (!json_is_string(s) || len == 0 || strlen(json_string_value(s)) != len)
            return cli_line_fail(l, "stop", "entry %zu: expected a string that is not empty", i);
        r->stop[i] = cli_alloc(len + 1, 1);
        if (!r->stop[i]) return CLI_FAILED;
        memcpy(r->stop[i], json_string_value(s), len + 1);
    }
    r->o.stop = (const char *const *)r->stop;
    r->o.n_stop = (int)n;
    return CLI_OK;
}

static int method_fields(const cli_line *l, const cli_source *s, weir_session_options *o) {
    bool speculative = true, asked = false, ruled = false;
    int rc = cli_line_bool(l, "speculative", &speculative, &asked);
    if (!rc) rc = int_field(l, "num_speculative_tokens", 1, WEIR_GAMMA_MAX, &o->n_draft);
    if (!rc) rc = int_field(l, "exact_first", 0, INT32_MAX, &o->law.exact_first);
    if (!rc) rc = cli_line_rule(l, "deferral_rule", "deferral_alpha", "deferral_beta", &o->law, &ruled);
    if (rc) return rc;
    if (asked && speculative && !s->has_draft)
        return cli_line_fail(l, "speculative", "true needs a drafter: give -md DIR");
    if (asked && !speculative) o->method = WEIR_METHOD_VERIFIER;
    if (ruled && !s->has_draft) return cli_line_fail(l, "deferral_rule", "needs a drafter: give -md DIR");
    bool threshold = o->method == WEIR_METHOD_SEQUENCE_CASCADE;
    if (ruled && !threshold && !cli_method_has_rule(o->method))
        return cli_line_fail(l, "deferral_rule", "has no effect under method %s",
                             weir_method_name(o->method));
    weir_err err = {{0}};
    if (cli_method_has_rule(o->method) && weir_law_check(&o->law, &err) != WEIR_OK)
        return cli_fail(CLI_FAILED, "%s:%ld: %s", l->name, l->number, err.text);
    return CLI_OK;
}

/* One message of a conversation, as OpenAI's requests write it; its strings are borrowed from the line. */
static int message_field(const cli_line *l, size_t i, const json_t *v, weir_chat_message *out) {
    const json_t *role = json_object_get(v, "role"), *content = json_object_get(v, "content");
    const bool whole = json_is_string(role) && strlen(json_string_value(role)) == json_string_length(role);
    if (!whole || !json_is_string(content) || json_object_size(v) != 2)
        return cli_line_fail(l, "messages", "entry %zu: expected an object with the strings role and content",
                             i);
    *out = (weir_chat_message){.role = json_string_value(role),
                               .content = json_string_value(content),
                               .bytes = json_string_length(content)};
    return CLI_OK;
}

static int messages_field(const cli_line *l, const cli_source *s, cli_request *r) {
    const json_t *list = json_object_get(l->object, "messages");
    const size_t n = json_array_size(list);
    if (!json_is_array(list)) return cli_line_fail(l, "messages", "expected a list of messages");
    weir_chat_message *m = cli_alloc(n, sizeof *m);
    int rc = m ? CLI_OK : CLI_FAILED;
    for (size_t i = 0; rc == CLI_OK && i < n; i++) rc = message_field(l, i, json_array_get(list, i), &m[i]);
    weir_err err = {{0}};
    weir_status st = WEIR_OK;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    if (rc == CLI_OK) st = weir_chat_tokenize(s->engine, m, n, &ids, &n_ids, &err);
    weir_free(m);
    if (st != WEIR_OK)
        return cli_line_fail(l, "messages", "%s", err.text[0] ? err.text : weir_status_str(st));
    return rc ? rc : take_ids(ids, n_ids, &r->ids, &r->n_ids);
}

static int prompt_fields(const cli_line *l, const cli_source *s, cli_request *r) {
    const char *text = NULL;
    size_t n = 0;
    bool has_text = false, has_ids = false, parse_special = s->parse_special;
    int rc = cli_line_text(l, "prompt", &text, &n, &has_text);
    if (!rc) rc = cli_line_bool(l, "parse_special", &parse_special, NULL);
    if (!rc) rc = cli_line_ids(l, "prompt_ids", &r->ids, &r->n_ids, &has_ids);
    if (rc) return rc;
    const bool talk = json_object_get(l->object, "messages") != NULL;
    if (has_text + has_ids + talk != 1)
        return cli_line_fail(l, "prompt", "expected one of prompt, prompt_ids and messages");
    if (has_ids) return CLI_OK;
    if (talk) return messages_field(l, s, r);
    char where[300];
    snprintf(where, sizeof where, "%s:%ld", l->name, l->number);
    return cli_tokenize_text(s->engine, where, text, n, true, parse_special, &r->ids, &r->n_ids);
}

static int parse_object(const cli_source *s, const char *text, size_t n, cli_request *r) {
    cli_line l;
    int rc = cli_line_parse(&l, s->reader.name, s->reader.line, text, n);
    if (rc) return rc;
    rc = cli_line_known(&l, known_fields, (int)(sizeof known_fields / sizeof known_fields[0]));
    weir_engine_facts f;
    weir_engine_get_facts(s->engine, &f);
    if (!rc) rc = sampling_fields(&l, &r->o, f.ctx_size);
    if (!rc) rc = method_fields(&l, s, &r->o);
    if (!rc) rc = stop_field(&l, r);
    if (!rc) rc = prompt_fields(&l, s, r);
    cli_line_free(&l);
    return rc;
}

static bool blank(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' && text[i] != '\t') return false;
    return true;
}

/* The request of a text that the source gave. */
static int read_prompt(const cli_source *s, const char *text, size_t n, cli_request *r) {
    if (s->kind == SOURCE_JSONL) return parse_object(s, text, n, r);
    char where[300];
    int len = snprintf(where, sizeof where, "%.250s", cli_source_name(s));
    if (r->number) snprintf(where + len, sizeof where - (size_t)len, ":%ld", r->number);
    return cli_tokenize_text(s->engine, where, text, n, true, s->parse_special, &r->ids, &r->n_ids);
}

cli_read cli_source_next(cli_source *s, bool wait, cli_request *out) {
    const char *text = NULL;
    size_t n = 0;
    cli_read got;
    do {
        got = cli_source_text(s, wait, &text, &n);
        if (got != CLI_READ_LINE) return got;
    } while (s->kind == SOURCE_JSONL && blank(text, n));
    cli_request r = {.o = s->defaults};
    if (s->kind == SOURCE_LINES || s->kind == SOURCE_JSONL) r.number = s->reader.line;
    if (wait) terminal_begin_blind(); /* otherwise answers are in flight, which a signal is to end */
    const int rc = read_prompt(s, text, n, &r);
    terminal_end_blind();
    if (rc) {
        cli_request_free(&r);
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
