/* The block loop's own ops, gamma = 5: drafter sampling, and what follows the verifier's logits (statistics,
 * then loop_close, which accepts, draws the closing token and moves the lengths). */
#include <limits.h>
#include <string.h>

#include "bench/kernels/bench.h"
#include "kernels/base/mem.h"

enum { GAMMA = 5, DEPTH = 4, MAX_SEAT = 64 };

typedef struct scene {
    const kb_law *law;
    weir_loop l; /* what it points to is backend memory */
    void *ring_host, *flags_host;
    int32_t *token, *pos, *slot, *law_of;
    weir_law *laws;
} scene;

static weir_loop_rows rows_of(const scene *s, int32_t step) {
    return (weir_loop_rows){.loop = &s->l,
                            .step = step,
                            .token = s->token,
                            .pos = s->pos,
                            .slot = s->slot,
                            .law_of = s->law_of,
                            .law = s->laws};
}

static weir_status run_rows(kb *k, void *ctx, int i) {
    (void)i;
    weir_loop_rows a = rows_of(ctx, WEIR_LOOP_VERIFY);
    return k->be->op.loop_rows(k->be, &a);
}

static weir_status run_sample(kb *k, void *ctx, int i) {
    const scene *s = ctx;
    weir_loop_sample a = {.loop = &s->l, .step = i % GAMMA};
    return k->be->op.loop_sample(k->be, &a);
}

/* From the verifier's logits to the next block's seats. */
static weir_status run_close(kb *k, void *ctx, int i) {
    const scene *s = ctx;
    (void)i;
    weir_row_stats_args st = {.logits = s->l.p_logits,
                              .ld = s->l.ld_p,
                              .n_row = (int64_t)s->l.n_seat * (GAMMA + 1),
                              .n_vocab = s->l.n_vocab,
                              .law = s->laws,
                              .law_of = s->law_of,
                              .out = s->l.p_stats};
    weir_loop_close close = {.loop = &s->l, .stats = &st};
    return k->be->op.loop_close(k->be, &close);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static bool take(kb *k, void *field, size_t n, size_t size) {
    void *p = weir__backend_alloc(k->be, n * size);
    memcpy(field, &p, sizeof p);
    return p && weir__backend_zero(k->be, p, n * size) == WEIR_OK;
}

/* One row of each model, sent to every seat and step; seats differ by their keys. */
static weir_status send_logits(kb *k, scene *s) {
    const weir_loop *l = &s->l;
    const size_t bytes = (size_t)l->ld_q * sizeof(float);
    float *q = weir_calloc((size_t)l->ld_q, sizeof *q), *p = weir_calloc((size_t)l->ld_p, sizeof *p);
    weir_status st = q && p ? WEIR_OK : WEIR_ENOMEM;
    for (int j = 0; st == WEIR_OK && j <= GAMMA; j++) {
        kb_random_logits(k, q, p, l->n_vocab);
        for (int i = 0; st == WEIR_OK && i < l->n_seat; i++) {
            st = weir__backend_upload(k->be, l->q_logits + ((int64_t)j * l->n_seat + i) * l->ld_q, q, bytes);
            if (st == WEIR_OK)
                st = weir__backend_upload(k->be, l->p_logits + ((int64_t)i * (GAMMA + 1) + j) * l->ld_p, p,
                                          bytes);
        }
    }
    weir_free(q);
    weir_free(p);
    return st;
}

static weir_status send_seats(kb *k, const scene *s) {
    weir_seat seat[MAX_SEAT];
    memset(seat, 0, sizeof seat);
    for (int i = 0; i < s->l.n_seat; i++) {
        seat[i].law = s->law->law;
        seat[i].law.key[1] = (uint32_t)i;
        seat[i].slot = i;
        seat[i].gamma = GAMMA;
        seat[i].limit = INT_MAX;
        seat[i].bonus_from = INT_MAX;
    }
    const int32_t block[2] = {0, INT_MAX};
    WEIR_TRY(weir__backend_upload(k->be, s->l.seat, seat, (size_t)s->l.n_seat * sizeof *seat));
    return weir__backend_upload(k->be, s->l.block, block, sizeof block);
}

static weir_status set_up(kb *k, scene *s) {
    weir_loop *l = &s->l;
    const size_t seats = (size_t)l->n_seat, rows = seats * (GAMMA + 1), drafts = seats * GAMMA;
    void *ring = NULL, *flags = NULL;
    l->gamma = GAMMA;
    l->depth = DEPTH;
    l->ld_q = l->ld_p = (l->n_vocab + 63) / 64 * 64;
    s->ring_host = k->be->stream->alloc_mapped(k->be, DEPTH * seats * sizeof *l->ring, &ring);
    s->flags_host = k->be->stream->alloc_mapped(k->be, sizeof *l->flags, &flags);
    l->ring = ring;
    l->flags = flags;
    const bool ok =
        ring && flags && take(k, &l->seat, seats, sizeof *l->seat) &&
        take(k, &l->q_logits, rows * (size_t)l->ld_q, sizeof *l->q_logits) &&
        take(k, &l->p_logits, rows * (size_t)l->ld_p, sizeof *l->p_logits) &&
        take(k, &l->q_stats, rows, sizeof *l->q_stats) && take(k, &l->p_stats, rows, sizeof *l->p_stats) &&
        take(k, &l->draft, drafts, sizeof *l->draft) && take(k, &l->accept, seats, sizeof *l->accept) &&
        take(k, &l->row, drafts, sizeof *l->row) && take(k, &l->note, drafts, sizeof *l->note) &&
        take(k, &l->emit, seats, sizeof *l->emit) && take(k, &l->block, 3, sizeof *l->block) &&
        take(k, &l->arrived, 1, sizeof *l->arrived) && take(k, &s->token, rows, sizeof *s->token) &&
        take(k, &s->pos, rows, sizeof *s->pos) && take(k, &s->slot, rows, sizeof *s->slot) &&
        take(k, &s->law_of, rows, sizeof *s->law_of) && take(k, &s->laws, seats, sizeof *s->laws);
    if (!ok) return WEIR_EDEVMEM;
    WEIR_TRY(send_seats(k, s));
    WEIR_TRY(send_logits(k, s));
    for (int32_t j = 0; j < GAMMA; j++) {
        weir_loop_rows a = rows_of(s, j);
        WEIR_TRY(k->be->op.loop_rows(k->be, &a));
        WEIR_TRY(run_sample(k, s, j));
    }
    return run_rows(k, s, 0);
}

static void clean_up(kb *k, scene *s) {
    const weir_loop *l = &s->l;
    void *dev[] = {l->seat,   l->q_logits, l->p_logits, l->q_stats, l->p_stats, l->draft,
                   l->accept, l->row,      l->note,     l->emit,    l->block,   l->arrived,
                   s->token,  s->pos,      s->slot,     s->law_of,  s->laws};
    for (size_t i = 0; i < sizeof dev / sizeof *dev; i++) weir__backend_free(k->be, dev[i]);
    k->be->stream->free_mapped(k->be, s->ring_host);
    k->be->stream->free_mapped(k->be, s->flags_host);
}

/* ---- against the truth --------------------------------------------------------------------------------- */

static bool same_record(const weir_block_outcome *a, const weir_block_outcome *b) {
    if (a->live != b->live || a->status != b->status || a->position != b->position ||
        a->n_accept != b->n_accept || a->closing != b->closing || a->kind != b->kind || a->token != b->token)
        return false;
    for (int32_t j = 0; j < b->n_draft; j++)
        if (a->draft[j] != b->draft[j]) return false;
    return memcmp(&a->log_pi, &b->log_pi, sizeof a->log_pi) == 0 &&
           memcmp(&a->log_p, &b->log_p, sizeof a->log_p) == 0;
}

static weir_status one_block(kb *k, scene *s, weir_block_outcome *out) {
    WEIR_TRY(run_close(k, s, 0));
    WEIR_TRY(k->be->stream->wait(k->be));
    memcpy(out, s->ring_host, (size_t)s->l.n_seat * sizeof *out);
    return WEIR_OK;
}

/* Seats whose first block is not the one that the CPU decides for the same logits and keys. */
static weir_status check(kb *k, scene *s, uint64_t rng, double *error) {
    weir_block_outcome *got = weir_calloc(2 * MAX_SEAT, sizeof *got), *want = got ? got + MAX_SEAT : NULL;
    weir_status st = got ? one_block(k, s, got) : WEIR_ENOMEM;
    kb cpu = *k;
    scene t = {.law = s->law, .l = {.n_seat = s->l.n_seat, .n_vocab = s->l.n_vocab}};
    cpu.be = k->truth;
    cpu.rng = rng;
    if (st == WEIR_OK) {
        st = set_up(&cpu, &t);
        if (st == WEIR_OK) st = one_block(&cpu, &t, want);
        clean_up(&cpu, &t);
    }
    *error = 0;
    for (int i = 0; st == WEIR_OK && i < s->l.n_seat; i++) *error += !same_record(&got[i], &want[i]);
    weir_free(got);
    return st;
}

/* ---- cases --------------------------------------------------------------------------------------------- */

static void time_bucket(kb *k, const kb_law *law, int32_t n_vocab, int32_t n_seat) {
    scene s = {.law = law, .l = {.n_seat = n_seat, .n_vocab = n_vocab}};
    const double row = 4.0 * n_vocab * n_seat;
    kb_case c[3] = {
        {.op = "loop sample", .run = run_sample, .inner = kb_inner(k, GAMMA * 4), .bytes = row},
        {.op = "loop rows", .run = run_rows, .inner = kb_inner(k, 0), .bytes = 16.0 * n_seat * (GAMMA + 1)},
        {.op = "loop close", .run = run_close, .inner = kb_inner(k, 0), .bytes = (2 * GAMMA + 1) * row}};
    const uint64_t rng = k->rng;
    double error = 0;
    weir_status st = k->be->op.loop_close ? set_up(k, &s) : WEIR_ENOTSUP;
    if (st == WEIR_OK) st = check(k, &s, rng, &error);
    for (int i = 0; i < 3; i++) {
        c[i].ctx = &s;
        c[i].error = error;
        (void)snprintf(c[i].shape, sizeof c[i].shape, "%s: %d x %d seats %d%s", law->name,
                       i == 0 ? 1 : GAMMA + 1, n_vocab, n_seat, i == 2 ? " with row_stats" : "");
    }
    if (st == WEIR_OK)
        kb_measure(k, c, 3);
    else
        kb_give_up(k, "loop", law->name, st);
    clean_up(k, &s);
}

void kb_loop(kb *k) {
    kb_law law[KB_LAWS];
    kb_laws(law);
    for (int i = 0; i < KB_LAWS; i++) {
        if (k->tiny) {
            time_bucket(k, &law[i], 1100, 3);
            continue;
        }
        time_bucket(k, &law[i], 32128, 1);
        time_bucket(k, &law[i], 256128, 1);
        time_bucket(k, &law[i], 32128, MAX_SEAT);
    }
}
