/* The demo pair: the verifier's greedy ids are those that transformers gives (f32 arithmetic on the same
 * weights). */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tokenizers/tokenizer.h"
#include "kernels/base/mem.h"
#include "tests/models/t5_fixture.h"

#define DEMO WEIR_SOURCE_DIR "/models/demo/"
enum { MAX_NEW = 128, N_PROMPT = 200, N_TRUTH = 25 }; /* the recorded answers were cut at 128 */

/* Rows that are rounded to bf16 move a log-probability by 0.017 at most (README, Precision): two tokens whose
 * logits are closer than twice that may change places. */
static const double NEAR_TIE = 0.034;

static int32_t argmax(const float *x, int32_t n) {
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++) {
        if (x[i] > x[best]) best = i;
    }
    return best;
}

/* Follows the recorded ids and the end of text after them: how often the likeliest token is another, and
 * by how much its logit is higher at most. */
static int others(fixture *f, const int32_t *prompt, int64_t n, const json_t *recorded, double *gap) {
    static float logits[8192];
    const int32_t n_id = (int32_t)json_array_size(recorded);
    int32_t token = f->ck.start_id;
    int count = 0;
    cr_assert(f->n_vocab <= 8192);
    t5_prefill(f, 0, prompt, n);
    cr_assert_eq(weir__kv_pool_resize(f->self, 0, 0), WEIR_OK);
    for (int32_t i = 0; i <= n_id && i < MAX_NEW; i++) {
        const row r = {0, i, token};
        cr_assert_eq(t5_forward(f, &r, 1, NULL, 0, logits), WEIR_OK);
        const int32_t best = argmax(logits, f->n_vocab);
        token = i < n_id ? (int32_t)json_integer_value(json_array_get(recorded, (size_t)i)) : f->ck.eos[0];
        if (best == token) continue;
        const double higher = (double)logits[best] - (double)logits[token];
        *gap = higher > *gap ? higher : *gap;
        count++;
    }
    return count;
}

/* Prompt ids of one line, end-of-text appended as T5 wants it. */
static int64_t prompt_ids(const weir_tokenizer *t, const fixture *f, const char *text, int32_t *ids) {
    int32_t *got = NULL;
    size_t n = 0;
    weir_err err = {""};
    cr_assert_eq(weir__tokenizer_encode(t, text, strlen(text), &got, &n, &err), WEIR_OK, "%s", err.text);
    cr_assert(n + 1 <= FIX_PROMPT);
    memcpy(ids, got, n * sizeof *ids);
    ids[n] = f->ck.eos[0];
    weir_free(got);
    return (int64_t)n + 1;
}

static void check_greedy(weir_isa isa, int n_prompt_max) {
    if (isa > weir__isa_best()) cr_skip("this machine has no %s", weir__isa_name(isa));
    fixture f;
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    t5_open(&f, DEMO "verifier", isa, 2);
    cr_assert_eq(weir__tokenizer_open_spm(&t, f.ck.tokenizer_path, f.ck.extra_ids, &err), WEIR_OK, "%s",
                 err.text);
    FILE *lines = fopen(DEMO "greedy_200.jsonl", "r");
    cr_assert(lines);
    int n = 0, wrong = 0;
    size_t n_token = 0;
    double gap = 0.0;
    for (json_t *j; n < n_prompt_max && (j = json_loadf(lines, JSON_DISABLE_EOF_CHECK, NULL));
         n++, json_decref(j)) {
        int32_t prompt[FIX_PROMPT];
        const char *text = json_string_value(json_object_get(j, "prompt"));
        const json_t *recorded = json_object_get(j, "token_ids");
        const int64_t n_prompt = prompt_ids(t, &f, text, prompt);
        const int differ = others(&f, prompt, n_prompt, recorded, &gap);
        n_token += json_array_size(recorded);
        if (differ > 0) printf("differs: %s\n", text);
        wrong += differ;
    }
    printf("%s: %d prompts, %zu tokens, %d differ, by %.3g at most\n", weir__isa_name(isa), n, n_token, wrong,
           gap);
    cr_expect_eq(n, n_prompt_max);
    if (isa < WEIR_ISA_AVX512BF16) cr_expect_eq(wrong, 0);
    cr_expect(gap <= NEAR_TIE);
    fclose(lines);
    weir__tokenizer_free(t);
    t5_close(&f);
}

Test(t5_demo, greedy_ids_are_those_of_transformers_avx2) { check_greedy(WEIR_ISA_AVX2, N_PROMPT); }
Test(t5_demo, greedy_ids_are_those_of_transformers_avx512) { check_greedy(WEIR_ISA_AVX512, N_PROMPT); }
Test(t5_demo, greedy_ids_are_those_of_transformers_avx512bf16) {
    check_greedy(WEIR_ISA_AVX512BF16, N_PROMPT);
}
Test(t5_demo, greedy_ids_are_those_of_transformers_amx) { check_greedy(WEIR_ISA_AMX, N_PROMPT); }
/* The truth ops take long. */
Test(t5_demo, greedy_ids_are_those_of_transformers_portable) { check_greedy(WEIR_ISA_PORTABLE, N_TRUTH); }

/* The card's figures, and the plan's. */
Test(t5_demo, facts_are_those_of_the_card) {
    static const char *const dir[] = {DEMO "verifier", DEMO "drafter"};
    static const int64_t n_param[] = {8983040, 946880};
    for (int i = 0; i < 2; i++) {
        weir_checkpoint ck;
        weir_err err = {""};
        weir_model_facts x;
        cr_assert_eq(weir__checkpoint_open(&ck, dir[i], false, &err), WEIR_OK, "%s", err.text);
        weir__t5_facts(&ck.t5, ck.dtype, (weir_place){0}, &x);
        printf("%s: %ld parameters, %zu weight bytes\n", dir[i], (long)x.n_param, x.weight_bytes);
        cr_expect_eq(x.n_param, n_param[i]);
        weir__checkpoint_close(&ck);
    }
}
