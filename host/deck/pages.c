/* Pages of sessions: how many a call needs, and whether they are there. Nothing is taken before all of it is,
 * so that a call which fails has changed nothing. */
#include "host/deck/block_loop.h"
#include "host/deck/deck.h"
#include "host/deck/prefix.h"
#include "host/deck/draft/text_draft.h"

int32_t weir__cross_slot(const weir_session *s) { return s->e->pair.n_parallel + s->slot; }

/* ---- taking -------------------------------------------------------------------------------------------- */

/* Of all pools that hold positions of the timeline. */
static weir_status make_len(weir_session *s, int side, int64_t n_input,
                            weir_status (*how)(weir_kv_pool *p, int32_t slot, int64_t len)) {
    const weir_deck_side *m = &s->e->deck.side[side];
    const int64_t len = weir__session_base(s, side) + n_input;
    if (m->slide) WEIR_TRY(how(m->slide, s->slot, len));
    return how(m->self, s->slot, len);
}

weir_status weir__session_room(weir_session *s, int side, int64_t n_input) {
    return make_len(s, side, n_input, weir__kv_pool_resize);
}

weir_status weir__session_reserve(weir_session *s, int side, int64_t n_input) {
    return make_len(s, side, n_input, weir__kv_pool_reserve);
}

weir_status weir__session_prompt_room(weir_session *s, int side) {
    const weir_deck_side *m = &s->e->deck.side[side];
    if (m->cross_len) WEIR_TRY(weir__kv_pool_resize(m->self, weir__cross_slot(s), (int64_t)s->n_prompt));
    if (weir__kv_pool_len(m->self, s->slot) >= weir__session_base(s, side) + s->held[side]) return WEIR_OK;
    return weir__session_room(s, side, s->held[side]);
}

void weir__session_drop_pages(weir_session *s, int side) {
    weir_deck_side *m = &s->e->deck.side[side];
    if (!m->self) return;
    s->unit[side] = -1;
    weir__session_close_prompt(s, side);
    (void)weir__session_room(s, side, -weir__session_base(s, side));
    if (m->cross_len) (void)weir__kv_pool_resize(m->self, weir__cross_slot(s), 0);
}

/* ---- counting ------------------------------------------------------------------------------------------ */

static int64_t lacks(const weir_kv_pool *p, int32_t slot, int64_t len) {
    return slot < 0 ? weir__kv_pool_lacks_all(p, len) : weir__kv_pool_lacks(p, slot, len);
}

/* Pages that a side still needs for the prompt and n_input inputs of the timeline. Layers that slide beside
 * others have rings, or as many pages as those. */
static int64_t session_lacks(const weir_session *s, int side, int64_t n_input) {
    const weir_deck_side *m = &s->e->deck.side[side];
    int64_t n = lacks(m->self, s->slot, weir__session_base(s, side) + n_input);
    if (m->cross_len) n += lacks(m->self, s->slot < 0 ? -1 : weir__cross_slot(s), (int64_t)s->n_prompt);
    return n;
}

int64_t weir__session_inputs_ahead(const weir_session *s, int side, int blocks) {
    const bool drafter = side == WEIR_DRAFTER;
    const int64_t next = s->cap > 0 ? s->n + 1 : 0; /* the prompt alone */
    if (weir__block_loop_serves(s) && s->cap > 0) {
        /* the last block starts at most blocks - 1 whole blocks on, and below the limit */
        const int64_t gamma = weir__session_gamma(s), last = s->n + (blocks - 1) * (gamma + 1);
        if (drafter && (gamma == 0 || !s->e->pair.has_draft)) return -1;
        if (drafter && s->retold) return weir__text_draft_ahead(s);
        return (last < s->cap ? last : s->cap - 1) + gamma + 1;
    }
    switch (s->opt.method) {
    case WEIR_METHOD_VERIFIER: return drafter ? -1 : next;
    case WEIR_METHOD_DRAFTER: return drafter ? next : -1;
    case WEIR_METHOD_SEQUENCE_CASCADE: return drafter != s->second_pass ? next : -1;
    default: return next;
    }
}

/* Adds what a session lacks to `taken`, unless it is more than is left there. */
static bool add_lacks(const weir_session *s, const int64_t n_input[2], int64_t taken[2]) {
    int64_t more[2] = {0, 0};
    for (int side = 0; side < 2; side++) {
        if (n_input[side] < 0) continue;
        more[side] = session_lacks(s, side, n_input[side]);
        if (more[side] == 0) continue;
        if (taken[side] + more[side] > weir__kv_pool_free_pages(s->e->deck.side[side].self)) return false;
    }
    for (int side = 0; side < 2; side++) taken[side] += more[side];
    return true;
}

static weir_status no_pages(const weir_engine *e, int n, weir_err *err) {
    int64_t n_free[2], n_all[2];
    for (int side = 0; side < 2; side++) weir_engine_pages(e, side, &n_free[side], &n_all[side]);
    return weir_fail(err, WEIR_EPAGES,
                     "%d of the sessions lack pages: %lld of %lld of the verifier are free, %lld of %lld of "
                     "the drafter",
                     n, (long long)n_free[0], (long long)n_all[0], (long long)n_free[1], (long long)n_all[1]);
}

weir_status weir__pages_for_blocks(weir_session *const *sessions, int n, int blocks, weir_err *err) {
    int64_t taken[2] = {0, 0};
    int wanting = 0;
    for (int i = 0; i < n; i++) {
        weir_session *s = sessions[i];
        const int64_t ahead[2] = {weir__session_inputs_ahead(s, 0, blocks),
                                  weir__session_inputs_ahead(s, 1, blocks)};
        s->wants_pages = s->finish == WEIR_RUNNING && !add_lacks(s, ahead, taken);
        wanting += s->wants_pages;
    }
    return wanting == 0 ? WEIR_OK : no_pages(sessions[0]->e, wanting, err);
}

weir_status weir__pages_for_prompt(weir_session *s, weir_err *err) {
    int64_t taken[2] = {0, 0}, n_input[2];
    for (int side = 0; side < 2; side++) n_input[side] = weir__session_reads(s, side) ? s->held[side] : -1;
    s->wants_pages = !add_lacks(s, n_input, taken);
    if (s->wants_pages) return no_pages(s->e, 1, err);
    for (int side = 0; side < 2; side++) {
        if (n_input[side] < 0) continue;
        WEIR_TRY(weir__prefix_adopt(s, side)); /* what others have read takes no page of the rest */
        WEIR_TRY(weir__session_prompt_room(s, side));
    }
    return WEIR_OK;
}

weir_status weir__pages_hold(const weir_session *s, int64_t n_input, weir_err *err) {
    static const char *const name[] = {"verifier", "drafter"};
    for (int side = 0; side <= (int)s->e->pair.has_draft; side++) {
        const weir_kv_pool *p = s->e->deck.side[side].self;
        if (!p) continue; /* nothing was loaded: a dry run */
        if (weir__session_inputs_ahead(s, side, 1) < 0 && s->opt.method != WEIR_METHOD_SEQUENCE_CASCADE)
            continue;
        const weir_retold *r = weir__session_retold(s, side);
        const int64_t most = session_lacks(s, side, r ? weir__text_draft_most(s) : n_input);
        if (most > weir__kv_pool_pages(p))
            return weir_fail(err, WEIR_ETOOLONG,
                             "a prompt of %zu tokens and %lld more positions take %lld pages of the %s; "
                             "there are %d (raise kv_bytes, or lower max_tokens)",
                             s->n_prompt, (long long)n_input, (long long)most, name[side],
                             (int)weir__kv_pool_pages(p));
    }
    return WEIR_OK;
}

bool weir_session_wants_pages(const weir_session *s) { return s->wants_pages; }

void weir_engine_pages(const weir_engine *e, int side, int64_t *n_free, int64_t *n_total) {
    const weir_kv_pool *p = side == WEIR_VERIFIER || side == WEIR_DRAFTER ? e->deck.side[side].self : NULL;
    *n_free = p ? weir__kv_pool_free_pages(p) : 0;
    *n_total = p ? weir__kv_pool_pages(p) : 0;
}
