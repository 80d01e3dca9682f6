#include "host/deck/draft/text_draft.h"

#include <math.h>
#include <string.h>

#include "host/deck/deck.h"
#include "host/deck/draft/lookup.h"
#include "host/tokenizers/across.h"
#include "kernels/base/mem.h"
#include "kernels/loop/lookup.h"

/* ---- what the drafter reads ---------------------------------------------------------------------------- */

/* Ids of the output at most. A vocabulary may take more of them than the verifier's; one that takes far more
 * is of little use. */
static int64_t room_for(const weir_session *s, int64_t n_prompt) {
    const int64_t left = s->e->pair.ctx_size - n_prompt, wanted = 2 * s->cap + 64;
    return left < wanted ? left : wanted;
}

/* Without the beginning of a text where the verifier's prompt has it; the drafter's own is put there. */
static weir_status read_prompt(const weir_session *s, weir__ids *out, weir_err *err) {
    const weir_pair *p = &s->e->pair;
    const weir_checkpoint *v = &p->side[WEIR_VERIFIER].ck, *d = &p->side[WEIR_DRAFTER].ck;
    const bool begins = s->n_prompt > 0 && v->bos_id >= 0 && s->prompt[0] == v->bos_id;
    if (d->add_bos && d->bos_id >= 0) WEIR_TRY(weir__ids_push(out, d->bos_id, err));
    return weir__across(p->tok, p->tok_draft, s->prompt + begins, s->n_prompt - begins, true, out, err);
}

weir_status weir__text_draft_open(weir_session *s, weir_err *err) {
    if (s->e->pair.draft != WEIR_DRAFT_TEXT || s->opt.method != WEIR_METHOD_SPECULATIVE) return WEIR_OK;
    weir_retold *r = s->retold = weir_calloc(1, sizeof *r);
    if (!r) return weir_fail(err, WEIR_ENOMEM, "out of memory for what the drafter reads");
    WEIR_TRY(read_prompt(s, &r->prompt, err));
    const int64_t n = (int64_t)r->prompt.n;
    r->base = n > 0 ? n - 1 : 0;
    r->cap = room_for(s, n);
    r->full = n == 0 || r->cap < 1; /* a prompt without text, or too long a one */
    if (r->full) return WEIR_OK;
    r->timeline = weir_alloc((size_t)(r->cap + weir__text_steps(WEIR_GAMMA_MAX) + 1), sizeof *r->timeline);
    if (!r->timeline) return weir_fail(err, WEIR_ENOMEM, "out of memory for what the drafter reads");
    r->timeline[0] = r->prompt.at[r->base];
    return WEIR_OK;
}

void weir__text_draft_close(weir_session *s) {
    if (!s->retold) return;
    weir_free(s->retold->prompt.at);
    weir_free(s->retold->timeline);
    weir_free(s->retold->draft.at);
    weir_free(s->retold);
    s->retold = NULL;
}

void weir__text_draft_restart(weir_session *s) {
    if (s->retold)
        s->retold->n = s->retold->n_drafted = s->retold->from = s->retold->n_from = s->retold->told = 0;
}

/* ---- the output ---------------------------------------------------------------------------------------- */

/* Output tokens [from, to) in the drafter's ids. */
static weir_status retell(const weir_session *s, int64_t from, int64_t to, weir__ids *out) {
    const weir_pair *p = &s->e->pair;
    return weir__across(p->tok, p->tok_draft, s->timeline + 1 + from, (size_t)(to - from), false, out, NULL);
}

/* Whether tokens [from, at) and those from there on have, apart, the ids of both together. */
static weir_status parts_at(const weir_session *s, int64_t at, const weir__ids *both, int64_t *n_front,
                            bool *apart) {
    weir__ids front = {0}, rest = {0};
    weir_status st = retell(s, s->retold->from, at, &front);
    if (st == WEIR_OK) st = retell(s, at, s->n, &rest);
    *apart = st == WEIR_OK && front.n + rest.n == both->n &&
             (front.n == 0 || memcmp(front.at, both->at, front.n * sizeof *front.at) == 0) &&
             (rest.n == 0 || memcmp(rest.at, both->at + front.n, rest.n * sizeof *rest.at) == 0);
    *n_front = (int64_t)front.n;
    weir_free(front.at);
    weir_free(rest.at);
    return st;
}

/* Where encoding alone could have gone another way across the place, nothing is moved. */
static weir_status move_window(weir_session *s, const weir__ids *all) {
    enum { LONG = 64, KEEP = 32, TRIES = 4 };
    weir_retold *r = s->retold;
    bool apart = false;
    int64_t n_front = 0;
    if (s->n - r->from <= LONG) return WEIR_OK;
    for (int i = 0; i < TRIES && !apart; i++) {
        const int64_t at = s->n - KEEP + i;
        WEIR_TRY(parts_at(s, at, all, &n_front, &apart));
        if (!apart) continue;
        r->from = at;
        r->n_from += n_front;
    }
    return WEIR_OK;
}

/* The ids after the first n_from become these. What the cache holds of others is no longer true. */
static void replace_ids(weir_session *s, const weir__ids *ids) {
    weir_retold *r = s->retold;
    const int64_t had = r->n + r->n_drafted, n = r->n_from + (int64_t)ids->n;
    int64_t same = r->n_from;
    while (same < n && same < had && r->timeline[1 + same] == ids->at[same - r->n_from]) same++;
    for (int64_t i = same; i < n; i++) r->timeline[1 + i] = ids->at[i - r->n_from];
    r->n = n;
    r->n_drafted = 0;
    const int64_t held = same + 1 < n ? same + 1 : n; /* the last input is run once more, for its logits */
    if (s->cached[WEIR_DRAFTER] > held) s->cached[WEIR_DRAFTER] = held;
}

weir_status weir__text_draft_sync(weir_session *s) {
    weir_retold *r = s->retold;
    weir__ids ids = {0};
    if (!r || r->full || (r->told == s->n && r->n_drafted == 0)) return WEIR_OK;
    weir_status st = retell(s, r->from, s->n, &ids);
    r->full = st == WEIR_OK && r->n_from + (int64_t)ids.n > r->cap;
    if (st == WEIR_OK && !r->full) {
        replace_ids(s, &ids);
        r->told = s->n;
        st = move_window(s, &ids);
    }
    weir_free(ids.at);
    return st;
}

/* ---- positions ----------------------------------------------------------------------------------------- */

/* Steps of a block at most, with n ids of the output before it: caches end. */
static int64_t steps_at(const weir_session *s, int64_t n) {
    const int64_t gamma = weir__session_gamma(s), wanted = s->retold->fills ? gamma : weir__text_steps(gamma);
    const int64_t room = s->e->pair.ctx_size + s->e->pair.max_draft + 1 - s->retold->base - n;
    return wanted < room ? wanted : room;
}

int64_t weir__text_draft_ahead(const weir_session *s) { return s->retold->n + steps_at(s, s->retold->n); }

int64_t weir__text_draft_most(const weir_session *s) { return s->retold->cap + steps_at(s, s->retold->cap); }

weir_status weir__text_draft_roll_back(weir_session *s) {
    const int64_t held = s->cached[WEIR_DRAFTER];
    const weir_status st = weir__session_room(s, WEIR_DRAFTER, held);
    if (st != WEIR_EINVAL) return st;
    weir__session_forget(s, WEIR_DRAFTER);
    s->held[WEIR_DRAFTER] = held;
    return WEIR_OK;
}

/* ---- steps --------------------------------------------------------------------------------------------- */

/* The inputs that each seat's cache lacks, with the logits of the last, in as many calls as they take. */
static weir_status run_inputs(weir_engine *e, const weir_bucket *b, const bool *runs, int32_t *n_out) {
    const int64_t ld = e->pair.side[WEIR_DRAFTER].facts.n_vocab_rows;
    float *logits = e->deck.dev.text_logits;
    weir_rows rows = {0, 0};
    *n_out = 0;
    for (int32_t i = 0; i < b->loop.n_seat; i++) {
        weir_session *s = e->deck.buf.who[i];
        if (!runs[i]) continue;
        weir_retold *r = s->retold;
        const weir_seat seat = {.slot = s->slot, .base = (int32_t)r->base};
        const int64_t last = r->n + r->n_drafted, from = s->cached[WEIR_DRAFTER];
        for (int64_t k = from; k <= last; k++) {
            if (rows.n_row == e->pair.n_row_max) {
                WEIR_TRY(weir__rows_run(e, &rows, WEIR_DRAFTER, logits + *n_out * ld));
                *n_out += rows.n_out;
                rows = (weir_rows){0, 0};
            }
            weir__rows_add(e, &rows, &seat, r->timeline[k], k, k == last);
        }
        weir__rows_book(s, WEIR_DRAFTER, (int)(last + 1 - from));
        s->cached[WEIR_DRAFTER] = last + 1;
    }
    WEIR_TRY(weir__rows_run(e, &rows, WEIR_DRAFTER, logits + *n_out * ld));
    *n_out += rows.n_out;
    return WEIR_OK;
}

/* The likeliest token of each row, for the host. Laws and statistics of the verifier's rows come later in a
 * block. */
static weir_status examine(weir_engine *e, int32_t n_row) {
    const weir_step_buffers *b = &e->deck.dev, *host = &e->deck.buf;
    host->law[0] = weir_law_default();
    host->law[0].temp = 0.0f;
    for (int32_t k = 0; k < n_row; k++) host->law_of[k] = 0;
    WEIR_TRY(WEIR_PUT(e, law, 1));
    WEIR_TRY(WEIR_PUT(e, law_of, n_row));
    weir_row_stats_args a = {.logits = b->text_logits,
                             .ld = e->pair.side[WEIR_DRAFTER].facts.n_vocab_rows,
                             .n_row = n_row,
                             .n_vocab = e->pair.n_vocab_draft,
                             .law = b->law,
                             .law_of = b->law_of,
                             .out = b->p_stats};
    WEIR_TRY(e->pair.be->op.row_stats(e->pair.be, &a));
    return WEIR_GET(e, p_stats, n_row);
}

/* ---- drafts -------------------------------------------------------------------------------------------- */

/* The verifier's id for an end of text of the drafter's. */
static int32_t end_of(const weir_pair *p, int32_t token) {
    const weir_checkpoint *d = &p->side[WEIR_DRAFTER].ck;
    for (int i = 0; i < d->n_eos; i++)
        if (d->eos[i] == token) return p->end_of[i];
    return -1;
}

/* The last of the verifier's ids, prompt and output, oldest first; returns how many. */
static size_t last_ids(const weir_session *s, int32_t ids[WEIR_LOOK_BEHIND]) {
    size_t n = 0;
    int64_t at = s->n - WEIR_LOOK_BEHIND + 1; /* of the timeline, whose first is the prompt's last */
    if (at < -s->base) at = -s->base;
    for (; at <= s->n; at++) ids[n++] = at < 0 ? s->prompt[s->base + at] : s->timeline[at];
    return n;
}

/* All that was drafted in the verifier's ids, up to one that no text has. */
static weir_status read_draft(weir_session *s) {
    const weir_pair *p = &s->e->pair;
    weir_retold *r = s->retold;
    int32_t before[WEIR_LOOK_BEHIND];
    const size_t n_before = last_ids(s, before);
    r->draft.n = 0;
    WEIR_TRY(weir__across_next(p->tok_draft, r->timeline + 1 + r->n, (size_t)r->n_drafted, p->tok, before,
                               n_before, &r->draft, NULL));
    for (size_t k = 0; k < r->draft.n; k++)
        if (r->draft.at[k] >= p->n_vocab) r->draft.n = k;
    return WEIR_OK;
}

/* Drafts that are there end the block's: it is full, the text ends, or gamma auto has enough. The last one
 * may still grow with what is written next, so that it waits for another. */
static void look_at_draft(const weir_loop *l, int32_t i, weir_session *s) {
    weir_seat *seat = &l->seat[i];
    weir_retold *r = s->retold;
    while (!r->ended && r->decided + 1 < (int32_t)r->draft.n) {
        const int32_t token = r->draft.at[r->decided], j = ++r->decided;
        weir__seat_q_stats(l, i)[j - 1] = weir__one_hot_stats(token);
        if (j < seat->n_draft && !weir__seat_ends_text(seat, token) &&
            (!seat->chooses || weir__seat_drafts_on(l, seat, j, weir__seat_q_stats(l, i))))
            continue;
        seat->n_draft = j;
        r->ended = true;
    }
}

enum { IDLE = 4 }; /* steps without another draft, after which none is expected: a character is finished */

/* What a step wrote. */
static weir_status take_step(const weir_loop *l, int32_t i, weir_session *s, const weir_row_stats *row) {
    const weir_pair *p = &s->e->pair;
    weir_retold *r = s->retold;
    const int32_t token = row->argmax;
    const bool control = weir__tokenizer_is_control(p->tok_draft, token);
    if (isnan(row->max)) {
        r->ended = r->broken = true;
        l->seat[i].n_draft = 1; /* the accept step finds the row, and ends the session for it */
        weir__seat_q_stats(l, i)[0] = *row;
        r->draft.n = 0;
        return weir__ids_push(&r->draft, 0, NULL);
    }
    if (control && !r->fills) {
        const int32_t end = end_of(p, token);
        r->ended = true;
        if (end < 0 || end >= p->n_vocab || (int32_t)r->draft.n >= l->seat[i].n_draft) return WEIR_OK;
        return weir__ids_push(&r->draft, end, NULL);
    }
    const size_t had = r->draft.n;
    r->timeline[1 + r->n + r->n_drafted++] = token;
    WEIR_TRY(read_draft(s));
    r->idle = r->draft.n > had ? 0 : r->idle + 1;
    if (!r->fills) look_at_draft(l, i, s);
    if (r->n_drafted >= steps_at(s, r->n) || (r->idle == IDLE && !r->fills)) r->ended = true;
    return WEIR_OK;
}

/* ---- blocks -------------------------------------------------------------------------------------------- */

/* The bucket's seats, statistics and costs where the host reads and writes them. Its launch, which has one
 * block, has uploaded these seats. */
static weir_loop host_side(const weir_bucket *b) {
    const weir_engine *e = b->l->e;
    weir_loop l = b->loop;
    l.seat = e->deck.buf.seat;
    l.q_stats = e->deck.buf.q_stats;
    if (l.cost) l.cost = &e->pair.cost;
    return l;
}

static bool begin(const weir_loop *l, int32_t i, weir_session *s) {
    weir_seat *seat = &l->seat[i];
    seat->n_draft = 0;
    if (!s || !s->retold || !weir__seat_runs(seat)) return false;
    weir__seat_begin_block(l, seat);
    s->retold->draft.n = 0;
    s->retold->decided = s->retold->idle = 0;
    s->retold->broken = false;
    s->retold->ended = seat->n_draft == 0 || steps_at(s, s->retold->n) < 1;
    return true;
}

/* What was drafted, and its rows of q. */
static weir_status finish(const weir_bucket *b, const weir_loop *l, int32_t i, weir_session *s) {
    weir_seat *seat = &l->seat[i];
    weir__ids *d = &s->retold->draft;
    while (s->retold->fills && (int32_t)d->n < seat->n_draft)
        WEIR_TRY(weir__ids_push(d, s->timeline[s->n], NULL));
    if (!s->retold->broken) {
        weir__lookup_close(seat, (int32_t)d->n);
        for (int32_t j = 0; j < seat->n_draft; j++) {
            WEIR_TRY(weir__lookup_stage(b, i, j, d->at[j]));
            weir__seat_q_stats(l, i)[j] = weir__one_hot_stats(d->at[j]);
        }
    }
    if (seat->n_draft == 0) return WEIR_OK;
    return weir__backend_upload(b->l->e->pair.be, weir__seat_draft(&b->loop, i), d->at,
                                (size_t)seat->n_draft * sizeof *d->at);
}

static weir_status put_seats(const weir_bucket *b, const weir_loop *l) {
    weir_engine *e = b->l->e;
    const size_t n = (size_t)l->n_seat;
    WEIR_TRY(WEIR_PUT(e, q_stats, n * ((size_t)l->gamma + 1)));
    return weir__backend_upload(e->pair.be, b->loop.seat, l->seat, n * sizeof *l->seat);
}

static weir_status run_steps(const weir_bucket *b, const weir_loop *l, bool *runs) {
    weir_engine *e = b->l->e;
    weir_session **who = e->deck.buf.who;
    for (int32_t n_out = 1; n_out > 0;) {
        WEIR_TRY(run_inputs(e, b, runs, &n_out));
        if (n_out > 0) WEIR_TRY(examine(e, n_out));
        for (int32_t i = 0, k = 0; i < b->loop.n_seat && n_out > 0; i++) {
            if (!runs[i]) continue;
            WEIR_TRY(take_step(l, i, who[i], &e->deck.buf.p_stats[k++]));
            runs[i] = !who[i]->retold->ended;
        }
    }
    return WEIR_OK;
}

weir_status weir__text_draft_run(const weir_bucket *b) {
    weir_session **who = b->l->e->deck.buf.who;
    const weir_loop l = host_side(b);
    const int32_t n = l.n_seat;
    bool *drafts = weir_calloc((size_t)n, sizeof *drafts), *runs = weir_calloc((size_t)n, sizeof *runs);
    weir_status st = drafts && runs ? WEIR_OK : WEIR_ENOMEM;
    for (int32_t i = 0; i < n && st == WEIR_OK; i++) {
        drafts[i] = begin(&l, i, who[i]);
        runs[i] = drafts[i] && !who[i]->retold->ended;
    }
    if (st == WEIR_OK) st = run_steps(b, &l, runs);
    for (int32_t i = 0; i < n && st == WEIR_OK; i++)
        if (drafts[i]) st = finish(b, &l, i, who[i]);
    if (st == WEIR_OK) st = put_seats(b, &l);
    weir_free(drafts);
    weir_free(runs);
    return st;
}

weir_status weir__text_draft_step(const weir_bucket *b) {
    weir_engine *e = b->l->e;
    weir_session *s = e->deck.buf.who[0];
    const bool runs = true;
    int32_t n_out;
    if (s->cached[WEIR_DRAFTER] > s->retold->n) s->cached[WEIR_DRAFTER] = s->retold->n;
    WEIR_TRY(run_inputs(e, b, &runs, &n_out));
    return examine(e, n_out);
}
