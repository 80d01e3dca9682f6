/* The table of costs of gamma auto: as text, measured, and what sessions make of it. */
#include <criterion/criterion.h>
#include <string.h>

#include "host/measure/costs.h"
#include "tests/host/pairs/decoder_pair.h"
#include "tests/host/pairs/pair_fixture.h"

Test(costs, a_text_reads_as_what_it_was_written_from) {
    static const char *const text[] = {
        "0:1", "0.03125:1,1,1.5", "0.25:1.25,1.375", "1024:1024",
        "0.125:1.0625,1.125,1.40625,1.625,1.84375,2.28125,2.71875,2.90625,3.125,3"
        ".3125,4,5,6,7,8,9"};
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        weir_gamma_costs c, again;
        weir_err err = {""};
        char out[320];
        cr_assert(weir__costs_parse(text[i], &c, &err) == WEIR_OK, "%s: %s", text[i], err.text);
        for (int n = 1; n <= WEIR_GAMMA_MAX; n++) {
            weir__costs_format(&c, n, out, sizeof out);
            cr_assert(weir__costs_parse(out, &again, &err) == WEIR_OK, "%s: %s", out, err.text);
            cr_expect(memcmp(c.verify, again.verify, (size_t)(n + 1) * sizeof *c.verify) == 0 &&
                          c.draft == again.draft,
                      "%s became %s", text[i], out);
        }
        cr_expect(strncmp(out, text[i], strlen(text[i])) == 0, "%s begins as %s", out, text[i]);
    }
}

Test(costs, numbers_are_rounded_and_go_on_as_they_ended) {
    weir_gamma_costs c;
    cr_assert(weir__costs_parse("0.26:1.24,1.51", &c, NULL) == WEIR_OK);
    cr_expect(c.draft == 0.25f && c.verify[0] == 1.0f && c.verify[1] == 1.25f && c.verify[2] == 1.5f);
    for (int j = 3; j <= WEIR_GAMMA_MAX; j++)
        cr_expect(c.verify[j] == 1.0f + 0.25f * (float)j, "entry %d", j);
}

Test(costs, other_texts_are_refused) {
    static const char *const text[] = {"",        "0.5",       "0.5:",
                                       ":1",      "0.5:0.5",   "0.5:2,1",
                                       "-1:1",    "nan:1",     "0.5:inf",
                                       "0.5:1,",  "0.5:1;2",   "0.5 :1",
                                       "0.5:1 ",  "2000:1",    "0.5:1e9",
                                       "x",       "0.5:1,2,x", "0.5: 1",
                                       "0.5:1:2", "0,5:1,2",   "1:1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"};
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        weir_gamma_costs c;
        weir_err err = {""};
        cr_expect(weir__costs_parse(text[i], &c, &err) == WEIR_EINVAL, "\"%s\"", text[i]);
        cr_expect(strstr(err.text, "D:V1,V2,...") && !strchr(err.text, '\n'), "%s", err.text);
    }
}

static weir_engine *open_pair(const char *costs) {
    weir_engine_options o = demo_options();
    o.costs = costs;
    return engine_open(&o);
}

/* Nothing is measured for sessions that all say their gamma, and one that does not is refused. */
Test(costs, fixed_gammas_need_none) {
    weir_engine_options o = demo_options();
    weir_err err = {""};
    o.costs = NULL, o.fixed_gamma = true;
    weir_engine *e = engine_open(&o);
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    cr_expect_null(f.costs);
    static const int32_t prompt[] = {5, 1};
    weir_session_options open = weir_session_options_default(), fixed = open;
    weir_session *s = NULL;
    cr_expect(weir_session_create(e, &open, prompt, 2, NULL, NULL, &s, &err) == WEIR_EINVAL && !s);
    cr_expect(strstr(err.text, "gamma auto"), "%s", err.text);
    fixed.n_draft = 3;
    cr_assert(weir_session_create(e, &fixed, prompt, 2, NULL, NULL, &s, &err) == WEIR_OK, "%s", err.text);
    cr_expect(weir_step(e, &s, 1, 2, &err) == WEIR_OK, "%s", err.text);
    weir_session_free(s);
    weir_engine_close(e);
}

/* What was measured, given to another engine, gives its tokens. No session is left of the measuring. */
Test(costs, what_was_measured_can_be_given) {
    static answer want, got;
    weir_engine *e = open_pair(NULL);
    weir_engine_facts f, g;
    weir_engine_get_facts(e, &f);
    cr_assert(f.costs && strcmp(f.costs_from, "measured") == 0, "%s", f.costs_from);
    for (int side = 0; side < 2; side++) {
        int64_t n_free, n_total;
        weir_engine_pages(e, side, &n_free, &n_total);
        cr_expect(n_free == n_total, "side %d: %d of %d pages", side, (int)n_free, (int)n_total);
    }
    weir_engine *again = open_pair(f.costs);
    weir_engine_get_facts(again, &g);
    cr_expect_str_eq(f.costs, g.costs);
    cr_expect_str_eq(g.costs_from, "given");
    for (int i = 0; i < 10; i++) {
        weir_session_options o = weir_session_options_default();
        o.seed = (uint64_t)i;
        cr_assert(o.n_draft == WEIR_GAMMA_AUTO);
        answer_run(e, &o, demo_prompts[i], &want);
        answer_run(again, &o, demo_prompts[i], &got);
        answer_assert_same(&want, &got, "with the same table");
    }
    weir_engine_close(e);
    weir_engine_close(again);
}

/* Tokens of a session that never drafts are the verifier's alone, and it asks the drafter for nothing, not
 * even its prompt. */
Test(costs, where_nothing_pays_the_verifier_is_alone) {
    static answer want, got;
    weir_engine *e = open_pair("2:2,3,4");
    for (int i = 0; i < 10; i++) {
        weir_session_options o = weir_session_options_default();
        o.seed = (uint64_t)i;
        answer_run(e, &o, demo_prompts[i], &got);
        o.method = WEIR_METHOD_VERIFIER;
        answer_run(e, &o, demo_prompts[i], &want);
        cr_assert(got.n == want.n && memcmp(got.ids, want.ids, got.n * sizeof *got.ids) == 0);
        cr_expect(got.stats.settled && got.stats.drafted == 0 && got.stats.drafter_rows == 0 &&
                  got.stats.from_verifier == (int64_t)got.n && got.stats.draft_hist[0] == got.stats.blocks);
        cr_expect(got.stats.seconds_prefill > 0.0 && got.stats.n_prompt_cached[1] == 0);
    }
    /* whose law is not the verifier's drafts all the same */
    weir_session_options o = weir_session_options_default();
    o.law.rule = WEIR_RULE_TOKEN_V3;
    o.law.alpha = 0.5f;
    answer_run(e, &o, demo_prompts[0], &got);
    cr_expect(!got.stats.settled && got.stats.draft_hist[0] == 0 && got.stats.drafted >= got.stats.blocks);
    weir_engine_close(e);
}

/* A session that settles on the way gives the drafter's pages back and goes on, alone or not. */
Test(costs, one_that_settles_lets_the_drafter_go) {
    static answer want, got;
    weir_engine *e = open_pair("0.375:1.25,1.5,1.75");
    int settled = 0;
    for (int i = 0; i < 10; i++) {
        weir_session_options o = weir_session_options_default();
        o.seed = (uint64_t)i;
        o.ignore_eos = true;
        o.max_tokens = 100;
        answer_run(e, &o, demo_prompts[i], &want);
        settled += want.stats.settled && want.stats.draft_hist[0] + 1 < want.stats.blocks;
        weir_session *s = demo_session(e, &o, demo_prompts[i]);
        weir_err err = {""};
        weir_session_view v;
        do {
            cr_assert(weir_step(e, &s, 1, 3, &err) == WEIR_OK, "%s", err.text);
            weir_session_get(s, &v);
            int64_t n_free, n_total;
            weir_engine_pages(e, 1, &n_free, &n_total);
            cr_assert(!v.stats.settled || n_free == n_total, "pages of the drafter are held");
            if (v.stats.settled && v.n % 3 == 0) weir_session_suspend(s);
        } while (v.finish == WEIR_RUNNING);
        answer_take(s, &got);
        weir_session_free(s);
        answer_assert_same(&want, &got, "in steps");
    }
    cr_expect(settled >= 3, "%d settled", settled);
    weir_engine_close(e);
}

/* ---- mixtures of experts ------------------------------------------------------------------------------- */

static weir_status (*real_route)(weir_backend *be, weir_route *a);
static int route_calls[2], route_experts[2]; /* of one row, and of six or more */

static weir_status counted_route(weir_backend *be, weir_route *a) {
    const weir_status s = real_route(be, a);
    if (a->n_row > 1 && a->n_row < 6) return s;
    route_calls[a->n_row > 1]++;
    for (int32_t e = 0; e < a->n_expert; e++) route_experts[a->n_row > 1] += a->begin[e + 1] > a->begin[e];
    return s;
}

/* The rows of a measured block are different tokens, so that more of them touch more experts: a table that
 * took one expert's rows for many would say that drafts cost nothing. */
Test(costs, rows_of_a_mixture_touch_more_experts_than_one_row) {
    const decoder_names names = {"qwen3moe_f32", "llama_f32"};
    weir_engine *e = decoder_open(&names, "cpu", 1, 1, 128);
    weir_err err = {""};
    real_route = e->pair.be->op.route;
    e->pair.be->op.route = counted_route;
    cr_assert_eq(weir__costs_open(e, false, &err), WEIR_OK, "%s", err.text);
    cr_expect_str_eq(e->pair.facts.costs_from, "measured");
    cr_assert(route_calls[0] > 0 && route_calls[1] > 0);
    const double one = (double)route_experts[0] / route_calls[0],
                 many = (double)route_experts[1] / route_calls[1];
    cr_expect_eq(one, 3.0);
    cr_expect_gt(many, 5.0, "%g of 7 experts", many);
    weir_engine_close(e);
}
