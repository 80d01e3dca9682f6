#include "host/deck/block_loop.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host/deck/block_program.h"
#include "host/deck/commit.h"
#include "host/deck/deck.h"
#include "host/deck/draft/lookup.h"
#include "host/deck/draft/text_draft.h"
#include "kernels/base/clock.h"
#include "kernels/base/mem.h"
#include "kernels/loop/lookup.h"

/* ---- memory -------------------------------------------------------------------------------------------- */

/* Backend arrays that are the loop's alone, in one place for the plan and the allocation: X(where, type,
 * entries; NULL if 0). S seats, R rows of all, H one-hot rows, K entries of lookups' histories. Those of
 * a call are the deck's, which ticks use in their turn. */
#define LOOP_ARRAYS(X, l, S, R, H, K)            \
    X((l)->shape.seat, weir_seat, S)             \
    X((l)->shape.draft, int32_t, R)              \
    X((l)->shape.accept, weir_accept_session, S) \
    X((l)->shape.row, weir_accept_row, R)        \
    X((l)->shape.note, weir_row_note, R)         \
    X((l)->shape.block, int32_t, 3)              \
    X((l)->shape.arrived, uint32_t, 1)           \
    X((l)->every, int32_t, R)                    \
    X((l)->second, int32_t, S)                   \
    X((l)->shape.first, int32_t, S)              \
    X((l)->shape.cost, weir_gamma_costs, 1)      \
    X((l)->bonus, int32_t, S)                    \
    X((l)->shape.lookup.hot, int32_t, H)         \
    X((l)->shape.lookup.history, int32_t, K)

static size_t lines(size_t bytes) { return (bytes + 255) / 256 * 256; }

/* Rows of the largest bucket's largest call: two a seat in a draft's first step, gamma + 1 in a verify. */
static size_t rows_of(const weir_engine *e) {
    const int gamma = weir_draft_facts(e->pair.draft)->blocks ? e->pair.max_draft : 0;
    return (size_t)e->pair.n_parallel * (size_t)(gamma + 1 > 2 ? gamma + 1 : 2);
}

/* Rows of q have one token. */
static bool one_hot(const weir_engine *e) { return weir_draft_facts(e->pair.draft)->one_hot; }

static size_t array_bytes(const weir_engine *e) {
    const size_t seats = (size_t)e->pair.n_parallel, rows = rows_of(e);
    const size_t hot = one_hot(e) ? rows : 0, past = seats * (size_t)weir__lookup_ld(e);
    size_t sum = 0;
#define LOOP_BYTES(where, type, n) sum += lines((n) * sizeof(type));
    LOOP_ARRAYS(LOOP_BYTES, none, seats, rows, hot, past)
#undef LOOP_BYTES
    return sum;
}

static size_t ring_bytes(const weir_engine *e) {
    return (size_t)e->pair.n_parallel * WEIR_LOOP_DEPTH * sizeof(weir_block_outcome);
}

weir_bytes weir__block_loop_bytes(const weir_engine *e) {
    const size_t arrays = array_bytes(e), mapped = lines(ring_bytes(e)) + lines(sizeof(weir_loop_flags));
    const size_t host = mapped + sizeof(weir_block_loop);
    if (!e->pair.be->device) return (weir_bytes){.backend = arrays + host};
    return (weir_bytes){.backend = arrays, .host = host};
}

static void place_arrays(weir_block_loop *l) {
    const size_t seats = (size_t)l->n_seat_max, rows = rows_of(l->e);
    const size_t hot = one_hot(l->e) ? rows : 0, past = seats * (size_t)weir__lookup_ld(l->e);
    char *at = l->memory;
#define LOOP_PLACE(where, type, n)       \
    where = (n) > 0 ? (void *)at : NULL; \
    at += lines((n) * sizeof(type));
    LOOP_ARRAYS(LOOP_PLACE, l, seats, rows, hot, past)
#undef LOOP_PLACE
}

static weir_status upload_index(weir_block_loop *l, int32_t *dst, int32_t n, int32_t first, int32_t stride) {
    int32_t *index = weir_alloc((size_t)n, sizeof *index);
    if (!index) return WEIR_ENOMEM;
    for (int32_t i = 0; i < n; i++) index[i] = first + stride * i;
    const weir_status st = weir__backend_upload(l->e->pair.be, dst, index, (size_t)n * sizeof *index);
    weir_free(index);
    return st;
}

static weir_status open_memory(weir_block_loop *l) {
    weir_engine *e = l->e;
    weir_backend *be = e->pair.be;
    void *ring = NULL, *flags = NULL;
    l->memory = weir__backend_alloc(be, array_bytes(e));
    l->mapped_ring = be->stream->alloc_mapped(be, ring_bytes(e), &ring);
    l->mapped_flags = be->stream->alloc_mapped(be, sizeof(weir_loop_flags), &flags);
    if (!l->memory || !l->mapped_ring || !l->mapped_flags) return be->device ? WEIR_EDEVMEM : WEIR_ENOMEM;
    place_arrays(l);
    l->shape.ring = ring;
    l->shape.flags = flags;
    WEIR_TRY(be->stream->zero(be, l->memory, array_bytes(e)));
    WEIR_TRY(upload_index(l, l->every, (int32_t)rows_of(e), 0, 1));
    return upload_index(l, l->second, l->n_seat_max, 1, 2);
}

static void without_graphs(weir_block_loop *l) {
    l->graphs = false;
    l->e->pair.be->stream->without_graphs(l->e->pair.be);
}

weir_status weir__block_loop_open(weir_block_loop **out, weir_engine *e, bool graphs) {
    weir_block_loop *l = weir_calloc(1, sizeof *l);
    if (!l) return WEIR_ENOMEM;
    l->e = e;
    l->graphs = graphs && e->pair.be->stream->capture && (e->pair.n_rank == 1 || e->pair.be->exchange->loops);
    if (e->pair.be->device && !l->graphs) without_graphs(l);
    l->n_seat_max = e->pair.n_parallel;
    weir_status st = open_memory(l);
    if (e->pair.draft == WEIR_DRAFT_TEXT) l->draft = weir__text_draft_run;
    if (e->pair.be->device) l->shape.first = NULL; /* blocks have a fixed shape there */
    l->shape.depth = WEIR_LOOP_DEPTH;
    l->shape.n_vocab = e->pair.n_vocab;
    l->shape.q_stats = e->deck.dev.q_stats;
    l->shape.p_stats = e->deck.dev.p_stats;
    l->shape.emit = e->deck.dev.emit;
    l->shape.q_logits = e->deck.dev.q_logits;
    l->shape.q_weights = e->deck.dev.q_weights;
    l->shape.p_logits = e->deck.dev.p_logits;
    l->shape.ld_q = e->pair.side[WEIR_DRAFTER].ld;
    l->shape.ld_p = e->pair.side[WEIR_VERIFIER].ld;
    if (st == WEIR_OK) st = weir__lookup_open(l);
    if (st != WEIR_OK) {
        weir__block_loop_close(l);
        return st;
    }
    *out = l;
    return WEIR_OK;
}

void weir__block_loop_close(weir_block_loop *l) {
    if (!l) return;
    weir_backend *be = l->e->pair.be;
    weir_graph **const first = &l->graph[0][0][0][0];
    for (weir_graph **g = first; g < first + sizeof l->graph / sizeof *g; g++)
        if (*g) be->stream->graph_free(be, *g);
    if (l->mapped_ring) be->stream->free_mapped(be, l->mapped_ring);
    if (l->mapped_flags) be->stream->free_mapped(be, l->mapped_flags);
    if (l->memory) weir__backend_free(be, l->memory);
    weir_free(l);
}

weir_status weir__block_loop_set_costs(weir_block_loop *l) {
    weir_engine *e = l->e;
    return weir__backend_upload(e->pair.be, (void *)(uintptr_t)l->shape.cost, &e->pair.cost,
                                sizeof e->pair.cost);
}

/* ---- seats --------------------------------------------------------------------------------------------- */

bool weir__block_loop_serves(const weir_session *s) {
    return s->opt.method == WEIR_METHOD_SPECULATIVE || s->opt.method == WEIR_METHOD_VERIFIER;
}

/* Which sessions sit on which seats: by falling gamma, so that those that draft in a step come first. */
static void choose_seats(weir_block_loop *l, weir_session *const *s, int n) {
    weir_session **who = l->e->deck.buf.who;
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0 && weir__session_gamma(who[at - 1]) < weir__session_gamma(s[i]); at--)
            who[at] = who[at - 1];
        who[at] = s[i];
    }
}

/* A bucket for the sessions: of a fixed shape where blocks are captured, else as many seats as there are. */
static weir_status take_seats(weir_block_loop *l, weir_session *const *s, int n, weir_bucket *b) {
    *b = (weir_bucket){.l = l, .loop = l->shape, .size = weir__bucket_size(n)};
    const bool fixed = !l->shape.first;
    weir_session **who = l->e->deck.buf.who;
    weir_seat *seat = l->e->deck.buf.seat;
    const int32_t seats = weir__bucket_seats(b->size);
    b->loop.n_seat = !fixed ? n : seats < l->n_seat_max ? seats : l->n_seat_max;
    choose_seats(l, s, n);
    b->loop.gamma = weir__session_gamma(who[0]);
    for (int i = 0; i < b->loop.n_seat; i++) {
        if (i >= n) who[i] = NULL;
        seat[i] = i < n ? weir__seat_of(who[i]) : (weir_seat){.slot = -1, .end = WEIR_SEAT_EMPTY};
        if (fixed && seat[i].gamma == b->loop.gamma && seat[i].bonus_from < INT32_MAX)
            b->loop.bonus = !one_hot(l->e); /* a lookup finds it among the drafts, a text has none */
        if (b->loop.gamma > 0 && seat[i].chooses) b->chooses = true;
    }
    return weir__backend_upload(l->e->pair.be, b->loop.seat, seat, (size_t)b->loop.n_seat * sizeof *seat);
}

/* Pages for what `blocks` blocks can write. */
static weir_status make_room(weir_session *s, int blocks) {
    for (int side = 0; side < 2; side++) {
        const int64_t upto = weir__session_inputs_ahead(s, side, blocks);
        if (upto >= 0) WEIR_TRY(weir__session_reserve(s, side, upto));
    }
    return WEIR_OK;
}

/* Brings the backend's page tables up to date. */
static weir_status sync_tables(weir_engine *e) {
    for (int side = 0; side <= (int)e->pair.has_draft; side++)
        WEIR_TRY(weir__caches_sync(&e->deck.side[side]));
    return WEIR_OK;
}

static bool runs_drafter(const weir_session *s) { return s->e->pair.has_draft && weir__session_gamma(s) > 0; }

/* What blocks did not use. One that stays without drafts needs nothing of the drafter any more. */
static weir_status roll_back(weir_session *s) {
    if (s->opt.method == WEIR_METHOD_SPECULATIVE && weir__session_gamma(s) == 0)
        weir__session_forget(s, WEIR_DRAFTER);
    for (int side = 0; side < 2; side++) {
        if (side == WEIR_DRAFTER && !runs_drafter(s)) continue;
        WEIR_TRY(side == WEIR_DRAFTER && s->retold ? weir__text_draft_roll_back(s)
                                                   : weir__session_room(s, side, s->cached[side]));
    }
    return WEIR_OK;
}

/* ---- outcomes ------------------------------------------------------------------------------------------ */

/* One launch as the host follows it. */
typedef struct follow {
    weir_bucket b;
    weir_loop_flags *flags;
    int32_t taken; /* blocks whose outcomes were taken */
    int n_top;     /* likeliest tokens that a session asks for, at most; then launches have one block */
    weir_status first;
    weir_err *err;
} follow;

static void ask_to_stop(follow *f) { __atomic_store_n(&f->flags->stop, 1, __ATOMIC_RELEASE); }

/* What host-driven blocks would have run for this outcome, and what the caches then hold. */
static void book_rows(weir_session *s, const weir_block_outcome *r) {
    const bool extra = r->closing && r->kind == WEIR_EMIT_PI;
    if (weir_draft_facts(s->e->pair.draft)->has_q && r->n_draft > 0) {
        weir__rows_book(s, WEIR_DRAFTER, (int)(s->n + 1 - s->cached[WEIR_DRAFTER]));
        for (int j = 1; j < r->n_draft + extra; j++) weir__rows_book(s, WEIR_DRAFTER, 1);
        s->cached[WEIR_DRAFTER] = s->n + r->n_draft + extra;
    }
    weir__rows_book(s, WEIR_VERIFIER, r->n_draft + 1);
    s->cached[WEIR_VERIFIER] = s->n + r->n_draft + 1;
}

static void take_outcome(follow *f, weir_session *s, const weir_block_outcome *r, const weir_seen *seen) {
    if (!r->live || s->finish != WEIR_RUNNING) return;
    if (weir__session_given_up(s)) { /* ends at the next block edge; this outcome comes after it */
        ask_to_stop(f);
        return;
    }
    if (r->status == WEIR_OK) book_rows(s, r);
    const weir_status found = weir__outcome_commit(s, r, seen, f->first == WEIR_OK ? f->err : NULL);
    if (f->first == WEIR_OK) f->first = found;
    if (s->finish != WEIR_RUNNING && r->seat_end == WEIR_SEAT_RUNNING) ask_to_stop(f);
}

static int32_t blocks_done(const follow *f) { return __atomic_load_n(&f->flags->done, __ATOMIC_ACQUIRE); }

/* Rows of a seat whose likeliest tokens its session asks for. */
static int rows_asked(const weir_session *s, const weir_block_outcome *r) {
    return s && s->opt.n_top > 0 && s->finish == WEIR_RUNNING ? weir__outcome_rows(r) : 0;
}

/* Those tokens, and the statistics of the rows, in order of the seats, from the logits of the block that ran
 * last. */
static weir_status select_tops(const follow *f, const weir_block_outcome *ring) {
    weir_engine *e = f->b.l->e;
    int n = 0;
    int64_t last = 0;
    for (int32_t i = 0; i < f->b.loop.n_seat && f->n_top > 0; i++) {
        const int64_t first = weir__seat_first_row(&f->b.loop, i);
        for (int j = 0; j < rows_asked(e->deck.buf.who[i], &ring[i]); j++) {
            last = first + j > last ? first + j : last;
            e->deck.buf.top_row[n++] = (int32_t)(first + j);
        }
    }
    if (n == 0) return WEIR_OK;
    WEIR_TRY(weir__tops_select(e, n, f->n_top));
    return WEIR_GET(e, p_stats, last + 1);
}

static weir_status take_block(follow *f, const weir_block_outcome *ring) {
    const weir_step_buffers *b = &f->b.l->e->deck.buf;
    int at = 0;
    WEIR_TRY(select_tops(f, ring));
    for (int32_t i = 0; i < f->b.loop.n_seat; i++) {
        const int n = rows_asked(b->who[i], &ring[i]);
        const weir_seen seen = {n > 0 ? b->top + at * f->n_top : NULL, f->n_top,
                                b->p_stats + weir__seat_first_row(&f->b.loop, i)};
        if (b->who[i]) take_outcome(f, b->who[i], &ring[i], &seen);
        at += n;
    }
    return WEIR_OK;
}

/* Takes the outcomes of all finished blocks; *more: the loop is not over. */
static weir_status take_outcomes(follow *f, bool *more) {
    weir_engine *e = f->b.l->e;
    const int32_t done = blocks_done(f), n_seat = f->b.loop.n_seat;
    bool busy;
    /* a block in which a rank was given up has no outcome, and the device reports that before it is done */
    if (e->pair.lead) WEIR_TRY(e->pair.be->stream->poll(e->pair.be, &busy));
    *more = done == 0 || !__atomic_load_n(&f->flags->over, __ATOMIC_RELAXED);
    for (; f->taken < done; f->taken++) {
        const weir_block_outcome *ring = f->b.l->mapped_ring;
        WEIR_TRY(take_block(f, ring + (int64_t)(f->taken % WEIR_LOOP_DEPTH) * n_seat));
    }
    return WEIR_OK;
}

static void watch_cancels(follow *f) {
    for (int32_t i = 0; i < f->b.loop.n_seat; i++) {
        const weir_session *s = f->b.l->e->deck.buf.who[i];
        if (s && s->finish == WEIR_RUNNING && weir__session_given_up(s)) ask_to_stop(f);
    }
    if (atomic_load(&f->b.l->e->deck.yield)) ask_to_stop(f);
}

/* ---- launches ------------------------------------------------------------------------------------------ */

static weir_status say(follow *f, weir_status st) {
    weir_engine *e = f->b.l->e;
    if (weir__is_lost(st)) return weir__engine_lost(e, st, f->err);
    return weir_fail(f->err, st, "block loop of %d seats, gamma %d: %s", (int)f->b.loop.n_seat,
                     (int)f->b.loop.gamma, weir_status_str(st));
}

static weir_status start(follow *f, int blocks) {
    weir_backend *be = f->b.l->e->pair.be;
    const int32_t counts[2] = {0, blocks};
    *f->flags = (weir_loop_flags){0};
    WEIR_TRY(weir__backend_upload(be, f->b.loop.block, counts, sizeof counts));
    return be->stream->zero(be, f->b.loop.arrived, sizeof *f->b.loop.arrived);
}

/* Spins for a while, since blocks of small models take less than a nap, then naps. */
static void rest(int turn) {
    const struct timespec nap = {.tv_nsec = 20 * 1000};
    if (turn > 200) nanosleep(&nap, NULL);
}

/* A group's exchanges have a deadline of their own, which may be longer. */
static double patience(const follow *f) {
    const weir_pair *p = &f->b.l->e->pair;
    return p->n_rank > 1 ? 0.0 : p->be->patience;
}

static weir_status give_up(follow *f) {
    weir_backend *be = f->b.l->e->pair.be;
    char why[96];
    snprintf(why, sizeof why, "no block for %g s: the device hangs (WEIR_BLOCK_SECONDS)", be->patience);
    be->stream->abandon(be, why);
    return WEIR_ECUDA;
}

/* Takes outcomes as blocks end, until `upto` of the launch are taken, the loop is over or nothing is queued;
 * *more: it is not over. */
static weir_status watch(follow *f, int32_t upto, bool *more) {
    enum { POLL_EVERY = 64 };
    weir_backend *be = f->b.l->e->pair.be;
    double since = 0.0; /* of the last block, or the first look */
    int32_t seen = -1;
    for (int turn = 0;; turn++) {
        bool busy = true;
        WEIR_TRY(take_outcomes(f, more));
        if (!*more || f->taken >= upto) return WEIR_OK;
        if (blocks_done(f) > f->taken) continue;
        watch_cancels(f);
        if (turn % POLL_EVERY == POLL_EVERY - 1) {
            const double now = weir_seconds();
            WEIR_TRY(be->stream->poll(be, &busy));
            if (f->taken > seen) since = now;
            seen = f->taken;
            if (busy && patience(f) > 0.0 && now - since > patience(f)) return give_up(f);
        }
        if (!busy) return take_outcomes(f, more);
        rest(turn);
    }
}

/* Block after block from here: `block` queues one. */
static weir_status run_one_by_one(follow *f, weir_status (*block)(follow *f, weir_graph *g), weir_graph *g) {
    for (bool more = true; more && !f->flags->stop;) {
        const int32_t before = f->taken;
        WEIR_TRY(block(f, g));
        WEIR_TRY(watch(f, before + 1, &more));
        watch_cancels(f);
        if (more && f->taken == before) return WEIR_ECUDA; /* as run_loop: it would run for ever */
    }
    return WEIR_OK;
}

static weir_status call_block(follow *f, weir_graph *g) {
    (void)g;
    return weir__block_run(&f->b);
}

static weir_status launch(follow *f, weir_graph *g) {
    weir_backend *be = f->b.l->e->pair.be;
    return be->stream->launch(be, g);
}

/* The loop runs on its own: follow it until it says that it is over. */
static weir_status run_loop(follow *f, weir_graph *g) {
    bool more;
    WEIR_TRY(launch(f, g));
    WEIR_TRY(watch(f, INT32_MAX, &more));
    return more ? WEIR_ECUDA : WEIR_OK; /* dry, and the loop never said that it was over */
}

/* Of a group, the members record and run their part too. */
static weir_status record(follow *f, int key, weir_graph **g) {
    weir_engine *e = f->b.l->e;
    if (e->pair.lead) return e->pair.lead->record(e, key, weir__block_run, &f->b, f->b.loop.block + 2, g);
    return e->pair.be->stream->capture(e->pair.be, weir__block_run, &f->b, true, g);
}

/* ENOTSUP: the device takes no graph, or not this one, which then is gone. */
static weir_status run_recorded(follow *f, int blocks) {
    weir_block_loop *l = f->b.l;
    weir_engine *e = l->e;
    weir_graph **g = &l->graph[f->b.size][f->b.loop.gamma][f->b.loop.bonus][f->b.chooses];
    const int key = (int)(g - &l->graph[0][0][0][0]);
    _Static_assert(sizeof l->graph / sizeof *g <= WEIR_LOOP_KEYS, "a key for each");
    if (!*g) {
        const weir_status s = record(f, key, g);
        if (s == WEIR_ENOTSUP) without_graphs(l);
        WEIR_TRY(s);
    }
    WEIR_TRY(start(f, blocks));
    if (e->pair.lead) WEIR_TRY(e->pair.lead->loop(e, key));
    const weir_status s = (*g)->loops ? run_loop(f, *g) : run_one_by_one(f, launch, *g);
    if (s != WEIR_ENOTSUP) return s;
    e->pair.be->stream->graph_free(e->pair.be, *g);
    *g = NULL;
    if (!e->pair.lead) return s;
    weir__comm_abort(e->pair.be->comm, s, "a device refuses the launch of a graph (--no-graph)");
    return WEIR_ECOMM; /* the others run theirs, and wait */
}

/* What is refused is recorded again with less in it, and in the end called op by op, as blocks are whose
 * drafts the host makes. */
static weir_status run_launch(follow *f, int blocks) {
    const bool by_host = f->b.l->draft && f->b.loop.gamma > 0;
    while (f->b.l->graphs && !by_host) {
        const weir_status s = run_recorded(f, blocks);
        if (s != WEIR_ENOTSUP || f->taken > 0) return s;
    }
    WEIR_TRY(start(f, blocks));
    return run_one_by_one(f, call_block, NULL);
}

/* Of a block that n sessions shared; a device's blocks are not timed by part. */
static void book_seconds(weir_session *const *s, int n, const double spent[3]) {
    for (int i = 0; i < n; i++) {
        s[i]->stats.seconds_draft += spent[0] / n;
        s[i]->stats.seconds_verify += spent[1] / n;
        s[i]->stats.seconds_accept += spent[2] / n;
    }
}

/* One where seats are taken anew for each, so that a session that ended leaves no row, where the host makes
 * drafts, and where it selects from each block's logits before the next block writes over them. */
int weir__block_loop_blocks(const weir_block_loop *l, int n_top, int max_blocks) {
    if ((l->shape.first || l->draft || n_top > 0) && max_blocks > 0) return 1;
    return max_blocks < WEIR_LOOP_DEPTH ? max_blocks : WEIR_LOOP_DEPTH;
}

weir_status weir__block_loop_run(weir_block_loop *l, weir_session *const *s, int n, int max_blocks, int *ran,
                                 weir_err *err) {
    follow f = {.flags = l->mapped_flags, .n_top = weir__tops_asked(s, n), .err = err};
    const int blocks = weir__block_loop_blocks(l, f.n_top, max_blocks);
    *ran = 0;
    if (n < 1 || n > l->n_seat_max || blocks < 1) return WEIR_EINVAL;
    weir_status st = take_seats(l, s, n, &f.b);
    for (int i = 0; i < n && st == WEIR_OK; i++) st = make_room(s[i], blocks);
    for (int i = 0; i < n && st == WEIR_OK; i++) st = weir__lookup_sync(l, s[i]);
    if (st == WEIR_OK) st = sync_tables(l->e);
    if (st == WEIR_OK) st = run_launch(&f, blocks);
    if (st != WEIR_OK) return say(&f, st);
    *ran = f.taken;
    if (!l->e->pair.be->device) book_seconds(s, n, l->spent);
    for (int i = 0; i < n; i++) weir__lookup_took(s[i]);
    for (int i = 0; i < n; i++) {
        if (s[i]->finish != WEIR_RUNNING) continue;
        if ((st = weir__text_draft_sync(s[i])) != WEIR_OK || (st = roll_back(s[i])) != WEIR_OK)
            return say(&f, st);
    }
    return f.first;
}

/* ---- timings ------------------------------------------------------------------------------------------- */

/* The verifier's rows are the drafter's, too, and drafts their likeliest tokens: all are examined and
 * accepted. */
static weir_status copy_rows(const weir_bucket *b) {
    weir_backend *be = b->l->e->pair.be;
    const weir_loop *l = &b->loop;
    weir_row_stats stats[WEIR_GAMMA_MAX + 1];
    int32_t token[WEIR_GAMMA_MAX];
    WEIR_TRY(weir__backend_download(be, stats, l->p_stats, ((size_t)l->gamma + 1) * sizeof *stats));
    for (int32_t j = 0; j < l->gamma; j++) {
        token[j] = stats[j].argmax;
        if (one_hot(b->l->e)) {
            stats[j] = weir__one_hot_stats(token[j]);
            WEIR_TRY(weir__lookup_stage(b, 0, j, token[j]));
            continue;
        }
        WEIR_TRY(be->stream->copy(be, weir__seat_q_row(l, 0, j), l->p_logits + j * l->ld_p,
                                  (size_t)l->n_vocab * sizeof(float)));
    }
    WEIR_TRY(weir__backend_upload(be, l->draft, token, (size_t)l->gamma * sizeof *token));
    WEIR_TRY(weir__backend_upload(be, l->q_stats, stats, ((size_t)l->gamma + 1) * sizeof *stats));
    if (!l->q_weights)
        return WEIR_OK; /* else they are made with the same statistics: one seat, rows in order */
    return weir__rows_examine(b->l->e, WEIR_DRAFTER, l->q_logits, l->gamma, l->q_stats);
}

weir_status weir__block_loop_stage(weir_block_loop *l, weir_session *s) {
    weir_bucket *b = &l->staged;
    weir_seat *seat = l->e->deck.buf.seat;
    WEIR_TRY(take_seats(l, &s, 1, b));
    seat->bonus_from = INT32_MAX;
    seat->n_draft = b->loop.gamma;
    WEIR_TRY(make_room(s, 1));
    WEIR_TRY(weir__lookup_sync(l, s));
    WEIR_TRY(sync_tables(l->e));
    WEIR_TRY(weir__backend_zero(l->e->pair.be, b->loop.draft, (size_t)b->loop.gamma * sizeof *b->loop.draft));
    WEIR_TRY(weir__backend_upload(l->e->pair.be, b->loop.seat, seat, sizeof *seat));
    WEIR_TRY(weir__block_verify(b));
    WEIR_TRY(weir__block_verifier_stats(b));
    return copy_rows(b);
}

weir_status weir__block_loop_draft(const weir_block_loop *l) {
    weir_backend *be = l->e->pair.be;
    weir_loop_lookup lookup = {.loop = &l->staged.loop};
    if (l->e->pair.draft == WEIR_DRAFT_LOOKUP) return be->op.loop_lookup(be, &lookup);
    if (l->e->pair.draft == WEIR_DRAFT_TEXT) return weir__text_draft_step(&l->staged);
    return weir__block_draft_step(&l->staged, l->staged.loop.gamma > 1 ? 1 : 0);
}

weir_status weir__block_loop_put_back(const weir_block_loop *l) {
    const weir_seat *seat = l->e->deck.buf.seat;
    return weir__backend_upload(l->e->pair.be, l->staged.loop.seat, seat, sizeof *seat);
}

weir_status weir__block_loop_accept(weir_block_loop *l) { return weir__block_close(&l->staged); }
