/* Blocks of several sessions with different settings, and what is counted of them. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "kernels/accept/accept.h"
#include "tests/host/pairs/decoder_pair.h"
#include "tests/host/pairs/pair_fixture.h"

static weir_session_options token_v3(int gamma, float alpha, uint64_t seed) {
    weir_session_options o = weir_session_options_default();
    o.law.rule = WEIR_RULE_TOKEN_V3;
    o.law.alpha = alpha;
    o.n_draft = gamma;
    o.seed = seed;
    o.max_tokens = 40;
    return o;
}

/* Tokens do not depend on who shares the batch or on the order in the list, and no session drafts another
 * one's gamma. */
Test(blocks, of_every_gamma_together_are_those_of_each_alone) {
    enum { N = 6 };
    static const int gammas[N] = {1, 5, 2, 8, 1, 3};
    static answer want[N], got;
    weir_engine *single = demo_open(1, 1, NULL, true), *e = demo_open(N, 2, NULL, true);
    for (int turn = 0; turn < 6; turn++) {
        weir_session_options o[N];
        weir_session *s[N];
        for (int i = 0; i < N; i++) {
            o[i] = token_v3(gammas[(i + turn) % N], 0.3f, (uint64_t)(turn * 10 + i));
            answer_run(single, &o[i], demo_prompts[i], &want[i]);
            s[i] = demo_session(e, &o[i], demo_prompts[i]);
        }
        weir_err err = {""};
        cr_assert(weir_step(e, s, N, 1000, &err) == WEIR_OK, "%s", err.text);
        for (int i = 0; i < N; i++) {
            answer_take(s[i], &got);
            answer_assert_same(&want[i], &got, "in a mixed batch");
            const weir_session_stats *a = &want[i].stats, *b = &got.stats;
            cr_assert(a->verifier_rows == b->verifier_rows && a->drafted == b->drafted &&
                      a->accepted == b->accepted);
            /* gamma drafts, what the drafter had not seen, the bonus's row */
            cr_assert(b->drafter_rows <= b->blocks * (o[i].n_draft + 2),
                      "gamma %d: %d drafter rows in %d blocks", o[i].n_draft, (int)b->drafter_rows,
                      (int)b->blocks);
            weir_session_free(s[i]);
        }
    }
    weir_engine_close(single);
    weir_engine_close(e);
}

/* Ops take seats in groups: of more than one group each seat keeps its own rows. The models agree, so that
 * most blocks close with the drafter's row after the last draft. */
Test(blocks, many_sessions_together_are_each_alone) {
    enum { N = 160 };
    static answer want[N], got;
    weir_session_options o[N];
    weir_session *s[N];
    weir_engine *single = decoder_open(&decoder_pairs[1], "cpu", 1, 1, 128);
    weir_engine *e = decoder_open(&decoder_pairs[1], "cpu", N, 2, 128);
    int64_t bonus = 0;
    for (int i = 0; i < N; i++) {
        o[i] = token_v3(1 + i % 3, 0.3f, (uint64_t)i);
        o[i].max_tokens = 8;
        o[i].ignore_eos = true;
        decoder_run(single, &o[i], i, &want[i]);
        s[i] = decoder_start(e, &o[i], i, NULL, NULL);
        bonus += want[i].stats.bonus;
    }
    cr_assert(bonus > N);
    weir_err err = {""};
    cr_assert(weir_step(e, s, N, 1000, &err) == WEIR_OK, "%s", err.text);
    for (int i = 0; i < N; i++) {
        answer_take(s[i], &got);
        answer_assert_same(&want[i], &got, "among many");
        weir_session_free(s[i]);
    }
    weir_engine_close(single);
    weir_engine_close(e);
}

Test(blocks, a_call_runs_the_blocks_it_is_asked_for) {
    weir_engine *e = demo_open(2, 1, NULL, true), *other = demo_open(1, 1, NULL, true);
    weir_session_options o = token_v3(2, 0.3f, 3);
    o.ignore_eos = true;
    weir_session *s[3] = {demo_session(e, &o, demo_prompts[0]), demo_session(e, &o, demo_prompts[1]), NULL};
    weir_session_view v;
    weir_err err = {""};
    for (int blocks = 0, sum = 0; blocks <= 3; sum += blocks++) {
        weir_session_get(s[0], &v);
        cr_assert_eq(v.stats.blocks, sum);
        cr_assert(weir_step(e, s, 2, blocks, &err) == WEIR_OK, "%s", err.text);
    }
    s[2] = s[0];
    cr_expect(weir_step(e, s, 3, 1, &err) == WEIR_EINVAL && strstr(err.text, "listed twice"), "%s", err.text);
    weir_session *strange[2] = {s[0], demo_session(other, &o, demo_prompts[0])};
    cr_expect(weir_step(e, strange, 2, 1, &err) == WEIR_EINVAL &&
                  strstr(err.text, "session 1 belongs to another"),
              "%s", err.text);
    weir_session_get(s[0], &v);
    cr_expect_eq(v.stats.blocks, 6);
    for (int i = 0; i < 2; i++) weir_session_free(s[i]);
    weir_session_free(strange[1]);
    weir_engine_close(e);
    weir_engine_close(other);
}

/* ---- what is accepted ---------------------------------------------------------------------------------- */

/* A model that drafts for itself agrees with every draft. */
static weir_engine *open_twin(void) {
    weir_engine_options o = demo_options();
    o.model_draft = o.model;
    return engine_open(&o);
}

static int64_t in_blocks(const weir_session_stats *s) {
    int64_t sum = 0, blocks = 0;
    for (int k = 0; k <= 16; k++) sum += k * s->accept_hist[k], blocks += s->accept_hist[k];
    cr_expect(blocks == s->blocks, "%d blocks by length, %d in all", (int)blocks, (int)s->blocks);
    return sum;
}

/* Accepted are drafts that became the answer's: its tokens but each block's bonus, and the end of text where
 * it was drafted. What was drafted past an end counts for nothing. */
Test(blocks, drafts_past_an_end_are_not_accepted) {
    static answer a;
    weir_engine *e = open_twin();
    for (int gamma = 1; gamma <= 9; gamma++) {
        for (int i = 0; i < 10; i++) {
            for (int limit = 1; limit <= 60; limit += limit < 9 ? 1 : 51) {
                weir_session_options o = weir_session_options_default();
                o.law.temp = 0;
                o.n_draft = gamma;
                o.max_tokens = limit;
                answer_run(e, &o, demo_prompts[i], &a);
                const weir_session_stats *s = &a.stats;
                const int64_t drafted_end =
                    a.finish == WEIR_FINISH_STOP && s->n_output % (gamma + 1) != gamma;
                const int64_t want = s->n_output - s->bonus + drafted_end;
                cr_assert(s->accepted == want && in_blocks(s) == want && s->resampled == 0,
                          "gamma %d, limit %d: %d accepted of %d tokens, %d of them bonus", gamma, limit,
                          (int)s->accepted, (int)s->n_output, (int)s->bonus);
                if (a.finish != WEIR_FINISH_STOP) continue;
                cr_assert(s->drafted == s->accepted, "gamma %d: %d drafted, %d accepted", gamma,
                          (int)s->drafted, (int)s->accepted);
            }
        }
    }
    weir_engine_close(e);
}

/* Sources of an answer that ran to its limit add up to the counts of its blocks: only a row that defers is
 * tested, and so only such a row is refused. */
Test(blocks, rows_are_counted_by_what_became_of_them) {
    static answer a;
    int64_t kept = 0, accepted = 0, resampled = 0, bonus = 0;
    weir_engine *e = demo_open(1, 1, NULL, true);
    for (uint64_t seed = 0; seed < 20; seed++) {
        weir_session_options o = token_v3(4, 0.5f, seed);
        o.ignore_eos = true;
        answer_run(e, &o, demo_prompts[seed % 10], &a);
        const weir_session_stats *s = &a.stats;
        int64_t of[6] = {0};
        for (size_t i = 0; i < a.n; i++) of[a.sources[i]]++;
        cr_assert(a.n == 40 && a.finish == WEIR_FINISH_LENGTH, "%zu tokens", a.n);
        cr_expect(of[WEIR_SOURCE_KEPT] == s->kept && of[WEIR_SOURCE_RESAMPLED] == s->resampled &&
                  of[WEIR_SOURCE_BONUS] == s->bonus &&
                  of[WEIR_SOURCE_KEPT] + of[WEIR_SOURCE_ACCEPTED] == s->accepted);
        cr_expect(s->rows_examined == s->accepted + s->resampled, "%d rows, %d accepted, %d resampled",
                  (int)s->rows_examined, (int)s->accepted, (int)s->resampled);
        cr_expect(s->rows_deferred == of[WEIR_SOURCE_ACCEPTED] + s->resampled,
                  "%d deferred, %d accepted, %d resampled", (int)s->rows_deferred,
                  (int)of[WEIR_SOURCE_ACCEPTED], (int)s->resampled);
        kept += s->kept, accepted += of[WEIR_SOURCE_ACCEPTED], resampled += s->resampled, bonus += s->bonus;
    }
    cr_assert(kept > 0 && accepted > 0 && resampled > 0 && bonus > 0 && kept != accepted &&
              resampled != bonus);
    weir_engine_close(e);
}

/* The last block begins at the last token and writes its drafts after it. */
Test(blocks, an_answer_may_fill_the_context) {
    static answer a;
    weir_engine *e = demo_open(1, 1, NULL, true);
    for (int gamma = 1; gamma <= 16; gamma += 5) {
        weir_session_options o = token_v3(gamma, 0.5f, 1);
        o.ignore_eos = true;
        o.max_tokens = 128;
        answer_run(e, &o, demo_prompts[0], &a);
        cr_expect(a.n == 128 && a.finish == WEIR_FINISH_LENGTH, "gamma %d: %zu tokens", gamma, a.n);
    }
    weir_engine_close(e);
}

/* ---- exact_first --------------------------------------------------------------------------------------- */

/* The bonus is the rule's from position exact_first on, and the verifier's before: token `gamma` of a first
 * block that was accepted whole says which law it was drawn from. */
Test(blocks, a_bonus_follows_the_rule_from_exact_first_on) {
    enum { GAMMA = 2 };
    static answer a;
    weir_engine *e = demo_open(1, 1, NULL, true);
    for (int first = GAMMA - 1; first <= GAMMA + 1; first++) {
        int whole = 0;
        for (uint64_t seed = 0; seed < 60; seed++) {
            weir_session_options o = token_v3(GAMMA, 0.9f, seed);
            o.law.exact_first = first;
            o.law.temp = 1.5f;
            o.max_tokens = GAMMA + 1;
            answer_run(e, &o, demo_prompts[seed % 10], &a);
            if (a.n <= GAMMA || a.stats.blocks != 1) continue;
            whole++;
            /* the law of a bonus from the verifier is its own distribution at this temperature, drawn
             * without the drafter */
            const bool from_pi = a.stats.drafter_calls == GAMMA + 1;
            cr_assert(from_pi == (GAMMA >= first), "exact_first %d, seed %d: %d drafter calls", first,
                      (int)seed, (int)a.stats.drafter_calls);
        }
        cr_assert(whole > 3, "exact_first %d: only %d whole blocks", first, whole);
    }
    weir_engine_close(e);
}
