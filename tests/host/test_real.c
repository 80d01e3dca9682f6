/* Real checkpoints, from the folder that WEIR_REAL_MODELS names: they speak, and a pair of them keeps its
 * promises. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/weir.h"
#include "tests/host/pairs/pair_fixture.h"
#include "tests/support/costs.h"

/* NULL where the folder lacks one of the files. */
static weir_engine *open_real(const char *verifier, const char *drafter) {
    const char *dir = getenv("WEIR_REAL_MODELS");
    if (!dir) cr_skip("WEIR_REAL_MODELS names no folder of real checkpoints");
    char path[2][600];
    snprintf(path[0], sizeof path[0], "%s/%s", dir, verifier);
    snprintf(path[1], sizeof path[1], "%s/%s", dir, drafter ? drafter : verifier);
    for (int i = 0; i < 2; i++)
        if (access(path[i], F_OK) != 0) cr_skip("no %s", path[i]);
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    o.model = path[0];
    o.model_draft = drafter ? path[1] : NULL;
    o.device = "cpu";
    o.ctx_size = 256;
    weir_engine *e = NULL;
    weir_err err = {""};
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "open: %s", err.text);
    return e;
}

static weir_session_options greedy(weir_method method, int n) {
    weir_session_options o = weir_session_options_default();
    o.method = method;
    o.law.temp = 0.0f;
    o.max_tokens = n;
    return o;
}

/* Mean log-probability of a well-known text's tokens. Weights read in a wrong order, rotary embeddings of
 * another layout or a lost norm give about -ln(vocabulary), -11 to -12.5; models of this size that are read
 * well, above -2.5. */
static void knows_text(const char *file) {
    static const char text[] =
        "The quick brown fox jumps over the lazy dog. Once upon a time, there was a little girl who lived in "
        "a small village with her mother and her father.";
    weir_engine *e = open_real(file, NULL);
    int32_t *ids = NULL;
    size_t n = 0;
    float logprobs[128];
    double sum = 0.0;
    weir_err err = {""};
    cr_assert(weir_tokenize(e, text, sizeof text - 1, true, true, &ids, &n, &err) == WEIR_OK && n > 20 &&
                  n < 128,
              "%s", err.text);
    cr_assert(weir_score(e, ids, 1, ids + 1, n - 1, logprobs, &err) == WEIR_OK, "%s", err.text);
    for (size_t i = 0; i + 1 < n; i++) sum += (double)logprobs[i];
    cr_assert(sum / (double)(n - 1) > -2.5, "%s: %g a token", file, sum / (double)(n - 1));
    printf("real: %s: %.4f nats a token\n", file, -sum / (double)(n - 1));
    weir_ids_free(ids);
    weir_engine_close(e);
}

/* The continuation that is no secret. */
static void knows_paris(const char *file) {
    static answer a;
    weir_engine *e = open_real(file, NULL);
    const weir_session_options o = greedy(WEIR_METHOD_VERIFIER, 6);
    answer_run(e, &o, "The capital of France is", &a);
    cr_assert(strncmp(a.text, " Paris", 6) == 0, "%s says \"%s\"", file, a.text);
    weir_engine_close(e);
}

Test(real, smollm2) {
    knows_text("smollm2-135m-instruct.gguf");
    knows_paris("smollm2-135m-instruct.gguf");
}
Test(real, qwen) {
    knows_text("qwen2.5-coder-0.5b.gguf");
    knows_paris("qwen2.5-coder-0.5b.gguf");
}
Test(real, gemma3) { knows_text("gemma-3-270m-q4_k_m.gguf"); }

/* The exact rule at T = 0 is the verifier, bit for bit; every rule at T = 1 comes to an end. */
Test(real, a_pair) {
    static answer want, got;
    weir_engine *e = open_real("qwen2.5-coder-1.5b.gguf", "qwen2.5-coder-0.5b.gguf");
    const char *prompt = "def fibonacci(n):\n";
    weir_session_options o = greedy(WEIR_METHOD_VERIFIER, 24);
    answer_run(e, &o, prompt, &want);
    for (int gamma = 1; gamma <= 7; gamma += 3) {
        o = greedy(WEIR_METHOD_SPECULATIVE, 24);
        o.n_draft = gamma;
        answer_run(e, &o, prompt, &got);
        cr_assert(got.n == want.n && memcmp(got.ids, want.ids, want.n * sizeof *want.ids) == 0,
                  "gamma %d: \"%s\", not \"%s\"", gamma, got.text, want.text);
        cr_assert(memcmp(got.logprobs, want.logprobs, want.n * sizeof(float)) == 0, "gamma %d: other bits",
                  gamma);
    }
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++) {
        const weir_rule_info *info = weir_rule_facts((weir_rule)rule);
        o = greedy(WEIR_METHOD_SPECULATIVE, 8);
        o.law.temp = 1.0f;
        o.law.rule = rule;
        o.law.alpha = info->alpha_default;
        o.law.beta = info->beta_default;
        if (!info->pi_exists) o.law.bonus_pi = false;
        answer_run(e, &o, prompt, &got);
        cr_assert(got.finish == WEIR_FINISH_STOP || got.n == 8, "rule %s", info->name);
    }
    weir_engine_close(e);
}
