/* Whoever else is served: the answers are those of each request alone, in whatever order they come. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/deck/deck.h"
#include "tests/deck/crowd.h"
#include "tests/queue/queue_fixture.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"

static void shuffle(int *order, int n, uint64_t seed) {
    for (int i = 0; i < n; i++) order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        const int j = (int)(rng_u64(&seed) % (uint64_t)(i + 1)), k = order[i];
        order[i] = order[j];
        order[j] = k;
    }
}

/* ---- alone and together -------------------------------------------------------------------------------- */

/* Every method, then every kind of rule. */
enum { REQUESTS = 6 + LOOP_SETTINGS };

static weir_session_options setting(int i, float warmth, int max_tokens) {
    static const char *const stops[] = {" ist", "e "};
    const loop_bed bed = {.max_tokens = max_tokens, .warmth = warmth};
    if (i < 6) return method_options((weir_method)i, max_tokens);
    weir_session_options o = loop_setting(&bed, i - 6);
    if (i == 8 && warmth == 1.0f) o.stop = stops, o.n_stop = 2;
    return o;
}

typedef struct bench {
    weir_engine *e;
    size_t (*prompt)(weir_engine *e, int i, int32_t *ids);
    float warmth;
    int max_tokens;
} bench;

static size_t demo_prompt(weir_engine *e, int i, int32_t *ids) {
    int32_t *got = NULL;
    size_t n = 0;
    const char *text = demo_prompts[i % 10];
    cr_assert(weir_tokenize(e, text, strlen(text), true, true, &got, &n, NULL) == WEIR_OK && n <= 512);
    memcpy(ids, got, n * sizeof *ids);
    weir_ids_free(got);
    return n;
}

static size_t mixed_prompt(weir_engine *e, int i, int32_t *ids) {
    static const size_t lengths[] = {1, 2, 64, 65, 66, 129, 200, 300, 17, 128, 33, 260};
    (void)e;
    long_prompt(i, lengths[i % 12], ids);
    return lengths[i % 12];
}

/* With a callback, as the queue's sessions have one: text is kept while tokens come. */
static bool go_on(void *ud, weir_session *s, const weir_token_event *ev) {
    (void)ud, (void)s, (void)ev;
    return true;
}

static void run_alone(const bench *b, int i, answer *out) {
    int32_t ids[512];
    const weir_session_options o = setting(i, b->warmth, b->max_tokens);
    const size_t n = b->prompt(b->e, i, ids);
    weir_session *s = NULL;
    weir_err err = {""};
    cr_assert(weir_session_create(b->e, &o, ids, n, go_on, NULL, &s, &err) == WEIR_OK, "%s", err.text);
    cr_assert(weir_step(b->e, &s, 1, 1000, &err) == WEIR_OK, "%s", err.text);
    answer_take(s, out);
    weir_session_free(s);
}

static void submit(const bench *b, weir_queue *q, served *a, int i) {
    int32_t ids[512];
    const weir_session_options o = setting(i, b->warmth, b->max_tokens);
    served_submit(q, a, &o, ids, b->prompt(b->e, i, ids));
}

/* `early` of them before the first event, the others one by one after events. */
static void together(const bench *b, const answer *want, int early, uint64_t seed, double stall) {
    static served got[REQUESTS];
    int order[REQUESTS], n = 0;
    char what[64];
    weir_queue *q = queue_open(b->e);
    q->options.stall_seconds = stall;
    shuffle(order, REQUESTS, seed);
    for (; n < early; n++) submit(b, q, &got[order[n]], order[n]);
    while (served_next(q) || n < REQUESTS) {
        if (n < REQUESTS) submit(b, q, &got[order[n]], order[n]), n++;
    }
    queue_assert_empty(q);
    for (int i = 0; i < REQUESTS; i++) {
        snprintf(what, sizeof what, "request %d, %d early, seed %d", i, early, (int)seed);
        served_assert_answer(&got[i], &want[i], what);
        if (i % 2) served_free(&got[i]); /* the others are the queue's to free */
    }
    weir_queue_close(q);
}

static void same_on(const bench *b) {
    static answer want[REQUESTS];
    for (int i = 0; i < REQUESTS; i++) run_alone(b, i, &want[i]);
    const int rounds = build_is_sanitized() ? 1 : 3;
    for (int k = 0; k < rounds; k++) {
        together(b, want, 1 + 5 * k, (uint64_t)(1 + k), 0.020);
        together(b, want, REQUESTS, (uint64_t)(7 + k), 0.0); /* slices of one chunk */
    }
    weir_engine_close(b->e);
}

static void same_demo(int n_parallel) {
    same_on(&(bench){demo_open(n_parallel, 1, NULL, true), demo_prompt, 1.0f, 20});
}

Test(queue, answers_are_those_alone_one_slot) { same_demo(1); }
Test(queue, answers_are_those_alone_two_slots) { same_demo(2); }
Test(queue, answers_are_those_alone_five_slots) { same_demo(5); }

static void same_decoder(int pair, int n_parallel) {
    weir_engine *e = decoder_open(&decoder_pairs[pair], "cpu", n_parallel, 1, 400);
    same_on(&(bench){e, mixed_prompt, 1.6f, 20});
}

Test(queue, answers_of_strangers_are_those_alone) { same_decoder(0, 2); }
Test(queue, answers_of_twins_are_those_alone) { same_decoder(1, 5); }
Test(queue, answers_of_kin_are_those_alone) { same_decoder(2, 1); }

/* ---- few pages ----------------------------------------------------------------------------------------- */

/* Pages for one at its longest, and some more: answers give theirs up and go on later. */
static void same_with_few(const crowd *c, size_t (*prompt)(weir_engine *e, int i, int32_t *ids)) {
    static answer want[REQUESTS];
    static served got[REQUESTS];
    const bench b = {crowd_open(c), prompt, 1.6f, c->pair < 0 ? 90 : 20};
    int64_t suspended = 0;
    for (int i = 0; i < REQUESTS; i++) run_alone(&b, i, &want[i]);
    for (uint64_t seed = 1; seed <= (build_is_sanitized() ? 2 : 6); seed++) {
        char what[64];
        int order[REQUESTS];
        weir_queue_facts f;
        weir_queue *q = queue_open(b.e);
        q->options.stall_seconds = seed % 2 ? 1e-9 : 0.020;
        shuffle(order, REQUESTS, seed);
        for (int i = 0; i < REQUESTS; i++) submit(&b, q, &got[order[i]], order[i]);
        served_all(q);
        weir_queue_get_facts(q, &f);
        suspended += f.suspended_total;
        queue_assert_empty(q);
        for (int i = 0; i < REQUESTS; i++) {
            snprintf(what, sizeof what, "request %d, few pages, seed %d", i, (int)seed);
            served_assert_ended(&got[i], what);
            cr_assert(got[i].status == WEIR_OK, "%s: %s", what, got[i].err.text);
            answer_assert_same(&want[i], &got[i].said, what);
            served_free(&got[i]);
        }
        weir_queue_close(q);
        cr_assert(crowd_pages_held(b.e) == 0);
    }
    cr_assert(suspended > 0, "nobody was suspended");
    weir_engine_close(b.e);
}

Test(queue, answers_are_those_alone_with_few_pages) {
    same_with_few(&(crowd){.n_parallel = 5, .pages = 7, .ctx_size = 400, .pair = 0}, mixed_prompt);
}

Test(queue, answers_of_a_t5_are_those_alone_with_few_pages) {
    same_with_few(&(crowd){.n_parallel = 5, .pages = 4, .ctx_size = 100, .pair = CROWD_DEMO}, demo_prompt);
}

/* Texts that are scored keep their pages, so answers make room for them; of several that fill the pool one
 * has to go. */
Test(queue, scores_with_few_pages) {
    const crowd c = {.n_parallel = 4, .pages = 5, .ctx_size = 300, .pair = 0};
    weir_engine *e = crowd_open(&c);
    weir_queue *q = queue_open(e);
    q->options.stall_seconds = 1e-9;
    int32_t text[512];
    float want[250];
    weir_request *r[3];
    int n_done = 0, n_refused = 0;
    long_prompt(3, 251, text);
    cr_assert(weir_score(e, text, 1, text + 1, 250, want, NULL) == WEIR_OK);
    for (int i = 0; i < 3; i++) {
        weir_queue_job j = weir_queue_job_default();
        j.prompt = text;
        j.n_prompt = 1;
        j.completion = text + 1;
        j.n_completion = 250;
        cr_assert(weir_queue_submit(q, &j, 1, &r[i], NULL) == WEIR_OK);
    }
    weir_queue_event ev;
    for (weir_queue_next(q, 0.0, &ev); ev.kind != WEIR_QUEUE_IDLE; weir_queue_next(q, 0.0, &ev)) {
        cr_assert(ev.kind == WEIR_QUEUE_END);
        n_refused += ev.status == WEIR_EPAGES;
        n_done += ev.status == WEIR_OK && ev.n_score == 250;
        if (ev.status == WEIR_OK) cr_assert(memcmp(ev.scores, want, sizeof want) == 0);
    }
    cr_assert(n_done + n_refused == 3 && n_done > 0, "%d done, %d refused", n_done, n_refused);
    for (int i = 0; i < 3; i++) weir_request_free(r[i]);
    queue_assert_empty(q);
    cr_assert(crowd_pages_held(e) == 0);
    weir_queue_close(q);
    weir_engine_close(e);
}

/* ---- order --------------------------------------------------------------------------------------------- */

enum { LONG = 390 };

typedef struct arrival {
    weir_queue *q;
    served *a;
    int n;
    int64_t left; /* of the long prompt, when they came */
} arrival;

static const weir_session *long_session;

static void arrive(void *ud) {
    arrival *w = ud;
    int32_t ids[512];
    w->left = weir__session_prefill_left(long_session);
    for (int i = 0; i < w->n; i++) {
        const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 3);
        long_prompt(i, 5, ids);
        served_submit(w->q, &w->a[i], &o, ids, 5);
    }
}

/* Short requests that come while a long prompt is being run are answered before it is done, though they are
 * more than take turns. */
static void overtake(int n_short) {
    static served slow, quick[8];
    int32_t ids[512];
    occasion o = {.at = 3, .act = arrive};
    weir_engine *e = decoder_open(&decoder_pairs[0], "cpu", 8, 1, 400);
    weir_queue *q = queue_open(e);
    q->options.stall_seconds = 0.0;
    arrival w = {q, quick, n_short, 0};
    o.ud = &w;
    occasion_set(e, &o);
    const weir_session_options so = method_options(WEIR_METHOD_SPECULATIVE, 3);
    long_prompt(3, LONG, ids);
    served_submit(q, &slow, &so, ids, LONG);
    long_session = slow.request->session;
    for (bool seen = false; slow.first == 0;) {
        cr_assert(served_next(q));
        if (!seen) cr_assert(weir__session_prefill_left(long_session) > 0, "the long prompt was done before");
        for (int i = 0; i < n_short; i++) seen = seen || quick[i].first > 0;
    }
    cr_assert(w.left > LONG, "%d positions left", (int)w.left); /* of both models' */
    for (int i = 0; i < n_short; i++)
        cr_assert(quick[i].first > 0 && quick[i].first < slow.first, "request %d came late", i);
    served_all(q);
    queue_assert_empty(q);
    weir_queue_close(q);
    weir_engine_close(e);
}

Test(queue, a_short_request_overtakes_a_long_prompt) { overtake(1); }
Test(queue, five_short_requests_overtake_a_long_prompt) { overtake(5); }

Test(queue, a_short_answer_does_not_wait_for_a_long_one) {
    static served slow, quick;
    int32_t ids[512];
    weir_engine *e = decoder_open(&decoder_pairs[0], "cpu", 2, 1, 400);
    weir_queue *q = queue_open(e);
    weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 60);
    o.ignore_eos = true;
    long_prompt(1, 5, ids);
    served_submit(q, &slow, &o, ids, 5);
    o.max_tokens = 3;
    served_submit(q, &quick, &o, ids, 5);
    served_all(q);
    served_assert_ended(&slow, "the long one");
    served_assert_ended(&quick, "the short one");
    cr_assert(quick.n == 3 && slow.n == 60 && quick.end < slow.end);
    served_free(&slow);
    served_free(&quick);
    queue_assert_empty(q);
    weir_queue_close(q);
    weir_engine_close(e);
}

/* Those who are being answered get tokens between the slices of a long prompt. */
Test(queue, a_long_prompt_stalls_nobody) {
    static served slow, talker;
    int32_t ids[512];
    weir_engine *e = decoder_open(&decoder_pairs[0], "cpu", 2, 1, 400);
    weir_queue *q = queue_open(e);
    q->options.stall_seconds = 0.0;
    weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 60);
    long_prompt(1, 5, ids);
    served_submit(q, &talker, &o, ids, 5);
    cr_assert(served_next(q) && talker.n > 0);
    long_prompt(2, LONG, ids);
    served_submit(q, &slow, &o, ids, LONG);
    int64_t before = weir__session_prefill_left(slow.request->session);
    for (int round = 0; weir__session_prefill_left(slow.request->session) > 0; round++) {
        const size_t n = talker.n;
        cr_assert(served_next(q) && talker.n > n, "round %d brought no token", round);
        const int64_t left = weir__session_prefill_left(slow.request->session);
        cr_assert(before - left <= e->pair.be->chunk, "%d positions at once", (int)(before - left));
        before = left;
    }
    weir_queue_close(q); /* both are under way */
    weir_engine_close(e);
}

/* One slot: in order of arrival. */
Test(queue, slots_are_given_in_order_of_arrival) {
    static served got[6];
    int32_t ids[512];
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", 1, 1, 100);
    weir_queue *q = queue_open(e);
    for (int i = 0; i < 6; i++) {
        const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 9 - i);
        long_prompt(i, 60 - (size_t)i * 9, ids);
        served_submit(q, &got[i], &o, ids, 60 - (size_t)i * 9);
    }
    served_all(q);
    for (int i = 1; i < 6; i++) cr_assert(got[i].first > got[i - 1].end, "request %d was early", i);
    weir_queue_close(q);
    weir_engine_close(e);
}

/* ---- measured slices ----------------------------------------------------------------------------------- */

/* A prompt that is given up runs nothing: what a position takes is not measured by it. */
static void cancel_it(void *ud) { weir_queue_cancel(((served *)ud)->request); }

Test(queue, a_prompt_that_is_given_up_is_not_measured) {
    static served got;
    int32_t ids[512];
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", 1, 1, 400);
    weir_queue *q = queue_open(e);
    q->options.stall_seconds = 0.0;
    q->position_seconds = 1.0;
    occasion o = {.at = 1, .act = cancel_it, .ud = &got};
    occasion_set(e, &o);
    const weir_session_options so = method_options(WEIR_METHOD_SPECULATIVE, 3);
    long_prompt(3, LONG, ids);
    served_submit(q, &got, &so, ids, LONG);
    served_all(q);
    cr_assert(got.n_end == 1 && got.said.finish == WEIR_FINISH_CANCELLED);
    cr_assert(q->position_seconds == 1.0, "%g seconds", q->position_seconds);
    weir_queue_close(q);
    weir_engine_close(e);
}

/* ---- steps --------------------------------------------------------------------------------------------- */

static void count_step(void *ud, double seconds) {
    cr_assert(seconds >= 0.0);
    (*(int *)ud)++;
}

/* A step is a block on a CPU. A device runs as many as fit in 50 ms of what they took before. */
Test(queue, steps_are_as_long_as_readers_do_not_notice) {
    static const struct {
        bool device;
        double block_seconds;
        int at_least, at_most; /* blocks of a step */
    } cases[] = {{false, 0.0001, 1, 1}, {true, 0.1, 1, 1}, {true, 0.011, 4, 4}, {true, 0.0001, 32, 32}};
    static served got;
    int32_t ids[512];
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", 1, 1, 400);
    long_prompt(3, 30, ids);
    for (int i = 0; i < 4; i++) {
        int steps = 0;
        weir_queue *q = queue_open(e);
        weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 200);
        o.ignore_eos = true;
        q->options.on_step = count_step;
        q->options.ud = &steps;
        if (cases[i].device) q->facts.isa = NULL;
        served_submit(q, &got, &o, ids, 30);
        while (!got.n_end) {
            q->block_seconds = cases[i].block_seconds; /* as if measured */
            cr_assert(served_next(q));
        }
        const int blocks = (int)got.said.stats.blocks;
        cr_assert(steps * cases[i].at_most >= blocks && (steps - 1) * cases[i].at_least < blocks,
                  "case %d: %d blocks in %d steps", i, blocks, steps);
        served_free(&got);
        weir_queue_close(q);
    }
    weir_engine_close(e);
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

Test(queue, what_a_session_refuses_is_refused) {
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", 1, 1, 100);
    weir_queue *q = queue_open(e);
    const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 3);
    const int32_t wrong[2] = {5, 67};
    weir_request *r = NULL;
    weir_err err = {""};
    weir_queue_job j = queue_job(&o, wrong, 2, NULL);
    cr_expect(weir_queue_submit(q, &j, 1, &r, &err) == WEIR_EINVAL && err.text[0] && !r);
    int32_t ids[512];
    long_prompt(1, 200, ids);
    j = queue_job(&o, ids, 200, NULL);
    cr_expect(weir_queue_submit(q, &j, 1, &r, &err) == WEIR_ETOOLONG && !r, "%s", err.text);
    queue_assert_empty(q);
    weir_request_free(NULL);
    weir_queue_close(q);
    weir_queue_close(NULL);
    weir_engine_close(e);
}
