#include "host/device_loop.h"

/* Who runs a session's blocks: the backend's loop, or this thread block by block or token by token. */
typedef enum step_by { BY_LOOP, BY_BLOCKS, BY_TICKS } step_by;

static step_by run_by(const weir_session *s) {
    if (s->e->loop && weir_device_loop_serves(s)) return BY_LOOP;
    return s->opt.method == WEIR_METHOD_SPECULATIVE ? BY_BLOCKS : BY_TICKS;
}

/* Unfinished sessions with a slot that are run in this way. */
static int gather(weir_engine *e, weir_session *const *sessions, int n, step_by by) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        weir_session *s = sessions[i];
        if (s->finish == WEIR_RUNNING && run_by(s) == by) e->buf.list[count++] = s;
    }
    return count;
}

static bool listed_twice(weir_session *const *sessions, int n) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            if (sessions[i] == sessions[j]) return true;
    return false;
}

/* Cancelled sessions end, the others get a slot. Returns how many go on. */
static weir_status admit_all(weir_engine *e, weir_session *const *sessions, int n, int *running, weir_err *err) {
    *running = 0;
    for (int i = 0; i < n; i++) {
        weir_session *s = sessions[i];
        if (s->e != e) return weir_fail(err, WEIR_EINVAL, "session %d belongs to another engine", i);
        if (s->finish != WEIR_RUNNING) continue;
        if (atomic_load(&s->cancel)) {
            s->mute = false;
            (void)weir_text_tell_all(s);
            weir_session_end(s, WEIR_FINISH_CANCELLED);
            weir_session_release(s);
            continue;
        }
        WEIR_TRY(weir_session_admit(s, err));
        (*running)++;
    }
    return WEIR_OK;
}

static void keep_first(weir_status *first, weir_status st) {
    if (*first == WEIR_OK) *first = st;
}

/* One round: up to `left` blocks where the loop serves everyone, else one block or token each; *ran says how many. A failure
 * of one session's logits is kept in *first and the rest goes on. */
static weir_status run_round(weir_engine *e, weir_session *const *sessions, int n, int running, int left, int *ran,
                             weir_status *first, weir_err *err) {
    *ran = 1;
    const int n_loop = gather(e, sessions, n, BY_LOOP);
    if (n_loop > 0) {
        const weir_status st = weir_device_loop_run(e->loop, e->buf.list, n_loop, n_loop == running ? left : 1, ran,
                                                    *first == WEIR_OK ? err : NULL);
        keep_first(first, st);
        if (*ran == 0) return *first; /* nobody would get further */
    }
    const int n_spec = gather(e, sessions, n, BY_BLOCKS);
    if (n_spec > 0) keep_first(first, weir_block_speculative(e, e->buf.list, n_spec, *first == WEIR_OK ? err : NULL));
    const int n_seq = gather(e, sessions, n, BY_TICKS);
    if (n_seq > 0) keep_first(first, weir_tick_sequential(e, e->buf.list, n_seq, *first == WEIR_OK ? err : NULL));
    return WEIR_OK;
}

static weir_status run_blocks(weir_engine *e, weir_session *const *sessions, int n, int max_blocks, weir_err *err) {
    weir_status first = WEIR_OK;
    for (int block = 0, ran; block < max_blocks; block += ran) {
        int running;
        const double t0 = weir_now();
        WEIR_TRY(admit_all(e, sessions, n, &running, first == WEIR_OK ? err : NULL));
        if (running == 0) break;
        WEIR_TRY(run_round(e, sessions, n, running, max_blocks - block, &ran, &first, err));
        if (first == WEIR_ECUDA) return first; /* the device is gone for all of them */
        const double spent = weir_now() - t0;
        for (int i = 0; i < n; i++) {
            if (sessions[i]->slot < 0) continue;
            sessions[i]->stats.seconds_total += spent;
            if (sessions[i]->finish != WEIR_RUNNING) weir_session_release(sessions[i]);
        }
    }
    return first;
}

weir_status weir_step(weir_engine *e, weir_session *const *sessions, int n, int max_blocks, weir_err *err) {
    if (n < 0 || max_blocks < 0) return weir_fail(err, WEIR_EINVAL, "n %d, max_blocks %d: below 0", n, max_blocks);
    if (listed_twice(sessions, n)) return weir_fail(err, WEIR_EINVAL, "a session is listed twice");
    const weir_status st = run_blocks(e, sessions, n, max_blocks, err);
    return st == WEIR_ECUDA ? weir_backend_failure(e->be, err) : st;
}
