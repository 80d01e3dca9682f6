#include "host/deck/prefix.h"

#include <string.h>

#include "host/deck/deck.h"
#include "kernels/base/mem.h"
#include "kernels/base/mix.h"

/* A unit is named by its first page. Its other pages follow in `next_page`, its tokens lie at the same places
 * as its positions.
 *
 * Who holds a unit holds those before it, too, since they are adopted from the root on. So all that follow an
 * idle unit are idle. The list of uses has each unit before what follows it: whoever uses one moves it to the
 * front, then its parent, and so on to the root. So nothing follows the idle unit nearest to the end. */
typedef struct prefix_unit {
    uint64_t hash;
    int32_t parent;       /* NONE: it begins a prompt */
    int32_t in_bucket;    /* the next unit of the same bucket */
    int32_t newer, older; /* in the list of uses */
    int64_t begin, end;   /* positions */
    uint64_t salt;        /* of its tree */
} prefix_unit;

enum { NONE = -1 };

struct weir_prefix_cache {
    weir_kv_pool *pool;
    int64_t unit;
    int32_t n_bucket;   /* a power of two */
    prefix_unit *units; /* (n_page) */
    int32_t *next_page; /* (n_page) */
    int32_t *tokens;    /* (n_page, WEIR_PAGE) */
    int32_t *buckets;   /* (n_bucket) */
    int32_t newest, oldest;
};

static int32_t buckets_for(int64_t n_page) {
    int32_t n = 1;
    while (n < n_page && n < 1 << 30) n *= 2;
    return n;
}

weir_bytes weir__prefix_bytes(const weir_kv_shape *h, bool device) {
    const size_t n = (size_t)weir__kv_shape_pages(h), entry = sizeof(prefix_unit) + sizeof(int32_t);
    const size_t bytes = sizeof(weir_prefix_cache) + n * (entry + WEIR_PAGE * sizeof(int32_t)) +
                         (size_t)buckets_for((int64_t)n) * sizeof(int32_t);
    return device ? (weir_bytes){.host = bytes} : (weir_bytes){.backend = bytes};
}

/* ---- the list of uses ---------------------------------------------------------------------------------- */

static void unlink_use(weir_prefix_cache *c, int32_t u) {
    const prefix_unit *x = &c->units[u];
    *(x->newer == NONE ? &c->newest : &c->units[x->newer].older) = x->older;
    *(x->older == NONE ? &c->oldest : &c->units[x->older].newer) = x->newer;
}

static void link_newest(weir_prefix_cache *c, int32_t u) {
    c->units[u].newer = NONE;
    c->units[u].older = c->newest;
    *(c->newest == NONE ? &c->oldest : &c->units[c->newest].newer) = u;
    c->newest = u;
}

static void use(weir_prefix_cache *c, int32_t u) {
    for (; u != NONE; u = c->units[u].parent) {
        unlink_use(c, u);
        link_newest(c, u);
    }
}

/* ---- finding ------------------------------------------------------------------------------------------- */

/* Where a unit ends; NONE: where prompts begin. */
static int64_t end_of(const weir_prefix_cache *c, int32_t u) { return u == NONE ? 0 : c->units[u].end; }

/* The unit that a session's next n tokens after what it holds would be; its links are not set. Units of equal
 * hashes, by chance or by design, cost time and no more: all of them are compared. */
static prefix_unit next_unit(const weir_prefix_cache *c, const weir_session *s, int side, int64_t n) {
    const int32_t parent = s->unit[side];
    const int64_t begin = end_of(c, parent);
    const uint64_t salt = s->opt.cache_salt;
    const int32_t *prompt = weir__session_prompt(s, side);
    uint64_t h = weir__mix(parent == NONE ? salt : c->units[parent].hash);
    for (int64_t i = begin; i < begin + n; i++) h = weir__mix(h ^ (uint32_t)prompt[i]);
    return (prefix_unit){.hash = h, .parent = parent, .salt = salt, .begin = begin, .end = begin + n};
}

static int32_t *bucket_of(weir_prefix_cache *c, uint64_t hash) {
    return &c->buckets[hash & (uint64_t)(c->n_bucket - 1)];
}

static bool has_tokens(const weir_prefix_cache *c, int32_t u, const int32_t *token, int64_t n) {
    for (int32_t page = u; n > 0; page = c->next_page[page]) {
        const int64_t part = n < WEIR_PAGE ? n : WEIR_PAGE;
        if (memcmp(c->tokens + (int64_t)page * WEIR_PAGE, token, (size_t)part * sizeof *token) != 0)
            return false;
        token += part;
        n -= part;
    }
    return true;
}

static int32_t find(weir_prefix_cache *c, const prefix_unit *x, const int32_t *token) {
    for (int32_t u = *bucket_of(c, x->hash); u != NONE; u = c->units[u].in_bucket) {
        const prefix_unit *y = &c->units[u];
        if (y->hash != x->hash || y->parent != x->parent || y->salt != x->salt || y->end != x->end) continue;
        if (has_tokens(c, u, token, x->end - x->begin)) return u;
    }
    return NONE;
}

/* ---- coming and going ---------------------------------------------------------------------------------- */

/* The pages of a slot that hold positions [x.begin, x.end), with these tokens, become a unit. */
static int32_t insert(weir_prefix_cache *c, prefix_unit x, const int32_t *token, int32_t slot) {
    const int64_t first = x.begin / WEIR_PAGE, past = weir__kv_pages_for(x.end);
    const int32_t u = weir__kv_pool_page(c->pool, slot, first);
    for (int64_t i = first; i < past; i++) {
        const int32_t page = weir__kv_pool_page(c->pool, slot, i);
        const int64_t at = i * WEIR_PAGE - x.begin, left = x.end - x.begin - at;
        weir__kv_pool_keep(c->pool, page);
        memcpy(c->tokens + (int64_t)page * WEIR_PAGE, token + at,
               (size_t)(left < WEIR_PAGE ? left : WEIR_PAGE) * sizeof *token);
        c->next_page[page] = i + 1 < past ? weir__kv_pool_page(c->pool, slot, i + 1) : NONE;
    }
    int32_t *bucket = bucket_of(c, x.hash);
    x.in_bucket = *bucket;
    c->units[u] = x;
    *bucket = u;
    link_newest(c, u);
    return u;
}

static void forget(weir_prefix_cache *c, int32_t u) {
    int32_t *at = bucket_of(c, c->units[u].hash);
    while (*at != u) at = &c->units[*at].in_bucket;
    *at = c->units[u].in_bucket;
    unlink_use(c, u);
    for (int32_t page = u; page != NONE; page = c->next_page[page]) weir__kv_pool_let_go(c->pool, page);
}

/* The pool is out of unused pages and counts idle ones as free. */
static void reclaim(void *ud) {
    weir_prefix_cache *c = ud;
    int32_t u = c->oldest;
    while (u != NONE && !weir__kv_pool_is_idle(c->pool, u)) u = c->units[u].newer;
    if (u != NONE) forget(c, u);
}

static void forget_idle(weir_prefix_cache *c) {
    for (int32_t u = c->oldest, newer; u != NONE; u = newer) {
        newer = c->units[u].newer;
        if (weir__kv_pool_is_idle(c->pool, u)) forget(c, u);
    }
}

/* ---- sessions ------------------------------------------------------------------------------------------ */

static int32_t slot_of(const weir_session *s) {
    return s->e->pair.facts.encoder_decoder ? weir__cross_slot(s) : s->slot;
}

/* The unit of the prompt that begins at a position; 0: what is left of it is shorter than one, or an encoder
 * is within it. */
static int64_t unit_at(const weir_prefix_cache *c, const weir_session *s, int side, int64_t begin) {
    if (c->unit == 0) return begin == 0 ? (int64_t)s->n_prompt : 0;
    return begin + c->unit <= weir__session_base(s, side) ? c->unit : 0;
}

static void take_unit(weir_prefix_cache *c, weir_session *s, int side, int32_t u) {
    const prefix_unit *x = &c->units[u];
    int64_t i = x->begin / WEIR_PAGE;
    for (int32_t page = u; page != NONE; page = c->next_page[page], i++) {
        const int64_t end = (i + 1) * WEIR_PAGE;
        weir__kv_pool_adopt(c->pool, slot_of(s), i, page, end < x->end ? end : x->end);
    }
    s->unit[side] = u;
}

weir_status weir__prefix_adopt(weir_session *s, int side) {
    weir_prefix_cache *c = s->e->deck.side[side].prefix;
    if (!c) return WEIR_OK;
    const int64_t before = s->prefilled[side];
    for (;;) {
        const int64_t begin = s->prefilled[side], n = unit_at(c, s, side, begin);
        if (n == 0 || s->part[side] > 0 || begin != end_of(c, s->unit[side])) break;
        const prefix_unit x = next_unit(c, s, side, n);
        const int32_t u = find(c, &x, weir__session_prompt(s, side) + begin);
        if (u == NONE) break;
        take_unit(c, s, side, u);
        s->prefilled[side] += n;
    }
    if (s->prefilled[side] == before) return WEIR_OK;
    use(c, s->unit[side]);
    if (!s->was_suspended) s->stats.n_prompt_cached[side] += s->prefilled[side] - before;
    return s->e->pair.facts.encoder_decoder ? weir__session_note_source(s, side) : WEIR_OK;
}

void weir__prefix_publish(weir_session *s, int side) {
    weir_prefix_cache *c = s->e->deck.side[side].prefix;
    if (!c) return;
    const int32_t before = s->unit[side];
    for (;;) {
        const int64_t begin = end_of(c, s->unit[side]), n = unit_at(c, s, side, begin);
        if (n == 0 || begin + n > s->prefilled[side]) break;
        const prefix_unit x = next_unit(c, s, side, n);
        const int32_t u = find(c, &x, weir__session_prompt(s, side) + begin);
        if (u != NONE)
            take_unit(c, s, side, u);
        else
            s->unit[side] = insert(c, x, weir__session_prompt(s, side) + begin, slot_of(s));
    }
    if (s->unit[side] != before) use(c, s->unit[side]);
}

weir_session *weir__prefix_twin(const weir_session *s, int side) {
    const weir_deck_side *m = &s->e->deck.side[side];
    const int64_t begin = s->prefilled[side],
                  n = m->prefix && s->part[side] == 0 ? unit_at(m->prefix, s, side, begin) : 0;
    for (int i = 0; i < WEIR_PROMPTS_OPEN && n > 0; i++) {
        weir_session *t = m->open[i];
        if (!t || t == s || t->unit[side] != s->unit[side]) continue;
        if (t->prefilled[side] != begin && m->prefix->unit > 0)
            continue; /* an encoder's unit is the prompt */
        if (t->opt.cache_salt != s->opt.cache_salt || unit_at(m->prefix, t, side, begin) != n) continue;
        if (memcmp(weir__session_prompt(t, side) + begin, weir__session_prompt(s, side) + begin,
                   (size_t)n * sizeof(int32_t)) == 0)
            return t;
    }
    return NULL;
}

void weir_prefix_clear(weir_engine *e) {
    for (int side = 0; side < 2; side++)
        if (e->deck.side[side].prefix) forget_idle(e->deck.side[side].prefix);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

weir_status weir__prefix_open(weir_prefix_cache **out, weir_kv_pool *pool, int64_t unit) {
    weir_prefix_cache *c = weir_calloc(1, sizeof *c);
    if (!c) return WEIR_ENOMEM;
    const int32_t n = weir__kv_pool_pages(pool);
    *c = (weir_prefix_cache){.pool = pool, .unit = unit, .n_bucket = buckets_for(n)};
    c->newest = c->oldest = NONE;
    c->units = weir_calloc((size_t)n, sizeof *c->units);
    c->next_page = weir_alloc((size_t)n, sizeof *c->next_page);
    c->tokens = weir_alloc((size_t)n, WEIR_PAGE * sizeof *c->tokens);
    c->buckets = weir_alloc((size_t)c->n_bucket, sizeof *c->buckets);
    if (!c->units || !c->next_page || !c->tokens || !c->buckets) {
        weir__prefix_close(c);
        return WEIR_ENOMEM;
    }
    for (int32_t i = 0; i < c->n_bucket; i++) c->buckets[i] = NONE;
    weir__kv_pool_set_reclaim(pool, reclaim, c);
    *out = c;
    return WEIR_OK;
}

void weir__prefix_close(weir_prefix_cache *c) {
    if (!c) return;
    weir_free(c->units);
    weir_free(c->next_page);
    weir_free(c->tokens);
    weir_free(c->buckets);
    weir_free(c);
}
