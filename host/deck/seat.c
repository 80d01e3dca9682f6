/* A session on its slot: the prompt, in slices where it can be cut; pages; the way out. */
#include <string.h>

#include "host/deck/deck.h"
#include "host/session/session.h"
#include "kernels/base/clock.h"
#include "kernels/loop/seat.h"

/* ---- pages --------------------------------------------------------------------------------------------- */

/* Of all pools that hold positions of the timeline. */
static weir_status make_len(weir_session *s, int side, int64_t n_input,
                            weir_status (*how)(weir_kv_pool *p, int32_t slot, int64_t len)) {
    const weir_deck_side *m = &s->e->deck.side[side];
    if (m->slide) WEIR_TRY(how(m->slide, s->slot, s->base + n_input));
    return how(m->self, s->slot, s->base + n_input);
}

weir_status weir__session_room(weir_session *s, int side, int64_t n_input) {
    return make_len(s, side, n_input, weir__kv_pool_resize);
}

weir_status weir__session_reserve(weir_session *s, int side, int64_t n_input) {
    return make_len(s, side, n_input, weir__kv_pool_reserve);
}

/* ---- prompt -------------------------------------------------------------------------------------------- */

/* Positions that a model reads before it writes: all of the prompt for an encoder; a decoder's last token is
 * the timeline's first input. */
static int64_t prompt_positions(const weir_session *s) {
    return s->e->pair.facts.encoder_decoder ? (int64_t)s->n_prompt : s->base;
}

/* An encoder reads the whole prompt into the cross cache. */
static weir_status run_encoder(weir_session *s, int side) {
    weir_deck_side *m = &s->e->deck.side[side];
    WEIR_TRY(weir__kv_pool_resize(m->cross, s->slot, (int64_t)s->n_prompt));
    WEIR_TRY(weir__kv_pool_sync(m->cross));
    m->cross_len[s->slot] = (int32_t)s->n_prompt;
    if (m->dev_cross_len)
        WEIR_TRY(weir__backend_upload(s->e->pair.be, m->dev_cross_len + s->slot, m->cross_len + s->slot,
                                      sizeof *m->cross_len));
    return weir__model_prefill(s->e->pair.side[side].model, &m->kv, s->slot, s->prompt, (int64_t)s->n_prompt);
}

/* Positions [prefilled, upto) of the prompt. */
static weir_status run_prompt(weir_session *s, int side, int64_t upto) {
    weir_deck_side *m = &s->e->deck.side[side];
    if (m->cross) return run_encoder(s, side);
    if (weir__kv_pool_len(m->self, s->slot) < s->base) WEIR_TRY(weir__session_room(s, side, 0));
    if (s->base == 0) return WEIR_OK;
    WEIR_TRY(weir__caches_sync(m));
    return weir__model_prefill_part(s->e->pair.side[side].model, &m->kv, s->slot, s->prompt, s->base,
                                    s->prefilled[side], upto);
}

bool weir__session_given_up(const weir_session *s) {
    return atomic_load(&s->cancel) || weir_interrupted(&s->e->deck.interrupt);
}

/* A slice of at most max_positions (one chunk of the backend at least), whole chunks unless it is the last
 * one. The time is the session's alone. */
static weir_status run_slice(weir_session *s, int side, int64_t max_positions, weir_err *err) {
    const int64_t all = prompt_positions(s), chunk = s->e->pair.be->chunk;
    const int64_t slice = max_positions < chunk ? chunk : max_positions / chunk * chunk;
    const int64_t left = all - s->prefilled[side];
    const int64_t upto = s->e->pair.facts.encoder_decoder || left <= slice ? all : s->prefilled[side] + slice;
    const double t0 = weir_seconds();
    s->e->deck.prefilling = s;
    const weir_status st = run_prompt(s, side, upto);
    s->e->deck.prefilling = NULL;
    const double spent = weir_seconds() - t0;
    s->stats.seconds_prefill += spent;
    s->stats.seconds_total += spent;
    s->e->deck.prefill_seconds += spent;
    if (st == WEIR_ECUDA) return weir__backend_failure(s->e->pair.be, err);
    if (st != WEIR_OK)
        return weir_fail(err, st, "prompt of %zu tokens: %s", s->n_prompt, weir_status_str(st));
    s->prefilled[side] = upto;
    if (upto == all) s->cached[side] = 0;
    return WEIR_OK;
}

weir_status weir__session_prefill(weir_session *s, int side, weir_err *err) {
    return s->cached[side] >= 0 ? WEIR_OK : run_slice(s, side, INT64_MAX, err);
}

/* TokenCascade and the sequence cascade may never need the verifier: its prompt waits for the first call. */
static bool needs_at_once(const weir_session *s, int side) {
    switch (s->opt.method) {
    case WEIR_METHOD_VERIFIER: return side == WEIR_VERIFIER;
    case WEIR_METHOD_DRAFTER:
    case WEIR_METHOD_TOKEN_CASCADE: return side == WEIR_DRAFTER;
    case WEIR_METHOD_SEQUENCE_CASCADE: return side == (s->second_pass ? WEIR_VERIFIER : WEIR_DRAFTER);
    default: return true;
    }
}

int64_t weir__session_prefill_left(const weir_session *s) {
    int64_t left = 0;
    for (int side = 0; side < 2; side++) {
        if (!needs_at_once(s, side) || s->cached[side] >= 0) continue;
        const int64_t n = prompt_positions(s) - s->prefilled[side];
        left +=
            n > 0 ? n : 1; /* a prompt of one token has nothing to run, and is to be admitted all the same */
    }
    return left;
}

/* ---- seat ---------------------------------------------------------------------------------------------- */

int weir__session_gamma(const weir_session *s) {
    return s->opt.method == WEIR_METHOD_SPECULATIVE ? s->opt.n_draft : 0;
}

weir_seat weir__seat_of(const weir_session *s) {
    const weir_engine_facts *f = &s->e->pair.facts;
    weir_seat seat = {.law = s->opt.law,
                      .slot = s->slot,
                      .base = (int32_t)s->base,
                      .gamma = weir__session_gamma(s),
                      .limit = (int32_t)s->cap,
                      .n_eos = s->opt.ignore_eos ? 0 : f->n_eos,
                      .n = (int32_t)s->n,
                      .end = WEIR_SEAT_RUNNING,
                      .lacks = s->n > 0 && s->cached[WEIR_DRAFTER] < s->n};
    seat.bonus_from = seat.gamma > 0 ? weir__seat_bonus_from(&s->opt.law) : INT32_MAX;
    memcpy(seat.eos, f->eos, sizeof seat.eos);
    seat.tail[0] = s->n > 0 ? s->timeline[s->n - 1] : 0;
    seat.tail[1] = s->timeline[s->n];
    return seat;
}

/* ---- slot ---------------------------------------------------------------------------------------------- */

static weir_status take_slot(weir_session *s, weir_err *err) {
    weir_engine *e = s->e;
    if (s->slot >= 0) return WEIR_OK;
    s->started = weir_seconds();
    for (int i = 0; i < e->pair.n_parallel && s->slot < 0; i++)
        if (!e->deck.slot_owner[i]) s->slot = i;
    if (s->slot < 0)
        return weir_fail(err, WEIR_EINVAL,
                         "more than %d unfinished sessions are stepped at once (n_parallel)",
                         e->pair.n_parallel);
    e->deck.slot_owner[s->slot] = s;
    return WEIR_OK;
}

weir_status weir__session_admit(weir_session *s, weir_err *err) {
    WEIR_TRY(take_slot(s, err));
    for (int side = 0; side < 2; side++)
        if (needs_at_once(s, side)) WEIR_TRY(weir__session_prefill(s, side, err));
    return WEIR_OK;
}

weir_status weir_session_prefill(weir_session *s, int64_t max_positions, int64_t *left, weir_err *err) {
    *left = 0;
    if (s->finish != WEIR_RUNNING) return WEIR_OK;
    weir_status st = take_slot(s, err);
    for (int side = 0; side < 2 && st == WEIR_OK && max_positions > 0; side++) {
        if (!needs_at_once(s, side) || s->cached[side] >= 0) continue;
        const int64_t before = s->prefilled[side];
        st = weir__session_given_up(s) ? WEIR_ECANCELED : run_slice(s, side, max_positions, err);
        max_positions -= s->prefilled[side] - before;
    }
    if (st == WEIR_ECANCELED) {
        weir__session_give_up(s);
        return WEIR_OK;
    }
    *left = weir__session_prefill_left(s);
    return st;
}

void weir__session_release(weir_session *s) {
    if (s->slot < 0) return;
    for (int side = 0; side < 2; side++) {
        weir_deck_side *m = &s->e->deck.side[side];
        if (m->self) (void)weir__kv_pool_resize(m->self, s->slot, 0);
        if (m->slide) (void)weir__kv_pool_resize(m->slide, s->slot, 0);
        if (m->cross) (void)weir__kv_pool_resize(m->cross, s->slot, 0);
    }
    s->e->deck.slot_owner[s->slot] = NULL;
    s->slot = -1;
}

void weir__session_give_up(weir_session *s) {
    if (s->finish != WEIR_RUNNING) return;
    s->mute = false;
    (void)weir__text_tell_all(s);
    weir__session_end(s, WEIR_ENDED_CANCELLED);
    weir__session_release(s);
}
