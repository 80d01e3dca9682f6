/* Bits do not depend on batch, slot, threads or arrival; exact decoding at T = 0 is the verifier. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/accept/accept.h"
#include "tests/host/pairs/pair_fixture.h"
#include "tests/support/build.h"

static weir_session_options setting(weir_rule rule, float alpha, float temp, int gamma, uint64_t seed) {
    weir_session_options o = weir_session_options_default();
    o.law.rule = rule;
    o.law.alpha = alpha;
    o.law.beta = weir_rule_facts(rule)->beta_default;
    o.law.temp = temp;
    o.n_draft = gamma;
    o.max_tokens = 60;
    o.seed = seed;
    return o;
}

/* Every method and a spread of rules, one a prompt. */
static weir_session_options mixed(int i) {
    weir_session_options o = setting(WEIR_RULE_TOKEN_V3, 0.8f, 1.0f, 5, (uint64_t)i);
    switch (i % 10) {
    case 0: break;
    case 1: o = setting(WEIR_RULE_EXACT, 0.0f, 1.0f, 3, 1); break;
    case 2: o = setting(WEIR_RULE_OPT, 0.1f, 0.7f, 16, 2); break;
    case 3: o.method = WEIR_METHOD_VERIFIER; break;
    case 4: o.method = WEIR_METHOD_DRAFTER; break;
    case 5: o = setting(WEIR_RULE_CHOW, 0.5f, 1.0f, 5, 5), o.method = WEIR_METHOD_TOKEN_CASCADE; break;
    case 6: o = setting(WEIR_RULE_DIFF, 0.1f, 1.0f, 5, 6), o.method = WEIR_METHOD_ORACLE_CASCADE; break;
    case 7: o.method = WEIR_METHOD_SEQUENCE_CASCADE, o.law.rule = WEIR_RULE_EXACT, o.law.alpha = 1.0f; break;
    case 8: o = setting(WEIR_RULE_LOSSY, 0.3f, 1.0f, 7, 8), o.law.top_k = 50, o.law.top_p = 0.9f; break;
    default: o = setting(WEIR_RULE_TOKEN_V1, 0.2f, 1.3f, 4, 9), o.law.block_verify = true; break;
    }
    return o;
}

static void run_alone(answer *out) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    for (int i = 0; i < 10; i++) {
        const weir_session_options o = mixed(i);
        answer_run(e, &o, demo_prompts[i], &out[i]);
    }
    weir_engine_close(e);
}

static weir_session *start(const void *ud, weir_engine *e, int i) {
    (void)ud;
    const weir_session_options o = mixed(i);
    return demo_session(e, &o, demo_prompts[i]);
}

static answer alone[10], together[10];

Test(loop, same_bits_at_any_batch_order_and_thread_count) {
    run_alone(alone);
    for (int threads = build_is_sanitized() ? 2 : 1; threads <= 2; threads++) {
        for (int n = build_is_sanitized() ? 7 : 1; n <= 7; n += n == 1 ? 1 : 5) {
            for (int backwards = 0; backwards < 2; backwards++) {
                if (!in_sample(backwards, 2)) continue;
                weir_engine *e = demo_open(n, threads, NULL, true);
                answer_run_together(e, n, 1, backwards, start, NULL, 10, together);
                weir_engine_close(e);
                for (int i = 0; i < 10; i++) {
                    char what[96];
                    snprintf(what, sizeof what, "prompt %d, %d sessions, %d threads, %s", i, n, threads,
                             backwards ? "backwards" : "forwards");
                    answer_assert_same(&alone[i], &together[i], what);
                }
            }
        }
    }
}

Test(loop, exact_at_zero_temperature_is_the_verifier_at_every_gamma) {
    weir_engine *e = demo_open(1, 2, NULL, true);
    for (int i = 0; i < 10; i++) {
        weir_session_options o = setting(WEIR_RULE_EXACT, 0.0f, 0.0f, 5, 3);
        o.method = WEIR_METHOD_VERIFIER;
        static answer want, got;
        answer_run(e, &o, demo_prompts[i], &want);
        cr_assert(want.n > 0);
        for (int gamma = 1; gamma <= 16; gamma++)
            for (int block = 0; block < 2; block++) {
                o = setting(WEIR_RULE_EXACT, 0.0f, 0.0f, gamma, 3);
                o.law.block_verify = block;
                answer_run(e, &o, demo_prompts[i], &got);
                cr_assert(got.n == want.n, "gamma %d: %zu tokens, the verifier has %zu", gamma, got.n,
                          want.n);
                cr_assert(memcmp(got.ids, want.ids, want.n * sizeof *want.ids) == 0, "gamma %d", gamma);
                cr_assert(memcmp(got.logprobs, want.logprobs, want.n * sizeof(float)) == 0, "gamma %d",
                          gamma);
                cr_assert(strcmp(got.text, want.text) == 0);
            }
    }
    weir_engine_close(e);
}

/* Statistics add up: tokens by source, examined rows, histogram; R where it was asked for. */
Test(loop, statistics_add_up) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    static answer a;
    for (int i = 0; i < 10; i++) {
        weir_session_options o = setting(WEIR_RULE_TOKEN_V3, 0.5f, 1.0f, 5, (uint64_t)i);
        const bool measured = o.law.measure_reject = i % 2;
        answer_run(e, &o, demo_prompts[i], &a);
        const weir_session_stats *s = &a.stats;
        int64_t blocks = 0, accepted = 0, kept = 0;
        for (int k = 0; k <= 16; k++) blocks += s->accept_hist[k], accepted += k * s->accept_hist[k];
        for (size_t k = 0; k < a.n; k++) kept += a.sources[k] <= WEIR_SOURCE_ACCEPTED;
        cr_assert(blocks == s->blocks && accepted == s->accepted);
        cr_assert(s->verifier_calls == s->blocks);
        cr_assert(s->n_output == (int64_t)a.n);
        cr_assert(kept + s->resampled + s->bonus == (int64_t)a.n);
        cr_assert(s->accepted == kept || (a.finish == WEIR_FINISH_STOP && s->accepted == kept + 1));
        cr_assert(s->rows_examined >= s->rows_deferred && s->rows_examined <= s->drafted);
        /* a row a draft, one more before a bonus, which the end may take back */
        const int64_t more = s->drafter_rows - s->drafted - s->bonus;
        cr_assert(more == 0 || more == 1, "%d drafter rows for %d drafts and %d bonuses",
                  (int)s->drafter_rows, (int)s->drafted, (int)s->bonus);
        cr_assert(measured ? s->reject_mass >= 0.0 && s->reject_mass <= (double)s->rows_examined
                           : isnan(s->reject_mass),
                  "reject mass %g", s->reject_mass);
        cr_assert(s->drafted <= 5 * s->blocks && s->verifier_rows <= 6 * s->blocks);
        for (size_t k = 0; k < a.n; k++)
            cr_assert(a.logprobs[k] <= 0.0f && a.policy[k] <= 1e-5f, "token %zu: %g, %g", k,
                      (double)a.logprobs[k], (double)a.policy[k]);
    }
    weir_engine_close(e);
}

static double parts_of(const weir_session_stats *s) {
    return s->seconds_draft + s->seconds_verify + s->seconds_accept;
}

/* Seconds of a step with these sessions, which it brings to their end. */
static double run_to_end(weir_engine *e, weir_session **s, int n, answer *out) {
    weir_err err = {""};
    const double t0 = weir_seconds();
    cr_assert(weir_step(e, s, n, 1000, &err) == WEIR_OK, "%s", err.text);
    const double spent = weir_seconds() - t0;
    for (int i = 0; i < n; i++) {
        answer_take(s[i], &out[i]);
        weir_session_free(s[i]);
    }
    return spent;
}

/* Time is booked once: parts and prompt are within a session's total, which is within the step. Sessions that
 * share a step share its time. */
Test(loop, times_add_up) {
    enum { N = 10 };
    const double least = 1e-6;
    weir_engine *e = demo_open(N, 1, NULL, true);
    weir_session *s[N];
    for (int i = 0; i < N; i++) {
        weir_session_options o = mixed(i);
        o.max_tokens = 2;
        if (o.method == WEIR_METHOD_SEQUENCE_CASCADE) o.law.alpha = 0.0f; /* the verifier's prompt is run */
        s[0] = demo_session(e, &o, demo_prompts[i]);
        const double spent = run_to_end(e, s, 1, alone);
        const weir_session_stats *a = &alone[0].stats;
        cr_expect(a->seconds_prefill > 0 && parts_of(a) > 0);
        cr_expect(a->seconds_prefill + parts_of(a) <= a->seconds_total + least, "setting %d: %g and %g of %g",
                  i, a->seconds_prefill, parts_of(a), a->seconds_total);
        cr_expect(a->seconds_total <= spent + least, "setting %d: %g of %g", i, a->seconds_total, spent);
    }
    for (int i = 0; i < N; i++) {
        const weir_session_options o = mixed(i);
        s[i] = demo_session(e, &o, demo_prompts[i]);
    }
    const double spent = run_to_end(e, s, N, together);
    double sum = 0;
    for (int i = 0; i < N; i++) sum += together[i].stats.seconds_prefill + parts_of(&together[i].stats);
    cr_expect(sum <= spent + least, "%g of %g", sum, spent);
    weir_engine_close(e);
}

/* Log-probabilities under speculation are the verifier's own: score() of the emitted ids gives the same
 * numbers. */
Test(loop, logprobs_under_speculation_equal_score) {
    weir_engine *e = demo_open(1, 2, NULL, true);
    static answer a;
    for (int i = 0; i < 10; i++) {
        const weir_session_options o = setting(WEIR_RULE_OPT, 0.2f, 1.0f, 1 + i, 7);
        answer_run(e, &o, demo_prompts[i], &a);
        if (a.n == 0) continue;
        int32_t *ids = NULL;
        size_t n = 0;
        float want[256];
        weir_err err = {""};
        cr_assert(weir_tokenize(e, demo_prompts[i], strlen(demo_prompts[i]), true, true, &ids, &n, &err) ==
                  WEIR_OK);
        cr_assert(weir_score(e, ids, n, a.ids, a.n, want, &err) == WEIR_OK, "%s", err.text);
        weir_ids_free(ids);
        for (size_t k = 0; k < a.n; k++) /* the same logits; only the last logarithm is float there, double
                                            here */
            cr_assert(fabsf(a.logprobs[k] - want[k]) <= 4e-6f * (1.0f + fabsf(want[k])), "token %zu: %g, %g",
                      k, (double)a.logprobs[k], (double)want[k]);
    }
    weir_engine_close(e);
}

/* A longer limit continues the shorter answer; nothing looks ahead to the limit. */
Test(loop, output_limit_inside_a_block_cuts_and_nothing_else) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    static answer whole, cut;
    for (int i = 0; i < 10; i++) {
        weir_session_options o = setting(WEIR_RULE_TOKEN_V3, 0.8f, 1.0f, 5, 11);
        answer_run(e, &o, demo_prompts[i], &whole);
        for (int limit = 1; limit < (int)whole.n; limit++) {
            o.max_tokens = limit;
            answer_run(e, &o, demo_prompts[i], &cut);
            cr_assert((int)cut.n == limit && cut.finish == WEIR_FINISH_LENGTH);
            cr_assert(memcmp(cut.ids, whole.ids, cut.n * sizeof *cut.ids) == 0, "limit %d", limit);
        }
    }
    weir_engine_close(e);
}

/* End-of-text never appears in the output and nothing follows it (trap 8). */
Test(loop, end_of_text_inside_a_block_ends_the_answer) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    static answer a, on;
    int stopped = 0;
    for (int i = 0; i < 10; i++) {
        /* the drafter alone: long accepted runs */
        weir_session_options o = setting(WEIR_RULE_CHOW, 1.0f, 1.0f, 7, 13);
        answer_run(e, &o, demo_prompts[i], &a);
        for (size_t k = 0; k < a.n; k++) cr_assert(a.ids[k] != f.eos[0]);
        stopped += a.finish == WEIR_FINISH_STOP;
        o.ignore_eos = true;
        answer_run(e, &o, demo_prompts[i], &on);
        cr_assert(on.n == 60 && on.finish == WEIR_FINISH_LENGTH);
        cr_assert(memcmp(a.ids, on.ids, a.n * sizeof *a.ids) == 0);
        if (a.finish == WEIR_FINISH_STOP) cr_assert(on.ids[a.n] == f.eos[0], "prompt %d", i);
    }
    cr_assert(stopped > 0);
    weir_engine_close(e);
}

/* Padding rows of the embedding are never emitted (trap 9), even at the highest temperature. */
Test(loop, padding_rows_are_never_emitted) {
    weir_engine *e = demo_open(1, 2, NULL, true);
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    cr_assert(f.n_vocab == 5988 && f.n_vocab_rows[0] == 6016);
    static answer a;
    for (int i = 0; i < 40; i++) {
        weir_session_options o = setting(WEIR_RULE_EXACT, 0.0f, 2.0f, 5, (uint64_t)i);
        o.ignore_eos = true;
        answer_run(e, &o, demo_prompts[i % 10], &a);
        for (size_t k = 0; k < a.n; k++) cr_assert(a.ids[k] >= 0 && a.ids[k] < f.n_vocab);
    }
    weir_engine_close(e);
}

Test(loop, another_seed_or_choice_gives_another_text) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    static answer a, b, c;
    weir_session_options o = setting(WEIR_RULE_EXACT, 0.0f, 1.0f, 5, 1);
    o.ignore_eos = true;
    answer_run(e, &o, demo_prompts[2], &a);
    o.seed = 2;
    answer_run(e, &o, demo_prompts[2], &b);
    o.seed = 1;
    o.choice = 1;
    answer_run(e, &o, demo_prompts[2], &c);
    cr_assert(memcmp(a.ids, b.ids, sizeof a.ids) != 0 && memcmp(a.ids, c.ids, sizeof a.ids) != 0);
    weir_engine_close(e);
}
