/* Engines that draft by prompt lookup: the verifier's own tokens at temperature 0, blocks as the definition
 * has them, the same answer whatever runs beside it, and what they refuse. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/state.h"
#include "tests/deck/loop/lookup_cases.h"
#include "tests/kernels/loop/loop_fixture.h"
#include "tests/support/compare.h"

static weir_engine *open_lookup(lookup_kind kind, int n_parallel) {
    return lookup_open(kind, false, WEIR_NGRAM, "cpu", n_parallel, false);
}

/* ---- greedy -------------------------------------------------------------------------------------------- */

static weir_session_options greedy(int gamma, int max_tokens) {
    weir_session_options o = weir_session_options_default();
    o.law.temp = 0.0f;
    o.n_draft = gamma;
    o.max_tokens = max_tokens;
    if (gamma == 0) o.method = WEIR_METHOD_VERIFIER, o.n_draft = 1;
    return o;
}

static void assert_same_tokens(const answer *a, const answer *b, const char *what) {
    cr_assert(a->n == b->n && memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0,
              "%s: %zu tokens, then %zu, or others", what, a->n, b->n);
    cr_assert(memcmp(a->logprobs, b->logprobs, a->n * sizeof(float)) == 0, "%s: other logprobs", what);
    cr_assert(a->finish == b->finish, "%s: another end", what);
}

/* What blocks of gamma must have done to write this answer, which ended by itself or not. */
static weir_session_stats blocks_of(const weir_engine *e, int prompt, int gamma, const answer *a) {
    weir_session_stats st = {0};
    int32_t h[512], all[300];
    int past = (int)lookup_prompt(e, prompt, h);
    const weir_engine_facts *f = &e->pair.facts;
    const bool ended = a->finish == WEIR_FINISH_STOP;
    const int n = (int)a->n;
    if (f->encoder_decoder) h[past++] = -1;
    memcpy(all, a->ids, (size_t)n * sizeof *all);
    all[n] = ended ? f->eos[0] : -2; /* these models have one end of text; -2: nothing was decided there */
    for (int at = 0; at < n || (ended && at == n);) {
        int k = 0, accepted = 0;
        for (; k < gamma && (k == 0 || h[past + at + k - 1] != f->eos[0]); k++) {
            const int32_t x = lookup_oracle(h, past + at + k, f->lookup_min, f->lookup_max);
            if (x < 0) break;
            h[past + at + k] = x;
        }
        while (accepted < k && at + accepted <= n - !ended && h[past + at + accepted] == all[at + accepted])
            accepted++;
        st.blocks++;
        st.drafted += k;
        st.accepted += accepted;
        at += accepted;
        if (at <= n - !ended) h[past + at] = all[at]; /* the closing token */
        const bool over = ended && at > n;
        at += !over;
        for (int i = 0; i < n && i < at; i++) h[past + i] = all[i];
    }
    return st;
}

static void same_as_the_verifier(lookup_kind kind, int n_token) {
    static answer want, got;
    weir_engine *e = open_lookup(kind, 1);
    int64_t drafted = 0, accepted = 0;
    for (int prompt = 0; prompt < 14; prompt++) {
        const weir_session_options alone = greedy(0, n_token);
        lookup_run(e, &alone, prompt, 1000, &want);
        for (int gamma = 1; gamma <= 16; gamma += gamma < 5 ? 1 : 11) {
            char what[64];
            const weir_session_options o = greedy(gamma, n_token);
            snprintf(what, sizeof what, "prompt %d, gamma %d", prompt, gamma);
            lookup_run(e, &o, prompt, 1000, &got);
            assert_same_tokens(&want, &got, what);
            const weir_session_stats st = blocks_of(e, prompt, gamma, &got);
            cr_assert(got.stats.blocks == st.blocks && got.stats.drafted == st.drafted,
                      "%s: %d blocks, %d drafts, want %d, %d", what, (int)got.stats.blocks,
                      (int)got.stats.drafted, (int)st.blocks, (int)st.drafted);
            cr_assert_eq(got.stats.accepted, st.accepted, "%s: %d accepted, want %d", what,
                         (int)got.stats.accepted, (int)st.accepted);
            cr_assert(got.stats.drafter_calls == 0 && got.stats.drafter_rows == 0);
            cr_assert_eq(got.stats.verifier_rows, st.blocks + st.drafted);
            drafted += st.drafted, accepted += st.accepted;
        }
    }
    cr_assert(accepted > 100 && drafted > accepted, "%d drafted, %d accepted", (int)drafted, (int)accepted);
    weir_engine_close(e);
}

Test(prompt_lookup, greedy_t5_is_the_verifier_alone) { same_as_the_verifier(LOOKUP_T5, 60); }
Test(prompt_lookup, greedy_decoders_are_the_verifier_alone) { same_as_the_verifier(LOOKUP_DECODER, 60); }

/* Blocks without a draft have the verifier's word, and no other source than drafts has one. */
Test(prompt_lookup, tokens_say_where_they_came_from) {
    static answer a;
    weir_engine *e = open_lookup(LOOKUP_DECODER, 1);
    for (int i = 0; i < LOOKUP_SETTINGS; i++) {
        const weir_session_options o = lookup_setting(i, 60);
        lookup_run(e, &o, i, 1000, &a);
        const weir_session_stats *st = &a.stats;
        /* a draft that was an end of text is no token */
        const int64_t sum = st->accepted + st->resampled + st->bonus + st->from_verifier;
        cr_assert(sum == st->n_output || (a.finish == WEIR_FINISH_STOP && sum == st->n_output + 1),
                  "setting %d", i);
        cr_assert_eq(st->from_drafter, 0);
        cr_assert(o.method != WEIR_METHOD_VERIFIER || st->from_verifier == st->n_output);
    }
    weir_engine_close(e);
}

/* ---- ends ---------------------------------------------------------------------------------------------- */

/* Every limit, at every place of a block. */
Test(prompt_lookup, an_answer_ends_at_its_limit) {
    static answer whole, got;
    for (int kind = 0; kind < LOOKUP_KINDS; kind++) {
        weir_engine *e = open_lookup((lookup_kind)kind, 1);
        for (int prompt = 0; prompt < 2; prompt++) {
            weir_session_options o = greedy(0, 40);
            o.ignore_eos = true;
            lookup_run(e, &o, prompt, 1000, &whole);
            for (int n = 1; n <= 24; n++) {
                o = greedy(5, n);
                o.ignore_eos = true;
                lookup_run(e, &o, prompt, 1000, &got);
                cr_assert(got.n == (size_t)n && memcmp(got.ids, whole.ids, (size_t)n * 4) == 0, "%d", n);
            }
        }
        weir_engine_close(e);
    }
}

static void run_ids(weir_engine *e, const weir_session_options *o, const int32_t *ids, size_t n,
                    answer *out) {
    weir_session *s = NULL;
    weir_err err = {""};
    cr_assert(weir_session_create(e, o, ids, n, NULL, NULL, &s, &err) == WEIR_OK, "%s", err.text);
    cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK, "%s", err.text);
    answer_take(s, out);
    weir_session_free(s);
}

/* The first token of an answer that is looked up after the tokens before it and is none of them; -1: none. */
static int first_copied(const int32_t *ids, int n, const answer *a) {
    int32_t h[128];
    memcpy(h, ids, (size_t)n * sizeof *h);
    memcpy(h + n, a->ids, a->n * sizeof *h);
    for (int i = 1; i < (int)a->n; i++) {
        bool before = false;
        for (int k = 0; k < i; k++) before |= a->ids[k] == a->ids[i];
        if (!before && lookup_oracle(h, n + i, 1, 8) == a->ids[i]) return i;
    }
    return -1;
}

/* Ends of text that are drafted: tokens of the prompt at which the answer is to end. Nothing follows one. */
Test(prompt_lookup, an_end_of_text_inside_a_draft) {
    static answer want, got;
    int drafted = 0;
    weir_engine_options opt = weir_engine_options_default();
    weir_engine *e = NULL;
    weir_err err = {""};
    opt.model = WEIR_SOURCE_DIR "/tests/golden/decoder/gemma3_f32";
    opt.model_draft = WEIR_NGRAM;
    opt.device = "cpu", opt.n_thread = 1, opt.ctx_size = 128, opt.lookup_min = 1;
    cr_assert(weir_engine_open(&e, &opt, &err) == WEIR_OK, "%s", err.text);
    weir_engine_facts *f = &e->pair.facts;
    uint64_t rng = 4;
    for (int round = 0; round < 3000 && drafted < 5; round++) {
        int32_t ids[60];
        for (int i = 0; i < 60; i++) ids[i] = 3 + (int32_t)(rng_u64(&rng) % 64);
        f->n_eos = 1;
        weir_session_options o = greedy(0, 40);
        run_ids(e, &o, ids, 60, &want);
        const int at = first_copied(ids, 60, &want);
        if (at < 0) continue;
        f->eos[f->n_eos++] = want.ids[at];
        run_ids(e, &o, ids, 60, &want);
        o = greedy(6, 40);
        run_ids(e, &o, ids, 60, &got);
        assert_same_tokens(&want, &got, "an end of text");
        cr_assert(got.finish == WEIR_FINISH_STOP && got.n == (size_t)at);
        /* accepted drafts, one of which is no token of the answer */
        const weir_session_stats *st = &got.stats;
        drafted += st->accepted + st->resampled + st->bonus + st->from_verifier > st->n_output;
    }
    cr_assert(drafted > 0, "no answer ended with a draft");
    weir_engine_close(e);
}

/* A decoder's prompt and answer up to the context's end, from a prompt that leaves room for one token. */
Test(prompt_lookup, a_context_that_is_full) {
    static answer want, got;
    int32_t ids[127];
    weir_engine *e = open_lookup(LOOKUP_DECODER, 1);
    for (int i = 0; i < 127; i++) ids[i] = 3 + i % 5;
    for (int n = 127; n > 40; n -= 29) {
        for (int gamma = 0; gamma <= 16; gamma += 8) {
            const weir_session_options o = greedy(gamma, 128);
            run_ids(e, &o, ids, (size_t)n, gamma == 0 ? &want : &got);
            cr_assert(got.n + (size_t)n <= 128);
            if (gamma > 0) assert_same_tokens(&want, &got, "a full context");
        }
    }
    weir_engine_close(e);
}

/* ---- together ------------------------------------------------------------------------------------------ */

Test(prompt_lookup, answers_do_not_depend_on_what_runs_beside_them) {
    static const int steps[] = {1, 3, 1000};
    for (int kind = 0; kind < LOOKUP_KINDS; kind++) {
        weir_engine *one = open_lookup((lookup_kind)kind, 1);
        for (int n = 2; n <= 5; n += 3) {
            weir_engine *many = open_lookup((lookup_kind)kind, n);
            lookup_same_together(one, many, n, 50, steps, n == 2 ? 3 : 2);
            weir_engine_close(many);
        }
        weir_engine_close(one);
    }
}

/* Its slot goes to another one meanwhile: the history is written again. */
Test(prompt_lookup, a_session_that_was_suspended_goes_on) {
    static answer want, got, other;
    for (int kind = 0; kind < LOOKUP_KINDS; kind++) {
        weir_engine *e = open_lookup((lookup_kind)kind, 1);
        for (int i = 0; i < LOOKUP_SETTINGS; i += lookup_nth()) {
            const weir_session_options o = lookup_setting(i, 50);
            weir_err err = {""};
            lookup_run(e, &o, i, 1000, &want);
            weir_session *s = lookup_start(e, &o, i);
            for (int turn = 0; turn < 3 && weir_session_state(s) == WEIR_RUNNING; turn++) {
                cr_assert(weir_step(e, &s, 1, 2, &err) == WEIR_OK, "%s", err.text);
                weir_session_suspend(s);
                lookup_run(e, &o, i + 1 + turn, 1000, &other);
            }
            while (weir_session_state(s) == WEIR_RUNNING)
                cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK, "%s", err.text);
            answer_take(s, &got);
            answer_assert_same(&want, &got, "suspended");
            weir_session_free(s);
        }
        weir_engine_close(e);
    }
}

/* ---- what there is, and what is refused ---------------------------------------------------------------- */

Test(prompt_lookup, nothing_of_a_drafter_is_planned_or_loaded) {
    weir_engine_facts f, alone;
    for (int kind = 0; kind < LOOKUP_KINDS; kind++) {
        weir_engine *e = open_lookup((lookup_kind)kind, 2);
        weir_engine *v = lookup_open((lookup_kind)kind, false, NULL, "cpu", 2, false);
        int64_t n_free = 1, n_total = 1;
        weir_engine_get_facts(e, &f);
        weir_engine_get_facts(v, &alone);
        weir_engine_pages(e, WEIR_DRAFTER, &n_free, &n_total);
        cr_assert(!f.has_draft && f.lookup_min == 2 && f.lookup_max == 8 && weir_can_draft(&f));
        cr_assert(!alone.has_draft && alone.lookup_max == 0 && !weir_can_draft(&alone));
        cr_assert(f.weights[1] == 0 && f.kv_per_session[1] == 0 && n_free == 0 && n_total == 0);
        cr_assert_eq(f.kv_total, alone.kv_total);
        cr_assert(f.plan_total > alone.plan_total, "rows of q and histories");
        weir_engine_close(e);
        weir_engine_close(v);
    }
}

static void expect_refused(weir_engine *e, const weir_session_options *o, const char *name, const char *use) {
    const int32_t ids[3] = {5, 6, 7};
    weir_session *s = NULL;
    weir_err err = {""};
    cr_assert(weir_session_create(e, o, ids, 3, NULL, NULL, &s, &err) == WEIR_ENOTSUP, "%s", name);
    cr_expect(strstr(err.text, name) && strstr(err.text, use) && !strchr(err.text, '\n'), "%s", err.text);
}

Test(prompt_lookup, rules_that_go_by_confidence_and_methods_of_a_drafter_are_refused_by_name) {
    static const weir_rule refused[] = {WEIR_RULE_CHOW,    WEIR_RULE_CHOW_LOG, WEIR_RULE_DIFF,
                                        WEIR_RULE_OPT,     WEIR_RULE_OPT_LOG,  WEIR_RULE_TOKEN_V1,
                                        WEIR_RULE_ENSEMBLE};
    weir_engine *e = open_lookup(LOOKUP_DECODER, 1);
    weir_session_options o = weir_session_options_default();
    int n = 0;
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++) n += !weir_rule_facts((weir_rule)rule)->one_hot;
    cr_assert_eq(n, (int)(sizeof refused / sizeof *refused));
    for (int i = 0; i < n; i++) {
        const weir_rule_info *rule = weir_rule_facts(refused[i]);
        o.law.rule = refused[i];
        o.law.alpha = rule->alpha_default;
        o.law.beta = rule->beta_default;
        expect_refused(e, &o, rule->name,
                       "use exact, token-v2, token-v3, lossy, bild, token-v3-exact-tail, typical, cactus or "
                       "fuzzy");
    }
    o = weir_session_options_default();
    for (int m = WEIR_METHOD_DRAFTER; m <= WEIR_METHOD_SEQUENCE_CASCADE; m++) {
        o = method_options((weir_method)m, 20);
        expect_refused(e, &o, weir_method_name((weir_method)m), "use speculative or verifier");
    }
    weir_engine_close(e);
}

Test(prompt_lookup, lengths_of_suffixes_have_a_range) {
    static const struct {
        int min, max, found_min, found_max;
        const char *line;
    } of[] = {
        {0, 0, 2, 8, ""},
        {0, 1, 1, 1, ""},
        {3, 0, 3, 8, ""},
        {64, 64, 64, 64, ""},
        {0, 65, 0, 0, "longest suffix of prompt lookup 65 is outside [1, 64]"},
        {5, 4, 0, 0, "shortest suffix of prompt lookup 5 is outside [1, 4]"},
        {-1, 4, 0, 0, "shortest suffix of prompt lookup -1 is outside [1, 4]"},
        {1, -2, 0, 0, "longest suffix of prompt lookup -2 is outside [1, 64]"},
    };
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        weir_engine_options o = weir_engine_options_default();
        weir_engine *e = NULL;
        weir_engine_facts f;
        weir_err err = {""};
        o.model = WEIR_SOURCE_DIR "/tests/golden/decoder/llama_f32";
        o.model_draft = WEIR_NGRAM;
        o.device = "cpu";
        o.dry_run = true;
        o.lookup_min = of[i].min, o.lookup_max = of[i].max;
        const weir_status st = weir_engine_open(&e, &o, &err);
        cr_expect(st == (of[i].line[0] ? WEIR_EINVAL : WEIR_OK), "%zu: %s", i, err.text);
        cr_expect_str_eq(err.text, of[i].line);
        if (st != WEIR_OK) continue;
        weir_engine_get_facts(e, &f);
        cr_expect(f.lookup_min == of[i].found_min && f.lookup_max == of[i].found_max, "%zu", i);
        weir_engine_close(e);
    }
}
