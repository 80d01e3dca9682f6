/* weir-answers: what the JSON of an answer costs, by what was asked for. No model is run: tokens of a real
 * vocabulary come in blocks, as an engine would bring them. Prints CSV. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/serve/api/answer.h"

static const char usage[] =
    "usage: weir-answers -m MODEL [--tokens N] [--block N] [--answers N] [--repeat N]\n"
    "\n"
    "CSV: form, bytes a token, us a token (p50 and best over the repeats), chunks' fixed parts included.\n"
    "Exit status: 0, 1 for a failure, 2 for wrong usage.\n";

enum { MAX_TOKENS = 4096, MAX_REPEAT = 200 };

typedef struct options {
    const char *model;
    int tokens, block, answers, repeat;
} options;

typedef struct form {
    const char *name;
    bool chat, stream, details, logprobs, running;
    int n_top;
} form;

static const form forms[] = {
    {"completion, streamed", .stream = true},
    {"chat, streamed", .chat = true, .stream = true},
    {"chat, streamed, continuous usage", .chat = true, .stream = true, .running = true},
    {"completion, streamed, ids and sources", .stream = true, .details = true},
    {"completion, streamed, logprobs 0", .stream = true, .logprobs = true},
    {"completion, streamed, logprobs 5", .stream = true, .logprobs = true, .n_top = 5},
    {"completion, streamed, logprobs 20", .stream = true, .logprobs = true, .n_top = 20},
    {"chat, streamed, top_logprobs 5", .chat = true, .stream = true, .logprobs = true, .n_top = 5},
    {"completion, whole", .stream = false},
    {"completion, whole, logprobs 5", .logprobs = true, .n_top = 5},
};

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

typedef struct tokens {
    weir_token_event *list; /* (n) */
    weir_top *top;          /* (n, WEIR_N_TOP_MAX) */
    int n;
} tokens;

/* Ids from all over the vocabulary, with their text. */
static weir_status make_tokens(const weir_engine *e, int n_vocab, tokens *t, weir_err *err) {
    uint32_t state = 1;
    for (int i = 0; i < t->n; i++) {
        weir_token_event *x = &t->list[i];
        char *text = NULL;
        weir_top *top = t->top + (size_t)i * WEIR_N_TOP_MAX;
        for (int k = 0; k < WEIR_N_TOP_MAX; k++) {
            state = state * 1664525u + 1013904223u;
            top[k] = (weir_top){(int32_t)(state >> 8) % n_vocab, -0.37f * (float)(k + 1)};
        }
        *x = (weir_token_event){.id = top[0].id, .logprob = -0.1234567f, .policy_logprob = -0.7654321f};
        WEIR_TRY(weir_token_bytes(e, x->id, &text, &x->bytes, err));
        x->text = text;
        x->top = top;
    }
    return WEIR_OK;
}

/* Bytes that one answer has; 0: out of memory. */
static size_t run(const api_server *s, const api_ask *ask, const tokens *t, int block) {
    const api_end end = {.finish = WEIR_FINISH_LENGTH,
                         .ended_by = WEIR_ENDED_LIMIT,
                         .stop = -1,
                         .eos = -1,
                         .stats = {.n_output = t->n, .blocks = 1, .drafted = t->n, .rows_examined = 1}};
    wire_buf out = {0};
    size_t bytes = 0;
    api_answer *a = api_answer_begin(s, ask, "cmpl-0123456789abcdef", 1700000000);
    bool ok = a != NULL;
    for (int i = 0; ok && i < t->n; i += block) {
        ok = api_answer_tokens(a, 0, t->list + i, (size_t)(t->n - i < block ? t->n - i : block),
                               ask->stream ? &out : NULL);
        bytes += out.len;
        out.len = 0; /* a connection takes it */
    }
    ok = ok && api_answer_end(a, 0, &end, ask->stream ? &out : NULL) && api_answer_finish(a, &out);
    bytes += out.len;
    wire_buf_free(&out);
    api_answer_free(a);
    return ok ? bytes : 0;
}

static bool time_form(const api_server *s, const form *f, const options *o, tokens *t) {
    int32_t ids[1] = {0};
    char model[] = "demo";
    api_prompt prompt = {ids, 1};
    api_ask ask = {.chat = f->chat,
                   .stream = f->stream,
                   .usage = f->running,
                   .running_usage = f->running,
                   .logprobs = f->logprobs,
                   .token_ids = f->details,
                   .sources = f->details,
                   .n_top = f->n_top,
                   .n = 1,
                   .prompts = &prompt,
                   .n_prompt = 1,
                   .o = weir_session_options_default(),
                   .model = model};
    double seconds[MAX_REPEAT];
    size_t bytes = 0;
    for (int i = 0; i < t->n; i++) t->list[i].n_top = f->n_top;
    for (int r = 0; r < o->repeat; r++) {
        const double began = weir_seconds();
        for (int i = 0; i < o->answers; i++)
            if ((bytes = run(s, &ask, t, o->block)) == 0) return false;
        seconds[r] = (weir_seconds() - began) / o->answers / t->n;
    }
    qsort(seconds, (size_t)o->repeat, sizeof *seconds, by_value);
    printf("\"%s\",%.1f,%.3f,%.3f\n", f->name, (double)bytes / t->n, 1e6 * seconds[o->repeat / 2],
           1e6 * seconds[0]);
    return true;
}

static bool time_all(const weir_engine *e, const options *o, weir_err *err) {
    api_server s = {.engine = e, .fingerprint = "weir-0.1.0-0123456789abcdef-0123456789abcdef"};
    tokens t = {weir_calloc((size_t)o->tokens, sizeof *t.list),
                weir_calloc((size_t)o->tokens * WEIR_N_TOP_MAX, sizeof *t.top), o->tokens};
    weir_engine_get_facts(e, &s.facts);
    bool ok = t.list && t.top && make_tokens(e, s.facts.n_vocab, &t, err) == WEIR_OK;
    if (ok) puts("form,bytes,us_p50,us_best");
    for (size_t i = 0; ok && i < sizeof forms / sizeof *forms; i++) ok = time_form(&s, &forms[i], o, &t);
    for (int i = 0; t.list && i < o->tokens; i++) weir_text_free((char *)(uintptr_t)t.list[i].text);
    weir_free(t.list);
    weir_free(t.top);
    return ok;
}

static bool read_number(const char *text, int hi, int *out) {
    char *end;
    const long x = strtol(text, &end, 10);
    if (end == text || *end || x < 1 || x > hi) return false;
    *out = (int)x;
    return true;
}

static bool read_options(int argc, char **argv, options *o) {
    *o = (options){.tokens = 100, .block = 6, .answers = 200, .repeat = 15};
    bool ok = argc % 2 == 1;
    for (int i = 1; ok && i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "-m") == 0)
            o->model = argv[i + 1];
        else if (strcmp(argv[i], "--tokens") == 0)
            ok = read_number(argv[i + 1], MAX_TOKENS, &o->tokens);
        else if (strcmp(argv[i], "--block") == 0)
            ok = read_number(argv[i + 1], MAX_TOKENS, &o->block);
        else if (strcmp(argv[i], "--answers") == 0)
            ok = read_number(argv[i + 1], 1000000, &o->answers);
        else if (strcmp(argv[i], "--repeat") == 0)
            ok = read_number(argv[i + 1], MAX_REPEAT, &o->repeat);
        else
            ok = false;
    }
    return ok && o->model;
}

int main(int argc, char **argv) {
    options o;
    weir_err err = {""};
    weir_engine *e = NULL;
    if (!read_options(argc, argv, &o)) {
        fputs(usage, stderr);
        return 2;
    }
    weir_engine_options eo = weir_engine_options_default();
    eo.model = o.model;
    eo.device = "cpu";
    eo.dry_run = true;
    const bool ok = weir_engine_open(&e, &eo, &err) == WEIR_OK && time_all(e, &o, &err);
    weir_engine_close(e);
    if (!ok) fprintf(stderr, "weir-answers: %s\n", err.text[0] ? err.text : "out of memory");
    return ok ? 0 : 1;
}
