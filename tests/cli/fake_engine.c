/* An engine behind host/weir.h that does what a real one rarely does: fail in the middle, answer slowly, emit
 * bytes that are no text. The program is linked with it to see how it behaves then. The model's name chooses:
 *   plain    each token is " wN"; an answer has as many tokens as the prompt has bytes, at most max_tokens
 *   slow     the same, 5 ms a token
 *   bytes    tokens are a newline, 0xff, an umlaut's two halves
 *   nan      the second session ends with ELOGITS at its third token
 *   stuck    after three tokens every step fails with EINVAL and ends nothing
 *   lost     the fifth step fails with ECUDA
 *   noids    has no tokenizer
 *   memory   the engine does not open: the plan does not fit */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host/weir.h"

struct weir_engine {
    char name[32];
    weir_draft_kind draft;
    const weir_chat_template *chat;
    int n_session, n_step;
};

struct weir_session {
    weir_engine *e;
    int number;
    weir_session_options o;
    weir_token_fn fn;
    void *ud;
    bool cancel;
    weir_finish finish;
    int32_t ids[1024];
    uint8_t sources[1024];
    float logprobs[1024];
    char text[1024 * 8];
    size_t n, want, bytes;
    const char *failure;
    weir_session_stats stats;
};

static bool is(const weir_engine *e, const char *name) { return strcmp(e->name, name) == 0; }

weir_engine_options weir_engine_options_default(void) { return (weir_engine_options){.n_thread = 0}; }

weir_status weir_engine_open(weir_engine **out, const weir_engine_options *opt, weir_err *err) {
    if (strcmp(opt->model, "memory") == 0)
        return weir_fail(err, WEIR_ENOMEM,
                         "the plan needs 9.0 GiB (weights 8.0 GiB, KV 1.0 GiB); 2.0 GiB are available");
    weir_engine *e = weir_calloc(1, sizeof *e);
    if (!e) return weir_fail(err, WEIR_ENOMEM, "out of memory");
    snprintf(e->name, sizeof e->name, "%s", opt->model);
    e->draft = weir_draft_named(opt->model_draft);
    e->chat = opt->chat_template ? weir_chat_template_find(opt->chat_template) : NULL;
    if (!e->chat && (opt->chat_template || opt->chat_required)) {
        weir_free(e);
        return weir_fail(err, WEIR_ENOTSUP, "no such chat template");
    }
    *out = e;
    return WEIR_OK;
}

void weir_engine_close(weir_engine *e) { weir_free(e); }

weir_status weir_follow(weir_engine *e, weir_err *err) {
    (void)e;
    return weir_fail(err, WEIR_EINVAL, "rank 0 does not follow");
}

void weir_engine_get_facts(const weir_engine *e, weir_engine_facts *out) {
    memset(out, 0, sizeof *out);
    out->device = "fake";
    out->isa = out->about = "none";
    out->n_thread = 1;
    out->n_parallel = 4;
    out->ctx_size = 512;
    out->max_draft = 16;
    out->draft = e->draft;
    out->has_tokenizer = !is(e, "noids");
    out->chat_template = e->chat ? e->chat->name : NULL;
    out->family[0] = out->family[1] = "fake";
    out->dtype[0] = out->dtype[1] = "f32";
}

/* One id a byte: what a test puts in, it can count. Where control tokens are parsed, "<s>" is one id, 256. */
weir_status weir_tokenize(const weir_engine *e, const char *text, size_t bytes, bool add_special,
                          bool parse_special, int32_t **ids, size_t *n_ids, weir_err *err) {
    if (is(e, "noids")) return weir_fail(err, WEIR_ENOTSUP, "the checkpoint has no tokenizer: give ids");
    int32_t *out = weir_alloc(bytes + 1, sizeof *out);
    if (!out) return weir_fail(err, WEIR_ENOMEM, "out of memory");
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++) {
        const bool token = parse_special && bytes - i >= 3 && memcmp(text + i, "<s>", 3) == 0;
        out[count++] = token ? 256 : (unsigned char)text[i];
        i += token ? 2 : 0;
    }
    if (add_special) out[count++] = 1;
    *ids = out;
    *n_ids = count;
    return WEIR_OK;
}

void weir_ids_free(int32_t *ids) { weir_free(ids); }

weir_status weir_detokenize(const weir_engine *e, const int32_t *ids, size_t n_ids, char **text,
                            size_t *bytes, weir_err *err) {
    (void)e;
    char *out = weir_alloc(n_ids + 1, 1);
    if (!out) return weir_fail(err, WEIR_ENOMEM, "out of memory");
    for (size_t i = 0; i < n_ids; i++) out[i] = (char)ids[i];
    out[n_ids] = '\0';
    *text = out;
    *bytes = n_ids;
    return WEIR_OK;
}

weir_status weir_chat_tokenize(const weir_engine *e, const weir_chat_message *messages, size_t n,
                               bool open_last, int32_t **ids, size_t *n_ids, weir_err *err) {
    weir_chat_text text = {0};
    if (!e->chat) return weir_fail(err, WEIR_ENOTSUP, "no chat template");
    weir_status st =
        weir_chat_render(e->chat, messages, n, open_last ? WEIR_CHAT_OPEN : WEIR_CHAT_ANSWER, &text, err);
    size_t bytes = 0;
    for (size_t i = 0; i < text.n; i++) bytes += text.segments[i].bytes;
    char *all = st == WEIR_OK ? weir_alloc(bytes + 1, 1) : NULL;
    if (st == WEIR_OK && !all) st = weir_fail(err, WEIR_ENOMEM, "out of memory");
    for (size_t i = 0, at = 0; all && i < text.n; at += text.segments[i++].bytes)
        memcpy(all + at, text.segments[i].text, text.segments[i].bytes);
    if (st == WEIR_OK) st = weir_tokenize(e, all, bytes, text.add_special, false, ids, n_ids, err);
    weir_free(all);
    weir_chat_text_free(&text);
    return st;
}

void weir_text_free(char *text) { weir_free(text); }

weir_status weir_chat_prompt(const weir_engine *e, const weir_chat_message *messages, size_t n,
                             bool open_last, char **text, size_t *bytes, weir_err *err) {
    (void)e, (void)messages, (void)n, (void)open_last, (void)text, (void)bytes;
    return weir_fail(err, WEIR_ENOTSUP, "no chat template");
}

const char *weir_chat_template_text(const weir_engine *e) {
    (void)e;
    return NULL;
}

const char *weir_token_piece(const weir_engine *e, int32_t id) {
    (void)e;
    return id == 255 ? "\xff" : id > 1 ? "piece" : NULL;
}

weir_status weir_token_bytes(const weir_engine *e, int32_t id, char **bytes, size_t *n, weir_err *err) {
    const char *piece = weir_token_piece(e, id);
    if (!piece) return weir_fail(err, WEIR_EINVAL, "no token %d", (int)id);
    *bytes = weir_strdup(piece);
    *n = strlen(piece);
    return *bytes ? WEIR_OK : WEIR_ENOMEM;
}

weir_session_options weir_session_options_default(void) {
    return (weir_session_options){.law = weir_law_default(), .n_draft = 5, .max_tokens = 128};
}

weir_status weir_session_create(weir_engine *e, const weir_session_options *opt, const int32_t *prompt,
                                size_t n_prompt, weir_token_fn on_token, void *ud, weir_session **out,
                                weir_err *err) {
    (void)prompt;
    if (n_prompt > 512) return weir_fail(err, WEIR_ETOOLONG, "%zu tokens; the context holds 512", n_prompt);
    weir_session *s = weir_calloc(1, sizeof *s);
    if (!s) return weir_fail(err, WEIR_ENOMEM, "out of memory");
    s->e = e;
    s->number = e->n_session++;
    s->o = *opt;
    s->fn = on_token;
    s->ud = ud;
    s->stats.n_prompt = (int64_t)n_prompt;
    s->want = n_prompt - 1 < (size_t)opt->max_tokens ? n_prompt - 1 : (size_t)opt->max_tokens;
    *out = s;
    return WEIR_OK;
}

void weir_session_free(weir_session *s) { weir_free(s); }
void weir_session_cancel(weir_session *s) { s->cancel = true; }

static void emit(weir_session *s) {
    static const char *const odd[] = {"\n", "\xff", "\xc3\xbc", ""};
    char word[16];
    snprintf(word, sizeof word, " w%zu", s->n);
    const char *text = is(s->e, "bytes") ? odd[s->n % 4] : word;
    if (is(s->e, "slow")) nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    size_t i = s->n++;
    s->ids[i] = (int32_t)i;
    s->sources[i] = (uint8_t)(i % 6);
    s->logprobs[i] = i % 2 ? NAN : -0.5f;
    memcpy(s->text + s->bytes, text, strlen(text) + 1);
    s->bytes += strlen(text);
    weir_token_event ev = {.id = (int32_t)i, .source = (int)(i % 6), .text = text, .bytes = strlen(text)};
    if (s->fn && !s->fn(s->ud, s, &ev)) s->finish = WEIR_FINISH_CANCELLED;
}

static weir_status step_one(weir_session *s, weir_err *err) {
    if (s->finish != WEIR_RUNNING) return WEIR_OK;
    if (s->cancel)
        s->finish = WEIR_FINISH_CANCELLED;
    else if (s->n == s->want)
        s->finish = WEIR_FINISH_STOP;
    else
        emit(s);
    if (!is(s->e, "nan") || s->number != 1 || s->n < 3) return WEIR_OK;
    s->finish = WEIR_FINISH_CANCELLED;
    s->failure = "session 1: a row of logits holds NaN";
    return weir_fail(err, WEIR_ELOGITS, "%s", s->failure);
}

weir_status weir_session_prefill(weir_session *s, int64_t max_positions, int64_t *left, weir_err *err) {
    (void)s, (void)max_positions, (void)err;
    *left = 0;
    return WEIR_OK;
}

void weir_engine_yield(weir_engine *e) { (void)e; }

weir_finish weir_session_state(const weir_session *s) { return s->finish; }

weir_status weir_step(weir_engine *e, weir_session *const *sessions, int n, int max_blocks, weir_err *err) {
    weir_status first = WEIR_OK;
    if (is(e, "lost") && e->n_step++ == 4) return weir_fail(err, WEIR_ECUDA, "the device is lost");
    if (is(e, "stuck") && ++e->n_step > 3)
        return weir_fail(err, WEIR_EINVAL, "block loop of 4 seats, gamma 0: invalid argument");
    for (int b = 0; b < (is(e, "lost") || is(e, "stuck") ? 1 : max_blocks); b++) {
        for (int i = 0; i < n; i++) {
            weir_status st = step_one(sessions[i], err);
            if (first == WEIR_OK) first = st;
        }
    }
    return first;
}

void weir_session_get(weir_session *s, weir_session_view *out) {
    s->stats.n_output = (int64_t)s->n;
    *out = (weir_session_view){.ids = s->ids,
                               .sources = s->sources,
                               .logprobs = s->logprobs,
                               .policy_logprobs = s->logprobs,
                               .n = s->n,
                               .text = s->text,
                               .bytes = s->bytes,
                               .finish = s->finish,
                               .failure = s->failure,
                               .eos = -1,
                               .stats = s->stats};
}

weir_status weir_score(weir_engine *e, const int32_t *prompt, size_t n_prompt, const int32_t *completion,
                       size_t n_completion, float *logprobs, weir_err *err) {
    (void)e, (void)prompt, (void)n_prompt, (void)completion, (void)err;
    for (size_t i = 0; i < n_completion; i++) logprobs[i] = i == 1 ? -INFINITY : -1.0f;
    return WEIR_OK;
}

void weir_engine_pages(const weir_engine *e, int side, int64_t *n_free, int64_t *n_total) {
    (void)e, (void)side;
    *n_free = *n_total = 0;
}

void weir_engine_ranks(const weir_engine *e, weir_ranks_facts *out) {
    (void)e;
    *out = (weir_ranks_facts){.n_rank = 1};
}

void weir_session_suspend(weir_session *s) { (void)s; }

/* The command line sends no scoring jobs to its queue. */
weir_status weir_score_begin(weir_engine *e, const int32_t *prompt, size_t n_prompt,
                             const int32_t *completion, size_t n_completion, int n_top, uint64_t cache_salt,
                             weir_scoring **out, weir_err *err) {
    (void)e, (void)prompt, (void)n_prompt, (void)completion, (void)n_completion, (void)n_top,
        (void)cache_salt, (void)out;
    return weir_fail(err, WEIR_ENOTSUP, "no scoring in steps");
}

bool weir_score_in_part(const weir_scoring *g) {
    (void)g;
    return false;
}

bool weir_session_in_part(const weir_session *s) {
    (void)s;
    return false;
}

weir_status weir_score_step(weir_scoring *g, int64_t max_rows, int64_t *left, weir_err *err) {
    (void)g, (void)max_rows, (void)left;
    return weir_fail(err, WEIR_ENOTSUP, "no scoring in steps");
}

void weir_score_get(const weir_scoring *g, const float **logprobs, const weir_top **top, size_t *n) {
    (void)g;
    *logprobs = NULL;
    *top = NULL;
    *n = 0;
}

void weir_score_end(weir_scoring *g) { (void)g; }

weir_status weir_score_pair(weir_engine *e, const int32_t *prompt, size_t n_prompt, const int32_t *completion,
                            size_t n_completion, weir_rows_fn fn, void *ud, weir_err *err) {
    (void)e, (void)prompt, (void)n_prompt, (void)completion, (void)n_completion, (void)fn, (void)ud;
    return weir_fail(err, WEIR_ECUDA, "the device was lost");
}

weir_status weir_replay_create(const weir_law *sampled, weir_replay **out, weir_err *err) {
    (void)sampled, (void)out;
    return weir_fail(err, WEIR_ENOMEM, "out of memory for a replay");
}

void weir_replay_free(weir_replay *r) { (void)r; }
void weir_replay_set_interrupt(weir_replay *r, weir_interrupt interrupt) { (void)r, (void)interrupt; }

weir_status weir_replay_begin(weir_replay *r, weir_err *err) {
    (void)r;
    return weir_fail(err, WEIR_ENOMEM, "out of memory");
}

weir_status weir_replay_add(weir_replay *r, const float *q_logits, const float *p_logits, int32_t n,
                            int32_t token, bool counted, weir_err *err) {
    (void)r, (void)q_logits, (void)p_logits, (void)n, (void)token, (void)counted;
    return weir_fail(err, WEIR_ENOMEM, "out of memory");
}

weir_status weir_replay_estimate(const weir_replay *r, const weir_law *law, int gamma,
                                 weir_replay_result *out, weir_err *err) {
    (void)r, (void)law, (void)gamma, (void)out;
    return weir_fail(err, WEIR_ENOMEM, "out of memory");
}

weir_status weir_rule_eval(const weir_law *law, const float *q_logits, const float *p_logits, int32_t n_vocab,
                           weir_rule_result *out, weir_err *err) {
    (void)law, (void)q_logits, (void)p_logits, (void)n_vocab, (void)out;
    return weir_fail(err, WEIR_ENOMEM, "out of memory for %d tokens", n_vocab);
}

weir_status weir_rule_draw(const weir_law *law, const float *q_logits, const float *p_logits, int32_t n_vocab,
                           uint64_t seed, int64_t first, int64_t n_draw, int64_t *counts, int64_t *n_accepted,
                           weir_err *err) {
    (void)law, (void)q_logits, (void)p_logits, (void)n_vocab, (void)seed, (void)first, (void)n_draw,
        (void)counts;
    (void)n_accepted;
    return weir_fail(err, WEIR_ENOMEM, "out of memory");
}

double weir_bench_copy(weir_engine *e, size_t bytes, int repeat) {
    (void)e, (void)bytes, (void)repeat;
    return 1e10;
}

weir_status weir_bench(weir_engine *e, int n_prompt, int max_rows, int gamma, int repeat,
                       weir_bench_row *rows, int cap, int *n_rows, weir_err *err) {
    (void)e, (void)n_prompt, (void)gamma, (void)repeat, (void)err;
    int n = 0;
    for (; n < max_rows && n < cap; n++) {
        rows[n] = (weir_bench_row){
            .rows = n + 1, .seconds_p50 = 1e-6 * (n + 1), .seconds_p99 = 2e-6, .bytes = 5000};
        snprintf(rows[n].name, sizeof rows[n].name, "verify");
    }
    *n_rows = n;
    return WEIR_OK;
}
