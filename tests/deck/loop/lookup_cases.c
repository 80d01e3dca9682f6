#include "tests/deck/loop/lookup_cases.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "tests/support/build.h"
#include "tests/support/compare.h"

weir_engine *lookup_open(lookup_kind kind, bool small, const char *draft, const char *device, int n_parallel,
                         bool no_graph) {
    weir_engine_options o = weir_engine_options_default();
    o.model = kind == LOOKUP_DECODER ? WEIR_SOURCE_DIR "/tests/golden/decoder/gemma3_f32"
              : small                ? WEIR_SOURCE_DIR "/tests/golden/t5/gelu_f32"
                                     : WEIR_SOURCE_DIR "/models/demo/verifier";
    o.model_draft = draft;
    o.device = device;
    o.n_parallel = n_parallel;
    o.n_thread = 1;
    o.ctx_size = 128;
    o.no_graph = no_graph;
    weir_engine *e = NULL;
    weir_err err = {""};
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "open: %s", err.text);
    return e;
}

size_t lookup_prompt(const weir_engine *e, int prompt, int32_t ids[64]) {
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    const int letters = f.n_vocab - 3 < 40 ? f.n_vocab - 3 : 40;
    const size_t n = prompt % 7 == 6 ? 1 : 20 + 5 * (size_t)(prompt % 8), period = 3 + (size_t)prompt % 9;
    uint64_t seed = 300 + (uint64_t)prompt;
    for (size_t i = 0; i < n; i++)
        ids[i] =
            i % 11 < 9 && i >= period ? ids[i - period] : 3 + (int32_t)(rng_u64(&seed) % (uint64_t)letters);
    return n;
}

weir_session *lookup_start(weir_engine *e, const weir_session_options *o, int prompt) {
    int32_t ids[64];
    weir_session *s = NULL;
    weir_err err = {""};
    const size_t n = lookup_prompt(e, prompt, ids);
    cr_assert(weir_session_create(e, o, ids, n, NULL, NULL, &s, &err) == WEIR_OK, "session: %s", err.text);
    return s;
}

void lookup_run(weir_engine *e, const weir_session_options *o, int prompt, int max_blocks, answer *out) {
    weir_session *s = lookup_start(e, o, prompt);
    weir_err err = {""};
    while (weir_session_state(s) == WEIR_RUNNING)
        cr_assert(weir_step(e, &s, 1, max_blocks, &err) == WEIR_OK, "step: %s", err.text);
    answer_take(s, out);
    weir_session_free(s);
}

int lookup_nth(void) { return build_is_tsan() ? 8 : build_is_sanitized() ? 4 : 1; }

weir_session_options lookup_setting(int i, int max_tokens) {
    static const struct {
        weir_rule rule;
        float alpha, temp;
        int gamma;
        bool block_verify, bonus_p, verifier;
        int exact_first;
    } of[LOOKUP_SETTINGS] = {
        {WEIR_RULE_EXACT, 0.0f, 1.0f, 5},
        {WEIR_RULE_TOKEN_V3, 0.8f, 1.0f, 4},
        {WEIR_RULE_EXACT, 0.0f, 0.0f, 3},
        {WEIR_RULE_TOKEN_V2, 0.5f, 0.8f, 5, .block_verify = true},
        {WEIR_RULE_LOSSY, 0.6f, 1.0f, 1},
        {WEIR_RULE_EXACT, 0.0f, 1.0f, 5, .verifier = true},
        {WEIR_RULE_BILD, 4.0f, 1.0f, 6, .exact_first = 5},
        {WEIR_RULE_TOKEN_V3_EXACT_TAIL, 0.7f, 1.0f, 16},
        {WEIR_RULE_EXACT, 0.0f, 0.7f, 2, .block_verify = true},
        {WEIR_RULE_TYPICAL, 0.1f, 1.0f, 5, .bonus_p = true},
        {WEIR_RULE_CACTUS, 0.6f, 1.0f, 5},
        {WEIR_RULE_FUZZY, 0.6f, 1.0f, 7},
        {WEIR_RULE_TOKEN_V3, 0.9f, 0.0f, 5},
        {WEIR_RULE_TOKEN_V3, 0.9f, 1.0f, 5, .block_verify = true, .bonus_p = true},
    };
    weir_session_options o = weir_session_options_default();
    o.law.rule = of[i].rule;
    o.law.alpha = of[i].alpha;
    o.law.beta = weir_rule_facts(of[i].rule)->beta_default;
    o.law.temp = of[i].temp;
    o.law.block_verify = of[i].block_verify;
    o.law.bonus_pi = !of[i].bonus_p;
    o.law.exact_first = of[i].exact_first;
    o.n_draft = of[i].gamma;
    o.seed = (uint64_t)i + 5;
    o.max_tokens = max_tokens;
    if (of[i].verifier) o.method = WEIR_METHOD_VERIFIER;
    return o;
}

static weir_session *start_setting(const void *max_tokens, weir_engine *e, int k) {
    const int i = k * lookup_nth();
    const weir_session_options o = lookup_setting(i, *(const int *)max_tokens);
    return lookup_start(e, &o, i);
}

void lookup_same_together(weir_engine *one, weir_engine *many, int n_parallel, int max_tokens,
                          const int *steps, int n_step) {
    static answer want[LOOKUP_SETTINGS], got[LOOKUP_SETTINGS];
    const int nth = lookup_nth(), n = (LOOKUP_SETTINGS + nth - 1) / nth;
    for (int i = 0; i < n; i++) {
        const weir_session_options o = lookup_setting(i * nth, max_tokens);
        lookup_run(one, &o, i * nth, 1000, &want[i]);
    }
    for (int k = 0; k < n_step; k++) {
        answer_run_together(many, n_parallel, steps[k], k % 2, start_setting, &max_tokens, n, got);
        for (int i = 0; i < n; i++) {
            char what[80];
            snprintf(what, sizeof what, "setting %d, %d sessions, steps of %d", i * nth, n_parallel,
                     steps[k]);
            answer_assert_same(&want[i], &got[i], what);
            answer_assert_same_books(&want[i], &got[i], what);
        }
    }
}
