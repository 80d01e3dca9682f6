/* Who comes next: priority, then the client with the fewest tokens in the last minute, then arrival. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/queue/queue_fixture.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"

/* ---- against looking at everyone ----------------------------------------------------------------------- */

enum { MOST = 60, CLIENTS = 7 };

typedef struct one {
    weir_waiting w;
    uint64_t client;
    bool here, waits;
} one;

/* Tokens of each client by second, for the longest time a test takes. */
typedef struct mirror {
    weir_order o;
    one r[MOST];
    uint64_t served[CLIENTS][600];
    double now;
    uint64_t number;
} mirror;

/* The minute has parts of five seconds, the running one among them. */
static uint64_t lately(const mirror *m, uint64_t client) {
    uint64_t sum = 0;
    const int part = (int)m->now / 5;
    for (int t = (part - (WEIR_WINDOWS - 1)) * 5; t < (part + 1) * 5; t++)
        if (t >= 0) sum += m->served[client][t];
    return sum;
}

static bool comes_before(const mirror *m, const one *a, const one *b) {
    if (a->w.priority != b->w.priority) return a->w.priority < b->w.priority;
    const uint64_t ta = lately(m, a->client), tb = lately(m, b->client);
    return ta != tb ? ta < tb : a->w.number < b->w.number;
}

static const one *want_first(const mirror *m) {
    const one *best = NULL;
    for (int i = 0; i < MOST; i++)
        if (m->r[i].waits && (!best || comes_before(m, &m->r[i], best))) best = &m->r[i];
    return best;
}

static void come(mirror *m, one *r, uint64_t *rng) {
    r->client = rng_u64(rng) % CLIENTS;
    r->w = (weir_waiting){.priority = (int)(rng_u64(rng) % 3) * 8 - 8, .number = ++m->number};
    cr_assert(weir__order_enter(&m->o, &r->w, r->client * 1000003, MOST));
    weir__order_add(&m->o, &r->w);
    r->here = r->waits = true;
}

/* From waiting to being served, back to waiting with its old number, or away. */
static void go_on(mirror *m, one *r, uint64_t *rng) {
    if (r->waits) {
        weir__order_remove(&m->o, &r->w);
        r->waits = false;
    } else if (rng_u64(rng) % 3 == 0) {
        weir__order_add(&m->o, &r->w);
        r->waits = true;
    } else {
        weir__order_leave(&m->o, &r->w);
        r->here = false;
    }
}

static void serve(mirror *m, one *r, uint64_t n) {
    weir__order_serve(&m->o, r->w.client, n);
    m->served[r->client][(int)m->now] += n;
}

static void play(mirror *m, const uint64_t number) {
    uint64_t seed = number;
    for (int k = 0; k < 20000 && m->now < 590.0; k++) {
        one *r = &m->r[rng_u64(&seed) % MOST];
        const one *first = want_first(m);
        if (rng_u64(&seed) % 4 == 0 && first) r = &m->r[first - m->r];
        if (!r->here)
            come(m, r, &seed);
        else if (rng_u64(&seed) % 2)
            go_on(m, r, &seed);
        else
            serve(m, r, rng_u64(&seed) % 20);
        if (rng_u64(&seed) % 64 == 0) m->now += (double)(rng_u64(&seed) % (k % 1000 < 10 ? 80 : 4));
        weir__order_advance(&m->o, m->now);
        const weir_waiting *got = weir__order_first(&m->o);
        first = want_first(m);
        cr_assert(got == (first ? &first->w : NULL), "seed %d, turn %d: number %d is first, not %d",
                  (int)seed, k, got ? (int)got->number : 0, first ? (int)first->w.number : 0);
    }
}

Test(queue_order, as_by_looking_at_everyone) {
    static mirror m;
    for (uint64_t seed = 1; seed <= (build_is_sanitized() ? 3 : 10); seed++) {
        memset(&m, 0, sizeof m);
        weir__order_open(&m.o, 0.0);
        play(&m, seed);
        for (int i = 0; i < MOST; i++) {
            if (m.r[i].waits) weir__order_remove(&m.o, &m.r[i].w);
            if (m.r[i].here) weir__order_leave(&m.o, &m.r[i].w);
        }
        cr_assert(m.o.lines.n == 0 && m.o.n_client <= CLIENTS);
        weir__order_advance(&m.o, m.now + 1000.0); /* a minute later nobody is known */
        cr_assert(m.o.n_client == 0, "%zu clients", m.o.n_client);
        weir__order_close(&m.o);
    }
}

/* Buckets grow with the clients, and none is lost. */
Test(queue_order, thousands_of_clients) {
    enum { N = 3000 };
    static weir_waiting w[N];
    weir_order o;
    weir__order_open(&o, 0.0);
    for (int i = 0; i < N; i++) {
        w[i] = (weir_waiting){.number = (uint64_t)i + 1};
        cr_assert(weir__order_enter(&o, &w[i], (uint64_t)(i % 1500) << 20, N));
        weir__order_add(&o, &w[i]);
    }
    cr_assert(o.n_client == 1500 && o.n_bucket >= 1500 && o.lines.n == 1500);
    for (int i = 0; i < N; i++) {
        cr_assert(weir__order_first(&o) == &w[i], "%d", i);
        weir__order_remove(&o, &w[i]);
        weir__order_leave(&o, &w[i]);
    }
    cr_assert(o.n_client == 0);
    weir__order_close(&o);
}

/* ---- in a queue ---------------------------------------------------------------------------------------- */

enum { JOBS = 8 };

typedef struct bed {
    weir_engine *e;
    weir_queue *q;
    served got[JOBS];
    weir_queue_job job[JOBS];
    weir_session_options o;
    int32_t ids[16];
} bed;

/* One slot; each prompt has 10 tokens, each answer 4. */
static void bed_open(bed *b) {
    memset(b, 0, sizeof *b);
    b->e = decoder_open(&decoder_pairs[2], "cpu", 1, 1, 200);
    b->q = queue_open(b->e);
    queue_set_clock(b->q, 1000.0);
    b->o = method_options(WEIR_METHOD_VERIFIER, 4);
    b->o.ignore_eos = true;
    long_prompt(1, 16, b->ids);
    for (int i = 0; i < JOBS; i++) b->job[i] = queue_job(&b->o, b->ids, 10, &b->got[i]);
}

static void take(bed *b, int from, int n) {
    weir_request *out[JOBS];
    weir_err err = {""};
    cr_assert(weir_queue_submit(b->q, b->job + from, n, out, &err) == WEIR_OK, "%s", err.text);
}

static void bed_close(bed *b) {
    queue_assert_empty(b->q);
    weir_queue_close(b->q);
    weir_engine_close(b->e);
}

/* Numbers of the jobs as they were answered. */
static void expect_order(bed *b, const char *want) {
    char got[JOBS + 1] = "";
    served_all(b->q);
    for (size_t n = 0; want[n]; n++) {
        int next = -1;
        for (int i = 0; i < JOBS; i++) {
            if (b->got[i].first == 0 || strchr(got, '0' + i)) continue;
            if (next < 0 || b->got[i].first < b->got[next].first) next = i;
        }
        cr_assert(next >= 0, "only \"%s\" were answered", got);
        got[n] = (char)('0' + next);
    }
    cr_assert(strcmp(got, want) == 0, "\"%s\", not \"%s\"", got, want);
}

Test(queue_order, lower_priorities_come_first) {
    static const int priority[JOBS] = {0, 8, -8, 0, 1, -8, 7, -1};
    static bed b;
    bed_open(&b);
    for (int i = 0; i < JOBS; i++) {
        b.job[i].priority = priority[i];
        b.job[i].client = (uint64_t)i % 2;
    }
    take(&b, 0, JOBS);
    /* 2 and 5 are of two clients; then 7 alone; of 0 and 3 the client of 3 has had more */
    expect_order(&b, "25703461");
    bed_close(&b);
}

Test(queue_order, clients_take_turns) {
    static bed b;
    bed_open(&b);
    for (int i = 0; i < JOBS; i++) b.job[i].client = i < 5 ? 77 : 78;
    take(&b, 0, JOBS);
    expect_order(&b, "05162734");
    bed_close(&b);
}

Test(queue_order, a_long_prompt_counts) {
    static bed b;
    bed_open(&b);
    int32_t ids[150];
    long_prompt(5, 150, ids);
    for (int i = 0; i < JOBS; i++) b.job[i].client = i < 4 ? 1 : 2;
    b.job[4].prompt = ids, b.job[4].n_prompt = 150;
    take(&b, 0, JOBS);
    expect_order(&b, "04123567"); /* 4 x 14 tokens against 154 */
    bed_close(&b);
}

Test(queue_order, a_minute_later_all_is_forgotten) {
    static bed b;
    bed_open(&b);
    for (int i = 0; i < JOBS; i++) b.job[i].client = i % 2 ? 1 : 2;
    b.job[0].n_prompt = 16; /* a little more than the other client's */
    take(&b, 0, 2);
    served_all(b.q);
    queue_set_clock(b.q, 1030.0);
    take(&b, 2, 2);
    expect_order(&b, "0132");
    queue_set_clock(b.q, 1091.0);
    take(&b, 4, 2);
    expect_order(&b, "013245");
    bed_close(&b);
}

/* ---- many ---------------------------------------------------------------------------------------------- */

/* Several thousand that wait, some cancelled, some freed: each is served as it should be. */
Test(queue_order, several_thousand_wait, .timeout = 120) {
    enum { N = 4000 };
    static served got[N];
    static answer want;
    int32_t ids[16];
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", 4, 1, 60);
    weir_queue *q = queue_open(e);
    const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 2);
    long_prompt(1, 16, ids);
    for (int i = 0; i < N; i++) {
        weir_queue_job j = queue_job(&o, ids, 5, &got[i]);
        j.client = (uint64_t)i % 101;
        j.priority = i % 3;
        j.until = weir_seconds() + 1e6 + i % 17;
        cr_assert(weir_queue_submit(q, &j, 1, &got[i].request, NULL) == WEIR_OK);
    }
    for (int i = 1; i < N; i += 4) weir_queue_cancel(got[i].request);
    for (int i = 2; i < N; i += 4) served_free(&got[i]);
    served_all(q);
    queue_assert_empty(q);
    for (int i = 0; i < N; i++) {
        cr_assert(got[i].wrong == NULL && got[i].n_end == (i % 4 != 2), "request %d", i);
        if (i % 4 == 1) cr_assert(got[i].n == 0 && got[i].said.finish == WEIR_FINISH_CANCELLED);
        if (i == 0) want = got[0].said;
        if (i % 4 == 0 || i % 4 == 3) served_assert_answer(&got[i], &want, "one of thousands");
    }
    weir_queue_close(q);
    weir_engine_close(e);
}
