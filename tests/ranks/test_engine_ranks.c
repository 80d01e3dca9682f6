/* Engines over several ranks: every token, source and log-probability of one rank, whatever else is served.
 * And how a group ends. */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/state.h"
#include "kernels/comm/comm.h"
#include "tests/deck/crowd.h"
#include "tests/deck/loop/lookup_cases.h"
#include "tests/formats/gguf_made.h"
#include "tests/support/alloc.h"
#include "tests/support/costs.h"
#include "tests/support/files.h"

/* ---- the same answers ---- */

static weir_engine *open_ranks(int tp, int draft_tp, int n_parallel, weir_err *err) {
    weir_engine_options o = demo_options();
    weir_engine *e = NULL;
    o.n_parallel = n_parallel;
    o.tp = tp, o.draft_tp = draft_tp;
    o.comm_timeout = 60.0;
    return weir_engine_open(&e, &o, err) == WEIR_OK ? e : NULL;
}

/* Every rule, with knobs under which both models write, and each filter and modifier once. */
static weir_session_options setting(int i) {
    weir_session_options o = weir_session_options_default();
    o.max_tokens = 24;
    o.seed = (uint64_t)i + 1;
    o.ignore_eos = true;
    o.law.temp = 0.9f;
    if (i < WEIR_RULE_COUNT) {
        o.law.rule = (weir_rule)i;
        o.law.alpha = weir_rule_facts(o.law.rule)->alpha_default;
        o.law.beta = weir_rule_facts(o.law.rule)->beta_default;
        return o;
    }
    o.law.rule = i % 2 ? WEIR_RULE_OPT : WEIR_RULE_EXACT;
    o.law.alpha = i % 2 ? 0.1f : 0.0f;
    switch (i - WEIR_RULE_COUNT) {
    case 0: o.law.top_k = 12; break;
    case 1: o.law.top_p = 0.8f; break;
    case 2: o.law.min_p = 0.05f; break;
    case 3: o.law.temp = 0.0f; break;
    case 4: o.law.block_verify = true, o.law.rule = WEIR_RULE_EXACT, o.law.alpha = 0.0f; break;
    case 5: o.n_top = 5; break;
    default: o.law.exact_first = 6; break;
    }
    return o;
}
enum { SETTINGS = WEIR_RULE_COUNT + 7 };

Test(engine_ranks, every_rule_and_filter_writes_what_it_writes_on_one_rank) {
    weir_err err = {""};
    weir_engine *one = open_ranks(1, 0, 1, &err);
    cr_assert_not_null(one, "%s", err.text);
    static answer want[SETTINGS], got;
    for (int i = 0; i < SETTINGS; i++) {
        const weir_session_options o = setting(i);
        answer_run(one, &o, demo_prompts[i % 10], &want[i]);
    }
    weir_engine_close(one);
    const int ranks[][2] = {{2, 2}, {4, 1}, {8, 8}};
    for (size_t r = 0; r < 3; r++) {
        weir_engine *e = open_ranks(ranks[r][0], ranks[r][1], 1, &err);
        cr_assert_not_null(e, "%s", err.text);
        for (int i = (int)r; i < SETTINGS; i += r == 0 ? 1 : 3) {
            char what[64];
            const weir_session_options o = setting(i);
            answer_run(e, &o, demo_prompts[i % 10], &got);
            snprintf(what, sizeof what, "setting %d, %d ranks", i, ranks[r][0]);
            answer_assert_same(&want[i], &got, what);
        }
        weir_engine_close(e);
    }
}

/* Verifier and drafter are one model of the golden files, in f32 and in bf16. */
static weir_engine *open_golden(const char *name, int tp, int draft_tp) {
    weir_engine_options o = weir_engine_options_default();
    weir_engine *e = NULL;
    weir_err err = {""};
    char dir[2][512];
    snprintf(dir[0], sizeof dir[0], WEIR_SOURCE_DIR "/tests/golden/decoder/%s_f32", name);
    snprintf(dir[1], sizeof dir[1], WEIR_SOURCE_DIR "/tests/golden/decoder/%s_bf16", name);
    o.model = dir[0], o.model_draft = dir[1];
    o.device = "cpu", o.costs = TEST_COSTS, o.n_thread = 1, o.ctx_size = 64;
    o.tp = tp, o.draft_tp = draft_tp;
    o.comm_timeout = 60.0;
    cr_assert_eq(weir_engine_open(&e, &o, &err), WEIR_OK, "%s, %d ranks: %s", name, tp, err.text);
    return e;
}

static void run_golden(weir_engine *e, int i, answer *out) {
    static const int32_t prompt[] = {11, 40, 7, 29, 5};
    weir_session_options o = weir_session_options_default();
    weir_session *s = NULL;
    weir_err err = {""};
    o.max_tokens = 20, o.ignore_eos = true, o.seed = 5, o.n_draft = 3;
    o.law.temp = i == 2 ? 0.0f : 0.9f;
    if (i == 1) o.law.rule = WEIR_RULE_TOKEN_V3, o.law.alpha = 0.5f;
    cr_assert_eq(weir_session_create(e, &o, prompt, 5, NULL, NULL, &s, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir_step(e, &s, 1, 1000, &err), WEIR_OK, "%s", err.text);
    answer_take(s, out);
    weir_session_free(s);
}

/* Mixtures of experts, with a shared one and without, and norms that span all heads of q. */
Test(engine_ranks, mixtures_and_norms_over_all_heads) {
    static const char *const names[] = {"qwen2moe", "mixtral", "olmo2"};
    static const int ranks[][2] = {{2, 1}, {4, 4}, {8, 8}};
    static answer want[3], got;
    for (int k = 0; k < 3; k++) {
        weir_engine *one = open_golden(names[k], 1, 0);
        for (int i = 0; i < 3; i++) run_golden(one, i, &want[i]);
        weir_engine_close(one);
        for (int r = 0; r < 3; r++) {
            weir_engine *e = open_golden(names[k], ranks[r][0], ranks[r][1]);
            for (int i = 0; i < 3; i++) {
                run_golden(e, i, &got);
                answer_assert_same(&want[i], &got, names[k]);
            }
            weir_engine_close(e);
        }
    }
}

static void more_tokenizer(gguf_blob *b, const char *arch) {
    (void)arch;
    gguf_text(b, "tokenizer.ggml.model", "gpt2");
    gguf_text(b, "tokenizer.ggml.pre", "qwen2");
    gguf_texts(b, "tokenizer.ggml.merges", NULL, 0);
}

/* A pair of random blocks in GGUF files. */
static weir_engine *open_quantised(const char *dir, uint32_t verifier, uint32_t drafter, int32_t wide,
                                   int tp) {
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    weir_engine *e = NULL;
    weir_err err = {""};
    char *path[2];
    for (int i = 0; i < 2; i++) {
        gguf_blob b = make(&(made){.arch = i ? "llama" : "qwen2",
                                   .n_layer = 2 - i,
                                   .more = more_tokenizer,
                                   .matrix = i ? drafter : verifier,
                                   .seed = 7,
                                   .wide = wide,
                                   .head = true});
        files_write(dir, i ? "drafter.gguf" : "verifier.gguf", b.p, b.n);
        path[i] = files_path(dir, i ? "drafter.gguf" : "verifier.gguf");
        gguf_free(&b);
    }
    o.model = path[0], o.model_draft = path[1];
    o.device = "cpu", o.n_thread = 1, o.ctx_size = 128;
    o.tp = o.draft_tp = tp;
    o.comm_timeout = 60.0;
    cr_assert_eq(weir_engine_open(&e, &o, &err), WEIR_OK, "%s", err.text);
    free(path[0]), free(path[1]);
    return e;
}

static void run_ids(weir_engine *e, const weir_session_options *o, answer *out) {
    static const int32_t prompt[] = {4, 7, 5, 11, 6, 4, 10};
    weir_session *s = NULL;
    weir_err err = {""};
    cr_assert_eq(weir_session_create(e, o, prompt, 7, NULL, NULL, &s, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir_step(e, &s, 1, 1000, &err), WEIR_OK, "%s", err.text);
    answer_take(s, out);
    weir_session_free(s);
}

Test(engine_ranks, quantised_pairs_write_what_they_write_on_one_rank) {
    static const struct {
        uint32_t verifier, drafter;
        int32_t wide; /* blocks of 256 need more than those of 32 */
    } pair[] = {{GGML_Q8_0, GGML_Q4_0, 1}, {GGML_Q4_K, GGML_Q8_0, 8}, {GGML_Q6_K, GGML_Q4_K, 8}};
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) {
        static answer want[6], got;
        char *dir = files_temp_dir();
        for (int tp = 1; tp <= 8; tp *= 2) {
            weir_engine *e = open_quantised(dir, pair[i].verifier, pair[i].drafter, pair[i].wide, tp);
            for (int m = 0; m < 6; m++) {
                const weir_session_options o = method_options((weir_method)m, 24);
                char what[64];
                run_ids(e, &o, tp == 1 ? &want[m] : &got);
                snprintf(what, sizeof what, "pair %zu, method %d, %d ranks", i, m, tp);
                if (tp > 1) answer_assert_same(&want[m], &got, what);
            }
            weir_engine_close(e);
        }
        cr_expect(want[WEIR_METHOD_SPECULATIVE].n == 24 && want[WEIR_METHOD_SPECULATIVE].stats.accepted > 0);
        files_remove_dir(dir);
    }
}

/* Rank 0 looks up; the others have calls of the verifier alone. */
Test(engine_ranks, drafts_are_looked_up_on_rank_0) {
    static const char *const models[] = {"/models/demo/verifier", "/tests/golden/decoder/gemma3_f32",
                                         "/tests/golden/decoder/gptoss_f32"};
    static answer want[LOOKUP_SETTINGS], got;
    for (int k = 0; k < 3; k++)
        for (int tp = 1; tp <= 4; tp *= 2) {
            char dir[300];
            weir_engine_options o = weir_engine_options_default();
            weir_engine *e = NULL;
            weir_err err = {""};
            snprintf(dir, sizeof dir, "%s%s", WEIR_SOURCE_DIR, models[k]);
            o.model = dir, o.model_draft = WEIR_NGRAM, o.device = "cpu";
            o.n_thread = 1, o.ctx_size = 128, o.tp = tp, o.comm_timeout = 60.0;
            cr_assert_eq(weir_engine_open(&e, &o, &err), WEIR_OK, "%s", err.text);
            for (int i = 0; i < LOOKUP_SETTINGS; i += lookup_nth()) {
                const weir_session_options s = lookup_setting(i, 24);
                char what[64];
                lookup_run(e, &s, i, 1000, tp == 1 ? &want[i] : &got);
                snprintf(what, sizeof what, "model %d, setting %d, %d ranks", k, i, tp);
                if (tp > 1) answer_assert_same(&want[i], &got, what);
            }
            weir_engine_close(e);
        }
}

/* Sessions in random turns, with few pages, suspensions, and prompts that begin alike. */
Test(engine_ranks, a_crowd_of_t5_sessions) {
    const crowd c = {.n_parallel = 3,
                     .pages = 9,
                     .ctx_size = 160,
                     .pair = CROWD_SMALL,
                     .limit = 40,
                     .prefix_cache = true,
                     .tp = 2,
                     .draft_tp = 2};
    crowd_same_as_alone(&c, 12, 2);
}

Test(engine_ranks, a_crowd_of_decoder_sessions_with_windows) {
    const crowd c = {.n_parallel = 3, .ctx_size = 300, .pair = 0, .limit = 40, .tp = 4, .draft_tp = 1};
    crowd_same_as_alone(&c, 12, 1);
}

Test(engine_ranks, a_crowd_of_decoder_sessions_that_share_prompts) {
    const crowd c = {.n_parallel = 3,
                     .pages = 6,
                     .ctx_size = 300,
                     .pair = 2,
                     .limit = 90,
                     .prefix_cache = true,
                     .tp = 2,
                     .draft_tp = 2};
    crowd_same_as_alone(&c, 12, 2);
}

Test(engine_ranks, scores_are_those_of_one_rank) {
    weir_err err = {""};
    static const int32_t prompt[] = {17, 233, 4001, 8, 1}, completion[] = {5, 90, 2004, 5900, 31, 7};
    float want[6], got[6];
    for (int tp = 1; tp <= 8; tp *= 2) {
        weir_engine *e = open_ranks(tp, tp, 1, &err);
        cr_assert_not_null(e, "%s", err.text);
        cr_assert_eq(weir_score(e, prompt, 5, completion, 6, tp == 1 ? want : got, &err), WEIR_OK, "%s",
                     err.text);
        cr_expect(tp == 1 || memcmp(want, got, sizeof want) == 0, "%d ranks", tp);
        weir_engine_close(e);
    }
}

/* Exchanges are timed by their size, after the parts that one rank has too; and the group goes on. */
Test(engine_ranks, a_bench_times_exchanges) {
    weir_err err = {""};
    weir_engine *e = open_ranks(2, 0, 1, &err);
    cr_assert_not_null(e, "%s", err.text);
    weir_bench_row row[32];
    int n = 0, exchanges = 0;
    for (int twice = 0; twice < 2; twice++) {
        cr_assert_eq(weir_bench(e, 16, 2, 3, 2, row, 32, &n, &err), WEIR_OK, "%s", err.text);
        for (int i = exchanges = 0; i < n; i++) {
            if (strncmp(row[i].name, "exchange, ", 10) != 0) continue;
            cr_expect(row[i].seconds_p50 > 0.0 && row[i].rows == 2);
            exchanges++;
        }
        cr_expect_eq(exchanges, 5);
    }
    weir_engine_close(e);
}

/* ---- what any thread may ask ---- */

static atomic_bool asks;
static void *ask_on(void *arg) {
    weir_ranks_facts last = {0}, now;
    while (atomic_load(&asks)) {
        weir_engine_ranks(arg, &now);
        cr_assert(now.exchanges >= last.exchanges && now.bytes >= last.bytes && !now.ended);
        last = now;
    }
    return NULL;
}

/* Counts rise while tokens are written, and are those of rank 0's handle. */
Test(engine_ranks, exchanges_are_counted_for_other_threads) {
    weir_err err = {""};
    weir_engine *e = open_ranks(2, 0, 1, &err);
    cr_assert_not_null(e, "%s", err.text);
    weir_ranks_facts before, after;
    pthread_t thread;
    static answer got;
    weir_session_options o = weir_session_options_default();
    o.max_tokens = 8;
    weir_engine_ranks(e, &before);
    atomic_store(&asks, true);
    cr_assert_eq(pthread_create(&thread, NULL, ask_on, e), 0);
    answer_run(e, &o, demo_prompts[0], &got);
    atomic_store(&asks, false);
    pthread_join(thread, NULL);
    weir_engine_ranks(e, &after);
    cr_expect(after.n_rank == 2 && after.exchanges > before.exchanges && after.bytes > before.bytes);
    cr_expect(after.exchanges == e->pair.be->comm->gathered && after.bytes == e->pair.be->comm->bytes);
    weir_engine_close(e);
    e = open_ranks(1, 0, 1, &err);
    cr_assert_not_null(e, "%s", err.text);
    answer_run(e, &o, demo_prompts[0], &got);
    weir_engine_ranks(e, &after);
    cr_expect(after.n_rank == 1 && after.exchanges == 0 && after.bytes == 0 && !after.ended);
    weir_engine_close(e);
}

/* ---- the plan ---- */

static size_t live_bytes;
static void *count_alloc(void *ud, size_t align, size_t bytes) {
    (void)ud;
    size_t *p = aligned_alloc(align, bytes + align); /* align is 64, bytes whole lines */
    if (!p) return NULL;
    p[0] = bytes;
    __atomic_fetch_add(&live_bytes, bytes, __ATOMIC_RELAXED);
    return (char *)p + align;
}
static void count_free(void *ud, void *at) {
    (void)ud;
    size_t *p = (size_t *)(void *)((char *)at - 64);
    __atomic_fetch_sub(&live_bytes, p[0], __ATOMIC_RELAXED);
    free(p);
}

/* Bytes that are allocated beyond the plan. */
static double excess(const char *verifier, const char *drafter, int tp, double *plan) {
    weir_engine_options o = weir_engine_options_default();
    weir_engine_facts f, planned;
    weir_engine *e = NULL;
    weir_err err = {""};
    o.costs = TEST_COSTS;
    o.model = verifier, o.model_draft = drafter;
    o.device = "cpu", o.n_thread = 1, o.n_parallel = 4, o.ctx_size = 256, o.dry_run = true;
    o.tp = o.draft_tp = tp;
    cr_assert_eq(weir_engine_open(&e, &o, &err), WEIR_OK, "%s", err.text);
    weir_engine_get_facts(e, &planned);
    const size_t before = __atomic_load_n(&live_bytes, __ATOMIC_RELAXED);
    weir_engine_close(e);
    o.dry_run = false;
    cr_assert_eq(weir_engine_open(&e, &o, &err), WEIR_OK, "%s", err.text);
    weir_engine_get_facts(e, &f);
    const double grown = (double)(__atomic_load_n(&live_bytes, __ATOMIC_RELAXED) - before);
    *plan = (double)planned.plan_total;
    cr_expect_eq(f.plan_total, planned.plan_total);
    weir_engine_close(e);
    return grown - *plan;
}

static double excess_of_golden(const char *name, int tp) {
    char dir[2][512];
    double plan;
    snprintf(dir[0], sizeof dir[0], WEIR_SOURCE_DIR "/tests/golden/decoder/%s_f32", name);
    snprintf(dir[1], sizeof dir[1], WEIR_SOURCE_DIR "/tests/golden/decoder/%s_bf16", name);
    return excess(dir[0], dir[1], tp, &plan);
}

/* Weights, pages and scratch of all ranks are what the plan says; the largest rank has a share, and what all
 * have. Beside tiny models what no plan has (threads, queues) is much, but as much for a mixture. */
Test(engine_ranks, the_plan_of_all_ranks_is_what_is_allocated) {
    weir_set_allocator(&(weir_allocator){count_alloc, count_free, NULL});
    for (int tp = 1; tp <= 8; tp *= 2) {
        double plan;
        const double more = excess(WEIR_SOURCE_DIR "/models/demo/verifier",
                                   WEIR_SOURCE_DIR "/models/demo/drafter", tp, &plan);
        cr_expect(fabs(more) < 0.02 * plan, "%d ranks: %.0f bytes beyond %.0f", tp, more, plan);
        const double dense = excess_of_golden("llama", tp), mixture = excess_of_golden("qwen2moe", tp);
        cr_expect(fabs(mixture - dense) < 4096, "%d ranks: %.0f, of a mixture %.0f", tp, dense, mixture);
    }
    weir_set_allocator(NULL);
}

/* ---- what cannot be ---- */

Test(engine_ranks, options_that_cannot_be_are_named) {
    const struct {
        int tp, draft_tp;
        const char *comm;
        double timeout;
        const char *says;
    } wrong[] = {
        {3, 0, NULL, 0, "tensor-parallel size 3 is not one of 1, 2, 4, 8"},
        {16, 0, NULL, 0, "tensor-parallel size 16 is not one of 1, 2, 4, 8"},
        {-2, 0, NULL, 0, "tensor-parallel size -2 is not one of 1, 2, 4, 8"},
        {4, 2, NULL, 0, "tensor-parallel size of the drafter 2 is neither 1 nor the verifier's 4"},
        {1, 8, NULL, 0, "tensor-parallel size of the drafter 8 is neither 1 nor the verifier's 1"},
        {2, 0, "nccl", 0, "comm nccl is for CUDA devices, and the ranks are on the CPU"},
        {2, 0, "pigeon", 0, "comm pigeon is not one of auto, local, mpi, nccl"},
        {2, 0, NULL, -1, "deadline of an exchange -1 is outside [0, 86400] s"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        weir_engine_options o = demo_options();
        weir_engine *e = NULL;
        weir_err err = {""};
        o.tp = wrong[i].tp, o.draft_tp = wrong[i].draft_tp, o.comm = wrong[i].comm;
        o.comm_timeout = wrong[i].timeout;
        cr_expect_eq(weir_engine_open(&e, &o, &err), WEIR_EINVAL);
        cr_expect_str_eq(err.text, wrong[i].says);
    }
}

/* ---- the end of a group ---- */

/* A member reports a failure while rank 0 writes: the step reports it, and nothing more can be run. */
Test(engine_ranks, a_rank_that_fails_ends_the_engine_with_its_reason) {
    weir_err err = {""};
    weir_engine *e = open_ranks(2, 0, 1, &err);
    cr_assert_not_null(e, "%s", err.text);
    weir_session_options o = weir_session_options_default();
    weir_session *s = demo_session(e, &o, demo_prompts[0]);
    cr_assert_eq(weir_step(e, &s, 1, 1, &err), WEIR_OK, "%s", err.text);
    weir_ranks_facts f;
    weir__comm_abort(e->pair.be->comm, WEIR_EIO, "the disk is on fire");
    weir_engine_ranks(e, &f);
    cr_expect(f.ended && strcmp(f.why.text, "rank 0: the disk is on fire") == 0, "%s", f.why.text);
    cr_expect_eq(weir_step(e, &s, 1, 1, &err), WEIR_ECOMM);
    cr_expect_str_eq(err.text, "rank 0: the disk is on fire");
    cr_expect_eq(weir_step(e, &s, 1, 1, &err), WEIR_ECOMM);
    weir_session_free(s);
    weir_engine_close(e);
}

/* The queue fails every request with the reason, and takes no more. */
Test(engine_ranks, a_queue_over_a_broken_group_ends_its_requests) {
    weir_err err = {""};
    weir_engine *e = open_ranks(2, 0, 2, &err);
    weir_queue *q = NULL;
    cr_assert_not_null(e, "%s", err.text);
    cr_assert_eq(weir_queue_open(&q, e, NULL, &err), WEIR_OK);
    static const int32_t prompt[] = {17, 233, 4001, 8, 1};
    weir_queue_job job[2];
    weir_request *r[2];
    for (int i = 0; i < 2; i++) {
        job[i] = weir_queue_job_default();
        job[i].prompt = prompt, job[i].n_prompt = 5, job[i].options.ignore_eos = true;
    }
    cr_assert_eq(weir_queue_submit(q, job, 2, r, &err), WEIR_OK, "%s", err.text);
    int ended = 0;
    for (int i = 0; ended < 2; i++) {
        weir_queue_event ev;
        weir_queue_next(q, 0.0, &ev);
        if (i == 3) weir__comm_abort(e->pair.be->comm, WEIR_EIO, "the disk is on fire");
        if (ev.kind != WEIR_QUEUE_END) continue;
        cr_expect_eq(ev.status, WEIR_ECOMM);
        cr_expect_str_eq(ev.err.text, "rank 0: the disk is on fire");
        ended++;
    }
    weir_request *more = NULL;
    cr_expect_eq(weir_queue_submit(q, job, 1, &more, &err), WEIR_ECOMM);
    for (int i = 0; i < 2; i++) weir_request_free(r[i]);
    weir_queue_close(q);
    weir_engine_close(e);
}

/* An interrupt between two steps of a prompt: no rank is left waiting, and the prompt can be read again. */
static int asked;
static bool third_time(void *ud) {
    (void)ud;
    return ++asked == 3;
}

Test(engine_ranks, an_interrupted_prompt_leaves_the_ranks_together) {
    weir_engine_options o = demo_options();
    weir_err err = {""};
    o.model_draft = NULL, o.tp = 2;
    o.interrupt = (weir_interrupt){third_time, NULL};
    weir_engine *e = engine_open(&o);
    static const int32_t prompt[] = {17, 233, 4001, 8, 1}, completion[] = {5, 90};
    float first[2], second[2];
    asked = 0;
    cr_expect_eq(weir_score(e, prompt, 5, completion, 2, first, &err), WEIR_ECANCELED);
    asked = 10;
    cr_expect_eq(weir_score(e, prompt, 5, completion, 2, first, &err), WEIR_OK, "%s", err.text);
    cr_expect_eq(weir_score(e, prompt, 5, completion, 2, second, &err), WEIR_OK, "%s", err.text);
    cr_expect_eq(memcmp(first, second, sizeof first), 0);
    weir_engine_close(e);
}

/* Each allocation fails once, on whichever rank it then is: one line, nothing left, nobody waits. */
Test(engine_ranks, failing_allocations_leave_nothing_behind) {
    long n_failed = 0;
    for (long n = 1;; n += 1 + n / 40) {
        weir_err err = {""};
        alloc_install(n);
        weir_engine *e = open_ranks(2, 0, 1, &err);
        if (e) weir_engine_close(e);
        cr_expect_eq(alloc_live(), 0, "allocation %ld: %ld left", n, alloc_live());
        alloc_uninstall();
        if (e) break;
        n_failed++;
        cr_expect(err_is_line(&err, ""), "allocation %ld: \"%s\"", n, err.text);
        cr_assert_lt(n, 20000);
    }
    cr_expect_gt(n_failed, 20);
}

/* One allocation alone fails: where it is the member's, rank 0 says whose failure it was. */
Test(engine_ranks, a_member_that_cannot_open_is_named) {
    int named = 0;
    alloc_install(0);
    weir_engine_close(open_ranks(2, 0, 1, NULL));
    const long count = alloc_count();
    alloc_uninstall();
    for (long n = 0; n < count; n += 1 + n / 12) {
        weir_err err = {""};
        alloc_install(0);
        alloc_fail_only(n);
        weir_engine *e = open_ranks(2, 0, 1, &err);
        if (e) weir_engine_close(e); /* nobody needed it */
        cr_expect_eq(alloc_live(), 0, "allocation %ld: %ld left", n, alloc_live());
        alloc_uninstall();
        cr_expect(e || err_is_line(&err, ""), "allocation %ld: \"%s\"", n, err.text);
        named += strncmp(err.text, "rank 1: ", 8) == 0;
    }
    cr_expect_gt(named, 0);
}
