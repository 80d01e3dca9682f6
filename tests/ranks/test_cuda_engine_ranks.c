/* Engines over several devices, or several ranks of one: bit for bit what one device says. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/deck/block_program.h"
#include "kernels/comm/comm.h"
#include "tests/host/pairs/decoder_pair.h"
#include "tests/host/pairs/tiny_pair.h"
#include "tests/support/costs.h"
#include "tests/support/device.h"
#include "tests/support/files.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { MOST_RANKS = 2 };
#else
enum { MOST_RANKS = WEIR_MAX_RANKS };
#endif

static int n_device;

/* Skips, or fails, where there is no device. */
static void need_devices(void) { n_device = device_ranks("8"); }

/* "cuda:0,1,…" as far as there are so many, or "cuda:0,0,…". */
static const char *devices(char text[32], int n, bool apart) {
    int at = snprintf(text, 32, "cuda");
    for (int i = 0; i < n; i++)
        at += snprintf(text + at, 32 - (size_t)at, "%c%d", i ? ',' : ':', apart ? i % n_device : 0);
    return text;
}

static weir_engine *open_pair(const tiny_pair *p, int n_rank, int draft_rank, bool apart, bool no_graph) {
    char names[32];
    weir_engine_options o = tiny_options(p, devices(names, n_rank, apart), 2);
    weir_engine *e = NULL;
    weir_err err = {""};
    o.tp = n_rank, o.draft_tp = draft_rank, o.no_graph = no_graph;
    cr_assert_eq(weir_engine_open(&e, &o, &err), WEIR_OK, "%d ranks on %s: %s", n_rank, names, err.text);
    return e;
}

static weir_session_options setting(int i) {
    static const weir_rule rule[] = {WEIR_RULE_EXACT, WEIR_RULE_OPT, WEIR_RULE_CHOW, WEIR_RULE_TOKEN_V1};
    weir_session_options o = weir_session_options_default();
    o.law.rule = rule[i % 4];
    o.law.alpha = weir_rule_facts(o.law.rule)->alpha_default;
    o.law.beta = weir_rule_facts(o.law.rule)->beta_default;
    o.law.temp = i % 3 == 2 ? 0.0f : 0.8f;
    if (i % 2) o.law.top_k = 40;
    if (i == 5) o.method = WEIR_METHOD_TOKEN_CASCADE, o.law.rule = WEIR_RULE_CHOW, o.law.alpha = 0.9f;
    o.n_draft = 3;
    o.max_tokens = 6;
    o.seed = (uint64_t)i + 3;
    o.ignore_eos = true;
    return o;
}
enum { SETTINGS = 6 };

static void run_all(weir_engine *e, answer out[SETTINGS]) {
    for (int i = 0; i < SETTINGS; i++) {
        const weir_session_options o = setting(i);
        tiny_run(e, &o, i, &out[i]);
    }
}

static void expect_same(const answer want[SETTINGS], const answer got[SETTINGS], const char *what) {
    for (int i = 0; i < SETTINGS; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s, setting %d", what, i);
        answer_assert_same(&want[i], &got[i], name);
    }
}

static void t5_on_ranks(weir_dtype dtype, int most) {
    static answer want[SETTINGS], got[SETTINGS];
    tiny_pair p;
    tiny_pair_write(&p, dtype, NULL);
    weir_engine *one = tiny_open(&p, "cuda", 2);
    run_all(one, want);
    weir_engine_close(one);
    for (int n = 2; n <= most; n *= 2) {
        char what[48];
        weir_engine *e = open_pair(&p, n, n == 4 ? 1 : n, n != 4, false);
        snprintf(what, sizeof what, "%d ranks", n);
        run_all(e, got);
        expect_same(want, got, what);
        weir_engine_close(e);
    }
    tiny_pair_remove(&p);
}

Test(cuda_engine_ranks, a_t5_of_f32) {
    need_devices();
    t5_on_ranks(WEIR_DTYPE_F32, 2);
}

Test(cuda_engine_ranks, a_t5_of_bf16) {
    need_devices();
    t5_on_ranks(WEIR_DTYPE_BF16, MOST_RANKS < 4 ? MOST_RANKS : 4); /* every rank runs the encoder */
}

/* ---- prompt lookup, on rank 0's device alone ---- */

Test(cuda_engine_ranks, drafts_are_looked_up_on_one_device) {
    static answer want[4], got;
    tiny_pair p;
    need_devices();
    tiny_pair_write(&p, WEIR_DTYPE_BF16, NULL);
    for (int n = 1; n <= 2; n++) {
        char names[32];
        weir_engine_options opt = tiny_options(&p, devices(names, n, true), 2);
        weir_engine *e = NULL;
        weir_err err = {""};
        int64_t drafted = 0;
        opt.model_draft = WEIR_NGRAM, opt.lookup_min = 1, opt.tp = n;
        cr_assert_eq(weir_engine_open(&e, &opt, &err), WEIR_OK, "%s", err.text);
        for (int i = 0; i < 4; i++) {
            weir_session_options o = setting(0);
            o.law.rule = i % 2 ? WEIR_RULE_TOKEN_V3 : WEIR_RULE_EXACT;
            o.law.alpha = i % 2 ? 0.9f : 0.0f;
            o.law.temp = i < 2 ? 0.8f : 0.0f;
            o.max_tokens = 10;
            tiny_run(e, &o, i, n == 1 ? &want[i] : &got);
            drafted += want[i].stats.drafted;
            if (n > 1) answer_assert_same(&want[i], &got, "two devices");
            if (n > 1) answer_assert_same_books(&want[i], &got, "two devices");
        }
        cr_assert(drafted > 0);
        weir_engine_close(e);
    }
    tiny_pair_remove(&p);
}

/* ---- the place of the drafter's layers, chosen by measurement ---- */

Test(cuda_engine_ranks, devices_that_choose_write_what_one_writes) {
    static answer want, got;
    const weir_session_options o = setting(1);
    tiny_pair p;
    need_devices();
    tiny_pair_write(&p, WEIR_DTYPE_BF16, NULL);
    weir_engine *e = tiny_open(&p, "cuda", 2);
    tiny_run(e, &o, 1, &want);
    weir_engine_close(e);
    for (int apart = 0; apart < 2; apart++) {
        weir_engine_facts f;
        e = open_pair(&p, 2, 0, apart == 1, false);
        weir_engine_get_facts(e, &f);
        cr_expect(strncmp(f.draft_choice, "exchange ", 9) == 0, "%s", f.draft_choice);
        tiny_run(e, &o, 1, &got);
        answer_assert_same(&want, &got, apart ? "two devices" : "one device twice");
        weir_engine_close(e);
    }
    tiny_pair_remove(&p);
}

/* A drafter that cannot be shared out is whole where the engine chooses, and an error where all are asked
 * for. */
Test(cuda_engine_ranks, float_drafters_are_whole) {
    need_devices();
    for (int draft = 0; draft <= 2; draft += 2) {
        weir_engine_options o = weir_engine_options_default();
        o.costs = TEST_COSTS;
        weir_engine_facts f;
        weir_engine *e = NULL;
        weir_err err = {""};
        o.model = WEIR_SOURCE_DIR "/tests/golden/decoder/gemma2_bf16";
        o.model_draft = WEIR_SOURCE_DIR "/tests/golden/decoder/llama_f32";
        o.device = "cuda:0,1", o.ctx_size = 64, o.tp = 2, o.draft_tp = draft;
        const weir_status s = weir_engine_open(&e, &o, &err);
        cr_assert_eq(s, draft == 0 ? WEIR_OK : WEIR_ENOTSUP, "%s", err.text);
        if (s != WEIR_OK) continue;
        weir_engine_get_facts(e, &f);
        cr_expect_eq(f.draft_rank, 1);
        cr_expect_str_eq(f.draft_choice,
                         "prompts with its float weights need all of them: whole on every rank");
        weir_engine_close(e);
    }
}

/* ---- decoders, with windows, and several sessions at once ---- */

static weir_engine *open_decoders(int n_rank, bool apart, bool no_graph) {
    char names[32];
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    weir_engine *e = NULL;
    weir_err err = {""};
    o.model = WEIR_SOURCE_DIR "/tests/golden/decoder/gemma2_bf16";
    o.model_draft = WEIR_SOURCE_DIR "/tests/golden/decoder/llama_bf16";
    o.device = devices(names, n_rank, apart);
    o.n_parallel = 3, o.ctx_size = 128, o.max_draft = 4, o.no_graph = no_graph;
    o.tp = o.draft_tp = n_rank;
    cr_assert_eq(weir_engine_open(&e, &o, &err), WEIR_OK, "%d ranks on %s: %s", n_rank, names, err.text);
    return e;
}

static weir_session *start_decoder(const void *ud, weir_engine *e, int i) {
    (void)ud;
    weir_session_options o = setting(i);
    o.max_tokens = 10 + i;
    return decoder_start(e, &o, i, NULL, NULL);
}

Test(cuda_engine_ranks, decoders_with_windows_in_company) {
    static answer want[SETTINGS], got[SETTINGS];
    need_devices();
    weir_engine *e = open_decoders(1, true, false);
    answer_run_together(e, 3, 2, true, start_decoder, NULL, SETTINGS, want);
    weir_engine_close(e);
    for (int called = 0; called < 2; called++) {
        e = open_decoders(called ? 2 : MOST_RANKS > 4 ? 4 : MOST_RANKS, called == 0, called == 1);
        answer_run_together(e, 3, 2, true, start_decoder, NULL, SETTINGS, got);
        weir_engine_close(e);
        expect_same(want, got, called ? "called, 2 ranks" : "loop");
    }
}

/* ---- what cannot be ---- */

Test(cuda_engine_ranks, devices_that_cannot_be_are_named) {
    need_devices();
    static const struct {
        const char *device;
        int tp;
        const char *model, *says;
    } wrong[] = {
        {"cuda:0,1", 1, "gemma2_bf16", "device cuda:0,1 names 2 for 1 ranks (-tp)"},
        {"cuda:3", 2, "gemma2_bf16", "device cuda:3 names 1 for 2 ranks (-tp)"},
        {"cuda:0,", 2, "gemma2_bf16", "device cuda:0, is not one of cpu, cuda[:N[,N...]], auto"},
        {"cuda:0,x", 2, "gemma2_bf16", "device cuda:0,x is not one of cpu, cuda[:N[,N...]], auto"},
        {"cuda:0,99", 2, "gemma2_bf16", "device cuda:99: this machine has "},
        {"cuda:0,0", 2, "gemma2_f32", "a decoder with f32 weights over several devices"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char dir[256];
        weir_engine_options o = weir_engine_options_default();
        o.costs = TEST_COSTS;
        weir_engine *e = NULL;
        weir_err err = {""};
        snprintf(dir, sizeof dir, WEIR_SOURCE_DIR "/tests/golden/decoder/%s", wrong[i].model);
        o.model = dir, o.device = wrong[i].device, o.tp = wrong[i].tp, o.ctx_size = 64;
        cr_expect_neq(weir_engine_open(&e, &o, &err), WEIR_OK);
        cr_expect(strstr(err.text, wrong[i].says) && err_is_line(&err, ""), "%s: %s", wrong[i].device,
                  err.text);
    }
}

/* ---- words from outside while the devices run on their own ---- */

typedef struct outsider {
    weir_engine *e;
    bool ends; /* the group; else it asks the loop to stop, as a cancel does */
    pthread_t thread;
} outsider;

/* Soon after the start of a launch of many blocks. */
static void *intervene(void *arg) {
    const outsider *a = arg;
    const struct timespec nap = {.tv_nsec = 60 * 1000 * 1000};
    nanosleep(&nap, NULL);
    weir_loop_flags *flags = a->e->deck.loop->mapped_flags;
    if (a->ends)
        weir__comm_abort(a->e->pair.be->comm, WEIR_EIO, "the disk is on fire");
    else
        __atomic_store_n(&flags->stop, 1, __ATOMIC_RELEASE);
    return NULL;
}

static weir_session *long_session(weir_engine *e) {
    weir_session_options o = setting(0);
    o.max_tokens = 40;
    return tiny_session(e, &o, 3);
}

Test(cuda_engine_ranks, a_loop_that_is_asked_to_stop_ends_on_all_ranks) {
    static answer want, got;
    need_devices();
    tiny_pair p;
    tiny_pair_write(&p, WEIR_DTYPE_BF16, NULL);
    for (int stop = 0; stop < 2; stop++) {
        weir_err err = {""};
        outsider a = {.e = open_pair(&p, 2, 2, true, false)};
        weir_session *s = long_session(a.e);
        if (stop) cr_assert_eq(pthread_create(&a.thread, NULL, intervene, &a), 0);
        for (int i = 0; i < 100 && weir_session_state(s) == WEIR_RUNNING; i++)
            cr_assert_eq(weir_step(a.e, &s, 1, 32, &err), WEIR_OK, "%s", err.text);
        if (stop) pthread_join(a.thread, NULL);
        answer_take(s, stop ? &got : &want);
        weir_session_free(s);
        weir_engine_close(a.e);
    }
    answer_assert_same(&want, &got, "stopped in between");
    tiny_pair_remove(&p);
}

Test(cuda_engine_ranks, a_group_that_ends_in_a_loop_fails_the_step_with_its_reason) {
    need_devices();
    tiny_pair p;
    tiny_pair_write(&p, WEIR_DTYPE_BF16, NULL);
    weir_err err = {""};
    outsider a = {.e = open_pair(&p, 2, 2, true, false), .ends = true};
    weir_session *s = long_session(a.e);
    cr_assert_eq(pthread_create(&a.thread, NULL, intervene, &a), 0);
    weir_status st = WEIR_OK;
    for (int i = 0; i < 100 && st == WEIR_OK && weir_session_state(s) == WEIR_RUNNING; i++)
        st = weir_step(a.e, &s, 1, 32, &err);
    pthread_join(a.thread, NULL);
    cr_expect_eq(st, WEIR_ECOMM);
    cr_expect_str_eq(err.text, "rank 0: the disk is on fire");
    cr_expect_eq(weir_step(a.e, &s, 1, 1, &err), WEIR_ECOMM);
    weir_session_free(s);
    weir_engine_close(a.e);
    tiny_pair_remove(&p);
}
