/* The verifier's likeliest tokens beside each token: for every method, rule and source those that a score of
 * the same text has, and nothing else changes by them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/state.h"
#include "tests/deck/tops_cases.h"
#include "tests/host/pairs/pair_fixture.h"
#include "tests/support/alloc.h"

static weir_session *start(weir_engine *e, const weir_session_options *o, int prompt, tops_told *k) {
    static const int32_t text[4][6] = {
        {83, 39, 213, 20, 1}, {3, 14, 15, 9, 1}, {26, 5, 35, 8, 97, 1}, {40, 41, 42, 43, 1}};
    weir_session *s = NULL;
    weir_err err = {""};
    const size_t n = prompt == 2 ? 6 : 5;
    cr_assert(weir_session_create(e, o, text[prompt], n, k ? tops_note : NULL, k, &s, &err) == WEIR_OK, "%s",
              err.text);
    return s;
}

static weir_session_options asking(weir_method m, int n_top, uint64_t seed) {
    weir_session_options o = method_options(m, TOPS_TOKENS);
    o.ignore_eos = seed % 2 == 0;
    o.seed = seed;
    o.n_top = n_top;
    o.n_draft = 1 + (int)(seed % 5);
    o.law.bonus_pi = seed % 3 == 0;
    o.law.temp = seed % 4 == 3 ? 0.0f : 1.0f;
    if (m == WEIR_METHOD_SPECULATIVE && seed % 2) o.law.rule = WEIR_RULE_TOKEN_V3, o.law.alpha = 0.3f;
    return o;
}

/* Alone, and nothing else changes by it. */
static void every_method(weir_engine *e, const char *what) {
    int source[6] = {0}, ended = 0;
    for (int m = 0; m < 6; m++)
        for (uint64_t seed = 0; seed < 8; seed++) {
            const weir_session_options o = asking((weir_method)m, seed % 2 ? 3 : 20, seed);
            weir_session_options plain = o;
            static answer want, got;
            static tops_told k;
            weir_session_view v;
            weir_err err = {""};
            plain.n_top = 0;
            weir_session *s = start(e, &plain, (int)(seed % 4), NULL);
            cr_assert(weir_step(e, &s, 1, 1000, NULL) == WEIR_OK);
            weir_session_get(s, &v);
            cr_assert(!v.top && !v.eos_top && v.n_eos_top == 0);
            answer_take(s, &want);
            weir_session_free(s);
            k.n = 0;
            s = start(e, &o, (int)(seed % 4), &k);
            cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK, "%s", err.text);
            answer_take(s, &got);
            answer_assert_same(&want, &got, what);
            answer_assert_same_books(&want, &got, what);
            const int seen = tops_check(e, s, &k, what);
            cr_assert((seen == 0) == (m == WEIR_METHOD_DRAFTER), "%s, method %d: %d", what, m, seen);
            weir_session_get(s, &v);
            ended += v.eos >= 0 && v.n_eos_top > 0;
            for (size_t i = 0; i < v.n; i++) source[v.sources[i]]++;
            weir_session_free(s);
        }
    for (int i = 0; i < 6; i++) cr_expect(source[i] > 0, "%s: no token was %s", what, weir_source_name(i));
    cr_expect(ended > 0, "%s: no end of text", what);
}

Test(tops, every_source_of_every_method_has_those_of_a_score) {
    weir_engine *e = demo_open(2, 1, NULL, true);
    every_method(e, "demo");
    weir_engine_close(e);
}

/* Some ask, for more or fewer, and some do not, in one list; all together is each alone. */
Test(tops, sessions_together_are_each_alone) {
    enum { N = 8 };
    weir_engine *e = demo_open(N + 1, 2, NULL, true);
    static tops_told k[N];
    static answer want[N], got;
    weir_session *s[N];
    for (int i = 0; i < N; i++) {
        weir_session_options o = asking((weir_method)(i % 6), i % 3 ? 5 * (i % 3) : 0, (uint64_t)i);
        weir_session *alone = start(e, &o, i % 4, NULL);
        cr_assert(weir_step(e, &alone, 1, 1000, NULL) == WEIR_OK);
        answer_take(alone, &want[i]);
        weir_session_free(alone);
        k[i].n = 0;
        s[i] = start(e, &o, i % 4, &k[i]);
    }
    cr_assert(weir_step(e, s, N, 1000, NULL) == WEIR_OK);
    for (int i = 0; i < N; i++) {
        answer_take(s[i], &got);
        answer_assert_same(&want[i], &got, "together");
        answer_assert_same_books(&want[i], &got, "together");
        if (s[i]->opt.n_top > 0) tops_check(e, s[i], &k[i], "together");
        for (size_t t = 0; t < k[i].n && s[i]->opt.n_top == 0; t++) cr_assert(k[i].n_top[t] == 0);
    }
    for (int i = 0; i < N; i++) weir_session_free(s[i]);
    weir_engine_close(e);
}

Test(tops, options_out_of_range_are_named) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    const int32_t id = 5;
    for (int n_top = -1; n_top <= 21; n_top += 22) {
        weir_session_options o = method_options(WEIR_METHOD_VERIFIER, 3);
        weir_session *s = NULL;
        weir_err err = {""};
        o.n_top = n_top;
        cr_expect(weir_session_create(e, &o, &id, 1, NULL, NULL, &s, &err) == WEIR_EINVAL && !s);
        cr_expect(strstr(err.text, "outside [0, 20]"), "%s", err.text);
    }
    weir_engine_close(e);
}

Test(tops, memory_may_end_at_any_allocation) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    const int32_t id = 5;
    const weir_session_options o = asking(WEIR_METHOD_SPECULATIVE, 20, 1);
    weir_status st = WEIR_ENOMEM;
    alloc_install(0);
    for (long allowed = 0; st != WEIR_OK && allowed < 100; allowed++) {
        weir_session *s = NULL;
        alloc_fail_after(alloc_count() + allowed);
        st = weir_session_create(e, &o, &id, 1, NULL, NULL, &s, NULL);
        alloc_fail_after(1L << 40);
        cr_assert(st == WEIR_OK || (st == WEIR_ENOMEM && !s));
        weir_session_free(s);
        cr_assert_eq(alloc_live(), 0, "%ld", allowed);
    }
    cr_expect(st == WEIR_OK);
    alloc_uninstall();
    weir_engine_close(e);
}
