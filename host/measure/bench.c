/* Timings of the parts of a block on the loaded pair, from inside: the same ops that weir_step queues.
 *
 * Where blocks are captured, so is a part: a straight graph of it is timed by marks in the stream, since
 * hundreds of launches from the host would take longer than what they run. What the host drives itself
 * (prompts, whole blocks, exchanges) is timed by its clock, on every backend. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/deck/block_program.h"
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
    weir_batch batch; /* of the rows that were put there */
    size_t exchanged; /* bytes of each rank */
    double *seconds;  /* (repeat) */
    int repeat;
    weir_bench_row *rows;
    int cap, n;
} bench;

typedef struct bench_part {
    weir_status (*before)(bench *b); /* what is not timed; NULL: nothing */
    weir_status (*run)(bench *b);
    int recorded; /* so many at once make a graph, where there are graphs; 0: it issues more than ops */
} bench_part;

/* What a graph is made of. */
typedef struct recording {
    bench *b;
    const bench_part *part;
} recording;

static weir_status run_recorded(void *ctx) {
    const recording *r = ctx;
    for (int i = 0; i < r->part->recorded; i++) WEIR_TRY(r->part->run(r->b));
    return WEIR_OK;
}

static weir_status before(bench *b, const bench_part *part) {
    if (!part->before) return WEIR_OK;
    WEIR_TRY(part->before(b));
    return b->e->pair.be->stream->wait(b->e->pair.be);
}

static weir_status time_called(bench *b, const bench_part *part, double *seconds) {
    WEIR_TRY(before(b, part));
    const double t0 = weir_seconds();
    WEIR_TRY(part->run(b));
    WEIR_TRY(b->e->pair.be->stream->wait(b->e->pair.be));
    *seconds = weir_seconds() - t0;
    return WEIR_OK;
}

static weir_status time_graph(bench *b, const bench_part *part, weir_graph *g, double *seconds) {
    weir_backend *be = b->e->pair.be;
    WEIR_TRY(before(b, part));
    WEIR_TRY(be->stream->stamp(be, 0));
    WEIR_TRY(be->stream->launch(be, g));
    WEIR_TRY(be->stream->stamp(be, 1));
    WEIR_TRY(be->stream->elapsed(be, 0, 1, seconds));
    *seconds /= part->recorded;
    return WEIR_OK;
}

static weir_status time_all(bench *b, const bench_part *part, weir_graph *g) {
    for (int i = -WARM_UP; i < b->repeat; i++) {
        double *to = &b->seconds[i < 0 ? 0 : i];
        if (weir_interrupted(&b->e->deck.interrupt)) return WEIR_ECANCELED;
        WEIR_TRY(g ? time_graph(b, part, g, to) : time_called(b, part, to));
    }
    return WEIR_OK;
}

static weir_status part_draft(bench *b) { return weir__block_loop_draft(b->e->deck.loop); }

/* Times one part and files its row. Kernels are loaded by a call before they are recorded. */
static weir_status measure(bench *b, const char *name, int n_row, double bytes, const bench_part *part) {
    weir_backend *be = b->e->pair.be;
    weir_graph *g = NULL;
    weir_status st = WEIR_OK;
    if (b->n >= b->cap) return WEIR_OK;
    const bool by_host = part->run == part_draft && b->e->deck.loop->draft; /* it issues more than ops */
    if (part->recorded && !by_host && b->e->deck.loop->graphs && b->e->pair.n_rank == 1) {
        WEIR_TRY(time_called(b, part, b->seconds));
        st = be->stream->capture(be, run_recorded, &(recording){b, part}, false, &g);
        if (st == WEIR_ENOTSUP) st = WEIR_OK; /* no graph of this: it is called */
    }
    if (st == WEIR_OK) st = time_all(b, part, g);
    if (g) be->stream->graph_free(be, g);
    if (st != WEIR_OK) return st;
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
static weir_status put_rows(bench *b) {
    weir_engine *e = b->e;
    weir_rows rows = {0, 0};
    const weir_seat seat = weir__seat_of(b->s);
    for (int i = 0; i < b->n_row; i++)
        weir__rows_add(e, &rows, &seat, (37 * i + 11) % e->pair.n_vocab, b->s->n + i, true);
    return weir__rows_put(e, &rows, WEIR_VERIFIER, &b->batch);
}

static weir_status part_rows(bench *b) {
    return weir__rows_forward(b->e, WEIR_VERIFIER, b->batch, b->e->deck.buf.p_logits);
}

/* From the statistics of gamma + 1 verifier rows to the token that closes the block. */
static weir_status put_seat(bench *b) { return weir__block_loop_put_back(b->e->deck.loop); }
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
    if (weir_draft_facts(b->e->pair.draft)->greedy) opt.law.temp = 0.0f;
    opt.law.rule = WEIR_RULE_TOKEN_V3;
    opt.law.alpha = weir_rule_facts(WEIR_RULE_TOKEN_V3)->alpha_default;
    int32_t *prompt = weir_alloc((size_t)n_prompt, sizeof *prompt);
    if (!prompt) return weir_fail(err, WEIR_ENOMEM, "out of memory for the prompt");
    /* one that repeats itself for a lookup, so that it finds something */
    const int period = b->e->pair.draft == WEIR_DRAFT_LOOKUP ? 16 : n_prompt;
    for (int i = 0; i < n_prompt; i++) prompt[i] = (i % period * 7919 + 101) % b->e->pair.n_vocab;
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

static const bench_part PREFILL = {NULL, part_prefill, 0}, ROWS = {put_rows, part_rows, 4},
                        DRAFT = {NULL, part_draft, 4}, ACCEPT = {put_seat, part_accept, 1},
                        STEP = {NULL, part_step, 0};

/* The drafter's step comes before the accept step, whose drafts it writes over: each has a stage of its
 * own. */
static weir_status time_block(bench *b) {
    weir_block_loop *l = b->e->deck.loop;
    const bool loads = b->e->pair.has_draft;
    const double v = pass_bytes(b->e, WEIR_VERIFIER), d = loads ? pass_bytes(b->e, WEIR_DRAFTER) : 0.0;
    const int rows = b->gamma + 1;
    WEIR_TRY(weir__block_loop_stage(l, b->s));
    if (loads)
        WEIR_TRY(measure(b, "draft step", 1, d, &DRAFT));
    else /* it reads the text */
        WEIR_TRY(measure(b, "lookup", b->gamma, sizeof(int32_t) * (double)b->s->n_prompt, &DRAFT));
    WEIR_TRY(weir__block_loop_stage(l, b->s));
    WEIR_TRY(measure(b, "accept step", rows, 4.0 * b->e->pair.n_vocab * (2.0 * b->gamma + 1.0), &ACCEPT));
    return measure(b, "block", rows, v + b->gamma * d, &STEP);
}

static weir_status time_parts(bench *b, int n_prompt, int max_rows, weir_err *err) {
    const weir_engine *e = b->e;
    const double v = pass_bytes(e, WEIR_VERIFIER);
    const weir_draft_info *drafts = weir_draft_facts(e->pair.draft);
    WEIR_TRY(open_session(b, drafts->blocks ? WEIR_METHOD_SPECULATIVE : WEIR_METHOD_VERIFIER, n_prompt, err));
    b->side = WEIR_VERIFIER;
    WEIR_TRY(measure(b, "prefill verifier", n_prompt, prompt_bytes(e, WEIR_VERIFIER), &PREFILL));
    for (b->n_row = 1; b->n_row <= max_rows; b->n_row++)
        WEIR_TRY(measure(b, "verify pass", b->n_row, v, &ROWS));
    if (!drafts->blocks) return WEIR_OK;
    b->side = WEIR_DRAFTER;
    if (drafts->loads)
        WEIR_TRY(measure(b, "prefill drafter", n_prompt, prompt_bytes(e, WEIR_DRAFTER), &PREFILL));
    return time_block(b);
}

enum { EXCHANGES = 16 }; /* of one timing, after the word to the members that starts them */

static weir_status part_exchange(bench *b) { return weir__ranks_exchange(b->e, b->exchanged, EXCHANGES); }
static const bench_part EXCHANGE = {NULL, part_exchange, 0};

/* From a row's partial sums of a small model to those of a prompt's chunk of a large one. */
static weir_status time_exchanges(bench *b) {
    static const int kib[] = {4, 32, 128, 1024, 4608};
    for (size_t i = 0; i < sizeof kib / sizeof *kib && b->e->pair.n_rank > 1; i++) {
        char name[48];
        const int before = b->n, others = b->e->pair.n_rank - 1;
        b->exchanged = (size_t)kib[i] << 10;
        snprintf(name, sizeof name, "exchange, %d KiB a rank", kib[i]);
        WEIR_TRY(measure(b, name, b->e->pair.n_rank, (double)b->exchanged * others, &EXCHANGE));
        if (b->n == before) return WEIR_OK; /* no room for more rows */
        b->rows[before].seconds_p50 /= EXCHANGES;
        b->rows[before].seconds_p99 /= EXCHANGES;
    }
    return WEIR_OK;
}

static weir_status time_verifier_alone(bench *b, int n_prompt, weir_err *err) {
    WEIR_TRY(open_session(b, WEIR_METHOD_VERIFIER, n_prompt, err));
    return measure(b, "verifier token", 1, pass_bytes(b->e, WEIR_VERIFIER), &STEP);
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
