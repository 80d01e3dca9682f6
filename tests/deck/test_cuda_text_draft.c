/* A drafter with a vocabulary of its own beside a verifier on a device: the host makes the drafts, and the
 * answers are the verifier's own and those of the CPU. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/host/pairs/text_pair.h"
#include "tests/support/device.h"
#include "tests/support/files.h"

/* A drafter of another number of ids, whose layers slide; a verifier whose layers do. */
static const text_sides pairs[] = {
    {{{"tiny_qwen2", false, 0.3f, 0}, {"tiny_smollm", true, 0.3f, 24}}},
    {{{"tiny_llama2", false, 0.3f, 24}, {"tiny_qwen2", false, 0.3f, 0}}},
};
enum { PAIRS = sizeof pairs / sizeof *pairs };

typedef struct opened {
    char *dir[2];
    weir_engine *on_cpu, *there;
} opened;

static opened open_pair(const text_sides *p, int n_parallel) {
    opened o;
    weir__backend_close(device_open()); /* skips, or fails, where there is none */
    text_write(p, o.dir);
    weir_engine_options opt = text_options(o.dir, 1, 96);
    o.on_cpu = text_open(&opt);
    opt.device = "cuda:0", opt.n_parallel = n_parallel;
    o.there = text_open(&opt);
    cr_assert(o.there->pair.be->device);
    return o;
}

static void close_pair(opened *o) {
    weir_engine_close(o->there);
    weir_engine_close(o->on_cpu);
    for (int i = 0; i < 2; i++) files_remove_dir(o->dir[i]);
}

static void assert_same_tokens(const answer *a, const answer *b, const char *what) {
    cr_assert(a->n == b->n && memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0,
              "%s: %zu tokens, then %zu, or others", what, a->n, b->n);
    cr_assert(a->finish == b->finish && strcmp(a->text, b->text) == 0, "%s: another end", what);
}

/* Tokens are the CPU's; drafts too, since the drafter's likeliest tokens are. */
Test(cuda_text_draft, greedy_is_the_verifier_alone_and_the_cpu) {
    static const int gammas[] = {WEIR_GAMMA_AUTO, 4};
    static answer want, got;
    for (size_t k = 0; k < PAIRS; k++) {
        int64_t drafted = 0, accepted = 0;
        opened o = open_pair(&pairs[k], 1);
        for (int prompt = 0; prompt < 2; prompt++) {
            const weir_session_options alone = text_greedy(0, 12);
            text_run(o.there, &alone, prompt, &want);
            for (size_t g = 0; g < sizeof gammas / sizeof *gammas; g++) {
                char what[96];
                weir_session_options opt = text_greedy(1, 12);
                opt.n_draft = gammas[g];
                snprintf(what, sizeof what, "pair %zu, prompt %d, gamma %d", k, prompt, gammas[g]);
                text_run(o.there, &opt, prompt, &got);
                assert_same_tokens(&want, &got, what);
                const weir_session_stats there = got.stats;
                text_run(o.on_cpu, &opt, prompt, &got);
                assert_same_tokens(&want, &got, what);
                cr_expect(there.drafted == got.stats.drafted && there.accepted == got.stats.accepted &&
                              there.blocks == got.stats.blocks,
                          "%s: %lld drafts, %lld on the CPU", what, (long long)there.drafted,
                          (long long)got.stats.drafted);
                drafted += there.drafted, accepted += there.accepted;
            }
        }
        cr_expect(drafted > 0 && accepted > 0, "pair %zu", k);
        close_pair(&o);
    }
}

/* Sessions with and without drafts, of several rules, whose seats a launch pads with empty ones. */
enum { SETTINGS = 6 };
static weir_session *start_setting(const void *ud, weir_engine *e, int i) {
    static const struct {
        weir_rule rule;
        float alpha;
        int gamma;
    } of[SETTINGS] = {{WEIR_RULE_EXACT, 0.0f, 4}, {WEIR_RULE_TOKEN_V3, 0.7f, 2},
                      {WEIR_RULE_EXACT, 0.0f, 0}, {WEIR_RULE_TYPICAL, 0.3f, 5},
                      {WEIR_RULE_LOSSY, 0.5f, 1}, {WEIR_RULE_EXACT, 0.0f, 7}};
    weir_session_options o = text_greedy(of[i].gamma, 6 + i);
    (void)ud;
    o.law.rule = (int32_t)of[i].rule;
    o.law.alpha = of[i].alpha;
    o.law.beta = weir_rule_facts(of[i].rule)->beta_default;
    return text_start(e, &o, i);
}

Test(cuda_text_draft, answers_do_not_depend_on_what_runs_beside_them) {
    static answer alone[SETTINGS], together[SETTINGS];
    opened o = open_pair(&pairs[0], 3);
    for (int i = 0; i < SETTINGS; i++) {
        weir_session *s = start_setting(NULL, o.there, i);
        cr_assert_eq(weir_step(o.there, &s, 1, 1000, NULL), WEIR_OK);
        answer_take(s, &alone[i]);
        weir_session_free(s);
    }
    answer_run_together(o.there, 3, 1000, false, start_setting, NULL, SETTINGS, together);
    for (int i = 0; i < SETTINGS; i++) answer_assert_same(&alone[i], &together[i], "together");
    close_pair(&o);
}

/* ---- several devices ----------------------------------------------------------------------------------- */

/* Blocks that the host calls between loops that the devices run on their own: of the verifier alone, too. */
Test(cuda_text_draft, two_devices_write_what_one_writes) {
    enum { RUNS = 5 };
    static const int order[RUNS] = {2, 0, 2, 1, 4};
    static const int ranks[][2] = {{1, 0}, {2, 2}, {2, 1}}; /* of the verifier, of the drafter's layers */
    static const text_sides wide = {
        {{"tiny_qwen2", false, 0.3f, 0, 0}, {"tiny_smollm", true, 0.3f, 24, 1500}}};
    static answer want[RUNS], got;
    char *dir[2];
    const char *const both = device_ranks("2") > 1 ? "cuda:0,1" : "cuda:0,0";
    text_write(&wide, dir);
    for (size_t k = 0; k < sizeof ranks / sizeof *ranks; k++) {
        weir_engine_options opt = text_options(dir, 1, 96);
        int64_t accepted = 0;
        opt.device = k == 0 ? "cuda:0" : both, opt.tp = ranks[k][0], opt.draft_tp = ranks[k][1];
        opt.quantize = opt.quantize_draft = "q8_0"; /* floats of decoders are not shared out */
        weir_engine *e = text_open(&opt);
        for (int i = 0; i < RUNS; i++) {
            weir_session *s = start_setting(NULL, e, order[i]);
            cr_assert_eq(weir_step(e, &s, 1, 1000, NULL), WEIR_OK);
            answer_take(s, k == 0 ? &want[i] : &got);
            weir_session_free(s);
            accepted += want[i].stats.accepted;
            if (k == 0) continue;
            answer_assert_same(&want[i], &got, "two devices");
            answer_assert_same_books(&want[i], &got, "two devices");
        }
        cr_expect_gt(accepted, 0);
        weir_engine_close(e);
    }
    for (int i = 0; i < 2; i++) files_remove_dir(dir[i]);
}

Test(cuda_text_draft, a_drafter_that_is_broken_ends_the_session) {
    opened o = open_pair(&text_broken, 1);
    text_ends_broken(o.there);
    close_pair(&o);
}

Test(cuda_text_draft, its_parts_are_timed) {
    opened o = open_pair(&pairs[0], 1);
    text_is_timed(o.there);
    close_pair(&o);
}

/* gamma auto goes by blocks as the host calls them. */
Test(cuda_text_draft, gamma_auto_is_measured) {
    static answer want, got;
    opened o = open_pair(&pairs[0], 1);
    weir_engine_options opt = text_options(o.dir, 1, 96);
    weir_engine_facts f;
    opt.device = "cuda:0", opt.costs = NULL;
    weir_engine *e = text_open(&opt);
    weir_engine_get_facts(e, &f);
    const bool measured = strcmp(f.costs_from, "measured") == 0; /* a busy machine leaves a guess */
    cr_expect(measured || strcmp(f.costs_from, "a guess") == 0, "%s", f.costs_from);
    const weir_session_options alone = text_greedy(0, 12);
    weir_session_options with = text_greedy(1, 12);
    with.n_draft = WEIR_GAMMA_AUTO;
    text_run(o.on_cpu, &alone, 0, &want);
    text_run(e, &with, 0, &got);
    assert_same_tokens(&want, &got, "gamma auto");
    weir_engine_close(e);
    close_pair(&o);
}
