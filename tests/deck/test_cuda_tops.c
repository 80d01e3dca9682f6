/* The verifier's likeliest tokens on a device: recorded blocks, blocks that are called op by op, ticks. */
#include <criterion/criterion.h>
#include <string.h>

#include "host/state.h"
#include "tests/deck/tops_cases.h"
#include "tests/host/pairs/pair_fixture.h"
#include "tests/support/build.h"
#include "tests/support/costs.h"
#include "tests/support/device.h"

/* Two models of random weights over 33 ids, where every fourth token or so is an end of text. */
static weir_engine *open_small(bool called) {
    static const int32_t often[3] = {8, 24, 16};
    weir__backend_close(device_open()); /* skips, or fails, where there is none */
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    o.model = WEIR_SOURCE_DIR "/tests/golden/t5/gelu_f32";
    o.model_draft = WEIR_SOURCE_DIR "/tests/golden/t5/silu_f32";
    o.device = "cuda:0";
    o.n_parallel = 4;
    o.n_thread = 1;
    o.ctx_size = 64;
    o.no_graph = called;
    weir_engine *e = NULL;
    weir_err err = {""};
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "open: %s", err.text);
    for (int i = 0; i < 3; i++) e->pair.facts.eos[e->pair.facts.n_eos++] = often[i];
    return e;
}

static weir_session *start(weir_engine *e, int i, int n_top, tops_told *k) {
    const int32_t prompt[4] = {3 + i, 14, 15 - i, 9};
    const weir_method method = i < 4 && i >= 2 ? WEIR_METHOD_ORACLE_CASCADE
                               : i % 5 == 4    ? WEIR_METHOD_VERIFIER
                                               : WEIR_METHOD_SPECULATIVE;
    weir_session_options o = method_options(method, 7);
    weir_session *s = NULL;
    o.ignore_eos = i % 2;
    o.n_top = n_top;
    o.law.temp = 1.6f;
    o.seed = (uint64_t)i;
    if (i % 3 == 1 && method == WEIR_METHOD_SPECULATIVE) o.law.rule = WEIR_RULE_CHOW, o.law.alpha = 0.9f;
    k->n = 0;
    cr_assert(weir_session_create(e, &o, prompt, 4, tops_note, k, &s, NULL) == WEIR_OK);
    return s;
}

/* Four at a time, of which one asks for none; each is as it was alone without asking. Only where all are of
 * the block loop could a launch have several blocks: the first four are not. */
static void same_as_unasked(bool called, int n, const char *what) {
    enum { AT_ONCE = 4 };
    weir_engine *e = open_small(called);
    int source[6] = {0}, ended = 0;
    for (int from = 0; from < n; from += AT_ONCE) {
        static answer want, got;
        static tops_told k[AT_ONCE];
        weir_session *s[AT_ONCE];
        weir_err err = {""};
        for (int i = 0; i < AT_ONCE; i++) s[i] = start(e, from + i, i == 1 ? 0 : i == 0 ? 20 : 4, &k[i]);
        cr_assert(weir_step(e, s, AT_ONCE, 1000, &err) == WEIR_OK, "%s", err.text);
        for (int i = 0; i < AT_ONCE; i++) {
            static tops_told unasked;
            weir_session_view v;
            weir_session_get(s[i], &v);
            for (size_t t = 0; t < v.n; t++) source[v.sources[t]]++;
            ended += v.eos >= 0 && v.n_eos_top > 0;
            answer_take(s[i], &got);
            if (i != 1) tops_check(e, s[i], &k[i], what);
            weir_session_free(s[i]);
            weir_session *alone = start(e, from + i, 0, &unasked);
            cr_assert(weir_step(e, &alone, 1, 1000, &err) == WEIR_OK, "%s", err.text);
            answer_take(alone, &want);
            weir_session_free(alone);
            answer_assert_same(&want, &got, what);
            answer_assert_same_books(&want, &got, what);
        }
    }
    for (int i = 0; i < 6; i++) cr_expect(source[i] > 0, "%s: no token was %s", what, weir_source_name(i));
    cr_expect(ended > 0, "%s: no end of text", what);
    weir_engine_close(e);
}

Test(cuda_tops, of_recorded_blocks_and_ticks) {
    same_as_unasked(false, build_is_sanitized() ? 8 : 12, "recorded");
}
Test(cuda_tops, of_called_blocks) { same_as_unasked(true, 8, "called"); }
