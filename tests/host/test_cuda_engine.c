/* The whole engine on a device: every method and rule, what they must agree on, and the CPU's word on the
 * same weights. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/deck/block_loop.h"
#include "tests/host/pairs/tiny_pair.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"
#include "tests/support/files.h"

enum { N_MIXED = 6 };

static const weir_dtype dtypes[] = {WEIR_DTYPE_F32, WEIR_DTYPE_BF16};

/* A GPU does all of a case in moments; the runner, which takes a tenth of a second a block, gets a sample. */
static bool whole;
static int limit;

/* Skips, or fails, where there is no device. */
static void need_device(void) {
    weir_backend *be = device_open();
    whole = !device_is_runner(be);
    limit = whole ? 14 : 4;
    weir__backend_close(be);
}

/* The engine that calls the loop's ops block by block. */
static weir_engine *open_called(const tiny_pair *p, int n_parallel) {
    weir_engine *e = tiny_open(p, "cuda", n_parallel);
    weir__block_loop_close(e->deck.loop);
    cr_assert(weir__block_loop_open(&e->deck.loop, e, false) == WEIR_OK);
    return e;
}

static weir_session_options setting(weir_method method, weir_rule rule, float temp) {
    weir_session_options o = weir_session_options_default();
    const weir_rule_info *info = weir_rule_facts(rule);
    o.method = method;
    o.law.rule = rule;
    o.law.alpha = info->alpha_default;
    o.law.beta = info->beta_default;
    o.law.temp = temp;
    o.n_draft = whole ? 4 : 3;
    o.max_tokens = limit;
    o.seed = 11;
    return o;
}

/* ---- against the CPU ----------------------------------------------------------------------------------- */

/* Tokens are the CPU's: logits in f32 differ by 1e-5 of their size, so a decision would have to hang by less
 * than that, which is seen once in some 10^4 of them; there are 10^3 here, and the seed is fixed.
 * Log-probabilities within 1e-4, the bound of a model's logits. */
static void assert_like(const answer *cpu, const answer *dev, const char *what) {
    cr_assert(cpu->n == dev->n && memcmp(cpu->ids, dev->ids, cpu->n * sizeof *cpu->ids) == 0,
              "%s: other tokens", what);
    cr_assert(memcmp(cpu->sources, dev->sources, cpu->n) == 0, "%s: other sources", what);
    cr_assert(cpu->finish == dev->finish && cpu->stats.blocks == dev->stats.blocks, "%s: other books", what);
    for (size_t i = 0; i < cpu->n; i++) {
        const float a = cpu->logprobs[i], b = dev->logprobs[i], c = cpu->policy[i], d = dev->policy[i];
        cr_assert((isnan(a) && isnan(b)) || fabsf(a - b) <= 1e-4f, "%s: token %zu, log p %g, then %g", what,
                  i, (double)a, (double)b);
        cr_assert((isnan(c) && isnan(d)) || fabsf(c - d) <= 1e-4f || c == d,
                  "%s: token %zu, log pi %g, then %g", what, i, (double)c, (double)d);
    }
}

static void compare_rules(weir_engine *cpu, weir_engine *dev, int step, const char *how) {
    static answer a, b;
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule += step)
        for (int temp = 0; temp < 2; temp++) {
            if (!whole && temp == (rule % 4 == 3)) continue;
            char what[96];
            weir_session_options o = setting(WEIR_METHOD_SPECULATIVE, (weir_rule)rule, (float)temp);
            if (rule % 3 == 1) o.law.top_k = 40, o.law.top_p = 0.9f;
            if (rule % 4 == 2 && weir_rule_facts((weir_rule)rule)->pi_exists) o.law.block_verify = true;
            if (!weir_rule_facts((weir_rule)rule)->pi_exists || rule % 5 == 3) o.law.bonus_pi = false;
            snprintf(what, sizeof what, "%s, rule %s, temp %d", how, weir_rule_facts((weir_rule)rule)->name,
                     temp);
            tiny_run(cpu, &o, rule, &a);
            tiny_run(dev, &o, rule, &b);
            assert_like(&a, &b, what);
        }
}

Test(cuda_engine, every_rule_says_what_the_cpu_says) {
    need_device();
    tiny_pair p;
    tiny_pair_write(&p, WEIR_DTYPE_F32, NULL);
    weir_engine *cpu = tiny_open(&p, "cpu", 1), *loop = tiny_open(&p, "cuda", 1),
                *called = open_called(&p, 1);
    compare_rules(cpu, loop, 1, "loop");
    compare_rules(cpu, called, whole ? 1 : 5, "called");
    weir_engine_close(cpu);
    weir_engine_close(loop);
    weir_engine_close(called);
    tiny_pair_remove(&p);
}

Test(cuda_engine, every_method_says_what_the_cpu_says) {
    need_device();
    static const struct {
        weir_method method;
        weir_rule rule;
        float alpha;
    } row[] = {{WEIR_METHOD_VERIFIER, WEIR_RULE_EXACT, 0.0f},
               {WEIR_METHOD_DRAFTER, WEIR_RULE_EXACT, 0.0f},
               {WEIR_METHOD_TOKEN_CASCADE, WEIR_RULE_CHOW, 0.9f},
               {WEIR_METHOD_ORACLE_CASCADE, WEIR_RULE_DIFF, 0.0f},
               {WEIR_METHOD_ORACLE_CASCADE, WEIR_RULE_OPT, 0.1f},
               {WEIR_METHOD_SEQUENCE_CASCADE, WEIR_RULE_EXACT, 1e9f},
               {WEIR_METHOD_SEQUENCE_CASCADE, WEIR_RULE_EXACT, 0.1f}};
    static answer a, b;
    tiny_pair p;
    tiny_pair_write(&p, WEIR_DTYPE_F32, NULL);
    weir_engine *cpu = tiny_open(&p, "cpu", 1), *dev = tiny_open(&p, "cuda", 1);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (int temp = whole ? 0 : 1; temp < 2; temp++) {
            if (!in_sample((int)i, 3)) continue;
            weir_session_options o = setting(row[i].method, row[i].rule, (float)temp);
            o.law.alpha = row[i].alpha;
            o.ignore_eos = true;
            tiny_run(cpu, &o, (int)i, &a);
            tiny_run(dev, &o, (int)i, &b);
            assert_like(&a, &b, weir_method_name(row[i].method));
            cr_assert(a.stats.from_drafter == b.stats.from_drafter &&
                      a.stats.deferred_sequence == b.stats.deferred_sequence);
        }
    weir_engine_close(cpu);
    weir_engine_close(dev);
    tiny_pair_remove(&p);
}

/* Largest difference of the device's scores from the CPU's; the prompt has n_prompt ids, the completion n. */
static float score_apart(const tiny_pair *p, size_t n_prompt, size_t n) {
    int32_t prompt[300], completion[70];
    float logprobs[2][70], worst = 0.0f;
    uint64_t seed = 5;
    for (int i = 0; i < 300; i++) prompt[i] = (int32_t)(rng_u64(&seed) % TINY_VOCAB);
    for (int i = 0; i < 70; i++) completion[i] = (int32_t)(rng_u64(&seed) % TINY_VOCAB);
    for (int d = 0; d < 2; d++) {
        weir_engine_options o = tiny_options(p, d ? "cuda" : "cpu", 1);
        weir_engine *e = NULL;
        weir_err err = {""};
        o.ctx_size = 300;
        cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "%s", err.text);
        cr_assert(weir_score(e, prompt, n_prompt, completion, n, logprobs[d], &err) == WEIR_OK, "%s",
                  err.text);
        weir_engine_close(e);
    }
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(logprobs[0][i] - logprobs[1][i]) <= worst))
            worst = fabsf(logprobs[0][i] - logprobs[1][i]);
    return worst;
}

/* f32: the bound of a model's logits. bf16: on the CPU inputs of the decoder's products may be rounded, on a
 * device all of them and K and V are; 0.14 is the tightest that the goldens' longer cases allow for such
 * (tests/models/test_cuda_t5.c), and 0.037 was measured here, at log-probabilities around -8. */
Test(cuda_engine, scores_are_the_cpus) {
    need_device();
    static const float bound[] = {1e-4f, 0.14f};
    static const size_t n_prompt[] = {1, 90, 300}; /* a device takes a prompt in chunks of 256 */
    for (int d = 0; d < 2; d++) {
        tiny_pair p;
        tiny_pair_write(&p, dtypes[d], NULL);
        for (int i = 0; i < 3; i++) {
            const float worst = score_apart(&p, n_prompt[i], whole ? 70 : i == 1 ? 12 : 2);
            printf("%s, prompt of %zu: largest difference %.2e\n", weir_dtype_name(dtypes[d]), n_prompt[i],
                   (double)worst);
            cr_assert(worst <= bound[d], "%s, prompt of %zu: %g", weir_dtype_name(dtypes[d]), n_prompt[i],
                      (double)worst);
        }
        tiny_pair_remove(&p);
    }
}

/* ---- against itself ------------------------------------------------------------------------------------ */

static void greedy(weir_engine *e, const char *how) {
    static answer want, got;
    for (int prompt = 0; prompt < (whole ? 4 : 1); prompt++) {
        weir_session_options o = setting(WEIR_METHOD_VERIFIER, WEIR_RULE_EXACT, 0.0f);
        o.max_tokens = limit + 4;
        tiny_run(e, &o, prompt, &want);
        cr_assert(want.n > 0);
        o.method = WEIR_METHOD_SPECULATIVE;
        for (o.n_draft = 1; o.n_draft <= 7; o.n_draft += whole ? 1 : 3) {
            char what[64];
            snprintf(what, sizeof what, "%s, prompt %d, gamma %d", how, prompt, o.n_draft);
            tiny_run(e, &o, prompt, &got);
            cr_assert(got.n == want.n && memcmp(got.ids, want.ids, want.n * sizeof *want.ids) == 0,
                      "%s: other tokens", what);
            cr_assert(memcmp(got.logprobs, want.logprobs, want.n * sizeof(float)) == 0, "%s: other bits",
                      what);
        }
    }
}

Test(cuda_engine, exact_at_zero_temperature_is_the_verifier_bit_for_bit) {
    need_device();
    for (int d = 0; d < 2; d++) {
        tiny_pair p;
        tiny_pair_write(&p, dtypes[d], NULL);
        weir_engine *loop = tiny_open(&p, "cuda", 1), *called = open_called(&p, 1);
        greedy(loop, "loop");
        if (whole || d == 1) greedy(called, "called");
        weir_engine_close(loop);
        weir_engine_close(called);
        tiny_pair_remove(&p);
    }
}

static weir_session_options mixed(int i) {
    static const weir_rule rules[N_MIXED] = {WEIR_RULE_TOKEN_V3, WEIR_RULE_OPT,   WEIR_RULE_EXACT,
                                             WEIR_RULE_LOSSY,    WEIR_RULE_EXACT, WEIR_RULE_CHOW};
    weir_session_options o = setting(WEIR_METHOD_SPECULATIVE, rules[i], i % 2 ? 1.0f : 0.7f);
    if (i == 2) o.method = WEIR_METHOD_VERIFIER;
    if (i == 4) o.method = WEIR_METHOD_ORACLE_CASCADE, o.law.rule = WEIR_RULE_DIFF;
    o.n_draft = 1 + i;
    o.max_tokens = limit + i;
    return o;
}

static weir_session *start(const void *ud, weir_engine *e, int i) {
    (void)ud;
    const weir_session_options o = mixed(i);
    return tiny_session(e, &o, i);
}

Test(cuda_engine, answers_do_not_depend_on_batch_slot_or_company) {
    need_device();
    static answer alone[N_MIXED], together[N_MIXED];
    for (int d = 0; d < 2; d++) {
        tiny_pair p;
        tiny_pair_write(&p, dtypes[d], NULL);
        weir_engine *e = tiny_open(&p, "cuda", 1);
        for (int i = 0; i < N_MIXED; i++) {
            const weir_session_options o = mixed(i);
            tiny_run(e, &o, i, &alone[i]);
        }
        weir_engine_close(e);
        for (int n = 3; n <= 5; n += 2) {
            if (!whole && (n == 3) != (d == 1)) continue;
            e = n == 3 ? tiny_open(&p, "cuda", n) : open_called(&p, n);
            answer_run_together(e, n, 2, true, start, NULL, N_MIXED, together);
            weir_engine_close(e);
            for (int i = 0; i < N_MIXED; i++) {
                char what[64];
                snprintf(what, sizeof what, "%s, %d sessions, session %d", weir_dtype_name(dtypes[d]), n, i);
                answer_assert_same(&alone[i], &together[i], what);
            }
        }
        tiny_pair_remove(&p);
    }
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

Test(cuda_engine, a_checkpoint_with_nan_is_refused_in_one_line) {
    need_device();
    static const weir_method methods[] = {WEIR_METHOD_SPECULATIVE, WEIR_METHOD_VERIFIER, WEIR_METHOD_DRAFTER,
                                          WEIR_METHOD_ORACLE_CASCADE};
    tiny_pair p;
    tiny_pair_write(&p, WEIR_DTYPE_BF16, &(tiny_flaw){"decoder.final_layer_norm.weight", 0});
    weir_engine *engines[2] = {tiny_open(&p, "cuda", 1), open_called(&p, 1)};
    for (int k = 0; k < 2; k++)
        for (int m = 0; m < 4; m++) {
            const weir_session_options o =
                setting(methods[m], m == 3 ? WEIR_RULE_DIFF : WEIR_RULE_EXACT, 1.0f);
            weir_session *s = tiny_session(engines[k], &o, 0);
            weir_err err = {""};
            weir_session_view v;
            cr_assert(weir_step(engines[k], &s, 1, 10, &err) == WEIR_ELOGITS);
            cr_assert(err_is_line(&err, "not finite"), "%s", err.text);
            weir_session_get(s, &v);
            cr_assert(v.finish == WEIR_FINISH_CANCELLED && v.n == 0);
            weir_session_free(s);
        }
    int32_t id = 5;
    float logprob;
    weir_err err = {""};
    cr_assert(weir_score(engines[0], &id, 1, &id, 1, &logprob, &err) == WEIR_ELOGITS);
    cr_assert(err_is_line(&err, "not finite"), "%s", err.text);
    for (int k = 0; k < 2; k++) weir_engine_close(engines[k]);
    tiny_pair_remove(&p);
}

Test(cuda_engine, facts_say_what_runs_and_the_plan_of_both_memories) {
    need_device();
    tiny_pair p;
    tiny_pair_write(&p, WEIR_DTYPE_BF16, NULL);
    weir_engine_options o = tiny_options(&p, "auto", 4);
    weir_engine *e = NULL;
    weir_engine_facts f;
    weir_err err = {""};
    o.dry_run = true;
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "%s", err.text);
    weir_engine_get_facts(e, &f);
    cr_assert(strcmp(f.device, "cuda:0") == 0 && strstr(f.about, "sm_") && !f.isa && !f.device_note &&
              f.n_thread == 0);
    cr_assert(f.plan_total == f.weights[0] + f.weights[1] + f.kv_total + f.scratch &&
              f.available > f.plan_total);
    cr_assert(f.host_total > 0 && f.host_total < f.plan_total);
    const size_t need = f.plan_total;
    weir_engine_close(e);
    o.dry_run = false;
    o.memory_limit = need - 1;
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_ENOMEM && strstr(err.text, "cuda:0"), "%s", err.text);
    o.device = "cuda:7";
    cr_assert(weir_engine_open(&e, &o, &err) != WEIR_OK && err_is_line(&err, "cuda:7"), "%s", err.text);
    tiny_pair_remove(&p);
}

/* What a backend opened now would find free, and what one more takes for itself: its counters and the
 * library's workspace. */
static size_t memory_free(size_t *own) {
    weir_backend *a = device_open(), *b = device_open();
    const size_t bytes = a->memory_free;
    *own = bytes - b->memory_free;
    weir__backend_close(b);
    weir__backend_close(a);
    return bytes;
}

/* The plan counts the scratch of an open backend, 4 MiB of its own; a device gives memory in pieces of up to
 * 2 MiB: 16 MiB cover that. */
Test(cuda_engine, plan_is_what_is_allocated) {
    need_device();
    tiny_pair p;
    tiny_pair_write(&p, WEIR_DTYPE_BF16, NULL);
    weir_engine_options o = tiny_options(&p, "cuda", 64);
    weir_engine *e = NULL;
    weir_err err = {""};
    o.ctx_size = 512;
    size_t own;
    const size_t before = memory_free(&own);
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "%s", err.text);
    const size_t plan = e->pair.facts.plan_total, slack = 16u << 20, used = before - memory_free(&own) - own;
    cr_assert(plan > 4 * slack, "%zu bytes are too few to tell", plan);
    cr_assert(used + slack >= plan && used <= plan + slack, "%zu bytes are planned, %zu used", plan, used);
    cr_assert(e->pair.be->scratch_floats >= e->pair.op_floats);
    cr_assert(e->pair.op_floats >= (size_t)weir__accept_cuda_scratch_floats(e->pair.n_vocab));
    weir_engine_close(e);
    tiny_pair_remove(&p);
}
