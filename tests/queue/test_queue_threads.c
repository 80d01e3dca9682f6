/* Several threads that submit, serve and cancel at once. */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/queue/queue_fixture.h"
#include "tests/support/build.h"

enum { SUBMITTERS = 3, CONSUMERS = 2, EACH = 12, ALL = SUBMITTERS * EACH, KINDS = 6 };

/* What becomes of a request: answered; cancelled by another thread; freed by who gets its first tokens. */
static bool is_cancelled(int i) { return i % 4 == 1; }
static bool is_dropped(int i) { return i % 4 == 3; }

typedef struct scene {
    weir_queue *q;
    served got[ALL];
    atomic_bool known[ALL]; /* submitted: its request may be cancelled */
    atomic_int n_over;      /* ended or dropped */
    atomic_bool over;
} scene;

static size_t prompt_of(int kind, int32_t *ids) {
    const size_t n = 3 + 40 * (size_t)(kind % 3);
    long_prompt(kind, n, ids);
    return n;
}

static weir_session_options setting(int kind) {
    return method_options(kind % 3 == 2 ? WEIR_METHOD_TOKEN_CASCADE : WEIR_METHOD_SPECULATIVE, 4 + 3 * kind);
}

typedef struct worker {
    scene *s;
    int id;
} worker;

static void *submit_some(void *ud) {
    const worker *w = ud;
    for (int k = 0; k < EACH; k++) {
        const int i = w->id * EACH + k;
        int32_t ids[512];
        const weir_session_options o = setting(i % KINDS);
        served *a = &w->s->got[i];
        const size_t n = prompt_of(i % KINDS, ids);
        const weir_queue_job j = queue_job(&o, ids, n, a);
        if (weir_queue_submit(w->s->q, &j, 1, &a->request, NULL) != WEIR_OK) a->wrong = "refused";
        atomic_store(&w->s->known[i], true);
    }
    return NULL;
}

static void *cancel_some(void *ud) {
    scene *s = ud;
    for (int i = 0; i < ALL; i++) {
        if (!is_cancelled(i)) continue;
        while (!atomic_load(&s->known[i])) sched_yield();
        weir_queue_cancel(s->got[i].request);
    }
    return NULL;
}

/* With the tokens read byte for byte while other threads go on. */
static void serve_one(scene *s, const weir_queue_event *ev) {
    served *a = ev->ud;
    served_take(ev, 1);
    bool over = ev->kind == WEIR_QUEUE_END;
    if (is_dropped((int)(a - s->got)) && ev->kind == WEIR_QUEUE_TOKENS && !a->let_go) {
        a->let_go = over = true;
        weir_request_free(ev->request);
    }
    if (over && atomic_fetch_add(&s->n_over, 1) + 1 == ALL) {
        atomic_store(&s->over, true);
        for (int i = 0; i < CONSUMERS; i++) weir_queue_wake(s->q);
    }
}

static void *serve(void *ud) {
    scene *s = ud;
    for (long number = 1; !atomic_load(&s->over); number++) {
        weir_queue_event ev;
        weir_queue_next(s->q, number % 3 ? INFINITY : 0.001, &ev);
        if (ev.kind != WEIR_QUEUE_IDLE) serve_one(s, &ev);
    }
    weir_queue_next(s->q, 0.0, NULL);
    return NULL;
}

static void run_alone(weir_engine *e, int kind, answer *out) {
    int32_t ids[512];
    weir_session *s = NULL;
    const weir_session_options o = setting(kind);
    const size_t n = prompt_of(kind, ids);
    cr_assert(weir_session_create(e, &o, ids, n, NULL, NULL, &s, NULL) == WEIR_OK);
    cr_assert(weir_step(e, &s, 1, 1000, NULL) == WEIR_OK);
    answer_take(s, out);
    weir_session_free(s);
}

static void judge(const scene *s, const answer *want, int i) {
    const served *a = &s->got[i];
    cr_assert(a->wrong == NULL, "request %d: %s", i, a->wrong);
    if (is_dropped(i)) {
        cr_assert(a->n_end == 0 && a->n > 0);
        return;
    }
    served_assert_ended(a, "a request");
    cr_assert(a->status == WEIR_OK, "%s", a->err.text);
    if (a->said.finish == WEIR_FINISH_CANCELLED)
        cr_assert(is_cancelled(i) && a->n <= want->n &&
                  memcmp(a->ids, want->ids, a->n * sizeof *a->ids) == 0);
    else
        answer_assert_same(want, &a->said, "whoever serves it");
}

static void run_scene(weir_engine *e, const answer *want) {
    static scene s;
    pthread_t t[SUBMITTERS + CONSUMERS + 1];
    worker w[SUBMITTERS];
    memset(&s, 0, sizeof s);
    s.q = queue_open(e);
    s.q->options.stall_seconds = 0.0;
    int n = 0;
    for (int i = 0; i < CONSUMERS; i++) cr_assert(pthread_create(&t[n++], NULL, serve, &s) == 0);
    for (int i = 0; i < SUBMITTERS; i++) {
        w[i] = (worker){&s, i};
        cr_assert(pthread_create(&t[n++], NULL, submit_some, &w[i]) == 0);
    }
    cr_assert(pthread_create(&t[n++], NULL, cancel_some, &s) == 0);
    for (int i = 0; i < n; i++) cr_assert(pthread_join(t[i], NULL) == 0);
    while (s.q->n_unfinished > 0) cr_assert(!served_next(s.q)); /* what was dropped */
    queue_assert_empty(s.q);
    for (int i = 0; i < ALL; i++) judge(&s, &want[i % KINDS], i);
    weir_queue_close(s.q);
}

static void serve_by_threads(int n_parallel, int n_thread) {
    static answer want[KINDS];
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", n_parallel, n_thread, 200);
    for (int i = 0; i < KINDS; i++) run_alone(e, i, &want[i]);
    for (int i = 0; i < (build_is_sanitized() ? 2 : 10); i++) run_scene(e, want);
    weir_engine_close(e);
}

Test(queue_threads, many_threads_share_one_slot, .timeout = 120) { serve_by_threads(1, 1); }
Test(queue_threads, many_threads_share_three_slots, .timeout = 120) { serve_by_threads(3, 2); }

/* ---- waiting ------------------------------------------------------------------------------------------- */

typedef struct waiter {
    weir_queue *q;
    weir_queue_event ev;
} waiter;

static void *wait_forever(void *ud) {
    waiter *w = ud;
    weir_queue_next(w->q, INFINITY, &w->ev);
    return NULL;
}

/* The thread is in its wait, or on the way there: either way the call is answered. */
Test(queue_threads, a_wake_ends_each_wait, .timeout = 60) {
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", 1, 1, 200);
    for (int round = 0; round < 50; round++) {
        weir_queue *q = queue_open(e);
        waiter w[3];
        pthread_t t[3];
        for (int i = 0; i < 3; i++) {
            w[i].q = q;
            cr_assert(pthread_create(&t[i], NULL, wait_forever, &w[i]) == 0);
        }
        for (int i = 0; i < 3; i++) weir_queue_wake(q);
        for (int i = 0; i < 3; i++) {
            cr_assert(pthread_join(t[i], NULL) == 0);
            cr_assert(w[i].ev.kind == WEIR_QUEUE_IDLE);
        }
        weir_queue_close(q);
    }
    weir_engine_close(e);
}

Test(queue_threads, a_request_ends_a_wait, .timeout = 60) {
    static served got;
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", 1, 1, 200);
    for (int round = 0; round < 50; round++) {
        weir_queue *q = queue_open(e);
        waiter w = {.q = q};
        pthread_t t;
        cr_assert(pthread_create(&t, NULL, wait_forever, &w) == 0);
        int32_t ids[512];
        const weir_session_options o = setting(0);
        served_submit(q, &got, &o, ids, prompt_of(0, ids));
        cr_assert(pthread_join(t, NULL) == 0);
        cr_assert(w.ev.kind == WEIR_QUEUE_TOKENS && w.ev.ud == &got && w.ev.n_token > 0);
        /* nobody gets more of it until that thread lets it go, which it never will */
        weir_queue_event ev;
        weir_queue_next(q, 0.0, &ev);
        cr_assert(ev.kind == WEIR_QUEUE_IDLE && q->n_unfinished == 0);
        weir_queue_close(q);
    }
    weir_engine_close(e);
}

/* The tokens of one thread are not touched by what another one is given; the end comes after them. */
Test(queue_threads, an_end_waits_for_the_tokens_before_it, .timeout = 60) {
    static served got;
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", 1, 1, 200);
    weir_queue *q = queue_open(e);
    int32_t ids[512];
    const weir_session_options o = setting(0);
    served_submit(q, &got, &o, ids, prompt_of(0, ids));
    weir_queue_event mine;
    weir_queue_next(q, 0.0, &mine);
    cr_assert(mine.kind == WEIR_QUEUE_TOKENS);
    served_take(&mine, 1);
    waiter w = {.q = q};
    pthread_t t;
    cr_assert(pthread_create(&t, NULL, wait_forever, &w) == 0); /* runs the rest */
    for (bool done = false; !done; sched_yield()) {
        pthread_mutex_lock(&q->lock);
        done = got.request->state == WEIR_REQUEST_ENDED && !q->stepping;
        pthread_mutex_unlock(&q->lock);
    }
    weir_queue_next(q, 0.0, NULL); /* what is left goes to the one that waits */
    cr_assert(pthread_join(t, NULL) == 0);
    cr_assert(w.ev.kind != WEIR_QUEUE_IDLE && w.ev.request == got.request);
    if (w.ev.kind == WEIR_QUEUE_TOKENS) got.request->holder = pthread_self(); /* the thread is gone */
    served_take(&w.ev, 2);
    served_all(q);
    served_assert_ended(&got, "served by two");
    weir_queue_close(q);
    weir_engine_close(e);
}
