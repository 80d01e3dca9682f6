/* weir-blocks: whole cascade blocks of a pair through the public interface: gamma by sessions, on any device.
 * Times are those of a caller, with launch, loop and records. Prints CSV.
 *
 * Session i of a case has prompt i and seed i, so session 0 must emit the same tokens in every case of one
 * gamma. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/weir.h"

static const char usage[] =
    "usage: weir-blocks -m VERIFIER -md DRAFTER [--device D] [--gamma 1,3,5,7] [--sessions 1,8,64] "
    "[--n-prompt N]\n"
    "                   [--ctx N] [--blocks N] [--repeat N] [--no-graph] [--name TEXT] [--parts FILE]\n"
    "\n"
    "--parts: what weir bench --csv prints of the first gamma, into FILE, without loading the pair again.\n"
    "--ctx: context length of a session. Decoder-only: prompt and output together; encoder-decoder: each.\n"
    "CSV: name, device, graph (docs/gpu.md), gamma, sessions, us per block (p50, p99), tokens per block,\n"
    "     us per token, whether session 0 emits the same as in gamma's first case, its first tokens,\n"
    "     team, pdl (docs/gpu.md).\n"
    "Exit status: 0, 1 for a failure or a session 0 that differs, 2 for wrong usage.\n";

enum { MAX_LIST = 16, MAX_SESSION = 64, MAX_REPEAT = 200, MAX_CTX = 1 << 16, COMPARED = 16 };
enum { MAX_PART = 64, PART_ROWS = 8, COPY_MIB = 256, COPY_REPEAT = 10 };

typedef struct options {
    const char *model, *draft, *device, *name, *parts;
    int gamma[MAX_LIST], n_gamma, sessions[MAX_LIST], n_sessions;
    int n_prompt, ctx, blocks, repeat;
    int room; /* tokens that a session may emit */
    bool no_graph;
} options;

typedef struct result {
    double p50, p99, tokens; /* seconds of a block; emitted by one block of one session */
    int32_t first[COMPARED]; /* of session 0 */
    size_t n_first;
} result;

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* ---- sessions ------------------------------------------------------------------------------------------ */

static weir_status create(weir_engine *e, const options *o, int gamma, int i, weir_session **out,
                          weir_err *err) {
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    weir_session_options opt = weir_session_options_default();
    opt.n_draft = gamma;
    opt.max_tokens = o->room;
    opt.ignore_eos = true;
    opt.seed = (uint64_t)i;
    int32_t *prompt = weir_alloc((size_t)o->n_prompt, sizeof *prompt);
    if (!prompt) return weir_fail(err, WEIR_ENOMEM, "out of memory for a prompt");
    for (int k = 0; k < o->n_prompt; k++) prompt[k] = (int32_t)((k * 7919L + i * 104729L + 101) % f.n_vocab);
    const weir_status s = weir_session_create(e, &opt, prompt, (size_t)o->n_prompt, NULL, NULL, out, err);
    weir_free(prompt);
    return s;
}

static size_t emitted(weir_session *const *s, int n) {
    size_t sum = 0;
    for (int i = 0; i < n; i++) {
        weir_session_view v;
        weir_session_get(s[i], &v);
        sum += v.n;
    }
    return sum;
}

/* One repeat: fresh sessions, a first block with their prompts, then the blocks that count. */
static weir_status repeat_once(weir_engine *e, const options *o, int gamma, int n, double *seconds, result *r,
                               weir_err *err) {
    weir_session *s[MAX_SESSION] = {NULL};
    weir_status st = WEIR_OK;
    for (int i = 0; st == WEIR_OK && i < n; i++) st = create(e, o, gamma, i, &s[i], err);
    if (st == WEIR_OK) st = weir_step(e, s, n, 1, err);
    if (st == WEIR_OK) {
        const size_t before = emitted(s, n);
        const double t0 = weir_seconds();
        st = weir_step(e, s, n, o->blocks, err);
        *seconds = (weir_seconds() - t0) / o->blocks;
        r->tokens = (double)(emitted(s, n) - before) / (double)(n * o->blocks);
        weir_session_view v;
        weir_session_get(s[0], &v);
        r->n_first = v.n < COMPARED ? v.n : COMPARED;
        memcpy(r->first, v.ids, r->n_first * sizeof *r->first);
    }
    for (int i = 0; i < n; i++) weir_session_free(s[i]);
    return st;
}

static weir_status time_case(weir_engine *e, const options *o, int gamma, int n, result *r, weir_err *err) {
    double seconds[MAX_REPEAT];
    for (int i = -1; i < o->repeat; i++)
        WEIR_TRY(repeat_once(e, o, gamma, n, &seconds[i < 0 ? 0 : i], r, err));
    qsort(seconds, (size_t)o->repeat, sizeof *seconds, by_value);
    r->p50 = seconds[o->repeat / 2];
    r->p99 = seconds[(int)(0.99 * (o->repeat - 1) + 0.5)];
    return WEIR_OK;
}

/* ---- all cases ----------------------------------------------------------------------------------------- */

static bool same_tokens(const result *a, const result *b) {
    const size_t n = a->n_first < b->n_first ? a->n_first : b->n_first;
    return n > 0 && memcmp(a->first, b->first, n * sizeof *a->first) == 0;
}

static int run(weir_engine *e, const options *o) {
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    int n_bad = 0;
    printf("name,device,graph,gamma,sessions,us_p50,us_p99,tokens_per_block,us_per_token,session_0,"
           "first_tokens,team,pdl\n");
    for (int g = 0; g < o->n_gamma; g++) {
        result alone = {.n_first = 0};
        for (int i = 0; i < o->n_sessions; i++) {
            result r = {.n_first = 0};
            weir_err err = {{0}};
            const weir_status s = time_case(e, o, o->gamma[g], o->sessions[i], &r, &err);
            weir_engine_get_facts(e, &f); /* a device may have refused something in this case */
            const char *graph = f.graph ? f.graph : "none";
            printf("%s,%s,%s,%d,%d,", o->name, f.device, graph, o->gamma[g], o->sessions[i]);
            if (s != WEIR_OK) {
                n_bad++;
                printf(",,,,failed,,,\n");
                fprintf(stderr, "weir-blocks: gamma %d, %d sessions: %s\n", o->gamma[g], o->sessions[i],
                        err.text[0] ? err.text : weir_status_str(s));
                continue;
            }
            if (alone.n_first == 0) alone = r;
            const bool same = same_tokens(&alone, &r);
            n_bad += !same;
            printf("%.2f,%.2f,%.3f,%.2f,%s,", 1e6 * r.p50, 1e6 * r.p99, r.tokens,
                   1e6 * r.p50 / (r.tokens * o->sessions[i]), same ? "same" : "differs");
            for (size_t t = 0; t < r.n_first; t++) printf("%s%d", t ? " " : "", (int)r.first[t]);
            printf(",%s,%s\n", f.team ? f.team : "", f.pdl ? f.pdl : "");
            fflush(stdout);
        }
    }
    return n_bad > 0;
}

/* ---- parts of a block ---------------------------------------------------------------------------------- */

static bool write_parts(const char *path, const weir_bench_row *row, int n, double copy) {
    char line[WEIR_BENCH_CSV_MAX];
    FILE *f = fopen(path, "w");
    if (!f) return false;
    fprintf(f, "%s\n", WEIR_BENCH_CSV);
    for (int i = 0; i < n; i++) {
        weir_bench_csv(&row[i], copy, line, sizeof line);
        fprintf(f, "%s\n", line);
    }
    const bool failed = ferror(f) != 0;
    return fclose(f) == 0 && !failed;
}

static int run_parts(weir_engine *e, const options *o) {
    weir_bench_row row[MAX_PART];
    weir_err err = {{0}};
    int n = 0;
    const double copy = weir_bench_copy(e, (size_t)COPY_MIB << 20, COPY_REPEAT);
    const weir_status s =
        weir_bench(e, o->n_prompt, PART_ROWS, o->gamma[0], o->repeat, row, MAX_PART, &n, &err);
    if (s != WEIR_OK) {
        fprintf(stderr, "weir-blocks: parts: %s\n", err.text[0] ? err.text : weir_status_str(s));
    } else if (!write_parts(o->parts, row, n, copy)) {
        fprintf(stderr, "weir-blocks: cannot write %s\n", o->parts);
    } else {
        return 0;
    }
    return 1;
}

/* ---- options ------------------------------------------------------------------------------------------- */

static bool parse_int(const char *text, int lo, int hi, int *out) {
    char *end;
    const long v = strtol(text, &end, 10);
    if (end == text || *end || v < lo || v > hi) return false;
    *out = (int)v;
    return true;
}

static bool parse_list(const char *text, int lo, int hi, int *out, int *n) {
    char item[16];
    for (*n = 0; *n < MAX_LIST; text++) {
        const size_t len = strcspn(text, ",");
        if (len == 0 || len >= sizeof item) return false;
        memcpy(item, text, len);
        item[len] = 0;
        if (!parse_int(item, lo, hi, &out[(*n)++])) return false;
        text += len;
        if (!*text) return true;
    }
    return false;
}

static bool parse_one(options *o, const char *name, const char *v) {
    if (strcmp(name, "-m") == 0) return o->model = v, true;
    if (strcmp(name, "-md") == 0) return o->draft = v, true;
    if (strcmp(name, "--device") == 0) return o->device = v, true;
    if (strcmp(name, "--name") == 0) return o->name = v, true;
    if (strcmp(name, "--parts") == 0) return o->parts = v, true;
    if (strcmp(name, "--gamma") == 0) return parse_list(v, 1, WEIR_GAMMA_MAX, o->gamma, &o->n_gamma);
    if (strcmp(name, "--sessions") == 0) return parse_list(v, 1, MAX_SESSION, o->sessions, &o->n_sessions);
    if (strcmp(name, "--n-prompt") == 0) return parse_int(v, 1, MAX_CTX, &o->n_prompt);
    if (strcmp(name, "--ctx") == 0) return parse_int(v, 1, MAX_CTX, &o->ctx);
    if (strcmp(name, "--blocks") == 0) return parse_int(v, 1, MAX_CTX, &o->blocks);
    if (strcmp(name, "--repeat") == 0) return parse_int(v, 1, MAX_REPEAT, &o->repeat);
    return false;
}

static bool parse(int argc, char **argv, options *o) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--no-graph") == 0) {
            o->no_graph = true;
            continue;
        }
        if (i + 1 == argc || !parse_one(o, argv[i], argv[i + 1])) {
            fprintf(stderr, "weir-blocks: %s: unknown, or its value is missing or out of range\n", argv[i]);
            return false;
        }
        i++;
    }
    if (!o->model || !o->draft) fprintf(stderr, "weir-blocks: -m and -md are required\n");
    return o->model && o->draft;
}

/* A block emits gamma + 1 tokens at most; one runs before those that count. */
static bool fit(weir_engine *e, options *o, int max_draft) {
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    o->room = o->ctx - (f.encoder_decoder ? 0 : o->n_prompt);
    const int least = (o->blocks + 1) * (max_draft + 1);
    if (o->n_prompt <= o->ctx && o->room >= least) return true;
    fprintf(stderr,
            "weir-blocks: --ctx %d: expected at least %d for a prompt of %d and %d blocks of %d tokens\n",
            o->ctx, f.encoder_decoder ? (o->n_prompt > least ? o->n_prompt : least) : o->n_prompt + least,
            o->n_prompt, o->blocks + 1, max_draft + 1);
    return false;
}

int main(int argc, char **argv) {
    options o = {.name = "pair",
                 .gamma = {5},
                 .n_gamma = 1,
                 .sessions = {1},
                 .n_sessions = 1,
                 .n_prompt = 64,
                 .ctx = 512,
                 .blocks = 16,
                 .repeat = 9};
    if (!parse(argc, argv, &o)) {
        fputs(usage, stderr);
        return 2;
    }
    weir_engine_options opt = weir_engine_options_default();
    opt.model = o.model;
    opt.model_draft = o.draft;
    opt.device = o.device;
    opt.ctx_size = o.ctx;
    opt.no_graph = o.no_graph;
    opt.fixed_gamma = true;
    opt.max_draft = 1;
    opt.n_parallel = 1;
    for (int i = 0; i < o.n_gamma; i++)
        if (o.gamma[i] > opt.max_draft) opt.max_draft = o.gamma[i];
    for (int i = 0; i < o.n_sessions; i++)
        if (o.sessions[i] > opt.n_parallel) opt.n_parallel = o.sessions[i];
    weir_engine *e = NULL;
    weir_err err = {{0}};
    if (weir_engine_open(&e, &opt, &err) != WEIR_OK) {
        fprintf(stderr, "weir-blocks: %s\n", err.text);
        return 1;
    }
    int rc = fit(e, &o, opt.max_draft) ? run(e, &o) : 2;
    if (rc != 2 && o.parts && run_parts(e, &o) != 0) rc = 1;
    weir_engine_close(e);
    return rc;
}
