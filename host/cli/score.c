#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/cli/request.h"
#include "host/cli/terminal.h"

typedef struct pair {
    int32_t *ids[2]; /* prompt, completion; weir_free() */
    size_t n[2];
    bool parse_special;
} pair;

typedef struct scorer {
    weir_engine *engine;
    bool parse_special; /* where a line does not say otherwise */
} scorer;

/* Text or ids of one side. Nothing is added to a completion: what follows it is not part of what is
 * scored. */
static int read_side(const weir_engine *e, const cli_line *l, int side, pair *p) {
    static const char *const text_key[] = {"prompt", "completion"}, *const ids_key[] = {"prompt_ids",
                                                                                        "completion_ids"};
    const char *text = NULL;
    size_t n = 0;
    bool has_text = false, has_ids = false;
    int rc = cli_line_text(l, text_key[side], &text, &n, &has_text);
    if (!rc) rc = cli_line_ids(l, ids_key[side], &p->ids[side], &p->n[side], &has_ids);
    if (rc) return rc;
    if (has_text == has_ids)
        return cli_line_fail(l, text_key[side], "expected either %s or %s", text_key[side], ids_key[side]);
    if (has_ids) return CLI_OK;
    char where[300];
    snprintf(where, sizeof where, "%.250s:%ld", l->name, l->number);
    return cli_tokenize_text(e, where, text, n, side == 0, p->parse_special, &p->ids[side], &p->n[side]);
}

/* A whole text: the first token is all that the second is given. */
static int read_whole(const weir_engine *e, const cli_line *l, pair *p, bool *found) {
    const char *text = NULL;
    size_t n = 0, n_ids = 0;
    bool has_text = false, has_ids = false;
    int32_t *ids = NULL;
    int rc = cli_line_text(l, "text", &text, &n, &has_text);
    if (!rc) rc = cli_line_ids(l, "text_ids", &ids, &n_ids, &has_ids);
    *found = has_text || has_ids;
    if (rc || !*found) return rc;
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    char where[300];
    snprintf(where, sizeof where, "%.250s:%ld", l->name, l->number);
    if (has_text && has_ids)
        rc = cli_line_fail(l, "text", "expected either text or text_ids");
    else if (f.encoder_decoder)
        rc = cli_line_fail(l, has_text ? "text" : "text_ids", "an encoder-decoder scores a completion");
    else if (has_text)
        rc = cli_tokenize_text(e, where, text, n, true, p->parse_special, &ids, &n_ids);
    if (!rc && n_ids == 0) rc = cli_line_fail(l, has_text ? "text" : "text_ids", "has no token");
    for (int side = 0; !rc && side < 2; side++) {
        p->n[side] = side == 0 ? 1 : n_ids - 1;
        p->ids[side] = cli_alloc(p->n[side], sizeof *ids);
        if (!p->ids[side])
            rc = CLI_FAILED;
        else if (p->n[side] > 0)
            memcpy(p->ids[side], ids + side, p->n[side] * sizeof *ids);
    }
    weir_free(ids);
    return rc;
}

static int print_scores(const pair *p, const float *logprobs) {
    double sum = 0;
    for (size_t i = 0; i < p->n[1]; i++) sum += (double)logprobs[i];
    json_t *out = json_object();
    cli_json_set(out, "completion_ids", cli_json_ids(p->ids[1], p->n[1]));
    cli_json_set(out, "logprobs", cli_json_floats(logprobs, p->n[1]));
    cli_json_set(out, "sum", cli_json_real(sum));
    int rc = cli_json_write(out, NULL);
    cli_out_flush();
    return rc;
}

static int score_pair(weir_engine *e, const cli_line *l, const pair *p) {
    float *logprobs = cli_alloc(p->n[1], sizeof *logprobs);
    if (!logprobs) return CLI_FAILED;
    weir_err err = {{0}};
    weir_status s = WEIR_OK;
    if (p->n[1] > 0) s = weir_score(e, p->ids[0], p->n[0], p->ids[1], p->n[1], logprobs, &err);
    int rc = CLI_OK;
    if (s == WEIR_ECANCELED) {
        rc = 128 + terminal_signal();
    } else if (s != WEIR_OK) {
        rc = cli_fail(CLI_FAILED, "%s:%ld: %s", l->name, l->number,
                      err.text[0] ? err.text : weir_status_str(s));
    } else {
        rc = print_scores(p, logprobs);
    }
    weir_free(logprobs);
    return rc;
}

static int score_line(void *ud, const cli_reader *r, const char *text, size_t n) {
    static const char *const known[] = {"prompt",        "prompt_ids", "completion", "completion_ids",
                                        "parse_special", "text",       "text_ids"};
    enum { KNOWN = sizeof known / sizeof *known, WHOLE = 3 }; /* the last ones are for a whole text */
    const scorer *s = ud;
    weir_engine *e = s->engine;
    cli_line l;
    pair p = {.parse_special = s->parse_special};
    terminal_begin_blind();
    int rc = cli_line_parse(&l, r->name, r->line, text, n);
    bool whole = false;
    if (!rc) rc = cli_line_known(&l, known, KNOWN);
    if (!rc) rc = cli_line_bool(&l, "parse_special", &p.parse_special, NULL);
    if (!rc) rc = read_whole(e, &l, &p, &whole);
    if (!rc && whole) rc = cli_line_known(&l, known + KNOWN - WHOLE, WHOLE);
    for (int side = 0; !rc && !whole && side < 2; side++) rc = read_side(e, &l, side, &p);
    terminal_end_blind();
    if (!rc) rc = score_pair(e, &l, &p);
    weir_free(p.ids[0]);
    weir_free(p.ids[1]);
    cli_line_free(&l);
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
