/* A session on its slot: the prompt, in slices where it can be cut; what a suspension took; the way out. */
#include <string.h>

#include "host/deck/deck.h"
#include "host/deck/draft/lookup.h"
#include "host/deck/prefix.h"
#include "host/session/session.h"
#include "kernels/base/clock.h"
#include "kernels/loop/seat.h"

/* ---- prompt -------------------------------------------------------------------------------------------- */

/* Positions that a model reads before it writes: all of the prompt for an encoder; a decoder's last token is
 * the timeline's first input. */
static int64_t prompt_positions(const weir_session *s, int side) {
    return s->e->pair.facts.encoder_decoder ? (int64_t)s->n_prompt : weir__session_base(s, side);
}

weir_status weir__session_note_source(weir_session *s, int side) {
    weir_deck_side *m = &s->e->deck.side[side];
    m->cross_len[s->slot] = (int32_t)s->n_prompt;
    if (!m->dev_cross_len) return WEIR_OK;
    return weir__backend_upload(s->e->pair.be, m->dev_cross_len + s->slot, m->cross_len + s->slot,
                                sizeof *m->cross_len);
}

/* Steps of the prompt (models/model.h). */
static int64_t n_pass_of(const weir_session *s, int side) {
    return weir__model_get_facts(s->e->pair.side[side].model)->n_pass;
}

static int64_t step_of(const weir_session *s, int side) {
    return s->prefilled[side] / s->e->pair.be->chunk * n_pass_of(s, side) + s->part[side];
}

static void set_step(weir_session *s, int side, int64_t step) {
    const int64_t n_pass = n_pass_of(s, side), read = step / n_pass * s->e->pair.be->chunk;
    s->prefilled[side] = read < prompt_positions(s, side) ? read : prompt_positions(s, side);
    s->part[side] = step % n_pass;
}

/* Positions of the chunk that is being read, and what has been done of it in positions. */
static int64_t chunk_size(const weir_session *s, int side) {
    const int64_t left = prompt_positions(s, side) - s->prefilled[side], chunk = s->e->pair.be->chunk;
    return left < chunk ? left : chunk;
}

static int64_t part_positions(const weir_session *s, int side) {
    return s->part[side] > 0 ? s->part[side] * chunk_size(s, side) / n_pass_of(s, side) : 0;
}

/* What has been done of the prompt, in positions; of what is shared by who was first. */
static int64_t positions_read(const weir_session *s, int side) {
    const weir_session *twin =
        s->prefilled[side] < prompt_positions(s, side) ? weir__prefix_twin(s, side) : NULL;
    const weir_session *by = twin ? twin : s;
    return by->prefilled[side] + part_positions(by, side);
}

/* Where a slice of the prompt ends: as many steps as the positions are worth, and one position at least, so
 * that what is left grows less with each. */
static int64_t end_of_steps(const weir_session *s, int side, int64_t max_positions) {
    const int64_t n = prompt_positions(s, side), n_pass = n_pass_of(s, side), size = chunk_size(s, side);
    const int64_t all = weir__model_prefill_steps(s->e->pair.side[side].model, n), from = step_of(s, side);
    const int64_t least = (n_pass + size - 1) / size;
    const int64_t asked = max_positions < n ? max_positions * n_pass / s->e->pair.be->chunk : all;
    const int64_t end = from + (asked > least ? asked : least);
    return end < all ? end : all;
}

void weir__session_close_prompt(weir_session *s, int side) {
    if (s->open_at[side] >= 0) s->e->deck.side[side].open[s->open_at[side]] = NULL;
    s->open_at[side] = -1;
}

/* Steps of the prompt up to `upto`. It is open; within no part it is closed. */
static weir_status run_steps(weir_session *s, int side, int64_t upto) {
    weir_deck_side *m = &s->e->deck.side[side];
    const int64_t n = prompt_positions(s, side), from = step_of(s, side);
    WEIR_TRY(weir__model_prefill_part(s->e->pair.side[side].model, &m->kv, s->slot,
                                      weir__session_prompt(s, side), n, s->open_at[side], from, upto));
    set_step(s, side, upto);
    const bool within = s->part[side] > 0 || (m->cross_len && s->prefilled[side] < n);
    if (!within) weir__session_close_prompt(s, side);
    return WEIR_OK;
}

/* Of one that was given up. */
static void forget_part(weir_session *s, int side) {
    weir__session_close_prompt(s, side);
    s->part[side] = 0;
    if (s->e->deck.side[side].cross_len) s->prefilled[side] = 0;
}

/* After steps of s that another session had run: those of one that was given up are no failure of the
 * other. */
static weir_status take_steps(weir_session *s, int side, weir_status st) {
    if (st == WEIR_OK) weir__prefix_publish(s, side);
    if (st != WEIR_ECANCELED) return st;
    forget_part(s, side);
    return WEIR_OK;
}

/* The part of another session, to its end; step by step, for what has run must not run again. */
static weir_status finish_part(weir_session *s, int side) {
    weir_status st = WEIR_OK;
    s->e->deck.prefilling = s;
    WEIR_TRY(weir__caches_sync(&s->e->deck.side[side]));
    while (s->open_at[side] >= 0 && st == WEIR_OK) st = run_steps(s, side, step_of(s, side) + 1);
    return take_steps(s, side, st);
}

/* A model can be within so many prompts. Before another one begins, the part of one of them is run to its
 * end. */
static weir_status open_prompt(weir_session *s, int side) {
    weir_deck_side *m = &s->e->deck.side[side];
    const int n = weir__model_get_facts(s->e->pair.side[side].model)->n_open;
    if (s->open_at[side] >= 0) return WEIR_OK;
    int free = 0;
    while (free < n && m->open[free]) free++;
    if (free == n) WEIR_TRY(finish_part(m->open[free = 0], side));
    m->open[free] = s;
    s->open_at[side] = free;
    return WEIR_OK;
}

static weir_status run_prompt(weir_session *s, int side, int64_t max_positions) {
    weir_deck_side *m = &s->e->deck.side[side];
    WEIR_TRY(weir__caches_sync(m));
    if (m->cross_len && step_of(s, side) == 0) WEIR_TRY(weir__session_note_source(s, side));
    return run_steps(s, side, end_of_steps(s, side, max_positions));
}

bool weir__session_given_up(const weir_session *s) {
    return atomic_load(&s->cancel) || weir_interrupted(&s->e->deck.interrupt);
}

/* Inputs [from, upto) of the timeline once more, after a suspension. A row's K and V depend on what precedes
 * it and not on the rows of its call: they get the bits that the blocks and ticks left which first ran
 * them. */
static weir_status run_inputs(weir_session *s, int side, int64_t from, int64_t upto) {
    const int32_t *input = weir__session_timeline(s, side);
    weir_seat seat = weir__seat_of(s);
    seat.base = (int32_t)weir__session_base(s, side);
    while (from < upto) {
        weir_rows rows = {0, 0};
        if (weir_interrupted(&s->e->pair.be->interrupt)) return WEIR_ECANCELED; /* as between chunks */
        for (; from < upto && rows.n_row < s->e->pair.n_row_max; from++)
            weir__rows_add(s->e, &rows, &seat, input[from], from, false);
        WEIR_TRY(weir__rows_run(s->e, &rows, side, NULL));
    }
    return WEIR_OK;
}

static int64_t positions_to_read(const weir_session *s, int side) {
    return prompt_positions(s, side) + s->held[side];
}

/* What a suspension took, from where it was read again. */
static weir_status run_held(weir_session *s, int side, int64_t max_positions) {
    const int64_t prompt = prompt_positions(s, side), done = s->prefilled[side] - prompt;
    const int64_t chunk = s->e->pair.be->chunk, slice = max_positions < chunk ? chunk : max_positions;
    const int64_t upto = s->held[side] - done <= slice ? s->held[side] : done + slice;
    WEIR_TRY(run_inputs(s, side, done, upto));
    s->prefilled[side] = prompt + upto;
    return WEIR_OK;
}

/* Steps of a prompt that begins in the same way and is ahead. *ran false: it has been given up. */
static weir_status run_twin(weir_session *twin, int side, int64_t max_positions, bool *ran) {
    twin->e->deck.prefilling = twin;
    const weir_status st = run_prompt(twin, side, max_positions);
    *ran = st == WEIR_OK;
    return take_steps(twin, side, st);
}

/* From where it has read, after what another session may have read for it. *ran: positions. */
static weir_status run_positions(weir_session *s, int side, int64_t max_positions, int64_t *ran) {
    WEIR_TRY(weir__prefix_adopt(s, side));
    const int64_t before = positions_read(s, side);
    const bool unread = s->prefilled[side] < prompt_positions(s, side);
    weir_session *twin = unread ? weir__prefix_twin(s, side) : NULL;
    bool by_twin = false;
    if (twin) WEIR_TRY(run_twin(twin, side, max_positions, &by_twin));
    if (by_twin) {
        WEIR_TRY(weir__prefix_adopt(s, side));
        *ran = positions_read(s, side) - before;
        return WEIR_OK;
    }
    if (unread) WEIR_TRY(open_prompt(s, side));
    s->e->deck.prefilling = s;
    WEIR_TRY(weir__session_prompt_room(s, side));
    WEIR_TRY(unread ? run_prompt(s, side, max_positions) : run_held(s, side, max_positions));
    *ran = positions_read(s, side) - before;
    return WEIR_OK;
}

/* A slice of about max_positions. The time is the session's alone. */
static weir_status run_slice(weir_session *s, int side, int64_t max_positions, int64_t *ran, weir_err *err) {
    const double t0 = weir_seconds();
    const weir_status st = run_positions(s, side, max_positions, ran);
    s->e->deck.prefilling = NULL;
    const double spent = weir_seconds() - t0;
    s->stats.seconds_prefill += spent;
    s->stats.seconds_total += spent;
    s->e->deck.prefill_seconds += spent;
    if (weir__is_lost(st)) return weir__engine_lost(s->e, st, err);
    if (st != WEIR_OK)
        return weir_fail(err, st, "prompt of %zu tokens: %s", s->n_prompt, weir_status_str(st));
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
    if (side == WEIR_DRAFTER && !s->e->pair.has_draft) return false;
    switch (s->opt.method) {
    case WEIR_METHOD_VERIFIER: return side == WEIR_VERIFIER;
    case WEIR_METHOD_DRAFTER:
    case WEIR_METHOD_TOKEN_CASCADE: return side == WEIR_DRAFTER;
    case WEIR_METHOD_SEQUENCE_CASCADE: return side == (s->second_pass ? WEIR_VERIFIER : WEIR_DRAFTER);
    case WEIR_METHOD_SPECULATIVE: return side == WEIR_VERIFIER || weir__session_gamma(s) > 0;
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
        const int64_t n = positions_to_read(s, side) - positions_read(s, side);
        left +=
            n > 0 ? n : 1; /* a prompt of one token has nothing to run, and is to be admitted all the same */
    }
    return left;
}

/* ---- seat ---------------------------------------------------------------------------------------------- */

bool weir__session_chooses(const weir_session *s) {
    return s->e->pair.has_draft && s->opt.method == WEIR_METHOD_SPECULATIVE &&
           s->opt.n_draft == WEIR_GAMMA_AUTO;
}

int weir__session_gamma(const weir_session *s) {
    const int most = s->e->pair.max_draft;
    if (s->opt.method != WEIR_METHOD_SPECULATIVE || (s->retold && s->retold->full)) return 0;
    if (s->opt.n_draft != WEIR_GAMMA_AUTO) return s->opt.n_draft;
    if (s->past.settled) return 0;
    const int auto_most = s->e->pair.has_draft ? WEIR_GAMMA_AUTO_MAX : WEIR_GAMMA_LOOKUP;
    return most < auto_most ? most : auto_most;
}

/* A drafter of another vocabulary has no row after its last draft: the token there is the verifier's. */
static int32_t bonus_from(const weir_session *s) {
    return s->retold ? INT32_MAX : weir__seat_bonus_from(&s->opt.law);
}

void weir__session_begin_drafts(weir_session *s) {
    const weir_gamma_plan plan = {.most = weir__session_gamma(s), .bonus = bonus_from(s) < INT32_MAX};
    if (weir__session_chooses(s)) weir__gamma_begin(&s->e->pair.cost, &plan, &s->past);
}

weir_seat weir__seat_of(const weir_session *s) {
    const weir_engine_facts *f = &s->e->pair.facts;
    weir_seat seat = {.law = s->opt.law,
                      .slot = s->slot,
                      .base = (int32_t)s->base,
                      .gamma = weir__session_gamma(s),
                      .chooses = weir__session_chooses(s),
                      .limit = (int32_t)s->cap,
                      .n_eos = s->opt.ignore_eos ? 0 : f->n_eos,
                      .n = (int32_t)s->n,
                      .end = WEIR_SEAT_RUNNING,
                      .past = s->past,
                      .lacks = s->n > 0 && s->cached[WEIR_DRAFTER] < s->n};
    seat.before = (int32_t)weir__lookup_before(s);
    seat.bonus_from = seat.gamma > 0 ? bonus_from(s) : INT32_MAX;
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
    s->looked = 0;
}

void weir__session_forget(weir_session *s, int side) {
    weir__session_drop_pages(s, side);
    s->cached[side] = -1;
    s->prefilled[side] = s->part[side] = 0;
}

bool weir_session_in_part(const weir_session *s) {
    for (int side = 0; side < 2; side++)
        if (s->open_at[side] >= 0 && weir__model_get_facts(s->e->pair.side[side].model)->n_open == 1)
            return true;
    return false;
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
