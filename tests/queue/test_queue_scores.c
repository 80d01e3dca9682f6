/* Scoring jobs beside answers: the same bits as weir_score, the same answers, and slots that come back. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "host/deck/deck.h"
#include "tests/queue/queue_fixture.h"
#include "tests/support/alloc.h"

enum { TEXT = 130, N_TOP = 3, ANSWERS = 3 };

typedef struct scored {
    weir_request *request;
    float logprobs[TEXT];
    weir_top top[TEXT * N_TOP];
    size_t n;
    int n_end;
    bool deadline;
    weir_status status;
    weir_finish finish;
} scored;

typedef struct bed {
    weir_engine *e;
    weir_queue *q;
    int32_t text[TEXT + 1];
    float want[TEXT];
    scored got;
    served answers[ANSWERS];
    answer alone[ANSWERS];
    double until; /* of the scoring; 0: never */
} bed;

static void bed_open(bed *b, int n_parallel) {
    memset(b, 0, sizeof *b);
    b->e = decoder_open(&decoder_pairs[2], "cpu", n_parallel, 1, 300);
    long_prompt(9, TEXT + 1, b->text);
    cr_assert(weir_score(b->e, b->text, 1, b->text + 1, TEXT, b->want, NULL) == WEIR_OK);
    b->q = queue_open(b->e);
    b->q->options.stall_seconds = 1e-9; /* one slice a round */
}

static void bed_close(bed *b) {
    queue_assert_empty(b->q);
    weir_request_free(b->got.request);
    weir_queue_close(b->q);
    weir_engine_close(b->e);
}

static weir_status submit_score(bed *b, weir_err *err) {
    weir_queue_job j = weir_queue_job_default();
    memset(&b->got, 0, sizeof b->got);
    j.options.n_top = N_TOP;
    j.prompt = b->text;
    j.n_prompt = 1;
    j.completion = b->text + 1;
    j.n_completion = TEXT;
    if (b->until > 0.0) j.until = b->until;
    j.ud = &b->got;
    return weir_queue_submit(b->q, &j, 1, &b->got.request, err);
}

static void take_score(bed *b, const weir_queue_event *ev) {
    cr_assert(ev->kind == WEIR_QUEUE_END && ev->request == b->got.request && ev->n_score <= TEXT);
    b->got.n_end++;
    b->got.status = ev->status;
    b->got.deadline = ev->deadline;
    b->got.finish = ev->view.finish;
    b->got.n = ev->n_score;
    if (ev->n_score == 0) return;
    memcpy(b->got.logprobs, ev->scores, ev->n_score * sizeof *ev->scores);
    memcpy(b->got.top, ev->score_top, ev->n_score * N_TOP * sizeof *ev->score_top);
}

static bool next(bed *b) {
    weir_queue_event ev;
    weir_queue_next(b->q, 0.0, &ev);
    if (ev.kind == WEIR_QUEUE_IDLE) return false;
    if (ev.ud == &b->got)
        take_score(b, &ev);
    else
        served_take(&ev, 1);
    return true;
}

static void all(bed *b) {
    while (next(b)) continue;
}

static void assert_scored(const bed *b, const char *what) {
    cr_assert(b->got.n_end == 1 && b->got.status == WEIR_OK && !b->got.deadline, "%s", what);
    cr_assert(b->got.finish == WEIR_FINISH_LENGTH && b->got.n == TEXT, "%s: %zu scores", what, b->got.n);
    cr_assert(memcmp(b->got.logprobs, b->want, sizeof b->want) == 0, "%s: other bits", what);
    for (int i = 0; i < TEXT; i++) {
        const weir_top *t = &b->got.top[i * N_TOP];
        for (int k = 0; k < N_TOP; k++)
            if (t[k].id == b->text[1 + i]) cr_assert(t[k].logprob == b->want[i], "%s: token %d", what, i);
        cr_assert(t[0].logprob >= t[1].logprob && t[1].logprob >= t[2].logprob && t[0].logprob >= b->want[i]);
    }
}

static weir_session_options options_of(int i) {
    weir_session_options o = method_options(i == 0 ? WEIR_METHOD_VERIFIER : WEIR_METHOD_SPECULATIVE, 20);
    o.seed = (uint64_t)i;
    return o;
}

static void submit_answer(bed *b, int i) {
    int32_t ids[512];
    const weir_session_options o = options_of(i);
    long_prompt(i, 70, ids);
    served_submit(b->q, &b->answers[i], &o, ids, 70);
}

static void run_alone(bed *b, int i) {
    int32_t ids[512];
    const weir_session_options o = options_of(i);
    weir_session *s = NULL;
    long_prompt(i, 70, ids);
    cr_assert(weir_session_create(b->e, &o, ids, 70, NULL, NULL, &s, NULL) == WEIR_OK);
    cr_assert(weir_step(b->e, &s, 1, 1000, NULL) == WEIR_OK);
    answer_take(s, &b->alone[i]);
    weir_session_free(s);
}

Test(queue_scores, alone) {
    bed b;
    bed_open(&b, 1);
    for (int again = 0; again < 2; again++) {
        cr_assert(submit_score(&b, NULL) == WEIR_OK);
        all(&b);
        assert_scored(&b, "alone");
        if (again == 0) weir_request_free(b.got.request);
    }
    bed_close(&b);
}

Test(queue_scores, beside_answers) {
    for (int slots = 1; slots <= 3; slots++) {
        bed b;
        bed_open(&b, slots);
        for (int i = 0; i < ANSWERS; i++) run_alone(&b, i);
        submit_answer(&b, 0);
        cr_assert(submit_score(&b, NULL) == WEIR_OK);
        for (int i = 1; i < ANSWERS; i++) submit_answer(&b, i);
        all(&b);
        assert_scored(&b, "beside answers");
        for (int i = 0; i < ANSWERS; i++) {
            served_assert_answer(&b.answers[i], &b.alone[i], "beside a scoring");
            served_free(&b.answers[i]);
        }
        bed_close(&b);
    }
}

static void cancel(void *ud) { weir_queue_cancel(((bed *)ud)->got.request); }
static void let_go(void *ud) { weir_request_free(((bed *)ud)->got.request); }

/* While it waits for a slot, and between any two of its slices. */
Test(queue_scores, given_up) {
    for (int freed = 0; freed < 2; freed++) {
        for (int rounds = 0; rounds < 8; rounds++) {
            bed b;
            bed_open(&b, 1);
            run_alone(&b, 0);
            submit_answer(&b, 0);
            cr_assert(submit_score(&b, NULL) == WEIR_OK);
            for (int i = 0; i < rounds * 4; i++) (void)next(&b);
            const bool ended = b.got.n_end > 0;
            if (freed)
                let_go(&b);
            else
                cancel(&b);
            all(&b);
            served_assert_answer(&b.answers[0], &b.alone[0], "beside one that was given up");
            cr_assert(b.got.n_end == (freed && !ended ? 0 : 1) && b.got.status == WEIR_OK);
            if (!freed && !ended) cr_assert(b.got.finish == WEIR_FINISH_CANCELLED && b.got.n == 0);
            if (freed) b.got.request = NULL;
            served_free(&b.answers[0]);
            bed_close(&b);
        }
    }
}

Test(queue_scores, its_time_is_over) {
    bed b;
    bed_open(&b, 1);
    queue_set_clock(b.q, 100.0);
    b.until = 200.0;
    submit_answer(&b, 0);
    cr_assert(submit_score(&b, NULL) == WEIR_OK);
    queue_set_clock(b.q, 300.0);
    all(&b);
    cr_assert(b.got.n_end == 1 && b.got.deadline && b.got.n == 0 && b.got.status == WEIR_OK);
    served_free(&b.answers[0]);
    bed_close(&b);
}

Test(queue_scores, refusals) {
    bed b;
    weir_err err = {""};
    bed_open(&b, 1);
    b.text[7] = 1 << 30;
    cr_assert(submit_score(&b, &err) == WEIR_EINVAL && strstr(err.text, "completion token 6"), "%s",
              err.text);
    bed_close(&b);
}

Test(queue_scores, no_memory) {
    bed b;
    alloc_install(0);
    bed_open(&b, 1);
    bool refused = false, done = false;
    for (long at = 0; !done; at++) {
        weir_err err = {""};
        alloc_fail_only(alloc_count() + at);
        const weir_status st = submit_score(&b, &err);
        if (st == WEIR_OK) all(&b);
        alloc_fail_only(-1);
        done = st == WEIR_OK && b.got.status == WEIR_OK;
        refused |= !done;
        if (done)
            assert_scored(&b, "with memory enough");
        else
            cr_assert((st == WEIR_OK ? b.got.status : st) == WEIR_ENOMEM, "%ld: %s", at, err.text);
        weir_request_free(b.got.request);
        b.got.request = NULL;
    }
    cr_assert(refused);
    bed_close(&b);
    cr_assert(alloc_live() == 0);
    alloc_uninstall();
}
