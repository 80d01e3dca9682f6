/* Sessions that share fewer pages than they would like, and sessions that are suspended: the same bits as
 * alone, and nothing lost where pages are short. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "host/deck/deck.h"
#include "tests/deck/crowd.h"
#include "tests/queue/queue_fixture.h"
#include "tests/support/build.h"
#include "tests/support/costs.h"
#include "tests/support/files.h"

/* Under ASan, which takes minutes for all of it: fewer seeds, fewer people, the least number of pages. */
static int some(int n) { return build_is_sanitized() ? (n + 5) / 6 : n; }
static int people(void) { return build_is_sanitized() ? 15 : 36; }
static int most(int pages) { return build_is_sanitized() ? 0 : pages; }

Test(pages, encoders_and_decoders) {
    for (int pages = 5; pages == 5 || pages <= most(9); pages += 2)
        crowd_same_as_alone(&(crowd){.n_parallel = 4, .pages = pages, .ctx_size = 140, .pair = CROWD_DEMO},
                            people(), some(2));
}
Test(pages, decoders) {
    for (int pages = 4; pages == 4 || pages <= most(8); pages += 2)
        crowd_same_as_alone(&(crowd){.n_parallel = 4, .pages = pages, .ctx_size = 224, .pair = 2}, people(),
                            some(6));
}
/* Rings beside pages, in one model and in both. */
Test(pages, decoders_with_windows) {
    crowd_same_as_alone(&(crowd){.n_parallel = 3, .pages = 5, .ctx_size = 400, .pair = 0}, people(), some(2));
    crowd_same_as_alone(&(crowd){.n_parallel = 3, .pages = 5, .ctx_size = 400, .pair = 1}, people(), some(2));
    crowd_same_as_alone(&(crowd){.n_parallel = 3, .pages = 4, .ctx_size = 224, .pair = 1}, people(), some(2));
}
Test(pages, suspended_with_pages_for_all) {
    crowd_same_as_alone(&(crowd){.n_parallel = 3, .ctx_size = 224, .pair = 2}, people(), some(2));
}

/* Prompts that begin alike share pages, while there are too few and sessions are suspended. */
Test(pages, decoders_with_prefixes) {
    for (int pages = 4; pages == 4 || pages <= most(8); pages += 4)
        crowd_same_as_alone(
            &(crowd){.n_parallel = 4, .pages = pages, .ctx_size = 224, .pair = 2, .prefix_cache = true},
            people(), some(6));
}
Test(pages, encoders_with_prefixes) {
    for (int pages = 5; pages == 5 || pages <= most(8); pages += 3)
        crowd_same_as_alone(
            &(crowd){
                .n_parallel = 4, .pages = pages, .ctx_size = 140, .pair = CROWD_DEMO, .prefix_cache = true},
            people(), some(2));
}
/* Windows that are no rings: sources are shared, outputs keep all their keys. */
Test(pages, encoders_with_windows_and_prefixes) {
    crowd_same_as_alone(
        &(crowd){.n_parallel = 4, .pages = 7, .ctx_size = 140, .pair = 4, .prefix_cache = true}, people(),
        some(2));
}

/* ---- one call after another ---------------------------------------------------------------------------- */

static weir_session *start(weir_engine *e, weir_method method, int max_tokens, size_t n) {
    int32_t ids[512];
    weir_session *s = NULL;
    weir_err err = {""};
    const weir_session_options o = method_options(method, max_tokens);
    long_prompt((int)n, n, ids);
    cr_assert(weir_session_create(e, &o, ids, n, NULL, NULL, &s, &err) == WEIR_OK, "%s", err.text);
    return s;
}

static void pages_are(const weir_engine *e, int64_t n_free) {
    for (int side = 0; side < 2; side++) {
        int64_t left, all;
        weir_engine_pages(e, side, &left, &all);
        cr_assert(left == n_free, "side %d: %d pages of %d are free, expected %d", side, (int)left, (int)all,
                  (int)n_free);
    }
}

Test(pages, are_taken_as_sessions_grow) {
    weir_engine *e = crowd_open(&(crowd){.n_parallel = 2, .pages = 5, .ctx_size = 224, .pair = 2});
    weir_session *s = start(e, WEIR_METHOD_SPECULATIVE, 150, 60);
    int64_t left;
    weir_err err = {""};
    pages_are(e, 5);
    cr_assert(weir_session_prefill(s, 0, &left, &err) == WEIR_OK);
    pages_are(e, 5); /* a slot has none */
    cr_assert(weir_session_prefill(s, 1000, &left, &err) == WEIR_OK && left == 0);
    pages_are(e, 4);
    for (int64_t n = 0; weir_session_state(s) == WEIR_RUNNING; n = s->n) {
        pages_are(e, n == 0 ? 4 : 5 - (59 + s->cached[WEIR_VERIFIER] + 63) / 64);
        cr_assert(weir_step(e, &s, 1, 1, &err) == WEIR_OK, "%s", err.text);
    }
    pages_are(e, 5);
    weir_session_free(s);
    weir_engine_close(e);
}

/* 3 pages each: the second one waits, with a slot that it had or without one, until the first has ended or
 * was suspended. */
Test(pages, a_dry_pool_changes_nothing) {
    static answer alone[2], both[2];
    weir_engine *e = crowd_open(&(crowd){.n_parallel = 2, .pages = 5, .ctx_size = 224, .pair = 2});
    weir_err err = {""};
    for (int i = 0; i < 2; i++) {
        weir_session *s = start(e, WEIR_METHOD_SPECULATIVE, 40, 130);
        cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK);
        answer_take(s, &alone[i]);
        weir_session_free(s);
    }
    for (int way = 0; way < 4; way++) {
        weir_session *s[2];
        for (int i = 0; i < 2; i++) s[i] = start(e, WEIR_METHOD_SPECULATIVE, 40, 130);
        int64_t left = 7;
        cr_assert(weir_step(e, s, 1, 3, &err) == WEIR_OK && !weir_session_wants_pages(s[0]));
        pages_are(e, 2);
        if (way % 2) cr_assert(weir_session_prefill(s[1], 0, &left, &err) == WEIR_OK && left == 258);
        const int64_t n = s[0]->n;
        const int slot = s[1]->slot;
        for (int again = 0; again < 2; again++) {
            cr_assert(weir_session_prefill(s[1], 64, &left, &err) == WEIR_EPAGES && left == 258);
            cr_assert(err_is_line(&err, "2 of 5 of the verifier are free") && s[1]->slot == slot);
            cr_assert(weir_session_wants_pages(s[1]) && !weir_session_wants_pages(s[0]));
            cr_assert(weir_step(e, s, 2, 5, &err) == WEIR_EPAGES && err_is_line(&err, "1 of the sessions"));
            cr_assert(weir_session_wants_pages(s[1]) && !weir_session_wants_pages(s[0]));
            cr_assert(s[0]->n == n && s[1]->n == 0 && s[1]->slot == slot);
            pages_are(e, 2);
        }
        if (way < 2)
            weir_session_suspend(s[0]);
        else
            cr_assert(weir_step(e, s, 1, 1000, &err) == WEIR_OK && s[0]->slot < 0);
        pages_are(e, 5);
        for (int i = 1; i >= 0; i--) {
            cr_assert(weir_step(e, &s[i], 1, 1000, &err) == WEIR_OK && !weir_session_wants_pages(s[i]));
            answer_take(s[i], &both[i]);
            weir_session_free(s[i]);
            answer_assert_same(&alone[i], &both[i], "after a dry pool");
            answer_assert_same_books(&alone[i], &both[i], "after a dry pool");
        }
        pages_are(e, 5);
    }
    weir_engine_close(e);
}

/* Blocks that were run before the pool ran dry are the call's; the next one reports it. */
Test(pages, a_step_of_many_blocks_goes_as_far_as_there_are_pages) {
    weir_engine *e = crowd_open(&(crowd){.n_parallel = 2, .pages = 4, .ctx_size = 224, .pair = 2});
    weir_session *s[2] = {start(e, WEIR_METHOD_VERIFIER, 100, 60), start(e, WEIR_METHOD_VERIFIER, 100, 60)};
    weir_err err = {""};
    cr_assert(weir_step(e, s, 2, 1000, &err) == WEIR_OK, "%s", err.text);
    cr_assert(s[0]->n == 69 && s[1]->n == 69, "%d and %d tokens", (int)s[0]->n, (int)s[1]->n);
    cr_assert(weir_step(e, s, 2, 1000, &err) == WEIR_EPAGES && s[0]->n == 69);
    weir_session_suspend(s[1]);
    cr_assert(weir_step(e, s, 1, 1000, &err) == WEIR_OK && s[0]->n == 100);
    cr_assert(weir_step(e, s + 1, 1, 1000, &err) == WEIR_OK && s[1]->n == 100);
    for (int i = 0; i < 2; i++) weir_session_free(s[i]);
    weir_engine_close(e);
}

Test(pages, a_session_that_all_pages_do_not_hold_is_refused) {
    int32_t ids[512];
    long_prompt(1, 512, ids);
    weir_err err = {""};
    weir_session *s = NULL;
    weir_engine *e = crowd_open(&(crowd){.n_parallel = 4, .pages = 3, .ctx_size = 400, .pair = 2});
    weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 60); /* 129 + 60 + 3 drafts: 192 */
    cr_assert(weir_session_create(e, &o, ids, 130, NULL, NULL, &s, &err) == WEIR_OK);
    weir_session_free(s);
    cr_assert(
        weir_session_create(e, &o, ids, 131, NULL, NULL, &s, &err) == WEIR_ETOOLONG &&
        err_is_line(&err, "131 tokens and 63 more positions take 4 pages of the verifier; there are 3"));
    o.method = WEIR_METHOD_DRAFTER;
    cr_assert(weir_session_create(e, &o, ids, 134, NULL, NULL, &s, &err) == WEIR_ETOOLONG &&
              err_is_line(&err, "4 pages of the drafter"));
    weir_engine_close(e);
    e = crowd_open(&(crowd){.n_parallel = 4, .pages = 4, .ctx_size = 400, .pair = CROWD_DEMO});
    o = method_options(WEIR_METHOD_SPECULATIVE, 100); /* 2 pages beside those of the source */
    cr_assert(weir_session_create(e, &o, ids, 128, NULL, NULL, &s, &err) == WEIR_OK);
    weir_session_free(s);
    cr_assert(weir_session_create(e, &o, ids, 129, NULL, NULL, &s, &err) == WEIR_ETOOLONG);
    weir_engine_close(e);
}

/* A prompt and nothing after it: a page more for a block would be one too many. */
Test(pages, a_prompt_alone_fills_them) {
    weir_engine *e = crowd_open(&(crowd){.n_parallel = 2, .pages = 3, .ctx_size = 400, .pair = 2});
    weir_err err = {""};
    for (int m = 0; m < 6; m++) {
        weir_session *s = start(e, (weir_method)m, 0, 193);
        cr_assert(weir_step(e, &s, 1, 1, &err) == WEIR_OK && s->finish == WEIR_FINISH_LENGTH, "%s", err.text);
        pages_are(e, 3);
        weir_session_free(s);
    }
    weir_engine_close(e);
}

Test(pages, scores_take_pages_too) {
    int32_t ids[512];
    float logprobs[200];
    long_prompt(3, 512, ids);
    weir_engine *e = crowd_open(&(crowd){.n_parallel = 2, .pages = 4, .ctx_size = 400, .pair = 2});
    weir_err err = {""};
    cr_assert(weir_score(e, ids, 100, ids + 100, 157, logprobs, &err) == WEIR_OK, "%s", err.text);
    cr_assert(weir_score(e, ids, 100, ids + 100, 158, logprobs, &err) == WEIR_ETOOLONG &&
              err_is_line(&err, "158 more positions take 5 pages of the verifier; there are 4"));
    cr_assert(weir_score_pair(e, ids, 100, ids + 100, 158, NULL, NULL, &err) == WEIR_ETOOLONG &&
              err_is_line(&err, "5 pages"));
    weir_session *s = start(e, WEIR_METHOD_VERIFIER, 20, 60);
    weir_scoring *g = NULL;
    int64_t left = 1;
    cr_assert(weir_step(e, &s, 1, 1, &err) == WEIR_OK);
    cr_assert(weir_score_begin(e, ids, 100, ids + 100, 157, 0, 0, &g, &err) == WEIR_OK);
    weir_status st = WEIR_OK;
    while (left > 0 && st == WEIR_OK) st = weir_score_step(g, 30, &left, &err);
    cr_assert(st == WEIR_EPAGES && err_is_line(&err, "completion token 90") && left == 67, "%s", err.text);
    cr_assert(weir_score_step(g, 30, &left, &err) == WEIR_EPAGES && left == 67);
    weir_session_suspend(s);
    while (left > 0) cr_assert(weir_score_step(g, 30, &left, &err) == WEIR_OK, "%s", err.text);
    const float *got;
    const weir_top *top;
    size_t n;
    weir_score_get(g, &got, &top, &n);
    cr_assert(n == 157 && memcmp(got, logprobs, n * sizeof *got) == 0);
    weir_score_end(g);
    weir_session_free(s);
    pages_are(e, 4);
    weir_engine_close(e);
}

/* ---- the plan ------------------------------------------------------------------------------------------ */

Test(pages, the_plan_has_what_kv_bytes_leaves) {
    const crowd all = {.n_parallel = 4, .ctx_size = 400, .pair = 0};
    weir_engine *whole = crowd_open(&all);
    for (int pages = 2; pages < 24; pages += 7) {
        crowd c = all;
        c.pages = pages;
        weir_engine *e = crowd_open(&c); /* which looks at the number of pages */
        const weir_engine_facts *f = &e->pair.facts, *g = &whole->pair.facts;
        cr_assert(f->kv_total < g->kv_total && f->plan_total == g->plan_total - g->kv_total + f->kv_total);
        cr_assert(f->kv_per_session[0] == g->kv_per_session[0], "what one takes at its longest");
        weir_engine_close(e);
    }
    weir_engine_close(whole);
}

Test(pages, too_few_bytes_are_refused_with_what_is_needed) {
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    weir_engine *e = NULL;
    weir_err err = {""};
    o.model = WEIR_SOURCE_DIR "/models/demo/verifier";
    o.device = "cpu";
    o.dry_run = true;
    o.kv_bytes = 1000;
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_EINVAL &&
              err_is_line(&err, "1000 bytes of keys and values"));
    cr_assert(!e);
}

/* ---- suspended and given up ---------------------------------------------------------------------------- */

static void cancel(void *ud) { weir_session_cancel(ud); }

/* Cancelled, or interrupted, at any question while its prompt and its output are read again. */
Test(pages, given_up_while_it_reads_again) {
    weir_engine *e = crowd_open(&(crowd){.n_parallel = 1, .ctx_size = 300, .pair = 2});
    for (int stop = 0; stop < 2; stop++) {
        long at = 1;
        for (bool done = false; !done; at++) {
            weir_session *s = start(e, WEIR_METHOD_SPECULATIVE, 120, 150);
            cr_assert(weir_step(e, &s, 1, 25, NULL) == WEIR_OK && s->finish == WEIR_RUNNING);
            const int64_t n = s->n;
            weir_session_suspend(s);
            occasion when = {.at = at, .act = stop ? NULL : cancel, .ud = s, .stop = stop};
            int64_t left = 1;
            occasion_set(e, &when);
            for (int k = 0; left > 0; k++)
                cr_assert(k < 100 && weir_session_prefill(s, 64, &left, NULL) == WEIR_OK);
            occasion_set(e, NULL);
            done = when.asked < at;
            cr_assert(done ? s->finish == WEIR_RUNNING && s->slot == 0
                           : s->slot < 0 && (s->finish == WEIR_FINISH_CANCELLED || when.asked == at));
            cr_assert(s->n == n);
            weir_session_free(s);
            cr_assert(crowd_pages_held(e) == 0);
        }
        cr_assert(at > 20, "%ld questions", at);
    }
    weir_engine_close(e);
}

Test(pages, suspended_at_every_token) {
    static answer alone, got_back;
    weir_engine *e = crowd_open(&(crowd){.n_parallel = 1, .ctx_size = 224, .pair = 0});
    for (int m = 0; m < 6; m++) {
        weir_session *s = start(e, (weir_method)m, 30, 70);
        cr_assert(weir_step(e, &s, 1, 1000, NULL) == WEIR_OK);
        answer_take(s, &alone);
        weir_session_free(s);
        s = start(e, (weir_method)m, 30, 70);
        while (weir_session_state(s) == WEIR_RUNNING) {
            weir_session_suspend(s);
            weir_session_suspend(s); /* nothing more to give */
            pages_are(e, e->pair.facts.kv_pages[0]);
            cr_assert(weir_step(e, &s, 1, 1, NULL) == WEIR_OK);
        }
        weir_session_suspend(s); /* it has ended */
        answer_take(s, &got_back);
        weir_session_free(s);
        answer_assert_same(&alone, &got_back, weir_method_name((weir_method)m));
        answer_assert_same_books(&alone, &got_back, weir_method_name((weir_method)m));
    }
    weir_engine_close(e);
}
