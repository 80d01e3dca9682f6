#include "tests/deck/loop/block_oracle.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "host/deck/commit.h"
#include "host/deck/deck.h"
#include "host/session/session.h"
#include "kernels/base/mem.h"
#include "kernels/loop/seat.h"

/* Small arrays of a block: as the host sees them, and as ops do. */
typedef struct block_arrays {
    weir_row_stats q_stats[WEIR_GAMMA_MAX + 1];
    int32_t draft[WEIR_GAMMA_MAX];
    weir_accept_row row[WEIR_GAMMA_MAX];
    weir_row_note note[WEIR_GAMMA_MAX];
    weir_accept_session accept;
    weir_emit_session emit;
} block_arrays;

typedef struct oracle {
    weir_engine *e;
    weir_session *s;
    block_arrays host, *dev;
    int gamma;
    bool chooses;   /* gamma is what a block has at most */
    weir_loop loop; /* of it the costs */
    weir_seat seat; /* what it goes by */
} oracle;

#define PUT(o, field) \
    weir__backend_upload((o)->e->pair.be, &(o)->dev->field, &(o)->host.field, sizeof(o)->host.field)
#define GET(o, field) \
    weir__backend_download((o)->e->pair.be, &(o)->host.field, &(o)->dev->field, sizeof(o)->host.field)

static float *q_row(const oracle *o, int j) {
    return o->e->deck.buf.q_logits + (int64_t)j * o->e->pair.side[WEIR_DRAFTER].ld;
}

/* Drafter rows up to `input`, and the statistics of the last one as those of step j. */
static weir_status drafter_row(oracle *o, int j, int64_t upto, int32_t token) {
    weir_engine *e = o->e;
    const weir_seat seat = weir__seat_of(o->s);
    weir_rows rows = {0, 0};
    if (j == 0)
        weir__rows_catch_up(e, &rows, &seat, o->s, WEIR_DRAFTER, upto + 1, true);
    else
        weir__rows_add(e, &rows, &seat, token, upto, true);
    o->s->cached[WEIR_DRAFTER] = upto + 1;
    weir__rows_book(o->s, WEIR_DRAFTER, rows.n_row);
    e->deck.buf.law_of[0] = 0;
    WEIR_TRY(weir__rows_run(e, &rows, WEIR_DRAFTER, q_row(o, j)));
    return weir__rows_stats(e, WEIR_DRAFTER, q_row(o, j), 1, &o->dev->q_stats[j]);
}

/* The policy is the one source's (tests/kernels/loop/test_gamma.c); when it is asked, and of what, is not. */
static int most_drafts(oracle *o) {
    o->seat = weir__seat_of(o->s);
    if (!o->chooses) return o->gamma;
    weir__seat_begin_block(&o->loop, &o->seat);
    return o->seat.n_draft;
}

/* *n_draft: how many drafts count; nothing follows a drafted end of text. */
static weir_status draft(oracle *o, int *n_draft) {
    weir_engine *e = o->e;
    const int most = most_drafts(o);
    *n_draft = 0;
    while (*n_draft < most) {
        const int j = (*n_draft)++;
        WEIR_TRY(drafter_row(o, j, o->s->n + j, j > 0 ? o->host.draft[j - 1] : -1));
        e->deck.buf.position[0] = (int32_t)(o->s->n + j);
        e->deck.buf.block_row[0] = o->s->opt.law.block_verify ? j : 0;
        WEIR_TRY(weir__rows_draw(e, q_row(o, j), 1, &o->dev->q_stats[j]));
        o->host.draft[j] =
            e->deck.buf.drawn[0] < 0 ? 0 : e->deck.buf.drawn[0]; /* accept reports an unusable row */
        if (weir__session_is_eos(o->s, o->host.draft[j])) break;
        WEIR_TRY(GET(o, q_stats));
        if (o->chooses && j + 1 < most && !weir__seat_drafts_on(&o->loop, &o->seat, j + 1, o->host.q_stats))
            break;
    }
    return PUT(o, draft);
}

static weir_status verify(oracle *o, int n_draft) {
    weir_engine *e = o->e;
    weir_session *s = o->s;
    const weir_seat seat = weir__seat_of(s);
    weir_rows rows = {0, 0};
    weir__rows_catch_up(e, &rows, &seat, s, WEIR_VERIFIER, s->n + 1, true);
    for (int j = 0; j < n_draft; j++) weir__rows_add(e, &rows, &seat, o->host.draft[j], s->n + 1 + j, true);
    s->cached[WEIR_VERIFIER] = s->n + 1 + n_draft;
    weir__rows_book(s, WEIR_VERIFIER, rows.n_row);
    for (int r = 0; r < rows.n_out; r++) e->deck.buf.law_of[r] = 0;
    WEIR_TRY(weir__rows_run(e, &rows, WEIR_VERIFIER, e->deck.buf.p_logits));
    return weir__rows_stats(e, WEIR_VERIFIER, e->deck.buf.p_logits, rows.n_out, e->deck.dev.p_stats);
}

static weir_status accept(oracle *o, int n_draft) {
    weir_engine *e = o->e;
    block_arrays *d = o->dev;
    o->host.accept = (weir_accept_session){.law = e->deck.dev.law,
                                           .q_logits = q_row(o, 0),
                                           .q_stats = d->q_stats,
                                           .p_logits = e->deck.buf.p_logits,
                                           .p_stats = e->deck.dev.p_stats,
                                           .draft = d->draft,
                                           .n_draft = n_draft,
                                           .position = (int32_t)o->s->n,
                                           .row = d->row,
                                           .note = e->pair.be->device ? d->note : NULL};
    weir_accept_args a = {.session = &d->accept,
                          .n_session = 1,
                          .n_vocab = e->pair.n_vocab,
                          .ld_q =
                              o->gamma > 0 ? e->pair.side[WEIR_DRAFTER].ld : e->pair.side[WEIR_VERIFIER].ld,
                          .ld_p = e->pair.side[WEIR_VERIFIER].ld};
    WEIR_TRY(PUT(o, accept));
    WEIR_TRY(e->pair.be->op.accept(e->pair.be, &a));
    WEIR_TRY(GET(o, accept));
    o->host.accept.draft = o->host.draft;
    o->host.accept.row = o->host.row;
    return GET(o, row);
}

/* A bonus from pi needs the drafter's distribution one position further (trap 3), unless pi is p there. */
static bool bonus_is_pi(const weir_session *s, int64_t position) {
    const weir_law *law = &s->opt.law;
    return law->bonus_pi && law->rule != WEIR_RULE_EXACT && position >= law->exact_first &&
           weir_rule_facts((weir_rule)law->rule)->pi_exists;
}

/* The token that closes the block; *closes: there is one. */
static weir_status close_block(oracle *o, bool *closes) {
    weir_engine *e = o->e;
    const weir_accept_session *a = &o->host.accept;
    const int32_t j = a->n_accept;
    const bool full = j == a->n_draft;
    *closes = a->status == WEIR_OK && !(full && j > 0 && weir__session_is_eos(o->s, o->host.draft[j - 1]));
    if (!*closes) return WEIR_OK;
    weir_emit_session *m = &o->host.emit;
    *m = (weir_emit_session){.law = a->law,
                             .kind = WEIR_EMIT_P,
                             .draft = -1,
                             .block_p = 1.0f,
                             .block_row = j,
                             .p_logits = a->p_logits + j * e->pair.side[WEIR_VERIFIER].ld,
                             .p_stats = a->p_stats + j,
                             .position = a->position + j};
    if (!full) {
        m->kind = WEIR_EMIT_RESIDUAL;
        m->draft = o->host.draft[j];
        m->block_p = a->block_p;
        m->verdict = &o->dev->accept.verdict;
    } else if (j > 0 && bonus_is_pi(o->s, m->position)) {
        m->kind = WEIR_EMIT_PI;
        WEIR_TRY(drafter_row(o, j, o->s->n + j, o->host.draft[j - 1]));
    }
    if (m->kind != WEIR_EMIT_P) m->q_logits = q_row(o, j), m->q_stats = &o->dev->q_stats[j];
    weir_emit_args args = {.session = &o->dev->emit, .n_session = 1, .n_vocab = e->pair.n_vocab};
    WEIR_TRY(PUT(o, emit));
    WEIR_TRY(e->pair.be->op.emit(e->pair.be, &args));
    return GET(o, emit);
}

static weir_status set_lengths(oracle *o, const int64_t length[2]) {
    for (int side = 0; side < 2; side++) {
        if (side == WEIR_DRAFTER && o->gamma == 0) continue;
        WEIR_TRY(weir__session_room(o->s, side, length[side]));
    }
    return WEIR_OK;
}

static weir_status run_block(oracle *o, weir_err *err) {
    weir_session *s = o->s;
    int n_draft;
    bool closes;
    o->gamma = weir__session_gamma(s);
    const int64_t longest[2] = {s->n + o->gamma + 1, s->n + o->gamma + 1};
    WEIR_TRY(set_lengths(o, longest));
    o->e->deck.buf.law[0] = s->opt.law;
    WEIR_TRY(WEIR_PUT(o->e, law, 1));
    WEIR_TRY(draft(o, &n_draft));
    WEIR_TRY(verify(o, n_draft));
    WEIR_TRY(accept(o, n_draft));
    WEIR_TRY(close_block(o, &closes));
    weir_block_outcome r;
    weir__block_outcome_of(&o->host.accept, closes ? &o->host.emit : NULL, &r);
    o->host.accept.q_stats = o->host.q_stats;
    weir__seat_learn(&o->loop, &o->seat, &o->host.accept);
    r.past = o->seat.past;
    const weir_status found = weir__outcome_commit(s, &r, &(weir_seen){0}, err);
    o->gamma = weir__session_gamma(s);
    if (o->chooses && o->gamma == 0) weir__session_forget(s, WEIR_DRAFTER);
    if (s->finish == WEIR_RUNNING) WEIR_TRY(set_lengths(o, s->cached));
    return found;
}

weir_status block_oracle_step(weir_engine *e, weir_session *s, int max_blocks, weir_err *err) {
    oracle o = {.e = e, .s = s, .chooses = weir__session_chooses(s), .loop = {.cost = &e->pair.cost}};
    o.dev = weir__backend_alloc(e->pair.be, sizeof *o.dev);
    cr_assert(o.dev && weir__backend_zero(e->pair.be, o.dev, sizeof *o.dev) == WEIR_OK);
    weir_status st = WEIR_OK;
    for (int i = 0; i < max_blocks && st == WEIR_OK && s->finish == WEIR_RUNNING; i++) {
        st = weir__session_given_up(s) ? WEIR_ECANCELED : weir__session_admit(s, err);
        if (st == WEIR_OK) st = run_block(&o, err);
        if (st == WEIR_ECANCELED) weir__session_give_up(s), st = WEIR_OK;
        if (s->finish != WEIR_RUNNING) weir__session_release(s);
    }
    weir__backend_free(e->pair.be, o.dev);
    return st;
}
