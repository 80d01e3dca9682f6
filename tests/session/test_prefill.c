/* Prompts in slices: the same bits as at once, and what a slot is good for meanwhile. */
#include <criterion/criterion.h>
#include <string.h>

#include "host/deck/deck.h"
#include "tests/host/pairs/decoder_pair.h"
#include "tests/queue/queue_fixture.h"
#include "tests/support/files.h"

enum { CTX = 400 };

static weir_session *start(weir_engine *e, const weir_session_options *o, size_t n) {
    int32_t ids[512];
    weir_session *s = NULL;
    weir_err err = {""};
    long_prompt((int)n, n, ids);
    cr_assert(weir_session_create(e, o, ids, n, NULL, NULL, &s, &err) == WEIR_OK, "%s", err.text);
    return s;
}

static void finish(weir_session *s, answer *out) {
    weir_err err = {""};
    cr_assert(weir_step(s->e, &s, 1, 1000, &err) == WEIR_OK, "%s", err.text);
    answer_take(s, out);
    weir_session_free(s);
}

/* Slices of `slice` positions: each brings the end nearer. Returns how many. */
static int in_slices(weir_session *s, int64_t slice) {
    int64_t before = 0, left = -1;
    weir_err err = {""};
    int n = 0;
    cr_assert(weir_session_prefill(s, 0, &before, &err) == WEIR_OK, "%s", err.text);
    cr_assert(s->slot >= 0 && before > 0 && s->prefilled[0] + s->prefilled[1] == 0);
    for (; left != 0; n++, before = left) {
        cr_assert(weir_session_prefill(s, slice, &left, &err) == WEIR_OK, "%s", err.text);
        cr_assert(left < before, "slice %d: %d positions left, then %d", n, (int)before, (int)left);
        /* no more than that, but for a step of each model, which may be a chunk where there is one layer */
        const int64_t chunk = s->e->pair.be->chunk;
        cr_assert(before - left <= slice + 2 * chunk, "slice %d: %d positions", n, (int)(before - left));
        cr_assert(left == 0 || s->n == 0);
    }
    cr_assert(weir_session_prefill(s, slice, &left, &err) == WEIR_OK && left == 0); /* nothing to do */
    return n;
}

static void same_in_slices(int pair) {
    static const size_t lengths[] = {1, 2, 64, 65, 66, 129, 300, 390};
    static const int64_t slices[] = {1, 64, 65, 130, 1000};
    static answer want, got;
    weir_engine *e = decoder_open(&decoder_pairs[pair], "cpu", 1, 1, CTX);
    for (int i = 0; i < 8; i++) {
        for (int m = 0; m < 6; m++) {
            const weir_session_options o = method_options((weir_method)m, 10);
            finish(start(e, &o, lengths[i]), &want);
            for (int k = 0; k < 5; k++) {
                weir_session *s = start(e, &o, lengths[i]);
                const int n = in_slices(s, slices[k]);
                const int models = m == WEIR_METHOD_SPECULATIVE || m == WEIR_METHOD_ORACLE_CASCADE ? 2 : 1;
                const int chunks = (int)(lengths[i] - 1 + 63) / 64; /* none to run: both at once */
                if (slices[k] == 1) cr_assert(n >= (chunks > 0 ? models * chunks : 1), "%d slices", n);
                if (slices[k] == 64) cr_assert(n <= (chunks > 0 ? models * chunks : 1), "%d slices", n);
                if (slices[k] == 1000) cr_assert(n == 1, "%d slices", n);
                finish(s, &got);
                answer_assert_same(&want, &got, "in slices");
                answer_assert_same_books(&want, &got, "in slices");
            }
            /* the step runs what slices left */
            weir_session *s = start(e, &o, lengths[i]);
            int64_t left;
            cr_assert(weir_session_prefill(s, 1, &left, NULL) == WEIR_OK);
            finish(s, &got);
            answer_assert_same(&want, &got, "a slice and a step");
        }
    }
    weir_engine_close(e);
}

Test(prefill, slices_give_the_same_bits_to_strangers) { same_in_slices(0); }
Test(prefill, slices_give_the_same_bits_to_twins) { same_in_slices(1); }

/* An encoder's work is cut in as many slices as its prompt has chunks. Meanwhile others are answered. */
Test(prefill, an_encoder_reads_in_slices_while_others_are_answered) {
    static const size_t lengths[] = {1, 63, 64, 65, 100, 127, 128};
    static answer want, got, other, other_got;
    weir_engine *e = demo_open(2, 1, NULL, true);
    const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 40);
    answer_run(e, &o, demo_prompts[9], &other);
    for (int i = 0; i < 7; i++) {
        finish(start(e, &o, lengths[i]), &want);
        weir_session *s = start(e, &o, lengths[i]), *runs = demo_session(e, &o, demo_prompts[9]);
        int64_t left = -1;
        int n = 0;
        cr_assert(weir_step(e, &runs, 1, 1, NULL) == WEIR_OK); /* its own prompt is read */
        for (; left != 0; n++) {
            const int64_t before = left;
            weir_err err = {""};
            cr_assert(weir_session_prefill(s, 1, &left, &err) == WEIR_OK, "%s", err.text);
            cr_assert(n == 0 || left < before, "%zu ids, slice %d: %d left", lengths[i], n, (int)left);
            if (left > 0 && runs->finish == WEIR_RUNNING)
                cr_assert(weir_step(e, &runs, 1, 1, NULL) == WEIR_OK);
        }
        cr_assert(n >= 2 * (int)((lengths[i] + 63) / 64), "%zu ids: %d slices", lengths[i], n);
        finish(s, &got);
        finish(runs, &other_got);
        answer_assert_same(&want, &got, "in slices");
        answer_assert_same(&other, &other_got, "between them");
        answer_assert_same_books(&want, &got, "in slices");
    }
    weir_engine_close(e);
}

/* Slices in turns, of all sizes: the part that a model is within is run to its end first. */
static void in_turns(weir_engine *e, size_t first, size_t second) {
    static answer want[2], got;
    const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 10);
    const size_t n[2] = {first, second};
    for (int i = 0; i < 2; i++) finish(start(e, &o, n[i]), &want[i]);
    for (int64_t slice = 1; slice < 200; slice += 33) {
        weir_session *s[2];
        int64_t left[2] = {1, 1};
        int within = 0;
        for (int i = 0; i < 2; i++) s[i] = start(e, &o, n[i]);
        while (left[0] + left[1] > 0)
            for (int i = 0; i < 2; i++) {
                cr_assert(weir_session_prefill(s[i], slice, &left[i], NULL) == WEIR_OK);
                cr_assert(!weir_session_in_part(s[i]) || left[i] > 0);
                cr_assert(!weir_session_in_part(s[0]) || !weir_session_in_part(s[1]) || left[0] != left[1]);
                within += weir_session_in_part(s[i]);
            }
        if (slice == 1) cr_assert((within > 0) == e->pair.facts.encoder_decoder);
        for (int i = 0; i < 2; i++) {
            finish(s[i], &got);
            answer_assert_same(&want[i], &got, "in turns");
        }
    }
    weir_engine_close(e);
}

Test(prefill, encoders_take_turns) { in_turns(demo_open(2, 1, NULL, true), 100, 120); }
Test(prefill, decoders_take_turns) { in_turns(decoder_open(&decoder_pairs[0], "cpu", 2, 1, CTX), 200, 333); }

/* Who is suspended, or given up, within a part leaves the model to others. */
Test(prefill, a_part_that_nobody_goes_on_with) {
    static answer want, got;
    weir_engine *e = demo_open(2, 1, NULL, true);
    const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 10);
    finish(start(e, &o, 120), &want);
    for (int how = 0; how < 3; how++) {
        weir_session *a = start(e, &o, 100), *b = start(e, &o, 120);
        int64_t left;
        cr_assert(weir_session_prefill(a, 1, &left, NULL) == WEIR_OK && weir_session_in_part(a));
        if (how == 0) weir_session_suspend(a);
        if (how == 1) weir_session_cancel(a);
        if (how == 2) weir_session_free(a);
        cr_assert(how == 1 || !e->deck.side[WEIR_VERIFIER].open[0]);
        finish(b, &got);
        answer_assert_same(&want, &got, "after another one");
        if (how == 2) continue;
        cr_assert(!weir_session_in_part(a));
        cr_assert(weir_step(e, &a, 1, 1000, NULL) == WEIR_OK);
        cr_assert_eq(a->finish, how == 1 ? WEIR_FINISH_CANCELLED : WEIR_FINISH_LENGTH);
        weir_session_free(a);
    }
    weir_engine_close(e);
}

Test(prefill, without_a_slot_it_is_refused) {
    static answer got;
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", 1, 1, CTX);
    const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 10);
    weir_session *a = start(e, &o, 100), *b = start(e, &o, 5);
    int64_t left;
    weir_err err = {""};
    cr_assert(weir_session_prefill(a, 0, &left, &err) == WEIR_OK);
    for (int64_t slice = 0; slice < 2; slice++) {
        cr_assert(weir_session_prefill(b, slice, &left, &err) == WEIR_EINVAL &&
                  err_is_line(&err, "n_parallel"));
        cr_assert(b->slot < 0 && b->finish == WEIR_RUNNING);
    }
    weir_session_cancel(a);
    cr_assert(weir_session_prefill(a, 1, &left, &err) == WEIR_OK && left == 0);
    cr_assert(weir_session_state(a) == WEIR_FINISH_CANCELLED && a->slot < 0);
    cr_assert(weir_session_prefill(a, 1, &left, &err) == WEIR_OK && left == 0); /* it has ended */
    weir_session_free(a);
    finish(b, &got); /* the slot is free again */
    cr_assert(got.n == 10);
    weir_engine_close(e);
}

/* An interrupt or a cancel at any question inside a slice ends the session, and gives its slot back. */
static void cancel(void *ud) { weir_session_cancel(ud); }

Test(prefill, given_up_between_chunks) {
    static answer want, got;
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", 1, 1, CTX);
    const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 10);
    finish(start(e, &o, 300), &want);
    for (int stop = 0; stop < 2; stop++) {
        long at = 1;
        for (bool done = false; !done; at++) {
            weir_session *s = start(e, &o, 300);
            occasion when = {.at = at, .act = stop ? NULL : cancel, .ud = s, .stop = stop};
            int64_t left = 1;
            occasion_set(e, &when);
            for (int k = 0; left > 0; k++) {
                cr_assert(k < 100 && weir_session_prefill(s, 64, &left, NULL) == WEIR_OK);
                if (left > 0) cr_assert(when.asked < at && s->slot == 0, "question %ld", at);
            }
            occasion_set(e, NULL);
            done = when.asked < at;
            cr_assert(done ? s->finish == WEIR_RUNNING
                           : s->slot < 0 && (s->finish == WEIR_FINISH_CANCELLED || when.asked == at));
            if (done)
                finish(s, &got);
            else
                weir_session_free(s);
        }
        cr_assert(at > 10);
        answer_assert_same(&want, &got, "after those that were given up");
    }
    weir_engine_close(e);
}

/* It has nothing to run, and ends all the same. */
Test(prefill, a_cancelled_prompt_of_one_token_ends_at_once) {
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", 1, 1, CTX);
    const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 10);
    weir_session *s = start(e, &o, 1);
    int64_t left = 1;
    weir_session_cancel(s);
    cr_assert(weir_session_prefill(s, 1, &left, NULL) == WEIR_OK && left == 0);
    cr_assert(s->slot < 0 && s->finish == WEIR_FINISH_CANCELLED);
    weir_session_free(s);
    weir_engine_close(e);
}
