/* Decoder-only models under the engine: configs and scores against transformers, the context, exactness,
 * equal bits. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/deck/block_loop.h"
#include "tests/host/pairs/decoder_pair.h"
#include "tests/models/decoder_fixture.h"
#include "tests/support/costs.h"
#include "tests/support/files.h"

static weir_session_options setting(weir_rule rule, float alpha, float temp, int gamma, uint64_t seed) {
    weir_session_options o = weir_session_options_default();
    o.law.rule = rule;
    o.law.alpha = alpha;
    o.law.beta = weir_rule_facts(rule)->beta_default;
    o.law.temp = temp;
    o.n_draft = gamma;
    o.max_tokens = 40;
    o.seed = seed;
    o.ignore_eos = true; /* models of random weights end at random */
    return o;
}

/* ---- against transformers ------------------------------------------------------------------------------ */

static bool same_rope(const weir_rope_config *a, const weir_rope_config *b) {
    const bool plain = a->kind == WEIR_ROPE_DEFAULT;
    return a->kind == b->kind && a->theta == b->theta && (plain || a->factor == b->factor) &&
           a->low_freq == b->low_freq && a->high_freq == b->high_freq && a->beta_fast == b->beta_fast &&
           a->beta_slow == b->beta_slow && a->n_ctx_original == b->n_ctx_original && a->n_dim == b->n_dim &&
           a->untruncated == b->untruncated && a->interleaved == b->interleaved;
}

/* config.json as transformers wrote it gives the configs that the models' own tests spell out. */
Test(decoder, configs_are_those_of_the_golden_models) {
    for (const golden_model *g = golden_models(); g->name; g++) {
        const decoder_names names = {g->name, NULL};
        weir_engine *e = decoder_open(&names, "cpu", 1, 1, 0);
        const weir_decoder_config *c = &e->pair.side[WEIR_VERIFIER].ck.decoder, *w = &g->c;
        cr_assert(c->dim == w->dim && c->ff_dim == w->ff_dim && c->head_dim == w->head_dim &&
                      c->n_head == w->n_head && c->n_head_kv == w->n_head_kv && c->n_layer == w->n_layer &&
                      c->n_vocab_rows == w->n_vocab_rows,
                  "%s: sizes", g->name);
        cr_assert(c->eps == w->eps && c->act == w->act && c->norm_one_plus == w->norm_one_plus &&
                      c->post_norms == w->post_norms && c->qk_norm == w->qk_norm &&
                      c->qkv_bias == w->qkv_bias && c->tied == w->tied && c->fused == w->fused &&
                      c->no_pre_norms == w->no_pre_norms && c->qk_norm_whole == w->qk_norm_whole &&
                      c->o_bias == w->o_bias && c->sinks == w->sinks,
                  "%s: choices", g->name);
        const weir_expert_config *ce = &c->experts, *we = &w->experts;
        cr_assert(ce->n == we->n && ce->n_used == we->n_used && ce->ff_dim == we->ff_dim &&
                      ce->shared_ff == we->shared_ff && ce->normed == we->normed && ce->names == we->names &&
                      ce->biased == we->biased && ce->limit == we->limit &&
                      memcmp(c->dense, w->dense, sizeof c->dense) == 0,
                  "%s: experts", g->name);
        cr_assert(memcmp(c->no_rope, w->no_rope, sizeof c->no_rope) == 0, "%s: no_rope", g->name);
        cr_assert(c->embed_scale == w->embed_scale &&
                      fabsf(c->attention_scale - w->attention_scale) <= 1e-7f &&
                      c->attention_softcap == w->attention_softcap && c->final_softcap == w->final_softcap &&
                      c->residual_scale == w->residual_scale && c->logit_scale == w->logit_scale,
                  "%s: scales", g->name);
        cr_assert(c->window == w->window && memcmp(c->sliding, w->sliding, sizeof c->sliding) == 0,
                  "%s: windows", g->name);
        cr_assert(same_rope(&c->rope, &w->rope), "%s: rope", g->name);
        if (w->window > 0)
            cr_assert(same_rope(&c->rope_sliding, &w->rope_sliding), "%s: local rope", g->name);
        cr_assert(e->pair.ctx_size == 512 && e->pair.facts.n_ctx_train[0] == 512 &&
                  !e->pair.facts.encoder_decoder && !e->pair.facts.has_tokenizer);
        weir_engine_close(e);
    }
}

/* Log-probabilities of transformers in fp32, wherever the prompt ends. 2e-3 is what the project promises; the
 * fp32 goldens are met within 2e-5 by the models' own tests. bf16 weights are judged by the bound of their
 * golden. */
Test(decoder, scores_are_those_of_transformers) {
    static const size_t prompts[] = {1, 2, 16, 40, 64, 65};
    for (const golden_model *g = golden_models(); g->name; g++) {
        const decoder_names names = {g->name, NULL};
        weir_engine *e = decoder_open(&names, "cpu", 2, 2, 140);
        golden *want = golden_read(g);
        for (int i = 0; i < want->n_case; i++) {
            const golden_case *k = &want->c[i];
            for (size_t p = 0; p < sizeof prompts / sizeof *prompts && prompts[p] < (size_t)k->n; p++) {
                float got[FIX_PROMPT];
                weir_err err = {""};
                const size_t from = prompts[p], n = (size_t)k->n - from;
                cr_assert(weir_score(e, k->token, from, k->token + from, n, got, &err) == WEIR_OK, "%s",
                          err.text);
                const double bound = g->bf16 ? fmax(2e-3, (double)k->bf16_bound) : 2e-3;
                for (size_t t = 0; t < n; t++) {
                    const double apart = fabs((double)got[t] - (double)k->logprobs[from - 1 + t]);
                    cr_assert(apart <= bound, "%s, case %d, prompt of %zu: token %zu is %g, want %g", g->name,
                              i, from, t, (double)got[t], (double)k->logprobs[from - 1 + t]);
                }
            }
        }
        free(want);
        weir_engine_close(e);
    }
}

/* ---- the context --------------------------------------------------------------------------------------- */

static weir_status create(weir_engine *e, const weir_session_options *o, size_t n_prompt, weir_session **s,
                          weir_err *err) {
    int32_t ids[70];
    (void)decoder_prompt(9, ids);
    err->text[0] = '\0';
    return weir_session_create(e, o, ids, n_prompt, NULL, NULL, s, err);
}

/* Prompt and output share the positions: the last output needs none of its own, and the answer ends where
 * they end. */
Test(decoder, prompt_and_output_share_the_context) {
    weir_engine *e = decoder_open(&decoder_pairs[1], "cpu", 1, 1, 33);
    weir_err err = {""};
    weir_session *s = NULL;
    static answer whole, cut;
    for (int method = 0; method < 2; method++) {
        weir_session_options o = setting(WEIR_RULE_EXACT, 0.0f, 1.0f, 7, 3);
        o.max_tokens = 33;
        if (method) o.method = WEIR_METHOD_VERIFIER;
        for (size_t n = 1; n <= 32; n++) {
            cr_assert(create(e, &o, n, &s, &err) == WEIR_OK, "%s", err.text);
            cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK, "%s", err.text);
            answer_take(s, &cut);
            cr_assert(cut.n == 33 - n && cut.finish == WEIR_FINISH_LENGTH, "prompt of %zu: %zu tokens", n,
                      cut.n);
            weir_session_free(s);
        }
        cr_assert(create(e, &o, 33, &s, &err) == WEIR_ETOOLONG);
        cr_assert(err_is_line(&err, "33 tokens; the context holds 33 for prompt and output together"), "%s",
                  err.text);
        cr_assert(create(e, &o, 0, &s, &err) == WEIR_EINVAL && err_is_line(&err, "no token"));
        o.max_tokens = 34;
        cr_assert(create(e, &o, 1, &s, &err) == WEIR_EINVAL && err_is_line(&err, "max_tokens 34"));
    }
    weir_engine_close(e);

    /* the end of the context cuts and changes nothing else */
    weir_session_options o = setting(WEIR_RULE_EXACT, 0.0f, 1.0f, 5, 3);
    e = decoder_open(&decoder_pairs[0], "cpu", 1, 1, 128);
    decoder_run(e, &o, 2, &whole);
    weir_engine_close(e);
    e = decoder_open(&decoder_pairs[0], "cpu", 1, 1, 40);
    decoder_run(e, &o, 2, &cut);
    cr_assert(cut.n == 25 && memcmp(cut.ids, whole.ids, cut.n * sizeof *cut.ids) == 0);
    weir_engine_close(e);
}

Test(decoder, scores_need_room_for_both) {
    weir_engine *e = decoder_open(&decoder_pairs[0], "cpu", 1, 1, 20);
    int32_t ids[70];
    float logprobs[70];
    weir_err err = {""};
    (void)decoder_prompt(9, ids);
    cr_assert(weir_score(e, ids, 1, ids + 1, 19, logprobs, &err) == WEIR_OK, "%s", err.text);
    cr_assert(weir_score(e, ids, 19, ids + 19, 1, logprobs, &err) == WEIR_OK, "%s", err.text);
    cr_assert(weir_score(e, ids, 10, ids + 10, 11, logprobs, &err) == WEIR_ETOOLONG);
    cr_assert(err_is_line(&err, "prompt and completion have 21 tokens; the context holds 20"), "%s",
              err.text);
    cr_assert(weir_score(e, ids, 0, ids, 3, logprobs, &err) == WEIR_EINVAL);
    weir_engine_close(e);
}

/* ---- exactness and bits -------------------------------------------------------------------------------- */

Test(decoder, exact_at_zero_temperature_is_the_verifier_at_every_gamma) {
    static answer want, got;
    for (int p = 0; p < DECODER_PAIRS; p++) {
        weir_engine *e = decoder_open(&decoder_pairs[p], "cpu", 1, 1, 128);
        for (int i = 0; i < 10; i++) {
            weir_session_options o = setting(WEIR_RULE_EXACT, 0.0f, 0.0f, 5, 3);
            o.method = WEIR_METHOD_VERIFIER;
            decoder_run(e, &o, i, &want);
            cr_assert(want.n == 40);
            for (int gamma = 1; gamma <= 16; gamma += gamma < 8 ? 1 : 8)
                for (int block = 0; block < 2; block++) {
                    o = setting(WEIR_RULE_EXACT, 0.0f, 0.0f, gamma, 3);
                    o.law.block_verify = block;
                    decoder_run(e, &o, i, &got);
                    cr_assert(got.n == want.n && memcmp(got.ids, want.ids, want.n * sizeof *want.ids) == 0,
                              "pair %d, prompt "
                              "%d, gamma %d: other tokens",
                              p, i, gamma);
                    cr_assert(memcmp(got.logprobs, want.logprobs, want.n * sizeof(float)) == 0,
                              "pair %d, prompt %d, gamma %d: "
                              "other bits",
                              p, i, gamma);
                }
        }
        weir_engine_close(e);
    }
}

/* A model as its own drafter is never refused; blocks are whole but for the last. */
Test(decoder, a_model_agrees_with_itself) {
    static answer got;
    weir_engine *e = decoder_open(&decoder_pairs[1], "cpu", 1, 1, 128);
    for (int i = 0; i < 10; i++) {
        const weir_session_options o = setting(WEIR_RULE_EXACT, 0.0f, 1.0f, 4, (uint64_t)i);
        decoder_run(e, &o, i, &got);
        cr_assert(got.stats.blocks == 8 && got.stats.accepted == got.stats.drafted, "prompt %d: %d blocks", i,
                  (int)got.stats.blocks); /* 40 tokens, 5 a block */
    }
    weir_engine_close(e);
}

/* Every method and a spread of rules, one a prompt. */
static weir_session_options mixed(int i) {
    weir_session_options o = setting(WEIR_RULE_TOKEN_V3, 0.8f, 1.0f, 5, (uint64_t)i);
    switch (i) {
    case 1: o = setting(WEIR_RULE_EXACT, 0.0f, 1.0f, 3, 1); break;
    case 2: o = setting(WEIR_RULE_OPT, 0.1f, 0.7f, 16, 2); break;
    case 3: o.method = WEIR_METHOD_VERIFIER; break;
    case 4: o.method = WEIR_METHOD_DRAFTER; break;
    case 5: o = setting(WEIR_RULE_CHOW, 0.5f, 1.0f, 5, 5), o.method = WEIR_METHOD_TOKEN_CASCADE; break;
    case 6: o = setting(WEIR_RULE_DIFF, 0.1f, 1.0f, 5, 6), o.method = WEIR_METHOD_ORACLE_CASCADE; break;
    case 7: o.method = WEIR_METHOD_SEQUENCE_CASCADE, o.law.rule = WEIR_RULE_EXACT, o.law.alpha = 1.0f; break;
    case 8: o = setting(WEIR_RULE_LOSSY, 0.3f, 1.0f, 7, 8), o.law.top_k = 20, o.law.top_p = 0.9f; break;
    case 9: o = setting(WEIR_RULE_TOKEN_V1, 0.2f, 1.3f, 4, 9), o.law.block_verify = true; break;
    default: break;
    }
    return o;
}

static weir_session *start(const void *ud, weir_engine *e, int i) {
    (void)ud;
    const weir_session_options o = mixed(i);
    return decoder_start(e, &o, i, NULL, NULL);
}

static answer alone[10], together[10];

Test(decoder, same_bits_at_any_batch_order_and_thread_count) {
    for (int p = 0; p < DECODER_PAIRS; p++) {
        weir_engine *e = decoder_open(&decoder_pairs[p], "cpu", 1, 1, 128);
        for (int i = 0; i < 10; i++) {
            const weir_session_options o = mixed(i);
            decoder_run(e, &o, i, &alone[i]);
        }
        weir_engine_close(e);
        for (int threads = 1; threads <= 2; threads++) {
            for (int n = 1; n <= 7; n += n == 1 ? 1 : 5) {
                char what[96];
                snprintf(what, sizeof what, "pair %d, %d sessions, %d threads", p, n, threads);
                e = decoder_open(&decoder_pairs[p], "cpu", n, threads, 128);
                answer_run_together(e, n, 1, threads == 2, start, NULL, 10, together);
                weir_engine_close(e);
                for (int i = 0; i < 10; i++) answer_assert_same(&alone[i], &together[i], what);
            }
        }
    }
}

/* Pages of a ring are its slot's from the beginning. */
static bool has_ring(const weir_engine *e, int side) {
    return e->deck.side[side].slide && weir__kv_pool_pages_used(e->deck.side[side].slide) > 0;
}

/* 192 positions of a ring and texts of up to 320, against an engine of so many sessions that its sliding
 * layers keep everything. */
Test(decoder, a_ring_of_pages_gives_the_bits_of_whole_sequences) {
    for (int p = 0; p < DECODER_PAIRS; p++) {
        weir_engine *ring = decoder_open(&decoder_pairs[p], "cpu", 1, 1, 512),
                    *whole = decoder_open(&decoder_pairs[p], "cpu", 64, 1, 512);
        const bool slides = whole->deck.side[WEIR_VERIFIER].kv.slide.pool != NULL;
        cr_assert(has_ring(ring, WEIR_VERIFIER) == slides && !has_ring(whole, WEIR_VERIFIER), "pair %d", p);
        cr_assert(!slides || ring->pair.facts.kv_per_session[0] < whole->pair.facts.kv_per_session[0],
                  "pair %d: the plan", p);
        for (int i = 0; i < 10; i++) {
            char what[64];
            weir_session_options o = mixed(i);
            o.max_tokens = 250;
            snprintf(what, sizeof what, "pair %d, prompt %d", p, i);
            decoder_run(ring, &o, i, &alone[i]);
            decoder_run(whole, &o, i, &together[i]);
            cr_assert(alone[i].n == 250, "%s: %zu tokens", what, alone[i].n);
            answer_assert_same(&alone[i], &together[i], what);
        }
        weir_engine_close(ring);
        weir_engine_close(whole);
    }
}

/* The same logits; only the last logarithm is float there, double here. */
Test(decoder, logprobs_under_speculation_equal_score) {
    static answer a;
    for (int p = 0; p < DECODER_PAIRS; p++) {
        weir_engine *e = decoder_open(&decoder_pairs[p], "cpu", 1, 2, 128);
        for (int i = 0; i < 10; i++) {
            const weir_session_options o = setting(WEIR_RULE_OPT, 0.2f, 1.0f, 1 + i, 7);
            decoder_run(e, &o, i, &a);
            int32_t ids[70];
            const size_t n = decoder_prompt(i, ids);
            float want[256];
            weir_err err = {""};
            cr_assert(weir_score(e, ids, n, a.ids, a.n, want, &err) == WEIR_OK, "%s", err.text);
            for (size_t k = 0; k < a.n; k++)
                cr_assert(fabsf(a.logprobs[k] - want[k]) <= 4e-6f * (1.0f + fabsf(want[k])),
                          "token %zu: %g, %g", k, (double)a.logprobs[k], (double)want[k]);
        }
        weir_engine_close(e);
    }
}

/* ---- the block loop, called block by block on the CPU -------------------------------------------------- */

static weir_engine *open_cpu(int n_parallel, loop_mode mode) {
    weir_engine *e = decoder_open(&decoder_pairs[0], "cpu", n_parallel, 1, 128);
    (void)mode;
    return e;
}

static const loop_bed cpu = {open_cpu, decoder_start, {LOOP_CALLED}, 1, LOOP_SETTINGS,
                             30,       1.0f,          {1, 3, 1000}};

Test(decoder, loop_alone) { loop_same_alone(&cpu); }
Test(decoder, loop_together) { loop_same_together(&cpu, (loop_crowd[]){{2, 2}, {7, 1000}}, 2); }
Test(decoder, loop_at_every_limit) { loop_same_at_every_limit(&cpu, 0, 20); }

/* ---- pairs --------------------------------------------------------------------------------------------- */

Test(decoder, pairs_of_two_kinds_are_refused) {
    static const char *const dirs[] = {WEIR_SOURCE_DIR "/tests/golden/decoder/llama_f32",
                                       WEIR_SOURCE_DIR "/tests/golden/t5/gelu_f32"};
    for (int i = 0; i < 2; i++) {
        weir_engine_options o = weir_engine_options_default();
        o.costs = TEST_COSTS;
        o.model = dirs[i];
        o.model_draft = dirs[1 - i];
        weir_engine *e = NULL;
        weir_err err = {""};
        cr_assert(weir_engine_open(&e, &o, &err) == WEIR_EMISMATCH);
        cr_assert(err_is_line(&err, "a pair needs two of a kind"), "%s", err.text);
    }
}
