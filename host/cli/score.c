#include <string.h>

#include "host/cli/cli.h"
#include "host/cli/io/terminal.h"
#include "host/cli/options/source.h"
#include "host/wire/settings.h"

typedef struct pair {
    int32_t *ids[2]; /* prompt, completion; weir_free() */
    size_t n[2];
} pair;

/* A whole text: the first token is all that the second is given. */
static weir_status read_whole(const wire_context *c, wire_object *in, bool encoder_decoder, pair *p,
                              weir_err *err) {
    const char *key = wire_object_has(in, "text") ? "text" : "text_ids";
    if (encoder_decoder)
        return wire_object_fail(in, key, err,
                                "an encoder-decoder model scores a prompt and a completion only");
    int32_t *ids = NULL;
    size_t n = 0;
    WEIR_TRY(wire_read_prompt(c, in, "text", "text_ids", true, &ids, &n, err));
    weir_status st = n > 0 ? WEIR_OK : wire_object_fail(in, key, err, "contains no tokens");
    for (int side = 0; st == WEIR_OK && side < 2; side++) {
        p->n[side] = side == 0 ? 1 : n - 1;
        p->ids[side] = weir_alloc(p->n[side], sizeof *ids);
        if (!p->ids[side])
            st = weir_fail(err, WEIR_ENOMEM, "out of memory for %zu ids", n);
        else if (p->n[side] > 0)
            memcpy(p->ids[side], ids + side, p->n[side] * sizeof *ids);
    }
    weir_free(ids);
    return st;
}

/* Nothing is added to a completion: what follows it is not part of what is scored. */
static weir_status read_pair(const wire_context *c, wire_object *in, pair *p, weir_err *err) {
    static const char *const parts[] = {"prompt", "prompt_ids", "completion", "completion_ids"};
    weir_engine_facts f;
    weir_engine_get_facts(c->engine, &f);
    WEIR_TRY(wire_check_known(in, WIRE_SCORE, err));
    if (!wire_object_has(in, "text") && !wire_object_has(in, "text_ids")) {
        for (int side = 0; side < 2; side++)
            WEIR_TRY(wire_read_prompt(c, in, parts[2 * side], parts[2 * side + 1], side == 0, &p->ids[side],
                                      &p->n[side], err));
        return WEIR_OK;
    }
    for (int i = 0; i < 4; i++)
        if (wire_object_has(in, parts[i]))
            return wire_object_fail(in, parts[i], err, "unknown field beside a whole text");
    return read_whole(c, in, f.encoder_decoder, p, err);
}

static int print_scores(const pair *p, const float *logprobs) {
    double sum = 0;
    for (size_t i = 0; i < p->n[1]; i++) sum += (double)logprobs[i];
    json_t *out = json_object();
    wire_set(out, "completion_ids", wire_ids(p->ids[1], p->n[1]));
    wire_set(out, "logprobs", wire_floats(logprobs, p->n[1]));
    wire_set(out, "sum", wire_real(sum));
    int rc = cli_json_write(out, NULL);
    cli_out_flush();
    return rc;
}

static int score_pair(const cli_reader *r, weir_engine *e, const pair *p) {
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
    pair p = {.n = {0, 0}};
    terminal_begin_blind();
    weir_status st = wire_object_parse(&in, text, n, &err);
    if (st == WEIR_OK) st = read_pair(&c, &in, &p, &err);
    terminal_end_blind();
    const int rc = st == WEIR_OK ? score_pair(r, s->engine, &p) : cli_reader_fail(r, st, &err);
    weir_free(p.ids[0]);
    weir_free(p.ids[1]);
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
