#include "host/engine.h"

/* Unfinished sessions with a slot, speculative ones or the others. */
static int gather(weir_engine *e, weir_session *const *sessions, int n, bool speculative) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        weir_session *s = sessions[i];
        if (s->finish != WEIR_RUNNING || (s->opt.method == WEIR_METHOD_SPECULATIVE) != speculative) continue;
        e->buf.list[count++] = s;
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

weir_status weir_step(weir_engine *e, weir_session *const *sessions, int n, int max_blocks, weir_err *err) {
    if (n < 0 || max_blocks < 0) return weir_fail(err, WEIR_EINVAL, "n %d, max_blocks %d: below 0", n, max_blocks);
    if (listed_twice(sessions, n)) return weir_fail(err, WEIR_EINVAL, "a session is listed twice");
    weir_status first = WEIR_OK;
    for (int block = 0; block < max_blocks; block++) {
        int running;
        const double t0 = weir_now();
        WEIR_TRY(admit_all(e, sessions, n, &running, first == WEIR_OK ? err : NULL));
        if (running == 0) break;
        const int n_spec = gather(e, sessions, n, true);
        if (n_spec > 0) {
            const weir_status st = weir_block_speculative(e, e->buf.list, n_spec, first == WEIR_OK ? err : NULL);
            if (first == WEIR_OK) first = st;
        }
        const int n_seq = gather(e, sessions, n, false);
        if (n_seq > 0) {
            const weir_status st = weir_tick_sequential(e, e->buf.list, n_seq, first == WEIR_OK ? err : NULL);
            if (first == WEIR_OK) first = st;
        }
        const double spent = weir_now() - t0;
        for (int i = 0; i < n; i++) {
            if (sessions[i]->slot < 0) continue;
            sessions[i]->stats.seconds_total += spent;
            if (sessions[i]->finish != WEIR_RUNNING) weir_session_release(sessions[i]);
        }
    }
    return first;
}
