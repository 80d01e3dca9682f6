/* A session on its slot: the prompt, in slices where it can be cut; what a suspension took; the way out. */
#include <string.h>

#include "host/deck/deck.h"
#include "host/deck/prefix.h"
#include "host/session/session.h"
#include "kernels/base/clock.h"
#include "kernels/loop/seat.h"

/* ---- prompt -------------------------------------------------------------------------------------------- */

/* Positions that a model reads before it writes: all of the prompt for an encoder; a decoder's last token is
 * the timeline's first input. */
static int64_t prompt_positions(const weir_session *s) {
    return s->e->pair.facts.encoder_decoder ? (int64_t)s->n_prompt : s->base;
}

weir_status weir__session_note_source(weir_session *s, int side) {
    weir_deck_side *m = &s->e->deck.side[side];
    m->cross_len[s->slot] = (int32_t)s->n_prompt;
    if (!m->dev_cross_len) return WEIR_OK;
    return weir__backend_upload(s->e->pair.be, m->dev_cross_len + s->slot, m->cross_len + s->slot,
                                sizeof *m->cross_len);
}

/* Positions [prefilled, upto) of the prompt. */
static weir_status run_prompt(weir_session *s, int side, int64_t upto) {
    weir_deck_side *m = &s->e->deck.side[side];
    const int64_t n = prompt_positions(s);
    WEIR_TRY(weir__caches_sync(m));
    if (n == 0) return WEIR_OK;
    if (m->cross_len) {
        WEIR_TRY(weir__session_note_source(s, side));
        m->encoding = upto < n ? s : NULL;
    }
    return weir__model_prefill_part(s->e->pair.side[side].model, &m->kv, s->slot, s->prompt, n,
                                    s->prefilled[side], upto);
}

/* An encoder holds a part of one prompt: whoever was interrupted by another one begins again. */
static void check_encoder(weir_session *s, int side) {
    const weir_deck_side *m = &s->e->deck.side[side];
    const bool part = s->prefilled[side] > 0 && s->prefilled[side] < prompt_positions(s);
    if (m->cross_len && part && m->encoding != s) s->prefilled[side] = 0;
}

bool weir__session_given_up(const weir_session *s) {
    return atomic_load(&s->cancel) || weir_interrupted(&s->e->deck.interrupt);
}

/* Inputs [from, upto) of the timeline once more, after a suspension. A row's K and V depend on what precedes
 * it and not on the rows of its call: they get the bits that the blocks and ticks left which first ran
 * them. */
static weir_status run_inputs(weir_session *s, int side, int64_t from, int64_t upto) {
    const weir_seat seat = weir__seat_of(s);
    while (from < upto) {
        weir_rows rows = {0, 0};
        if (weir_interrupted(&s->e->pair.be->interrupt)) return WEIR_ECANCELED; /* as between chunks */
        for (; from < upto && rows.n_row < s->e->pair.n_row_max; from++)
            weir__rows_add(s->e, &rows, &seat, s->timeline[from], from, false);
        WEIR_TRY(weir__rows_run(s->e, &rows, side, NULL));
    }
    return WEIR_OK;
}

static int64_t positions_to_read(const weir_session *s, int side) {
    return prompt_positions(s) + s->held[side];
}

/* Where a slice of the prompt, or of what follows it, ends. */
static int64_t end_of_slice(const weir_session *s, int side, int64_t max_positions) {
    const int64_t prompt = prompt_positions(s), chunk = s->e->pair.be->chunk, done = s->prefilled[side];
    const int64_t slice = max_positions < chunk ? chunk : max_positions / chunk * chunk;
    const int64_t end = done < prompt ? prompt : positions_to_read(s, side);
    return end - done <= slice ? end : done + slice;
}

/* From where it has read, after what another session may have read for it. *ran: positions. */
static weir_status run_positions(weir_session *s, int side, int64_t max_positions, int64_t *ran) {
    check_encoder(s, side);
    WEIR_TRY(weir__prefix_adopt(s, side));
    const int64_t prompt = prompt_positions(s), done = s->prefilled[side];
    const int64_t upto = end_of_slice(s, side, max_positions);
    WEIR_TRY(weir__session_prompt_room(s, side));
    *ran = upto - done;
    return done < prompt ? run_prompt(s, side, upto) : run_inputs(s, side, done - prompt, upto - prompt);
}

/* A slice of at most max_positions (one chunk of the backend at least), whole chunks unless it is the last
 * one. The time is the session's alone. */
static weir_status run_slice(weir_session *s, int side, int64_t max_positions, int64_t *ran, weir_err *err) {
    const double t0 = weir_seconds();
    s->e->deck.prefilling = s;
    const weir_status st = run_positions(s, side, max_positions, ran);
    s->e->deck.prefilling = NULL;
    const double spent = weir_seconds() - t0;
    s->stats.seconds_prefill += spent;
    s->stats.seconds_total += spent;
    s->e->deck.prefill_seconds += spent;
    if (st == WEIR_ECUDA) return weir__backend_failure(s->e->pair.be, err);
    if (st != WEIR_OK)
        return weir_fail(err, st, "prompt of %zu tokens: %s", s->n_prompt, weir_status_str(st));
    s->prefilled[side] += *ran;
    weir__prefix_publish(s, side);
    if (s->prefilled[side] < positions_to_read(s, side)) return WEIR_OK;
    s->cached[side] = s->held[side];
    s->held[side] = 0;
    return WEIR_OK;
}

weir_status weir__session_prefill(weir_session *s, int side, weir_err *err) {
    int64_t ran;
    while (s->cached[side] < 0) WEIR_TRY(run_slice(s, side, INT64_MAX, &ran, err));
    return WEIR_OK;
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

bool weir__session_reads(const weir_session *s, int side) {
    return needs_at_once(s, side) && s->cached[side] < 0;
}

int64_t weir__session_prefill_left(const weir_session *s) {
    int64_t left = 0;
    for (int side = 0; side < 2; side++) {
        if (!weir__session_reads(s, side)) continue;
        const int64_t n = positions_to_read(s, side) - s->prefilled[side];
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
    if (s->started == 0.0) s->started = weir_seconds();
    for (int i = 0; i < e->pair.n_parallel && s->slot < 0; i++)
        if (!e->deck.slot_owner[i]) s->slot = i;
    if (s->slot < 0)
        return weir_fail(err, WEIR_EINVAL,
                         "more than %d unfinished sessions are stepped at once (n_parallel)",
                         e->pair.n_parallel);
    e->deck.slot_owner[s->slot] = s;
    return WEIR_OK;
}

/* And pages for all that is to be read; neither where there are too few. */
static weir_status take_place(weir_session *s, weir_err *err) {
    const bool had = s->slot >= 0;
    WEIR_TRY(take_slot(s, err));
    const weir_status st = weir__pages_for_prompt(s, err);
    if (st != WEIR_OK && !had) weir__session_release(s);
    return st;
}

weir_status weir__session_admit(weir_session *s, weir_err *err) {
    WEIR_TRY(take_place(s, err));
    for (int side = 0; side < 2; side++)
        if (needs_at_once(s, side)) WEIR_TRY(weir__session_prefill(s, side, err));
    return WEIR_OK;
}

static weir_status run_slices(weir_session *s, int64_t max_positions, weir_err *err) {
    WEIR_TRY(take_place(s, err));
    for (int side = 0; side < 2 && max_positions > 0; side++) {
        if (!weir__session_reads(s, side)) continue;
        int64_t ran = 0;
        if (weir__session_given_up(s)) return WEIR_ECANCELED;
        WEIR_TRY(run_slice(s, side, max_positions, &ran, err));
        max_positions -= ran;
    }
    return WEIR_OK;
}

weir_status weir_session_prefill(weir_session *s, int64_t max_positions, int64_t *left, weir_err *err) {
    *left = 0;
    s->wants_pages = false;
    if (s->finish != WEIR_RUNNING) return WEIR_OK;
    const weir_status st = max_positions > 0 ? run_slices(s, max_positions, err) : take_slot(s, err);
    if (st == WEIR_ECANCELED) {
        weir__session_give_up(s);
        return WEIR_OK;
    }
    *left = weir__session_prefill_left(s);
    return st;
}

void weir__session_release(weir_session *s) {
    if (s->slot < 0) return;
    for (int side = 0; side < 2; side++) weir__session_drop_pages(s, side);
    s->e->deck.slot_owner[s->slot] = NULL;
    s->slot = -1;
}

void weir__session_forget(weir_session *s, int side) {
    weir__session_drop_pages(s, side);
    s->cached[side] = -1;
    s->prefilled[side] = 0;
}

void weir_session_suspend(weir_session *s) {
    if (s->slot < 0) return;
    s->was_suspended = true;
    for (int side = 0; side < 2; side++) {
        if (s->cached[side] > 0) s->held[side] = s->cached[side];
        weir__session_forget(s, side);
    }
    weir__session_release(s);
}

void weir__session_give_up(weir_session *s) {
    if (s->finish != WEIR_RUNNING) return;
    s->mute = false;
    (void)weir__text_tell_all(s);
    weir__session_end(s, WEIR_ENDED_CANCELLED);
    weir__session_release(s);
}
