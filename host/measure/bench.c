/* Timings of the parts of a block on the loaded pair, from inside: the same calls that weir_step makes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/deck/block_loop.h"
#include "host/deck/deck.h"
#include "host/measure/timing.h"
#include "host/ranks/ranks.h"
#include "host/session/session.h"
#include "kernels/base/clock.h"
#include "kernels/base/mem.h"

enum { MAX_REPEAT = 1000, WARM_UP = 3, MAX_OUTPUT = 64 };

/* ---- copy bandwidth: the denominator of every share ---------------------------------------------------- */

double weir_bench_copy(weir_engine *e, size_t bytes, int repeat) {
    if (repeat < 1) repeat = 1;
    if (repeat > MAX_REPEAT) repeat = MAX_REPEAT;
    return weir__copy_rate(e->pair.be, bytes, repeat, &e->deck.interrupt);
}

/* ---- parts --------------------------------------------------------------------------------------------- */

typedef struct bench {
    weir_engine *e;
    weir_session *s;
    int gamma, n_row; /* of the part that runs */
    int side;
    size_t exchanged; /* bytes of each rank */
    double *seconds;  /* (repeat) */
    int repeat;
    weir_bench_row *rows;
    int cap, n;
} bench;

typedef weir_status (*bench_part)(bench *b);

/* Times one part and files its row. */
static weir_status measure(bench *b, const char *name, int n_row, double bytes, bench_part part) {
    if (b->n >= b->cap) return WEIR_OK;
    for (int i = -WARM_UP; i < b->repeat; i++) {
        if (weir_interrupted(&b->e->deck.interrupt)) return WEIR_ECANCELED;
        const double t0 = weir_seconds();
        WEIR_TRY(part(b));
        WEIR_TRY(b->e->pair.be->stream->wait(b->e->pair.be));
        if (i >= 0) b->seconds[i] = weir_seconds() - t0;
    }
    weir_bench_row *r = &b->rows[b->n++];
    snprintf(r->name, sizeof r->name, "%s", name);
    r->rows = n_row;
    r->bytes = bytes;
    r->seconds_p99 = weir__quantile(b->seconds, b->repeat, 0.99);
    r->seconds_p50 = weir__quantile(b->seconds, b->repeat, 0.5);
    return WEIR_OK;
}

static weir_status part_prefill(bench *b) {
    b->s->cached[b->side] = -1;
    b->s->prefilled[b->side] = 0;
    return weir__session_prefill(b->s, b->side, NULL);
}

/* n_row rows at the session's current end; nothing is kept, so every repeat is the same call. */
static weir_status part_rows(bench *b) {
    weir_engine *e = b->e;
    weir_rows rows = {0, 0};
    const weir_seat seat = weir__seat_of(b->s);
    for (int i = 0; i < b->n_row; i++)
        weir__rows_add(e, &rows, &seat, (37 * i + 11) % e->pair.n_vocab, b->s->n + i, true);
    return weir__rows_run(e, &rows, b->side,
                          b->side == WEIR_DRAFTER ? e->deck.buf.q_logits : e->deck.buf.p_logits);
}

/* A draft step as weir_step runs it: one row, its statistics, the draw. */
static weir_status part_draft(bench *b) {
    weir_step_buffers *f = &b->e->deck.buf;
    b->n_row = 1;
    b->side = WEIR_DRAFTER;
    WEIR_TRY(part_rows(b));
    f->law_of[0] = 0;
    f->position[0] = (int32_t)b->s->n;
    f->block_row[0] = 0;
    WEIR_TRY(weir__rows_stats(b->e, WEIR_DRAFTER, f->q_logits, 1, b->e->deck.dev.q_stats));
    return weir__rows_draw(b->e, f->q_logits, 1, b->e->deck.dev.q_stats);
}

/* From the statistics of gamma + 1 verifier rows to the token that closes the block. */
static weir_status part_accept(bench *b) { return weir__block_loop_accept(b->e->deck.loop); }

/* A whole step from the session's first token on; the output is forgotten again. */
static weir_status part_step(bench *b) {
    weir__session_restart(b->s);
    for (int side = 0; side < 2; side++)
        if (b->s->cached[side] > 0) b->s->cached[side] = 0;
    return weir_step(b->e, &b->s, 1, 1, NULL);
}

static weir_status open_session(bench *b, weir_method method, int n_prompt, weir_err *err) {
    weir_session_options opt = weir_session_options_default();
    opt.method = method;
    opt.n_draft = b->gamma;
    opt.max_tokens = b->e->pair.ctx_size < MAX_OUTPUT ? b->e->pair.ctx_size : MAX_OUTPUT;
    opt.ignore_eos = true;
    opt.law.rule = WEIR_RULE_TOKEN_V3;
    opt.law.alpha = weir_rule_facts(WEIR_RULE_TOKEN_V3)->alpha_default;
    int32_t *prompt = weir_alloc((size_t)n_prompt, sizeof *prompt);
    if (!prompt) return weir_fail(err, WEIR_ENOMEM, "out of memory for the prompt");
    for (int i = 0; i < n_prompt; i++) prompt[i] = (i * 7919 + 101) % b->e->pair.n_vocab;
    weir_session_free(b->s);
    b->s = NULL;
    weir_status st = weir_session_create(b->e, &opt, prompt, (size_t)n_prompt, NULL, NULL, &b->s, err);
    weir_free(prompt);
    if (st == WEIR_OK) st = weir__session_admit(b->s, err);
    for (int side = 0; st == WEIR_OK && side <= (int)b->e->pair.has_draft; side++)
        st = weir__session_room(b->s, side, opt.n_draft + 2 > 10 ? opt.n_draft + 2 : 10);
    if (st != WEIR_OK) return st;
    b->e->deck.buf.law[0] = b->s->opt.law;
    return WEIR_PUT(b->e, law, 1);
}

static double pass_bytes(const weir_engine *e, int side) {
    return (double)weir__model_get_facts(e->pair.side[side].model)->decode_bytes;
}

/* A prompt goes through the encoder and what makes the cross cache, or through a decoder's layers but not its
 * head, whose share is not known here: the bytes are then those of a whole pass. */
static double prompt_bytes(const weir_engine *e, int side) {
    const double pass = pass_bytes(e, side);
    return e->pair.facts.encoder_decoder ? (double)e->pair.facts.weights[side] - pass : pass;
}

static weir_status time_parts(bench *b, int n_prompt, int max_rows, weir_err *err) {
    const weir_engine *e = b->e;
    const double v = pass_bytes(e, WEIR_VERIFIER);
    WEIR_TRY(
        open_session(b, e->pair.has_draft ? WEIR_METHOD_SPECULATIVE : WEIR_METHOD_VERIFIER, n_prompt, err));
    b->side = WEIR_VERIFIER;
    WEIR_TRY(measure(b, "prefill verifier", n_prompt, prompt_bytes(e, WEIR_VERIFIER), part_prefill));
    for (int r = 1; r <= max_rows; r++) {
        b->n_row = r;
        b->side = WEIR_VERIFIER;
        WEIR_TRY(measure(b, "verify pass", r, v, part_rows));
    }
    if (!e->pair.has_draft) return WEIR_OK;
    const double d = pass_bytes(e, WEIR_DRAFTER);
    b->side = WEIR_DRAFTER;
    WEIR_TRY(measure(b, "prefill drafter", n_prompt, prompt_bytes(e, WEIR_DRAFTER), part_prefill));
    WEIR_TRY(measure(b, "draft step", 1, d, part_draft));
    WEIR_TRY(weir__block_loop_stage(e->deck.loop, b->s));
    WEIR_TRY(
        measure(b, "accept step", b->gamma + 1, 4.0 * e->pair.n_vocab * (2.0 * b->gamma + 1.0), part_accept));
    WEIR_TRY(measure(b, "block", b->gamma + 1, v + b->gamma * d, part_step));
    return WEIR_OK;
}

enum { EXCHANGES = 16 }; /* of one timing, after the word to the members that starts them */

static weir_status part_exchange(bench *b) { return weir__ranks_exchange(b->e, b->exchanged, EXCHANGES); }

/* From a row's partial sums of a small model to those of a prompt's chunk of a large one. */
static weir_status time_exchanges(bench *b) {
    static const int kib[] = {4, 32, 128, 1024, 4608};
    for (size_t i = 0; i < sizeof kib / sizeof *kib && b->e->pair.n_rank > 1; i++) {
        char name[48];
        const int before = b->n, others = b->e->pair.n_rank - 1;
        b->exchanged = (size_t)kib[i] << 10;
        snprintf(name, sizeof name, "exchange, %d KiB a rank", kib[i]);
        WEIR_TRY(measure(b, name, b->e->pair.n_rank, (double)b->exchanged * others, part_exchange));
        if (b->n == before) return WEIR_OK; /* no room for more rows */
        b->rows[before].seconds_p50 /= EXCHANGES;
        b->rows[before].seconds_p99 /= EXCHANGES;
    }
    return WEIR_OK;
}

static weir_status time_verifier_alone(bench *b, int n_prompt, weir_err *err) {
    WEIR_TRY(open_session(b, WEIR_METHOD_VERIFIER, n_prompt, err));
    return measure(b, "verifier token", 1, pass_bytes(b->e, WEIR_VERIFIER), part_step);
}

weir_status weir_bench(weir_engine *e, int n_prompt, int max_rows, int gamma, int repeat,
                       weir_bench_row *rows, int cap, int *n_rows, weir_err *err) {
    if (n_prompt < 1 || n_prompt > e->pair.ctx_size)
        return weir_fail(err, WEIR_EINVAL, "prompt of %d tokens is outside [1, %d]", n_prompt,
                         e->pair.ctx_size);
    if (!e->pair.facts.encoder_decoder && n_prompt > e->pair.ctx_size - MAX_OUTPUT)
        return weir_fail(err, WEIR_EINVAL, "prompt of %d tokens: a context of %d has no room for %d more",
                         n_prompt, e->pair.ctx_size, MAX_OUTPUT);
    if (max_rows < 1 || max_rows > 8)
        return weir_fail(err, WEIR_EINVAL, "%d rows are outside [1, 8]", max_rows);
    if (gamma < 1 || gamma > e->pair.max_draft)
        return weir_fail(err, WEIR_EINVAL, "gamma %d is outside [1, %d]", gamma, e->pair.max_draft);
    if (repeat < 1 || repeat > MAX_REPEAT)
        return weir_fail(err, WEIR_EINVAL, "repeat %d is outside [1, %d]", repeat, MAX_REPEAT);
    bench b = {.e = e, .gamma = gamma, .repeat = repeat, .rows = rows, .cap = cap};
    b.seconds = weir_alloc((size_t)repeat, sizeof *b.seconds);
    if (!b.seconds) return weir_fail(err, WEIR_ENOMEM, "out of memory for %d timings", repeat);
    weir_status st = time_parts(&b, n_prompt, max_rows, err);
    if (st == WEIR_OK) st = time_verifier_alone(&b, n_prompt, err);
    if (st == WEIR_OK) st = time_exchanges(&b);
    weir_session_free(b.s);
    weir_free(b.seconds);
    if (st == WEIR_OK) *n_rows = b.n;
    return weir__is_lost(st) ? weir__engine_lost(e, st, err) : st;
}
