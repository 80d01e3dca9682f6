#include "host/deck/block_loop.h"
#include "host/deck/deck.h"
#include "host/session/session.h"
#include "kernels/base/clock.h"

/* Which program runs a session: the block loop, or ticks, token by token. */
typedef enum step_by { BY_BLOCKS, BY_TICKS } step_by;

static step_by run_by(const weir_session *s) { return weir__block_loop_serves(s) ? BY_BLOCKS : BY_TICKS; }

/* Unfinished sessions with a slot that are run in this way. */
static int gather(weir_engine *e, weir_session *const *sessions, int n, step_by by) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        weir_session *s = sessions[i];
        if (s->finish == WEIR_RUNNING && run_by(s) == by) e->deck.buf.list[count++] = s;
    }
    return count;
}

static bool listed_twice(weir_session *const *sessions, int n) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            if (sessions[i] == sessions[j]) return true;
    return false;
}

/* Its prompt is read, and nothing is to follow. */
static void end_unwritten(weir_session *s) {
    weir__session_end_full(s);
    weir__session_release(s);
}

/* Sessions that are given up end, the others get a slot and their prompt is run. *running: how many go on. */
static weir_status admit_all(weir_session *const *sessions, int n, int *running, weir_err *err) {
    *running = 0;
    for (int i = 0; i < n; i++) {
        weir_session *s = sessions[i];
        if (s->finish != WEIR_RUNNING) continue;
        const weir_status st = weir__session_given_up(s) ? WEIR_ECANCELED : weir__session_admit(s, err);
        if (st == WEIR_ECANCELED)
            weir__session_give_up(s);
        else if (st != WEIR_OK)
            return st;
        else if (s->cap == 0)
            end_unwritten(s);
        else
            (*running)++;
    }
    return WEIR_OK;
}

/* Of a part of the sessions: one that ended for its logits lets the others go on, *first keeps it. */
static weir_status keep_first(weir_status st, weir_status *first) {
    if (st != WEIR_ELOGITS) return st;
    *first = st;
    return WEIR_OK;
}

/* One round: up to `left` blocks where the loop serves everyone, else one block or token each; *ran says how
 * many. */
static weir_status run_round(weir_engine *e, weir_session *const *sessions, int n, int running, int left,
                             int *ran, weir_status *first, weir_err *err) {
    *ran = 1;
    weir_err *const say = *first == WEIR_OK ? err : NULL;
    const int n_loop = gather(e, sessions, n, BY_BLOCKS);
    if (n_loop > 0) {
        const int blocks = n_loop == running ? left : 1;
        WEIR_TRY(keep_first(weir__block_loop_run(e->deck.loop, e->deck.buf.list, n_loop, blocks, ran, say),
                            first));
    }
    const int n_tick = gather(e, sessions, n, BY_TICKS);
    return n_tick > 0 ? keep_first(weir__tick_sequential(e, e->deck.buf.list, n_tick, say), first) : WEIR_OK;
}

/* Grows with everything that brings a session nearer to its end: a token, the verifier's second pass of a
 * sequence cascade, which forgets the first one's tokens, the end itself. */
static uint64_t progress(weir_session *const *sessions, int n) {
    uint64_t sum = 0;
    for (int i = 0; i < n; i++) {
        const weir_session *s = sessions[i];
        sum +=
            (uint64_t)s->n + ((uint64_t)s->second_pass << 32) + ((uint64_t)(s->finish != WEIR_RUNNING) << 33);
    }
    return sum;
}

/* Those that were cancelled, or interrupted, while the round ran: the loop drops what it decided for them
 * since. */
static void end_given_up(weir_session *const *sessions, int n) {
    for (int i = 0; i < n; i++)
        if (sessions[i]->finish == WEIR_RUNNING && weir__session_given_up(sessions[i]))
            weir__session_give_up(sessions[i]);
}

static void close_round(weir_session *const *sessions, int n, double spent) {
    for (int i = 0; i < n; i++) {
        if (sessions[i]->slot < 0) continue;
        sessions[i]->stats.seconds_total += spent;
        if (sessions[i]->finish != WEIR_RUNNING) weir__session_release(sessions[i]);
    }
}

/* Blocks of the next round: as many as there are pages for, and `left` at most. 0 and EPAGES: not for one. */
static weir_status choose_blocks(weir_engine *e, weir_session *const *sessions, int n, int left, int *blocks,
                                 weir_err *err) {
    *blocks = weir__block_loop_blocks(e->deck.loop, weir__tops_asked(sessions, n), left);
    for (int i = 0; i<n && * blocks> 1; i++)
        if (sessions[i]->finish == WEIR_RUNNING && run_by(sessions[i]) == BY_TICKS) *blocks = 1;
    for (; *blocks > 1; *blocks /= 2)
        if (weir__pages_for_blocks(sessions, n, *blocks, NULL) == WEIR_OK) return WEIR_OK;
    const weir_status st = weir__pages_for_blocks(sessions, n, 1, err);
    if (st != WEIR_OK) *blocks = 0;
    return st;
}

static weir_status run_blocks(weir_engine *e, weir_session *const *sessions, int n, int max_blocks,
                              weir_err *err) {
    weir_status first = WEIR_OK;
    for (int block = 0, ran; block < max_blocks; block += ran) {
        int running, blocks;
        end_given_up(sessions, n);
        const weir_status pages =
            choose_blocks(e, sessions, n, max_blocks - block, &blocks, block == 0 ? err : NULL);
        if (pages != WEIR_OK) return block == 0 ? pages : first;
        WEIR_TRY(admit_all(sessions, n, &running, err));
        if (running == 0) break;
        const double t0 = weir_seconds() -
                          e->deck.prefill_seconds; /* prompts that a tick runs are booked by their sessions */
        const uint64_t before = progress(sessions, n);
        WEIR_TRY(run_round(e, sessions, n, running, blocks, &ran, &first, err));
        end_given_up(sessions, n);
        /* what callers' loops rely on */
        if (progress(sessions, n) <= before || ran < 1)
            return weir_fail(err, WEIR_EINVAL, "%d sessions were stepped and none got further", running);
        close_round(sessions, n, weir_seconds() - e->deck.prefill_seconds - t0);
        if (atomic_load(&e->deck.yield)) break;
    }
    return first;
}

static weir_status check_list(const weir_engine *e, weir_session *const *sessions, int n, int max_blocks,
                              weir_err *err) {
    if (n < 0 || max_blocks < 0)
        return weir_fail(err, WEIR_EINVAL, "n %d, max_blocks %d: below 0", n, max_blocks);
    if (listed_twice(sessions, n)) return weir_fail(err, WEIR_EINVAL, "a session is listed twice");
    for (int i = 0; i < n; i++)
        if (sessions[i]->e != e)
            return weir_fail(err, WEIR_EINVAL, "session %d belongs to another engine", i);
    return WEIR_OK;
}

void weir_engine_yield(weir_engine *e) { atomic_store(&e->deck.yield, true); }

weir_status weir_step(weir_engine *e, weir_session *const *sessions, int n, int max_blocks, weir_err *err) {
    WEIR_TRY(check_list(e, sessions, n, max_blocks, err));
    if (err) err->text[0] = '\0';
    const weir_status st = run_blocks(e, sessions, n, max_blocks, err);
    atomic_store(&e->deck.yield, false);
    if (weir__is_lost(st)) return weir__engine_lost(e, st, err);
    if (st == WEIR_OK || (err && err->text[0])) return st;
    return weir_fail(err, st, "a step of %d sessions: %s", n, weir_status_str(st)); /* ops have no words */
}
