#include "tests/queue/queue_fixture.h"

#include <criterion/criterion.h>
#include <string.h>

#include "tests/support/compare.h"
#include "tests/support/files.h"

weir_queue *queue_open(weir_engine *e) {
    weir_queue *q = NULL;
    weir_err err = {""};
    cr_assert(weir_queue_open(&q, e, NULL, &err) == WEIR_OK, "%s", err.text);
    return q;
}

static double clock_stands_at;

static double stopped_clock(void) { return clock_stands_at; }

void queue_set_clock(weir_queue *q, double seconds) {
    clock_stands_at = seconds;
    if (q->now != stopped_clock) q->order.window_began = seconds;
    q->now = stopped_clock;
}

weir_queue_job queue_job(const weir_session_options *o, const int32_t *ids, size_t n, void *ud) {
    weir_queue_job j = weir_queue_job_default();
    j.options = *o;
    j.prompt = ids;
    j.n_prompt = n;
    j.ud = ud;
    return j;
}

void served_submit(weir_queue *q, served *a, const weir_session_options *o, const int32_t *ids, size_t n) {
    weir_err err = {""};
    memset(a, 0, sizeof *a);
    const weir_queue_job j = queue_job(o, ids, n, a);
    cr_assert(weir_queue_submit(q, &j, 1, &a->request, &err) == WEIR_OK, "%s", err.text);
}

void served_free(served *a) {
    a->let_go = true;
    weir_request_free(a->request);
    a->request = NULL;
}

void long_prompt(int seed, size_t n, int32_t *ids) {
    uint64_t state = 77 + (uint64_t)seed;
    for (size_t i = 0; i < n; i++) ids[i] = 3 + (int32_t)(rng_u64(&state) % 64);
}

static void take_token(served *a, const weir_token_event *t) {
    if (a->n >= 256 || a->bytes + t->bytes >= sizeof a->text) {
        a->wrong = "too many tokens";
        return;
    }
    a->ids[a->n] = t->id;
    a->sources[a->n] = (uint8_t)t->source;
    a->logprobs[a->n++] = t->logprob;
    memcpy(a->text + a->bytes, t->text, t->bytes);
    a->bytes += t->bytes;
}

static void take_end(served *a, const weir_queue_event *ev) {
    a->n_end++;
    a->status = ev->status;
    a->err = ev->err;
    answer_copy(&ev->view, &a->said);
}

void served_take(const weir_queue_event *ev, long number) {
    served *a = ev->ud;
    if (a->let_go) a->wrong = "an event after it was freed";
    if (a->n_end > 0) a->wrong = "an event after its end";
    if (a->let_go) return;
    if (ev->kind == WEIR_QUEUE_TOKENS) {
        if (ev->n_token == 0) a->wrong = "an event of no tokens";
        if (a->first == 0) a->first = number;
        for (size_t i = 0; i < ev->n_token; i++) take_token(a, &ev->tokens[i]);
    } else {
        a->end = number;
        take_end(a, ev);
    }
}

static long n_event; /* of a test */

bool served_next(weir_queue *q) {
    weir_queue_event ev;
    weir_queue_next(q, 0.0, &ev);
    if (ev.kind == WEIR_QUEUE_IDLE) return false;
    served_take(&ev, ++n_event);
    return true;
}

void served_all(weir_queue *q) {
    while (served_next(q)) continue;
}

void served_assert_ended(const served *a, const char *what) {
    cr_assert(a->wrong == NULL, "%s: %s", what, a->wrong);
    cr_assert(a->n_end == 1, "%s: %d ends", what, a->n_end);
    if (a->status != WEIR_OK) {
        cr_assert(err_is_line(&a->err, ""), "%s: status %d without a line", what, a->status);
        if (a->status == WEIR_ENOMEM) return; /* tokens may be lost */
    } else {
        cr_assert(a->said.finish != WEIR_RUNNING, "%s runs on", what);
    }
    cr_assert(a->n == a->said.n, "%s: %zu tokens by events, %zu at the end", what, a->n, a->said.n);
    cr_assert(memcmp(a->ids, a->said.ids, a->n * sizeof *a->ids) == 0, "%s: other tokens", what);
    cr_assert(memcmp(a->sources, a->said.sources, a->n) == 0, "%s: other sources", what);
    cr_assert(memcmp(a->logprobs, a->said.logprobs, a->n * sizeof(float)) == 0, "%s: other bits", what);
    cr_assert(strcmp(a->text, a->said.text) == 0, "%s: \"%s\" by events, \"%s\" at the end", what, a->text,
              a->said.text);
}

void served_assert_answer(const served *a, const answer *want, const char *what) {
    served_assert_ended(a, what);
    cr_assert(a->status == WEIR_OK, "%s: %s", what, a->err.text);
    answer_assert_same(want, &a->said, what);
    answer_assert_same_books(want, &a->said, what);
}

void queue_assert_empty(const weir_queue *q) {
    cr_assert(q->n_unfinished == 0 && !q->stepping, "%d unfinished", q->n_unfinished);
    cr_assert(q->n_active == 0 && q->order.lines.n == 0 && q->due.n == 0 && q->waiting_tokens == 0);
    cr_assert(weir__node_alone(&q->leaving));
    for (int i = 0; i < WEIR_REQUEST_ENDED; i++) cr_assert(q->n_in[i] == 0, "%d in state %d", q->n_in[i], i);
    for (int i = 0; i < q->facts.n_parallel; i++) cr_assert(!q->e->deck.slot_owner[i], "slot %d is taken", i);
}

static bool ask(void *ud) {
    occasion *o = ud;
    if (++o->asked == o->at && o->act) o->act(o->ud);
    return o->stop && o->asked >= o->at;
}

void occasion_set(weir_engine *e, occasion *o) {
    e->deck.interrupt = o ? (weir_interrupt){ask, o} : (weir_interrupt){NULL, NULL};
}
