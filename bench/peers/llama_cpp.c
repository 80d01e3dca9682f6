/* llama.cpp for comparison with weir: one model through libllama's C interface, driven by JSON lines. Both
 * engines get the same prompts and report ids, log-probabilities and times of the same spans.
 *
 *   llama_cpp MODEL.gguf THREADS CONTEXT < requests > answers
 *
 * {"prompt": TEXT, "n": N}  greedy: {"prompt_ids", "token_ids" (N, end-of-text not obeyed), "gaps" (logit of
 *                           the first less the second, per token), "prompt_ms", "predicted_ms"}
 * {"text": TEXT}            {"token_ids", "logprobs" (natural; of each token but the first, given all
 *                           before)}
 *
 * Times are wall-clock of llama_decode alone, tokenizer and argmax left out, as in weir's timings. */
#include <jansson.h>
#include <llama.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("llama_cpp: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void quiet(enum ggml_log_level level, const char *text, void *ud) {
    (void)ud;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

typedef struct {
    struct llama_model *model;
    struct llama_context *ctx;
    const struct llama_vocab *vocab;
    int n_vocab, most;
    llama_token *ids;
} engine;

static engine open_engine(const char *path, int threads, int context) {
    engine e = {.most = context};
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model_params mp = llama_model_default_params();
    mp.n_gpu_layers = 0;
    if (!(e.model = llama_model_load_from_file(path, mp))) die("%s: llama.cpp does not load it", path);
    struct llama_context_params cp = llama_context_default_params();
    cp.n_ctx = (uint32_t)context;
    cp.n_batch = (uint32_t)context;
    cp.n_threads = cp.n_threads_batch = threads;
    if (!(e.ctx = llama_init_from_model(e.model, cp))) die("%s: no context of %d tokens", path, context);
    e.vocab = llama_model_get_vocab(e.model);
    e.n_vocab = llama_vocab_n_tokens(e.vocab);
    e.ids = malloc((size_t)context * sizeof *e.ids);
    if (!e.ids) die("no memory for %d ids", context);
    return e;
}

static int tokenize(engine *e, const char *text) {
    const int n = llama_tokenize(e->vocab, text, (int32_t)strlen(text), e->ids, e->most, true, false);
    if (n <= 0) die("a text has %d tokens, the context %d", -n, e->most);
    return n;
}

/* Decodes n ids after `past`; logits of all rows or of the last. Returns milliseconds. */
static double decode(engine *e, const llama_token *ids, int n, int past, bool all) {
    struct llama_batch b = llama_batch_init(n, 0, 1);
    b.n_tokens = n;
    for (int i = 0; i < n; i++) {
        b.token[i] = ids[i];
        b.pos[i] = past + i;
        b.n_seq_id[i] = 1;
        b.seq_id[i][0] = 0;
        b.logits[i] = all || i + 1 == n;
    }
    const double start = now_ms();
    const int status = llama_decode(e->ctx, b);
    llama_synchronize(e->ctx);
    const double took = now_ms() - start;
    if (status != 0) die("llama_decode of %d tokens: %d", n, status);
    llama_batch_free(b);
    return took;
}

/* The likeliest id (the lowest of equals), and its logit minus the next one's. */
static llama_token likeliest(const float *logits, int n, double *gap) {
    int best = 0;
    float second = -INFINITY;
    for (int i = 1; i < n; i++) {
        if (logits[i] > logits[best]) {
            second = logits[best];
            best = i;
        } else if (logits[i] > second) {
            second = logits[i];
        }
    }
    *gap = (double)logits[best] - (double)second;
    return best;
}

static json_t *ids_json(const llama_token *ids, int n) {
    json_t *a = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(a, json_integer(ids[i]));
    return a;
}

static json_t *answer(engine *e, const char *prompt, int n) {
    const int n_prompt = tokenize(e, prompt);
    if (n < 1 || n_prompt + n > e->most)
        die("%d tokens after a prompt of %d, the context has %d", n, n_prompt, e->most);
    llama_memory_clear(llama_get_memory(e->ctx), true);
    json_t *tokens = json_array(), *gaps = json_array(), *prompt_ids = ids_json(e->ids, n_prompt);
    const double prompt_ms = decode(e, e->ids, n_prompt, 0, false);
    double predicted_ms = 0;
    for (int i = 0; i < n; i++) {
        double gap;
        const llama_token id = likeliest(llama_get_logits_ith(e->ctx, -1), e->n_vocab, &gap);
        json_array_append_new(tokens, json_integer(id));
        json_array_append_new(gaps, json_real(gap));
        if (i + 1 < n) predicted_ms += decode(e, &id, 1, n_prompt + i, false);
    }
    return json_pack("{s:o, s:o, s:o, s:f, s:f}", "prompt_ids", prompt_ids, "token_ids", tokens, "gaps", gaps,
                     "prompt_ms", prompt_ms, "predicted_ms", predicted_ms);
}

static json_t *score(engine *e, const char *text) {
    const int n = tokenize(e, text);
    llama_memory_clear(llama_get_memory(e->ctx), true);
    decode(e, e->ids, n, 0, true);
    json_t *logprobs = json_array();
    for (int i = 0; i + 1 < n; i++) {
        const float *x = llama_get_logits_ith(e->ctx, i);
        double most = -INFINITY, sum = 0;
        for (int v = 0; v < e->n_vocab; v++) most = fmax(most, (double)x[v]);
        for (int v = 0; v < e->n_vocab; v++) sum += exp((double)x[v] - most);
        json_array_append_new(logprobs, json_real((double)x[e->ids[i + 1]] - most - log(sum)));
    }
    return json_pack("{s:o, s:o}", "token_ids", ids_json(e->ids, n), "logprobs", logprobs);
}

static int count_of(const char *text) {
    char *end;
    const long n = strtol(text, &end, 10);
    if (*end || n < 1 || n > 1 << 20) die("%s: expected a number from 1 to %d", text, 1 << 20);
    return (int)n;
}

int main(int argc, char **argv) {
    if (argc != 4) die("usage: llama_cpp MODEL.gguf THREADS CONTEXT < requests > answers");
    engine e = open_engine(argv[1], count_of(argv[2]), count_of(argv[3]));
    char *line = NULL;
    size_t room = 0;
    for (long number = 1; getline(&line, &room, stdin) > 0; number++) {
        json_error_t why;
        json_t *request = json_loads(line, 0, &why);
        if (!request) die("line %ld: %s", number, why.text);
        const char *prompt = json_string_value(json_object_get(request, "prompt"));
        const char *text = json_string_value(json_object_get(request, "text"));
        if (!prompt && !text) die("line %ld: neither prompt nor text", number);
        json_t *out = text ? score(&e, text)
                           : answer(&e, prompt, (int)json_integer_value(json_object_get(request, "n")));
        if (!out || json_dumpf(out, stdout, JSON_COMPACT) != 0 || putchar('\n') == EOF || fflush(stdout) != 0)
            die("line %ld: the answer cannot be written", number);
        json_decref(out);
        json_decref(request);
    }
    free(line);
    free(e.ids);
    llama_free(e.ctx);
    llama_model_free(e.model);
    return 0;
}
