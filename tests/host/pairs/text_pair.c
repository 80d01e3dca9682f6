#include "tests/host/pairs/text_pair.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/support/costs.h"

weir_engine_options text_options(char *const dir[2], int n_parallel, int ctx_size) {
    weir_engine_options o = weir_engine_options_default();
    o.model = dir[WEIR_VERIFIER];
    o.model_draft = dir[WEIR_DRAFTER];
    o.device = "cpu";
    o.costs = TEST_COSTS;
    o.n_thread = 1;
    o.n_parallel = n_parallel;
    o.ctx_size = ctx_size;
    o.comm_timeout = 60.0;
    return o;
}

weir_engine *text_open(const weir_engine_options *o) {
    weir_engine *e = engine_open(o);
    cr_assert_eq(e->pair.draft, WEIR_DRAFT_TEXT);
    return e;
}

/* ---- sessions ------------------------------------------------------------------------------------------ */

weir_session_options text_greedy(int gamma, int max_tokens) {
    weir_session_options o = weir_session_options_default();
    o.law.temp = 0.0f;
    o.max_tokens = max_tokens;
    o.n_draft = gamma;
    if (gamma == 0) o.method = WEIR_METHOD_VERIFIER, o.n_draft = 1;
    return o;
}

size_t text_prompt(const weir_engine *e, int i, int32_t **ids) {
    static const char *const texts[TEXT_PROMPTS] = {
        "The quick",
        "naïve caf",
        "東京タ",
        " leading space",
        "two\n\n",
        "👩‍👩",
        "12345",
        "<|im_start|>user\nqué?<|end|>\n<|im_start|>",
        "WORD <tool_call> x",
        "Ελλ",
        "    indented = ",
        "a lazy dog; 17 cats watch. The quick brown fox jumps over a lazy dog; 17 cats watch. Zürich → "
        "und",
    };
    size_t n;
    weir_err err;
    cr_assert_eq(weir_tokenize(e, texts[i], strlen(texts[i]), true, true, ids, &n, &err), WEIR_OK, "%s",
                 err.text);
    return n;
}

weir_session *text_start(weir_engine *e, const weir_session_options *o, int prompt) {
    int32_t *ids;
    weir_session *s = NULL;
    weir_err err = {""};
    const size_t n = text_prompt(e, prompt, &ids);
    cr_assert(weir_session_create(e, o, ids, n, NULL, NULL, &s, &err) == WEIR_OK, "session: %s", err.text);
    weir_ids_free(ids);
    return s;
}

void text_run(weir_engine *e, const weir_session_options *o, int prompt, answer *out) {
    weir_session *s = text_start(e, o, prompt);
    weir_err err = {""};
    cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK, "step: %s", err.text);
    answer_take(s, out);
    cr_assert(out->finish != WEIR_RUNNING, "prompt %d did not end", prompt);
    weir_session_free(s);
}

const text_sides text_broken = {{{"tiny_gpt2", false, 0.3f, 0}, {"tiny_gpt2", true, NAN, 0}}};

void text_write(const text_sides *p, char *dir[2]) {
    for (int i = 0; i < 2; i++) dir[i] = text_model_write(&p->side[i]);
}

void text_ends_broken(weir_engine *e) {
    const weir_session_options opt = text_greedy(3, 20);
    weir_session *s = text_start(e, &opt, 0);
    weir_err err = {""};
    cr_assert_eq(weir_step(e, &s, 1, 1000, &err), WEIR_ELOGITS);
    cr_assert_eq(weir_session_state(s), WEIR_FINISH_CANCELLED);
    weir_session_free(s);
}

void text_is_timed(weir_engine *e) {
    weir_bench_row rows[16];
    int n = 0;
    weir_err err = {""};
    cr_assert_eq(weir_bench(e, 12, 2, 3, 2, rows, 16, &n, &err), WEIR_OK, "%s", err.text);
    bool step = false, block = false;
    for (int i = 0; i < n; i++) {
        step |= strcmp(rows[i].name, "draft step") == 0 && rows[i].seconds_p50 > 0.0;
        block |= strcmp(rows[i].name, "block") == 0 && rows[i].seconds_p50 > 0.0;
    }
    cr_assert(step && block);
}
