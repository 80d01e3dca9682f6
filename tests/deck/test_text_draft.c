/* A drafter with a vocabulary of its own: the verifier's own tokens at temperature 0, drafts as a fresh
 * drafter would have them, the same answer whatever runs beside it and on any number of ranks, and what is
 * refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/ranks/agree.h"
#include "host/ranks/lead.h"
#include "host/tokenizers/across.h"
#include "kernels/base/mem.h"
#include "tests/host/pairs/text_pair.h"
#include "tests/ranks/group.h"
#include "tests/support/alloc.h"
#include "tests/support/build.h"
#include "tests/support/files.h"

/* ---- pairs --------------------------------------------------------------------------------------------- */

/* Two numberings of one vocabulary; then bytes of other words, characters with byte fallback, a scheme that
 * puts a space before the first word, vocabularies with added tokens, a drafter whose layers slide. */
static const text_sides pairs[] = {
    {{{"tiny_gpt2", false, 0.3f, 0}, {"tiny_gpt2", true, 0.3f, 0}}},
    {{{"tiny_qwen2", false, 0.3f, 0}, {"tiny_smollm", true, 0.3f, 24}}},
    {{{"tiny_smollm", false, 1.0f, 0}, {"tiny_llama2", false, 1.0f, 0}}},
    {{{"tiny_llama2", false, 0.3f, 24}, {"tiny_qwen2", false, 0.3f, 0}}},
    {{{"tiny_metaspace", false, 0.3f, 0}, {"tiny_llama3", false, 0.3f, 24}}},
    {{{"tiny_gemma", false, 0.6f, 0}, {"tiny_deepseek", false, 0.6f, 0}}},
};
enum { PAIRS = sizeof pairs / sizeof *pairs };

typedef struct opened {
    char *dir[2];
    weir_engine *e;
} opened;

static opened open_pair(const text_sides *p, int n_parallel) {
    opened o;
    text_write(p, o.dir);
    const weir_engine_options opt = text_options(o.dir, n_parallel, 128);
    o.e = text_open(&opt);
    return o;
}

static void close_pair(opened *o) {
    weir_engine_close(o->e);
    for (int i = 0; i < 2; i++) files_remove_dir(o->dir[i]);
}

/* ---- greedy -------------------------------------------------------------------------------------------- */

static void assert_same_tokens(const answer *a, const answer *b, const char *what) {
    cr_assert(a->n == b->n && memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0,
              "%s: %zu tokens, then %zu, or others", what, a->n, b->n);
    cr_assert(memcmp(a->logprobs, b->logprobs, a->n * sizeof(float)) == 0, "%s: other logprobs", what);
    cr_assert(a->finish == b->finish && strcmp(a->text, b->text) == 0, "%s: another end", what);
}

Test(text_draft, greedy_is_the_verifier_alone) {
    static const int gammas[] = {WEIR_GAMMA_AUTO, 1, 2, 3, 5, 16};
    static answer want, got;
    int64_t drafted[PAIRS] = {0}, accepted[PAIRS] = {0};
    const size_t stride = build_is_sanitized() ? 2 : 1; /* γ auto, 2 and 5 */
    for (size_t k = 0; k < PAIRS; k++) {
        opened o = open_pair(&pairs[k], 1);
        for (int prompt = 0; prompt < TEXT_PROMPTS; prompt += (int)stride) {
            const weir_session_options alone = text_greedy(0, 60);
            text_run(o.e, &alone, prompt, &want);
            for (size_t g = 0; g < sizeof gammas / sizeof *gammas; g += stride) {
                char what[96];
                weir_session_options opt = text_greedy(1, 60);
                opt.n_draft = gammas[g];
                snprintf(what, sizeof what, "pair %zu, prompt %d, gamma %d", k, prompt, gammas[g]);
                text_run(o.e, &opt, prompt, &got);
                assert_same_tokens(&want, &got, what);
                drafted[k] += got.stats.drafted;
                accepted[k] += got.stats.accepted;
            }
        }
        close_pair(&o);
    }
    for (size_t k = 0; k < PAIRS; k++) cr_expect(drafted[k] > 0 && accepted[k] > 0, "pair %zu", k);
    cr_expect(accepted[0] * 10 > drafted[0] * 6, "pieces in another order: %lld of %lld",
              (long long)accepted[0], (long long)drafted[0]);
}

/* ---- a session and its neighbours ---------------------------------------------------------------------- */

/* Every kind of session that the pair serves. */
enum { SETTINGS = 2 * TEXT_PROMPTS };
static weir_session *start_setting(const void *ud, weir_engine *e, int i) {
    static const int gammas[] = {WEIR_GAMMA_AUTO, 1, 4, 16};
    static const struct {
        weir_rule rule;
        float alpha;
    } rules[] = {{WEIR_RULE_EXACT, 0.0f},   {WEIR_RULE_TOKEN_V3, 0.7f}, {WEIR_RULE_LOSSY, 0.5f},
                 {WEIR_RULE_TYPICAL, 0.3f}, {WEIR_RULE_BILD, 2.0f},     {WEIR_RULE_EXACT, 0.0f}};
    weir_session_options o = text_greedy(i % 6 == 5 ? 0 : 1, 20 + i);
    (void)ud;
    o.law.rule = (int32_t)rules[i % 6].rule;
    o.law.alpha = rules[i % 6].alpha;
    o.law.beta = weir_rule_facts(rules[i % 6].rule)->beta_default;
    if (i % 6 != 5) o.n_draft = gammas[i % 4];
    return text_start(e, &o, i % TEXT_PROMPTS);
}

static void run_setting(weir_engine *e, int i, bool suspended, answer *out) {
    weir_session *s = start_setting(NULL, e, i);
    while (weir_session_state(s) == WEIR_RUNNING) {
        cr_assert_eq(weir_step(e, &s, 1, 1, NULL), WEIR_OK);
        if (suspended) weir_session_suspend(s);
    }
    answer_take(s, out);
    weir_session_free(s);
}

Test(text_draft, answers_do_not_depend_on_what_runs_beside_them) {
    static answer alone[SETTINGS], together[SETTINGS];
    static const int steps[] = {1, 3, 1000};
    for (size_t k = 1; k < PAIRS; k += 2) {
        opened o = open_pair(&pairs[k], 4);
        for (int i = 0; i < SETTINGS; i++) run_setting(o.e, i, false, &alone[i]);
        for (int turn = 0; turn < 3; turn++) {
            answer_run_together(o.e, 2 + turn, steps[turn], turn == 1, start_setting, NULL, SETTINGS,
                                together);
            for (int i = 0; i < SETTINGS; i++) {
                answer_assert_same(&alone[i], &together[i], "together");
                answer_assert_same_books(&alone[i], &together[i], "together");
            }
        }
        close_pair(&o);
    }
}

/* After a suspension both models read all of it once more: what blocks left in the caches is what a fresh
 * reading writes, wherever ids were rolled back, windows slid or the text was cut. */
Test(text_draft, a_session_that_was_suspended_goes_on) {
    static answer through, suspended;
    for (size_t k = 0; k < PAIRS; k += build_is_sanitized() ? 2 : 1) {
        opened o = open_pair(&pairs[k], 1);
        for (int i = 0; i < SETTINGS; i++) {
            run_setting(o.e, i, false, &through);
            run_setting(o.e, i, true, &suspended);
            answer_assert_same(&through, &suspended, "suspended");
            answer_assert_same_books(&through, &suspended, "suspended");
        }
        close_pair(&o);
    }
}

/* ---- what the drafter reads ---------------------------------------------------------------------------- */

/* The ids that it has are those of all the output encoded anew, whatever the window. */
Test(text_draft, ids_are_those_of_the_whole_output) {
    int moved = 0;
    for (size_t k = 0; k < PAIRS; k++) {
        opened o = open_pair(&pairs[k], 1);
        const weir_pair *p = &o.e->pair;
        for (int prompt = 0; prompt < TEXT_PROMPTS; prompt += build_is_sanitized() ? 2 : 1) {
            const weir_session_options opt = text_greedy(4, 110);
            weir_session *s = text_start(o.e, &opt, prompt);
            while (weir_session_state(s) == WEIR_RUNNING) {
                cr_assert_eq(weir_step(o.e, &s, 1, 1, NULL), WEIR_OK);
                const weir_retold *r = s->retold;
                weir__ids all = {0};
                if (r->full || weir_session_state(s) != WEIR_RUNNING) continue;
                cr_assert_eq(
                    weir__across(p->tok, p->tok_draft, s->timeline + 1, (size_t)s->n, false, &all, NULL),
                    WEIR_OK);
                cr_assert(r->n == (int64_t)all.n &&
                              memcmp(r->timeline + 1, all.at, all.n * sizeof *all.at) == 0,
                          "pair %zu, prompt %d, %lld tokens", k, prompt, (long long)s->n);
                moved += r->from > 0;
                weir_free(all.at);
            }
            weir_session_free(s);
        }
        close_pair(&o);
    }
    cr_expect(moved > 100, "windows moved %d times", moved);
}

/* A text that the drafter's vocabulary has no room for, in the prompt or while it grows, one without any
 * text, and contexts that end at every place of a block. */
Test(text_draft, a_drafter_without_room_leaves_the_verifier_alone) {
    static answer want, got;
    const text_sides p = {{{"tiny_gpt2", false, 0.3f, 0}, {"tiny_llama2", false, 0.3f, 0}}};
    opened o = open_pair(&p, 1);
    static const int lengths[] = {1, 20, 30, 36, 38, 39, 40, 41, 42, 43, 60, 90};
    static const char three[] = "日"; /* one token of the verifier, three of the drafter */
    char text[400];
    int full = 0, grown = 0;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int32_t *ids;
        size_t n_ids;
        for (int k = 0; k < lengths[i]; k++) memcpy(text + 3 * k, three, 3);
        cr_assert_eq(weir_tokenize(o.e, text, 3 * (size_t)lengths[i], true, true, &ids, &n_ids, NULL),
                     WEIR_OK);
        for (int gamma = 0; gamma <= 5; gamma += 5) {
            const weir_session_options opt = text_greedy(gamma, 100);
            weir_session *s = NULL;
            cr_assert_eq(weir_session_create(o.e, &opt, ids, n_ids, NULL, NULL, &s, NULL), WEIR_OK);
            const bool before = s->retold && s->retold->full;
            cr_assert_eq(weir_step(o.e, &s, 1, 1000, NULL), WEIR_OK);
            answer_take(s, gamma ? &got : &want);
            full += before;
            grown += s->retold && s->retold->full && !before;
            weir_session_free(s);
        }
        assert_same_tokens(&want, &got, "long prompt");
        weir_ids_free(ids);
    }
    cr_expect(full > 1 && grown > 1, "%d without room, %d that outgrew it", full, grown);
    for (int gamma = 0; gamma <= 3; gamma += 3) {
        const weir_session_options opt = text_greedy(gamma, 9);
        weir_session *s = NULL;
        cr_assert_eq(weir_session_create(o.e, &opt, &o.e->pair.facts.bos_id, 1, NULL, NULL, &s, NULL),
                     WEIR_OK);
        cr_assert_eq(weir_step(o.e, &s, 1, 1000, NULL), WEIR_OK);
        answer_take(s, gamma ? &got : &want);
        weir_session_free(s);
    }
    assert_same_tokens(&want, &got, "a prompt without text");
    close_pair(&o);
    for (int ctx = 12; ctx < 40; ctx++) {
        text_write(&pairs[1], o.dir);
        const weir_engine_options opt = text_options(o.dir, 1, ctx);
        o.e = text_open(&opt);
        const weir_session_options alone = text_greedy(0, ctx), with = text_greedy(4, ctx);
        text_run(o.e, &alone, 0, &want);
        text_run(o.e, &with, 0, &got);
        assert_same_tokens(&want, &got, "a context that ends");
        close_pair(&o);
    }
}

/* The drafter's end of text is the verifier's. */
Test(text_draft, an_end_of_text_is_drafted) {
    static answer want, got;
    const text_sides p = {{{"tiny_llama3", false, 0.0f, 0}, {"tiny_deepseek", true, 0.0f, 0}}};
    opened o = open_pair(&p, 1);
    static const char text[] = "it~";
    int32_t *ids;
    size_t n;
    cr_assert_eq(weir_tokenize(o.e, text, sizeof text - 1, true, true, &ids, &n, NULL), WEIR_OK);
    for (int gamma = 0; gamma <= 8; gamma += 8) {
        const weir_session_options opt = text_greedy(gamma, 40);
        weir_session *s = NULL;
        cr_assert_eq(weir_session_create(o.e, &opt, ids, n, NULL, NULL, &s, NULL), WEIR_OK);
        cr_assert_eq(weir_step(o.e, &s, 1, 1000, NULL), WEIR_OK);
        answer_take(s, gamma ? &got : &want);
        weir_session_free(s);
    }
    weir_ids_free(ids);
    assert_same_tokens(&want, &got, "an end");
    cr_assert_eq(got.finish, WEIR_FINISH_STOP);
    cr_assert(got.n == 0 && got.stats.blocks == 1 && got.stats.accepted == 1, "%zu tokens, %lld blocks",
              got.n, (long long)got.stats.blocks);
    close_pair(&o);
}

/* ---- gamma auto ---------------------------------------------------------------------------------------- */

/* γ auto, which measures what it goes by: the verifier's tokens. */
static void check_auto(weir_engine *e, int32_t n, answer *got, const char *what) {
    static answer want;
    const weir_session_options alone = text_greedy(0, n);
    weir_session_options with = text_greedy(1, n);
    with.n_draft = WEIR_GAMMA_AUTO;
    text_run(e, &alone, 0, &want);
    text_run(e, &with, 0, got);
    assert_same_tokens(&want, got, what);
}

Test(text_draft, gamma_auto_is_measured_and_settles) {
    weir_engine_facts f;
    static answer got;
    for (int i = 0; i < 2; i++) {
        opened o;
        text_write(&pairs[2], o.dir);
        weir_engine_options opt = text_options(o.dir, 1, 128);
        opt.costs = i ? "0.25:1.25,1.5,1.75" : NULL;
        o.e = text_open(&opt);
        weir_engine_get_facts(o.e, &f);
        cr_expect_str_eq(f.costs_from, i ? "given" : "measured");
        cr_expect(f.draft == WEIR_DRAFT_TEXT && f.apart && strstr(f.apart, "differ first at token"));
        check_auto(o.e, 100, &got, "gamma auto");
        if (i) cr_expect(got.stats.settled && got.stats.drafted > 0, "few are accepted");
        close_pair(&o);
    }
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

static void refused(weir_engine *e, const weir_session_options *o, const char *words) {
    const int32_t id = 40;
    weir_session *s = NULL;
    weir_err err = {""};
    cr_expect_eq(weir_session_create(e, o, &id, 1, NULL, NULL, &s, &err), WEIR_ENOTSUP, "%s", words);
    cr_expect(err_is_line(&err, words), "\"%s\" lacks \"%s\"", err.text, words);
}

static bool no_rows(void *ud, size_t i, const float *q, const float *p, int32_t n) {
    (void)ud, (void)i, (void)q, (void)p, (void)n;
    return false;
}

Test(text_draft, what_needs_a_distribution_is_refused_by_name) {
    opened o = open_pair(&pairs[0], 1);
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++) {
        weir_session_options opt = text_greedy(3, 9);
        opt.law.rule = rule;
        opt.law.alpha = weir_rule_facts((weir_rule)rule)->alpha_default;
        opt.law.beta = weir_rule_facts((weir_rule)rule)->beta_default;
        if (!weir_rule_facts((weir_rule)rule)->one_hot)
            refused(o.e, &opt, "goes by the drafter's confidence");
    }
    weir_session_options opt = text_greedy(3, 9);
    opt.law.temp = 0.5f;
    refused(o.e, &opt, "temperature 0.5");
    static const weir_method methods[] = {WEIR_METHOD_DRAFTER, WEIR_METHOD_TOKEN_CASCADE,
                                          WEIR_METHOD_ORACLE_CASCADE, WEIR_METHOD_SEQUENCE_CASCADE};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        opt = text_greedy(3, 9);
        opt.method = methods[i];
        refused(o.e, &opt, "runs a drafter by itself");
    }
    const int32_t ids[2] = {40, 41};
    weir_err err = {""};
    cr_expect_eq(weir_score_pair(o.e, ids, 1, ids + 1, 1, no_rows, NULL, &err), WEIR_ENOTSUP);
    cr_expect(err_is_line(&err, "another vocabulary has no distribution"), "%s", err.text);
    close_pair(&o);
}

Test(text_draft, a_drafter_that_is_broken_ends_the_session) {
    opened o = open_pair(&text_broken, 1);
    text_ends_broken(o.e);
    close_pair(&o);
}

/* ---- several ranks ------------------------------------------------------------------------------------- */

/* A vocabulary of more than a thousand ids is shared out: the text's ids are the last rank's on one side and
 * rank 0's on the other. */
static const text_sides shared[] = {
    {{{"tiny_qwen2", false, 0.3f, 0}, {"tiny_smollm", true, 0.3f, 24, 1500}}},
    {{{"tiny_llama3", false, 0.3f, 24, 1100}, {"tiny_llama2", false, 0.3f, 0}}},
};

static weir_engine *open_ranks(const opened *o, int n_parallel, int tp, int draft_tp) {
    weir_engine_options opt = text_options(o->dir, n_parallel, 128);
    opt.tp = tp, opt.draft_tp = draft_tp;
    return text_open(&opt);
}

Test(text_draft, ranks_write_what_one_writes) {
    static const struct {
        int tp, draft_tp, n; /* n: sessions; eight ranks of two cores wait for each other */
    } ranks[] = {{2, 2, SETTINGS}, {4, 1, SETTINGS / 2}, {8, 8, 6}};
    static answer want[SETTINGS], got[SETTINGS];
    for (size_t k = 0; k < sizeof shared / sizeof *shared; k++) {
        int64_t accepted = 0;
        opened o = open_pair(&shared[k], 3);
        for (int i = 0; i < SETTINGS; i++) run_setting(o.e, i, false, &want[i]);
        for (int i = 0; i < SETTINGS; i++) accepted += want[i].stats.accepted;
        cr_expect_gt(accepted, 0);
        for (size_t r = 0; r < sizeof ranks / sizeof *ranks; r++) {
            char what[64];
            weir_engine *e = open_ranks(&o, 3, ranks[r].tp, ranks[r].draft_tp);
            const weir_model_facts *d = &e->pair.side[WEIR_DRAFTER].facts, *v = &e->pair.side[0].facts;
            cr_assert(d->share.n_id < d->n_vocab_rows || v->share.n_id < v->n_vocab_rows);
            answer_run_together(e, 3, r == 0 ? 1 : 1000, r == 1, start_setting, NULL, ranks[r].n, got);
            for (int i = 0; i < ranks[r].n; i++) {
                snprintf(what, sizeof what, "pair %zu, setting %d, %d ranks", k, i, ranks[r].tp);
                answer_assert_same(&want[i], &got[i], what);
                answer_assert_same_books(&want[i], &got[i], what);
            }
            run_setting(e, 1, true, &got[1]);
            answer_assert_same(&want[1], &got[1], "suspended on ranks");
            weir_engine_close(e);
        }
        close_pair(&o);
    }
}

static void agree(void *arg, weir_comm *c) {
    weir_engine *const *e = arg;
    weir_err err = {""};
    cr_expect_eq(weir__ranks_agree_plan(e[c->rank], c, WEIR_OK, &err), WEIR_EMISMATCH);
    cr_expect_str_eq(err.text, "rank 1 differs: kind of drafts is model there, text on rank 0");
}

/* Processes read tokenizers of their own. */
Test(text_draft, ranks_with_other_tokenizers_are_named) {
    opened o = open_pair(&shared[0], 1);
    char *verifiers = files_path(o.dir[WEIR_VERIFIER], "tokenizer.json");
    size_t n;
    uint8_t *json = files_read(verifiers, &n);
    files_write(o.dir[WEIR_DRAFTER], "tokenizer.json", json, n);
    const weir_engine_options opt = text_options(o.dir, 1, 128);
    weir_engine *e[2] = {o.e, NULL};
    weir_err err = {""};
    cr_assert_eq(weir_engine_open(&e[1], &opt, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(e[1]->pair.draft, WEIR_DRAFT_MODEL);
    group_run(2, 60.0, agree, e);
    weir_engine_close(e[1]);
    free(json), free(verifiers);
    close_pair(&o);
}

/* The call that fails is the drafter's, which comes first in a block. */
Test(text_draft, a_rank_that_fails_ends_the_engine_with_its_reason) {
    opened o;
    text_write(&shared[0], o.dir);
    o.e = open_ranks(&o, 1, 2, 1);
    weir_session *s = start_setting(NULL, o.e, 2);
    weir_session_view before, after;
    weir_err err = {""};
    cr_assert_eq(weir_step(o.e, &s, 1, 1, &err), WEIR_OK, "%s", err.text);
    weir_session_get(s, &before);
    cr_assert_eq(before.finish, WEIR_RUNNING);
    weir__comm_abort(o.e->pair.ranks->member[1].member.comm, WEIR_EIO, "the disk is on fire");
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(weir_step(o.e, &s, 1, 1, &err), WEIR_ECOMM);
        cr_expect_str_eq(err.text, "rank 1: the disk is on fire");
    }
    weir_session_get(s, &after);
    cr_expect_gt(after.stats.drafter_calls, before.stats.drafter_calls);
    cr_expect_eq(after.stats.verifier_calls, before.stats.verifier_calls);
    cr_expect_eq(after.n, before.n);
    weir_session_free(s);
    close_pair(&o);
}

/* What fails on rank 0 between two calls, its tokenizers included, leaves the others where they are. */
Test(text_draft, ranks_outlive_a_failure_of_the_text) {
    static answer want, got;
    int failed = 0;
    opened o;
    text_write(&shared[0], o.dir);
    alloc_install(0);
    o.e = open_ranks(&o, 1, 2, 2);
    run_setting(o.e, 2, false, &want); /* buffers for messages grow */
    const long start = alloc_count();
    run_setting(o.e, 2, false, &got);
    const long asked = alloc_count() - start, before = alloc_live();
    for (long n = 0; n < asked; n += 1 + n / 8) {
        weir_ranks_facts f;
        weir_err err = {""};
        weir_session *s = start_setting(NULL, o.e, 2);
        alloc_fail_only(alloc_count() + n);
        const weir_status st = weir_step(o.e, &s, 1, 1000, &err);
        alloc_fail_only(-1);
        weir_session_free(s);
        cr_expect(st == WEIR_OK || (st == WEIR_ENOMEM && err_is_line(&err, "memory")), "%ld: %s", n,
                  err.text);
        cr_expect_eq(alloc_live(), before, "allocation %ld: %ld left", n, alloc_live() - before);
        weir_engine_ranks(o.e, &f);
        cr_assert(!f.ended, "allocation %ld: %s", n, f.why.text);
        run_setting(o.e, 2, false, &got);
        answer_assert_same(&want, &got, "after a failure");
        failed += st != WEIR_OK;
    }
    cr_expect_gt(failed, 10);
    close_pair(&o);
    alloc_uninstall();
}

Test(text_draft, ranks_are_measured_and_find_a_broken_drafter) {
    opened o;
    text_write(&shared[1], o.dir);
    weir_engine_options opt = text_options(o.dir, 1, 128);
    weir_engine_facts f;
    static answer got;
    opt.tp = 2, opt.costs = NULL;
    o.e = text_open(&opt);
    weir_engine_get_facts(o.e, &f);
    const bool measured = strcmp(f.costs_from, "measured") == 0; /* a busy machine leaves a guess */
    cr_expect(measured || strcmp(f.costs_from, "a guess") == 0, "%s", f.costs_from);
    cr_expect(f.n_rank == 2 && f.draft_choice && strstr(f.draft_choice, "exchange "));
    check_auto(o.e, 60, &got, "gamma auto on ranks");
    text_is_timed(o.e);
    close_pair(&o);
    text_write(&text_broken, o.dir);
    o.e = open_ranks(&o, 1, 2, 2);
    text_ends_broken(o.e);
    close_pair(&o);
}

/* ---- timings ------------------------------------------------------------------------------------------- */

Test(text_draft, its_parts_are_timed) {
    opened o = open_pair(&pairs[1], 1);
    text_is_timed(o.e);
    close_pair(&o);
}
