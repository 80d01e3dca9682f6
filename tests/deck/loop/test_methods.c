/* The sequential methods: what they emit, from whom, and how often the verifier runs. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "host/state.h"
#include "tests/host/pairs/pair_fixture.h"

static weir_session_options with(weir_method m, weir_rule rule, float alpha, float temp) {
    weir_session_options o = weir_session_options_default();
    o.method = m;
    o.law.rule = rule;
    o.law.alpha = alpha;
    o.law.temp = temp;
    o.max_tokens = 60;
    o.seed = 4;
    return o;
}

static int count(const answer *a, int source) {
    int n = 0;
    for (size_t i = 0; i < a->n; i++) n += a->sources[i] == source;
    return n;
}

Test(methods, token_cascade_lets_the_drafter_write_ten_tokens_at_most) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    static answer a;
    weir_session_options o = with(WEIR_METHOD_TOKEN_CASCADE, WEIR_RULE_CHOW, 1.0f, 1.0f);
    o.ignore_eos = true;
    answer_run(e, &o, demo_prompts[2], &a);
    cr_assert(a.n == 60);
    for (size_t i = 0; i < a.n; i++)
        cr_assert(a.sources[i] == (i % 11 == 10 ? WEIR_SOURCE_VERIFIER : WEIR_SOURCE_DRAFTER), "token %zu",
                  i);
    cr_assert(a.stats.verifier_calls == 5);
    weir_engine_close(e);
}

/* Its verifier reads eleven rows at once, however few drafts a block may have. */
Test(methods, token_cascade_is_the_same_under_any_largest_gamma) {
    weir_engine_options open = demo_options();
    static answer a[2];
    for (int i = 0; i < 2; i++) {
        open.max_draft = i ? 1 : 16;
        weir_engine *e = engine_open(&open);
        weir_session_options o = with(WEIR_METHOD_TOKEN_CASCADE, WEIR_RULE_CHOW, 1.0f, 1.0f);
        o.ignore_eos = true;
        answer_run(e, &o, demo_prompts[2], &a[i]);
        weir_engine_close(e);
    }
    answer_assert_same(&a[0], &a[1], "largest gamma 1");
}

Test(methods, cascades_that_always_defer_are_the_verifier_alone) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    static answer want, got;
    for (int i = 0; i < 10; i++) {
        for (int t = 0; t < 2; t++) {
            weir_session_options o = with(WEIR_METHOD_VERIFIER, WEIR_RULE_EXACT, 0.0f, (float)t);
            answer_run(e, &o, demo_prompts[i], &want);
            cr_assert(count(&want, WEIR_SOURCE_VERIFIER) == (int)want.n);
            o = with(WEIR_METHOD_TOKEN_CASCADE, WEIR_RULE_CHOW, 0.0f, (float)t);
            answer_run(e, &o, demo_prompts[i], &got);
            answer_assert_same(&want, &got, "token-cascade, alpha 0");
            o = with(WEIR_METHOD_ORACLE_CASCADE, WEIR_RULE_DIFF, -1.0f, (float)t);
            answer_run(e, &o, demo_prompts[i], &got);
            answer_assert_same(&want, &got, "oracle-cascade, diff alpha -1");
            o = with(WEIR_METHOD_SEQUENCE_CASCADE, WEIR_RULE_EXACT, 0.0f, (float)t);
            answer_run(e, &o, demo_prompts[i], &got);
            answer_assert_same(&want, &got, "sequence-cascade, alpha 0");
            cr_assert(got.stats.deferred_sequence);
        }
    }
    weir_engine_close(e);
}

/* Methods and rules mixed in one list, some of whose sessions ask for the verifier in a tick and some not. */
Test(methods, sessions_together_are_each_alone) {
    enum { N = 6 };
    static answer want[N], got;
    weir_engine *single = demo_open(1, 1, NULL, true), *e = demo_open(N, 1, NULL, true);
    for (uint64_t seed = 0; seed < 4; seed++) {
        weir_session_options o[N] = {with(WEIR_METHOD_TOKEN_CASCADE, WEIR_RULE_CHOW, 0.5f, 1.0f),
                                     with(WEIR_METHOD_VERIFIER, WEIR_RULE_EXACT, 0.0f, 1.0f),
                                     with(WEIR_METHOD_TOKEN_CASCADE, WEIR_RULE_CHOW, 1.0f, 1.0f),
                                     with(WEIR_METHOD_ORACLE_CASCADE, WEIR_RULE_FUZZY, 0.1f, 1.0f),
                                     with(WEIR_METHOD_TOKEN_CASCADE, WEIR_RULE_CHOW, 0.3f, 1.0f),
                                     with(WEIR_METHOD_DRAFTER, WEIR_RULE_EXACT, 0.0f, 1.0f)};
        weir_session *s[N];
        for (int i = 0; i < N; i++) {
            o[i].seed = seed;
            o[i].max_tokens = 30 + 3 * i;
            o[i].ignore_eos = true;
            answer_run(single, &o[i], demo_prompts[i], &want[i]);
            s[i] = demo_session(e, &o[i], demo_prompts[i]);
        }
        cr_assert(weir_step(e, s, N, 1000, NULL) == WEIR_OK);
        for (int i = 0; i < N; i++) {
            answer_take(s[i], &got);
            answer_assert_same(&want[i], &got, weir_method_name(o[i].method));
            cr_assert(got.stats.verifier_rows == want[i].stats.verifier_rows &&
                      got.n == (size_t)o[i].max_tokens);
            weir_session_free(s[i]);
        }
    }
    weir_engine_close(single);
    weir_engine_close(e);
}

/* The verifier's prompt waits until somebody defers. */
Test(methods, a_cascade_that_never_defers_does_not_run_the_verifiers_prompt) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    weir_session_options o = with(WEIR_METHOD_TOKEN_CASCADE, WEIR_RULE_CHOW, 1.0f, 1.0f);
    o.max_tokens = 5;
    weir_session *s = demo_session(e, &o, demo_prompts[2]);
    cr_assert(weir_step(e, &s, 1, 1000, NULL) == WEIR_OK);
    cr_expect(s->cached[WEIR_VERIFIER] == -1 && s->cached[WEIR_DRAFTER] > 0, "%d, %d",
              (int)s->cached[WEIR_VERIFIER], (int)s->cached[WEIR_DRAFTER]);
    weir_session_free(s);
    weir_engine_close(e);
}

Test(methods, cascades_that_never_defer_are_the_drafter_alone) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    static answer want, got;
    for (int i = 0; i < 10; i++) {
        weir_session_options o = with(WEIR_METHOD_DRAFTER, WEIR_RULE_EXACT, 0.0f, 1.0f);
        answer_run(e, &o, demo_prompts[i], &want);
        o = with(WEIR_METHOD_ORACLE_CASCADE, WEIR_RULE_CHOW, 1.0f, 1.0f);
        answer_run(e, &o, demo_prompts[i], &got);
        cr_assert(got.n == want.n && memcmp(got.ids, want.ids, want.n * sizeof *want.ids) == 0);
        o = with(WEIR_METHOD_SEQUENCE_CASCADE, WEIR_RULE_EXACT, 1e9f, 1.0f);
        answer_run(e, &o, demo_prompts[i], &got);
        cr_assert(got.n == want.n && memcmp(got.ids, want.ids, want.n * sizeof *want.ids) == 0);
        cr_assert(!got.stats.deferred_sequence && got.stats.verifier_calls == 0);
        for (size_t k = 0; k < want.n; k++) cr_assert(isnan(want.logprobs[k]), "the verifier never saw it");
    }
    weir_engine_close(e);
}

/* Chow at alpha = 1 never defers: the drafter writes all but the bonus tokens. */
Test(methods, never_deferring_speculation_emits_only_kept_and_bonus) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    static answer a;
    for (int i = 0; i < 10; i++) {
        weir_session_options o = with(WEIR_METHOD_SPECULATIVE, WEIR_RULE_CHOW, 1.0f, 1.0f);
        o.law.measure_reject = true;
        answer_run(e, &o, demo_prompts[i], &a);
        cr_assert(count(&a, WEIR_SOURCE_KEPT) + count(&a, WEIR_SOURCE_BONUS) == (int)a.n);
        cr_assert(a.stats.reject_mass == 0.0 && a.stats.rows_deferred == 0);
    }
    weir_engine_close(e);
}

static weir_session_options never_deferring(float temp, int gamma, bool bonus_pi) {
    weir_session_options o = with(WEIR_METHOD_SPECULATIVE, WEIR_RULE_CHOW, 1.0f, temp);
    o.n_draft = gamma;
    o.law.bonus_pi = bonus_pi;
    o.ignore_eos = true;
    return o;
}

static void assert_same_ids(const answer *a, const answer *b, const char *what, int i) {
    cr_assert(a->n == b->n && memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0,
              "%s, prompt %d: other tokens", what, i);
}

/* Ten drafts and a token of the verifier, again and again: blocks of ten drafts with a bonus from p are the
 * token cascade, draw for draw. Holds only if the drafter has seen the last draft of every full block (trap
 * 4). */
Test(methods, full_blocks_with_a_bonus_of_the_verifier_are_the_token_cascade) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    static answer want, got;
    for (int i = 0; i < 10; i++)
        for (int t = 0; t < 3; t++) {
            weir_session_options o = never_deferring((float)t, 10, false);
            answer_run(e, &o, demo_prompts[i], &got); /* first: the other would leave the right cache in the
                                                         pages */
            o = with(WEIR_METHOD_TOKEN_CASCADE, WEIR_RULE_CHOW, 1.0f, (float)t);
            o.ignore_eos = true;
            answer_run(e, &o, demo_prompts[i], &want);
            cr_assert(count(&got, WEIR_SOURCE_BONUS) == count(&want, WEIR_SOURCE_VERIFIER));
            assert_same_ids(&want, &got, "bonus from p", i);
        }
    weir_engine_close(e);
}

/* With the bonus from pi = q the drafter writes everything; without chance in it that is its own answer,
 * which needs the drafter's row one past the last draft (trap 3). */
Test(methods, full_blocks_with_a_bonus_of_the_policy_are_the_drafter_alone) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    static answer want, got;
    for (int i = 0; i < 10; i++) {
        weir_session_options o = with(WEIR_METHOD_DRAFTER, WEIR_RULE_EXACT, 0.0f, 0.0f);
        o.ignore_eos = true;
        answer_run(e, &o, demo_prompts[i], &want);
        for (int gamma = 1; gamma <= 16; gamma++) {
            o = never_deferring(0.0f, gamma, true);
            o.law.block_verify = gamma % 2 == 0;
            answer_run(e, &o, demo_prompts[i], &got);
            cr_assert(count(&got, WEIR_SOURCE_BONUS) > 0);
            assert_same_ids(&want, &got, "bonus from pi", i);
        }
    }
    weir_engine_close(e);
}

/* Under block verification every row of a block but the first draws from streams of its own, the bonus too
 * (trap 6). */
Test(methods, block_verification_draws_each_row_from_its_own_stream) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    static answer plain, block;
    int drafts = 0, bonuses = 0;
    for (int i = 0; i < 10; i++)
        for (int gamma = 1; gamma <= 2; gamma++) {
            weir_session_options o = never_deferring(2.0f, gamma, false);
            o.max_tokens = 2;
            answer_run(e, &o, demo_prompts[i], &plain);
            o.law.block_verify = true;
            answer_run(e, &o, demo_prompts[i], &block);
            cr_assert(plain.ids[0] == block.ids[0], "row 0 of prompt %d", i);
            *(gamma == 1 ? &bonuses : &drafts) += plain.ids[1] != block.ids[1];
        }
    cr_assert(drafts >= 8 && bonuses >= 8, "%d drafts and %d bonuses of 10 differ", drafts, bonuses);
    weir_engine_close(e);
}

Test(methods, sequence_cascade_streams_only_what_stands) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    static answer a;
    int deferred = 0;
    for (int i = 0; i < 10; i++) {
        weir_session_options o = with(WEIR_METHOD_SEQUENCE_CASCADE, WEIR_RULE_EXACT, 1.2f, 1.0f);
        answer_run(e, &o, demo_prompts[i], &a);
        deferred += a.stats.deferred_sequence;
        const int who = a.stats.deferred_sequence ? WEIR_SOURCE_VERIFIER : WEIR_SOURCE_DRAFTER;
        cr_assert(count(&a, who) == (int)a.n);
    }
    cr_assert(deferred > 0 && deferred < 10, "%d of 10 deferred", deferred);
    weir_engine_close(e);
}

/* What a method cannot do is refused by name before anything runs. */
Test(methods, refusals_name_the_reason) {
    weir_engine *e = demo_open(1, 1, NULL, true), *lone = demo_open(1, 1, NULL, false);
    const int32_t prompt[] = {83, 39, 1}, outside[] = {83, 6000, 1};
    const struct {
        weir_engine *e;
        weir_session_options o;
        const int32_t *prompt;
        size_t n;
        const char *word;
    } bad[] = {
        {lone, with(WEIR_METHOD_SPECULATIVE, WEIR_RULE_EXACT, 0, 1), prompt, 3, "drafter"},
        {lone, with(WEIR_METHOD_DRAFTER, WEIR_RULE_EXACT, 0, 1), prompt, 3, "drafter"},
        {e, with(WEIR_METHOD_TOKEN_CASCADE, WEIR_RULE_DIFF, 0, 1), prompt, 3, "chow"},
        {e, with(WEIR_METHOD_ORACLE_CASCADE, WEIR_RULE_TOKEN_V3, 0.5f, 1), prompt, 3, "token-v3"},
        {e, with(WEIR_METHOD_SEQUENCE_CASCADE, WEIR_RULE_EXACT, -1.0f, 1), prompt, 3, "alpha"},
        {e, with(WEIR_METHOD_SPECULATIVE, WEIR_RULE_CHOW, 2.0f, 1), prompt, 3, "alpha"},
        {e, with(WEIR_METHOD_SPECULATIVE, WEIR_RULE_EXACT, 0, 2.5f), prompt, 3, "temp"},
        {e, with(WEIR_METHOD_SPECULATIVE, WEIR_RULE_EXACT, 0, 1), outside, 3, "6000"},
        {e, with(WEIR_METHOD_SPECULATIVE, WEIR_RULE_EXACT, 0, 1), prompt, 0, "prompt"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weir_session *s = NULL;
        weir_err err = {""};
        const weir_status st =
            weir_session_create(bad[i].e, &bad[i].o, bad[i].prompt, bad[i].n, NULL, NULL, &s, &err);
        cr_assert(st != WEIR_OK && !s, "case %zu was taken", i);
        cr_assert(strstr(err.text, bad[i].word), "case %zu: \"%s\" lacks \"%s\"", i, err.text, bad[i].word);
        cr_assert(!strchr(err.text, '\n'));
    }
    weir_engine_close(lone);
    weir_engine_close(e);
}
