#include "tests/deck/crowd.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "host/deck/plan.h"
#include "tests/support/compare.h"
#include "tests/support/costs.h"
#include "tests/support/files.h"

/* ---- engines ------------------------------------------------------------------------------------------- */

static weir_engine *open_with(const crowd *c, size_t kv_bytes, bool dry_run) {
    static const decoder_names demo = {"verifier", "drafter"}, small = {"gelu_f32", "silu_f32"};
    const decoder_names *n = c->pair == CROWD_DEMO    ? &demo
                             : c->pair == CROWD_SMALL ? &small
                                                      : &decoder_pairs[c->pair];
    const char *room = c->pair == CROWD_DEMO    ? "models/demo"
                       : c->pair == CROWD_SMALL ? "tests/golden/t5"
                                                : "tests/golden/decoder";
    char dir[2][512];
    snprintf(dir[0], sizeof dir[0], WEIR_SOURCE_DIR "/%s/%s", room, n->verifier);
    snprintf(dir[1], sizeof dir[1], WEIR_SOURCE_DIR "/%s/%s", room, n->drafter);
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    o.model = dir[0];
    o.model_draft = dir[1];
    o.device = c->device ? c->device : "cpu";
    o.n_parallel = c->n_parallel;
    o.n_thread = 1;
    o.ctx_size = c->ctx_size;
    o.kv_bytes = kv_bytes;
    o.dry_run = dry_run;
    o.prefix_cache = c->prefix_cache;
    o.tp = c->tp, o.draft_tp = c->draft_tp;
    weir_engine *e = NULL;
    weir_err err = {""};
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "open: %s", err.text);
    return e;
}

static size_t bytes_of(const weir_kv_shape *h, int pages) {
    if (h->n_layer == 0) return 0;
    return weir__kv_page_bytes(h) * (weir__kv_is_ring(h) ? (size_t)weir__kv_shape_pages(h) : (size_t)pages);
}

static size_t bytes_for(const crowd *c) {
    weir_engine *e = open_with(c, 0, true);
    size_t sum = 0;
    for (int side = 0; side < 2; side++) {
        const weir_model_facts *f = &e->pair.side[side].facts;
        const weir_kv_shape self = weir__plan_self(e, f), slide = weir__plan_slide(e, f);
        sum += bytes_of(&self, c->pages) + bytes_of(&slide, c->pages);
    }
    weir_engine_close(e);
    return sum;
}

weir_engine *crowd_open(const crowd *c) {
    weir_engine *e = open_with(c, c->pages > 0 ? bytes_for(c) : 0, false);
    for (int side = 0; side < 2 && c->pages > 0; side++) {
        int64_t n_free, n_total;
        weir_engine_pages(e, side, &n_free, &n_total);
        cr_assert(n_free == n_total && e->pair.facts.kv_pages[side] == n_total);
        const weir_kv_shape h = weir__plan_self(e, &e->pair.side[side].facts);
        cr_assert(weir__kv_is_ring(&h) || n_total == c->pages, "%d pages", (int)n_total);
    }
    return e;
}

int crowd_pages_held(const weir_engine *e) {
    int sum = 0;
    for (int side = 0; side < 2; side++) {
        int64_t n_free, n_total;
        weir_engine_pages(e, side, &n_free, &n_total);
        sum += (int)(n_total - n_free);
    }
    return sum;
}

/* ---- sessions ------------------------------------------------------------------------------------------ */

enum { PROMPT = 129 };

typedef struct crowd_counts {
    int dry, suspended; /* calls that found too few pages; suspensions */
    int64_t cached;     /* positions that the prefix cache had */
} crowd_counts;

static weir_session_options options_of(const crowd *c, int i) {
    weir_session_options o = method_options((weir_method)(i % 6), 5 + 37 * i % (c->limit ? c->limit : 90));
    o.n_draft = 1 + i % 5;
    o.seed = (uint64_t)i;
    return o;
}

static size_t prompt_of(const weir_engine *e, int i, int32_t ids[PROMPT]) {
    static const size_t lengths[] = {1, 64, 65, 5, 66, 100, 129, 2, 128};
    const int which = i % 4 == 3 ? i - 3 : i; /* the prompt of another one */
    const size_t n = lengths[which % 9];
    uint64_t seed = 9;
    for (size_t k = 0; k < n; k++) {
        if (k == 64) seed += (uint64_t)which; /* the first page is everyone's */
        ids[k] = 3 + (int32_t)(rng_u64(&seed) % (uint64_t)(e->pair.n_vocab - 3));
    }
    return n;
}

static weir_session *start(const crowd *c, weir_engine *e, int i) {
    int32_t ids[PROMPT];
    const weir_session_options o = options_of(c, i);
    const size_t n = prompt_of(e, i, ids);
    weir_session *s = NULL;
    weir_err err = {""};
    cr_assert(weir_session_create(e, &o, ids, n, NULL, NULL, &s, &err) == WEIR_OK, "%s", err.text);
    return s;
}

static void run_alone(const crowd *c, int n, answer *out) {
    crowd one = *c;
    one.n_parallel = 1;
    one.pages = 0;
    one.prefix_cache = false;
    one.tp = one.draft_tp = 0;
    weir_engine *e = crowd_open(&one);
    for (int i = 0; i < n; i++) {
        weir_session *s = start(c, e, i);
        weir_err err = {""};
        cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK, "%s", err.text);
        answer_take(s, &out[i]);
        weir_session_free(s);
    }
    weir_engine_close(e);
}

/* ---- turns --------------------------------------------------------------------------------------------- */

enum { LIVE = 6 };

typedef struct turns {
    weir_engine *e;
    weir_session *live[LIVE];
    int which[LIVE], n_live;
    bool narrow; /* pages were short: the first to come goes on alone */
    uint64_t seed;
    crowd_counts *counts;
} turns;

static int pick(turns *t, int below) { return (int)(rng_u64(&t->seed) % (uint64_t)below); }

static int n_seated(const turns *t) {
    int n = 0;
    for (int k = 0; k < t->n_live; k++) n += t->live[k]->slot >= 0;
    return n;
}

/* Someone who sits, by chance. */
static void suspend_one(turns *t) {
    const int from = pick(t, t->n_live);
    for (int k = 0; k < t->n_live; k++) {
        weir_session *s = t->live[(from + k) % t->n_live];
        if (s->slot < 0) continue;
        const int held = crowd_pages_held(t->e);
        weir_session_suspend(s);
        cr_assert(s->slot < 0 && crowd_pages_held(t->e) <= held);
        t->counts->suspended++;
        return;
    }
}

static int64_t all_tokens(const turns *t) {
    int64_t n = 0;
    for (int k = 0; k < t->n_live; k++) n += t->live[k]->n;
    return n;
}

static int first_come(const turns *t) {
    int first = t->which[0];
    for (int k = 1; k < t->n_live; k++)
        if (t->which[k] < first) first = t->which[k];
    return first;
}

/* The last to come of those who sit; anyone else now and then. */
static void make_place(turns *t) {
    weir_session *last = NULL;
    int most = -1;
    for (int k = 0; k < t->n_live; k++)
        if (t->live[k]->slot >= 0 && t->which[k] > most) most = t->which[k], last = t->live[k];
    if (!last || pick(t, 8) == 0) {
        suspend_one(t);
        return;
    }
    weir_session_suspend(last);
    t->counts->suspended++;
}

/* A call that found too few pages has changed nothing, and somebody has some to give. */
static void ran_dry(turns *t, weir_session *const *list, int n, int64_t tokens, int held, int seated,
                    const weir_err *err) {
    int wanting = 0;
    for (int i = 0; i < n; i++) wanting += weir_session_wants_pages(list[i]);
    cr_assert(wanting > 0 && err_is_line(err, "pages"), "\"%s\"", err->text);
    cr_assert(all_tokens(t) == tokens && crowd_pages_held(t->e) == held && n_seated(t) == seated);
    cr_assert(n > 1 || seated > (list[0]->slot >= 0), "one session alone lacks pages");
    t->counts->dry++;
    t->narrow = n > 1;
    if (n_seated(t) > 1) make_place(t);
}

static void step_some(turns *t) {
    weir_session *list[LIVE];
    weir_err err = {""};
    int n = 0, seats = t->e->pair.n_parallel - n_seated(t);
    for (int k = 0; k < t->n_live; k++) {
        const bool sits = t->live[k]->slot >= 0;
        if (t->narrow ? t->which[k] != first_come(t) : pick(t, 4) == 0) continue;
        if (sits || seats-- > 0) list[n++] = t->live[k];
    }
    t->narrow = false;
    const int64_t tokens = all_tokens(t);
    const int held = crowd_pages_held(t->e), seated = n_seated(t);
    const weir_status st = weir_step(t->e, list, n, 1 + pick(t, 9), &err);
    if (st == WEIR_EPAGES)
        ran_dry(t, list, n, tokens, held, seated, &err);
    else
        cr_assert(st == WEIR_OK, "%s", err.text);
}

static void prefill_one(turns *t) {
    weir_session *s = t->live[pick(t, t->n_live)];
    static const int64_t slices[] = {1, 64, 100, 1000};
    int64_t left = 0;
    weir_err err = {""};
    if (s->slot < 0 && n_seated(t) >= t->e->pair.n_parallel) return;
    const int64_t tokens = all_tokens(t);
    const int held = crowd_pages_held(t->e), seated = n_seated(t);
    const weir_status st = weir_session_prefill(s, slices[pick(t, 4)], &left, &err);
    if (st == WEIR_EPAGES)
        ran_dry(t, &s, 1, tokens, held, seated, &err);
    else
        cr_assert(st == WEIR_OK, "%s", err.text);
}

static void collect(turns *t, answer *out) {
    for (int k = 0; k < t->n_live; k++) {
        weir_session *s = t->live[k];
        if (weir_session_state(s) == WEIR_RUNNING) continue;
        answer_take(s, &out[t->which[k]]);
        t->counts->cached += s->stats.n_prompt_cached[0] + s->stats.n_prompt_cached[1];
        weir_session_free(s);
        t->live[k] = t->live[--t->n_live];
        t->which[k] = t->which[t->n_live];
        k--;
    }
}

static void run_crowd(const crowd *c, weir_engine *e, int n, uint64_t seed, answer *out,
                      crowd_counts *counts) {
    turns t = {.e = e, .seed = seed, .counts = counts};
    for (int next = 0, turn = 0; next < n || t.n_live > 0; turn++) {
        cr_assert(turn < 20000, "no end is in sight");
        if (next < n && t.n_live < LIVE && (t.n_live == 0 || pick(&t, 2) == 0)) {
            t.which[t.n_live] = next;
            t.live[t.n_live++] = start(c, e, next++);
        }
        const int what = pick(&t, 16);
        if (what == 0)
            suspend_one(&t);
        else if (what < 4)
            prefill_one(&t);
        else
            step_some(&t);
        collect(&t, out);
    }
}

void crowd_same_as_alone(const crowd *c, int n, int n_seed) {
    enum { MOST = 36 };
    static answer want[MOST], got[MOST];
    crowd_counts counts = {0, 0, 0};
    cr_assert(n <= MOST);
    run_alone(c, n, want);
    weir_engine *e = crowd_open(c);
    for (int seed = 0; seed < n_seed; seed++) {
        memset(got, 0, sizeof got);
        run_crowd(c, e, n, (uint64_t)seed, got, &counts);
        for (int i = 0; i < n; i++) {
            char what[64];
            snprintf(what, sizeof what, "seed %d, session %d", seed, i);
            answer_assert_same(&want[i], &got[i], what);
            answer_assert_same_books(&want[i], &got[i], what);
        }
        if (seed % 2) weir_prefix_clear(e);
        cr_assert(crowd_pages_held(e) == 0, "seed %d: %d pages are held", seed, crowd_pages_held(e));
    }
    cr_assert(counts.suspended > 0 && (c->pages == 0 || counts.dry > 0), "%d times dry, %d suspensions",
              counts.dry, counts.suspended);
    cr_assert((counts.cached > 0) == c->prefix_cache, "%d cached", (int)counts.cached);
    weir_engine_close(e);
}
