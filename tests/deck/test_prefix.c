/* Prompts that begin alike: what is shared, with whom, for how long; never another token. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "host/deck/deck.h"
#include "host/deck/kv.h"
#include "tests/deck/crowd.h"
#include "tests/queue/queue_fixture.h"
#include "tests/support/files.h"

enum { PAIR = 2, T5GEMMA = 4, CTX = 400 }; /* of decoder_pairs */

static weir_engine *open_with(int n_parallel, int pages, int pair) {
    return crowd_open(&(crowd){
        .n_parallel = n_parallel, .pages = pages, .ctx_size = CTX, .pair = pair, .prefix_cache = true});
}

/* Prompt `which` of n ids: the first `same` are everyone's. */
static weir_session *start_with(weir_engine *e, weir_method method, uint64_t salt, int which, size_t same,
                                size_t n) {
    int32_t ids[512], own[512];
    weir_session *s = NULL;
    weir_err err = {""};
    weir_session_options o = method_options(method, 12);
    o.cache_salt = salt;
    long_prompt(1000, n, ids);
    long_prompt(which, n, own);
    for (size_t i = same; i < n; i++) ids[i] = own[i];
    cr_assert(weir_session_create(e, &o, ids, n, NULL, NULL, &s, &err) == WEIR_OK, "%s", err.text);
    return s;
}

static weir_session *start(weir_engine *e, int which, size_t n) {
    return start_with(e, WEIR_METHOD_SPECULATIVE, 0, which, 0, n);
}

/* Runs it to its end; what the verifier and the drafter had of its prompt. */
static void finish(weir_session *s, int64_t verifier, int64_t drafter, const char *what) {
    weir_err err = {""};
    cr_assert(weir_step(s->e, &s, 1, 1000, &err) == WEIR_OK, "%s: %s", what, err.text);
    cr_assert(s->stats.n_prompt_cached[0] == verifier && s->stats.n_prompt_cached[1] == drafter,
              "%s: %d and %d positions, expected %d and %d", what, (int)s->stats.n_prompt_cached[0],
              (int)s->stats.n_prompt_cached[1], (int)verifier, (int)drafter);
    weir_session_free(s);
}

static void had(weir_session *s, int64_t both, const char *what) { finish(s, both, both, what); }

/* Chunks of 64 positions, but for the last token of the prompt: it is the first input of the timeline. */
Test(prefix, whole_chunks_of_the_prompt_are_shared) {
    static const struct {
        size_t same, n, had;
    } cases[] = {{300, 300, 256}, {129, 300, 128}, {128, 300, 128}, {127, 300, 64},
                 {64, 90, 64},    {63, 90, 0},     {65, 65, 64},    {64, 64, 0},
                 {1, 1, 0},       {300, 257, 256}, {300, 256, 192}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char what[64];
        weir_engine *e = open_with(1, 0, PAIR);
        snprintf(what, sizeof what, "case %zu", i);
        had(start_with(e, WEIR_METHOD_SPECULATIVE, 0, 1, 300, 300), 0, "the first");
        had(start_with(e, WEIR_METHOD_SPECULATIVE, 0, 2, cases[i].same, cases[i].n), (int64_t)cases[i].had,
            what);
        weir_engine_close(e);
    }
}

Test(prefix, an_encoders_prompt_is_shared_as_a_whole) {
    weir_engine *e = open_with(1, 0, CROWD_DEMO);
    had(start(e, 1, 100), 0, "the first");
    had(start(e, 1, 99), 0, "shorter");
    had(start(e, 1, 101), 0, "longer");
    had(start(e, 1, 100), 100, "the same");
    had(start(e, 1, 99), 99, "the same, shorter");
    weir_engine_close(e);
}

/* Its layers that slide lie among the others: no ring, so a source can be shared. */
Test(prefix, a_t5gemmas_prompt_is_shared_as_a_whole) {
    weir_engine *e = open_with(1, 0, T5GEMMA);
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    cr_expect(f.n_layer_sliding[0] > 0 && f.prefix_cache[0] && f.prefix_cache[1]);
    had(start(e, 1, 100), 0, "the first");
    had(start(e, 1, 101), 0, "longer");
    had(start(e, 1, 100), 100, "the same");
    weir_engine_close(e);
}

/* What each method asks a model for, and when it does. */
Test(prefix, a_model_that_did_not_read_has_nothing) {
    weir_engine *e = open_with(1, 0, PAIR);
    finish(start_with(e, WEIR_METHOD_VERIFIER, 0, 1, 0, 200), 0, 0, "verifier");
    finish(start_with(e, WEIR_METHOD_SPECULATIVE, 0, 1, 0, 200), 192, 0, "both");
    finish(start_with(e, WEIR_METHOD_DRAFTER, 0, 1, 0, 200), 0, 192, "drafter");
    finish(start_with(e, WEIR_METHOD_ORACLE_CASCADE, 0, 1, 0, 200), 192, 192, "both");
    weir_engine_close(e);
}

Test(prefix, salts_share_nothing) {
    weir_engine *e = open_with(4, 0, PAIR);
    static const uint64_t salts[] = {0, 1, 2, UINT64_MAX};
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 4; i++)
            had(start_with(e, WEIR_METHOD_SPECULATIVE, salts[i], 1, 0, 200), round ? 192 : 0, "a salt");
    weir_engine_close(e);
}

/* Slices in turns, of whole chunks and within them: none is run twice, whoever runs it. */
static void read_once(int pair, size_t n, int64_t shared) {
    for (int64_t slice = 1; slice <= 64; slice += 21) {
        weir_engine *e = open_with(2, 0, pair);
        weir_session *s[2];
        for (int i = 0; i < 2; i++) s[i] = start(e, 1, n);
        for (int64_t left[2] = {1, 1}; left[0] + left[1] > 0;)
            for (int i = 0; i < 2; i++) {
                const int64_t before = left[i];
                cr_assert(weir_session_prefill(s[i], slice, &left[i], NULL) == WEIR_OK);
                cr_assert(left[i] < before || before <= 1, "slices of %d: %d left, then %d", (int)slice,
                          (int)before, (int)left[i]);
            }
        for (int side = 0; side < 2; side++) {
            const int64_t sum = s[0]->stats.n_prompt_cached[side] + s[1]->stats.n_prompt_cached[side];
            cr_expect_eq(sum, shared, "slices of %d, side %d: %d positions", (int)slice, side, (int)sum);
        }
        finish(s[0], s[0]->stats.n_prompt_cached[0], s[0]->stats.n_prompt_cached[1], "one of both");
        weir_session_free(s[1]);
        weir_engine_close(e);
    }
}

Test(prefix, twins_read_a_prompt_once) { read_once(PAIR, 300, 256); }
Test(prefix, twins_read_a_source_once) { read_once(CROWD_DEMO, 300, 300); }

/* Who is ahead with a prompt leaves within a chunk: the other one begins that chunk. */
Test(prefix, a_twin_that_leaves_is_not_missed) {
    for (int how = 0; how < 3; how++) {
        weir_engine *e = open_with(2, 0, CROWD_DEMO);
        weir_session *a = start(e, 1, 300), *b = start(e, 1, 300);
        int64_t left;
        cr_assert(weir_session_prefill(a, 1, &left, NULL) == WEIR_OK && weir_session_in_part(a));
        cr_assert(weir_session_prefill(b, 1, &left, NULL) == WEIR_OK && left < 2 * 300);
        if (how == 0) weir_session_suspend(a);
        if (how == 1) weir_session_cancel(a);
        if (how == 2) weir_session_free(a);
        had(b, 0, "the other one");
        if (how < 2) weir_session_free(a);
        weir_engine_close(e);
    }
}

/* Both ran the same chunks before either was done: one copy is left. */
Test(prefix, pages_of_the_same_tokens_become_one) {
    weir_engine *e = open_with(2, 0, PAIR);
    weir_session *a = start(e, 1, 130), *b = start_with(e, WEIR_METHOD_SPECULATIVE, 1, 1, 0, 130);
    int64_t left;
    cr_assert(weir_session_prefill(b, 1000, &left, NULL) == WEIR_OK);
    cr_assert(weir_session_prefill(a, 1000, &left, NULL) == WEIR_OK && crowd_pages_held(e) == 12);
    weir_session *c = start(e, 1, 130);
    weir_session_free(b);
    cr_assert(weir_session_prefill(c, 1000, &left, NULL) == WEIR_OK && crowd_pages_held(e) == 8);
    weir_session_free(a);
    had(c, 128, "while the first one sat");
    weir_engine_close(e);
}

/* Not one chunk of a slice that was broken off. */
Test(prefix, a_slice_that_was_given_up_is_not_kept) {
    weir_engine *e = open_with(1, 0, PAIR);
    for (long at = 2; at < 5; at++) {
        weir_session *s = start(e, (int)at, 300);
        occasion when = {.at = at, .stop = true};
        int64_t left;
        occasion_set(e, &when);
        cr_assert(weir_session_prefill(s, 1000, &left, NULL) == WEIR_OK &&
                  s->finish == WEIR_FINISH_CANCELLED);
        occasion_set(e, NULL);
        weir_session_free(s);
        had(start(e, (int)at, 300), 0, "after it");
        had(start(e, (int)at, 300), 256, "after a whole one");
    }
    weir_engine_close(e);
}

Test(prefix, what_was_used_last_stays_longest) {
    weir_engine *e = open_with(2, 8, PAIR);
    had(start(e, 1, 130), 0, "the first: 2 chunks");
    had(start(e, 2, 130), 0, "the second");
    had(start(e, 1, 130), 128, "still there");
    cr_assert_eq(crowd_pages_held(e), 0, "what nobody uses is free");
    had(start(e, 3, 300), 0, "takes 5 of 8 pages, one of them from the others' four");
    had(start(e, 1, 130), 128, "used after the second");
    had(start(e, 2, 130), 64, "its end is gone");
    weir_engine_close(e);
}

/* The end of a prompt goes before its beginning. */
Test(prefix, a_prompt_is_forgotten_from_its_end) {
    weir_engine *e = open_with(2, 8, PAIR);
    had(start(e, 1, 330), 0, "5 chunks");
    had(start(e, 2, 250), 0, "takes 5 pages, 2 of which were the first one's");
    had(start(e, 1, 330), 192, "3 chunks are left");
    weir_engine_close(e);
}

Test(prefix, cleared_of_all_but_what_is_used) {
    weir_engine *e = open_with(2, 0, PAIR);
    weir_session *s = start(e, 1, 200);
    int64_t left;
    cr_assert(weir_session_prefill(s, 1000, &left, NULL) == WEIR_OK);
    had(start(e, 2, 200), 0, "another one");
    weir_prefix_clear(e);
    had(start(e, 2, 200), 0, "cleared");
    had(start(e, 1, 200), 192, "in use");
    weir_session_free(s);
    weir_prefix_clear(e);
    had(start(e, 1, 200), 0, "cleared");
    cr_assert_eq(crowd_pages_held(e), 0);
    weir_engine_close(e);
}

/* A suspended session finds its own prompt again; that is no merit of the cache. */
Test(prefix, a_suspended_session_counts_what_it_had_at_first) {
    weir_engine *e = open_with(1, 0, PAIR);
    had(start(e, 1, 100), 0, "the first");
    weir_session *s = start_with(e, WEIR_METHOD_SPECULATIVE, 0, 1, 0, 300);
    cr_assert(weir_step(e, &s, 1, 1, NULL) == WEIR_OK && s->finish == WEIR_RUNNING);
    weir_session_suspend(s);
    had(s, 64, "suspended");
    weir_engine_close(e);
}

Test(prefix, models_with_sliding_layers_have_none) {
    weir_engine *e = open_with(1, 0, 1);
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    for (int side = 0; side < 2; side++)
        cr_expect_eq(f.prefix_cache[side], f.n_layer_sliding[side] == 0, "side %d", side);
    had(start(e, 1, 200), 0, "the first");
    finish(start(e, 1, 200), f.prefix_cache[0] ? 192 : 0, f.prefix_cache[1] ? 192 : 0, "the second");
    weir_engine_close(e);
}

Test(prefix, none_unless_it_is_asked_for) {
    weir_engine *e = crowd_open(&(crowd){.n_parallel = 1, .ctx_size = CTX, .pair = PAIR});
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    cr_expect(!f.prefix_cache[0] && !f.prefix_cache[1]);
    had(start(e, 1, 200), 0, "the first");
    had(start(e, 1, 200), 0, "the second");
    weir_prefix_clear(e); /* nothing to do */
    weir_engine_close(e);
}
