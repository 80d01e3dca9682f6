/* Fields of completions and chat requests, one by one. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/wire/fields.h"
#include "tests/serve/api/ask_fixture.h"
#include "tests/support/alloc.h"

static void open_all(void) {
    alloc_install(0);
    servers_open();
}

TestSuite(ask, .init = open_all, .fini = servers_close);

#define TAKEN(server, chat, fields) \
    api_ask a;                      \
    cr_assert(ask(server, chat, fields, &a), "%s: %s", fields, said.message.text)

Test(ask, nothing_but_a_prompt_has_the_defaults) {
    for (int chat = 0; chat < 2; chat++) {
        TAKEN(&demo, chat, "");
        cr_expect(a.chat == chat && !a.stream && !a.usage && !a.running_usage && !a.echo && !a.logprobs);
        cr_expect(!a.token_ids && !a.sources && a.n_top == 0 && a.n == 1 && a.n_prompt == 1);
        cr_expect(a.o.max_tokens == (chat ? demo.facts.ctx_size : 16), "%d", a.o.max_tokens);
        cr_expect(a.o.method == WEIR_METHOD_SPECULATIVE && a.o.law.rule == WEIR_RULE_EXACT &&
                  a.o.n_draft == WEIR_GAMMA_AUTO);
        cr_expect(a.o.law.temp == 1 && a.o.law.top_p == 1 && a.o.law.top_k == 0 && a.o.law.min_p == 0);
        cr_expect(!a.seed_given && a.o.seed <= INT64_MAX && a.o.n_stop == 0 && !a.stop && !a.ignored);
        cr_expect(a.priority == 0 && isinf(a.answer_seconds) && a.cache_salt == 0 && !a.request_id);
        cr_expect_str_eq(a.model, "demo");
        api_ask_free(&a);
    }
}

Test(ask, seeds_are_drawn_unless_they_are_given) {
    uint64_t seeds[3];
    for (int i = 0; i < 3; i++) {
        TAKEN(&demo, false, i < 2 ? "" : "\"seed\": -1");
        cr_expect(!a.seed_given);
        seeds[i] = a.o.seed;
        api_ask_free(&a);
    }
    cr_expect(seeds[0] != seeds[1] && seeds[1] != seeds[2] && seeds[0] != seeds[2]);
    static const char *const given[] = {"\"seed\": 0", "\"seed\": 9223372036854775807"};
    for (int i = 0; i < 2; i++) {
        TAKEN(&demo, true, given[i]);
        cr_expect(a.seed_given && a.o.seed == (i ? (uint64_t)INT64_MAX : 0));
        api_ask_free(&a);
    }
}

Test(ask, sampling_has_the_ends_that_other_servers_have) {
    {
        TAKEN(&demo, false, "\"temperature\": 2, \"top_p\": 0, \"top_k\": -1, \"min_p\": 1");
        cr_expect(a.o.law.temp == 2 && a.o.law.top_p == FLT_MIN && a.o.law.top_k == 0 && a.o.law.min_p == 1);
        api_ask_free(&a);
    }
    TAKEN(&demo, true, "\"temperature\": 0.0, \"top_p\": 0.25, \"top_k\": 40, \"min_p\": 0.5");
    cr_expect(a.o.law.temp == 0 && a.o.law.top_p == 0.25f && a.o.law.top_k == 40 && a.o.law.min_p == 0.5f);
    api_ask_free(&a);
}

Test(ask, max_tokens_has_three_names_and_is_clamped_to_the_room) {
    static const struct {
        const char *fields;
        int want;
    } cases[] = {{"\"max_tokens\": 0", 0},
                 {"\"max_tokens\": 7", 7},
                 {"\"max_completion_tokens\": 8", 8},
                 {"\"n_predict\": 9", 9},
                 {"\"max_tokens\": null, \"max_completion_tokens\": 5", 5},
                 {"\"max_tokens\": 6, \"n_predict\": 6", 6},
                 {"\"n_predict\": -1", 512},
                 {"\"max_tokens\": 2147483647", 512}};
    cr_assert(demo.facts.ctx_size == 512);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int chat = 0; chat < 2; chat++) {
            TAKEN(&demo, chat, cases[i].fields);
            cr_expect(a.o.max_tokens == cases[i].want, "%s: %d", cases[i].fields, a.o.max_tokens);
            api_ask_free(&a);
        }
    ask_refused(&demo, true, "\"max_tokens\": 4, \"max_completion_tokens\": 5", "invalid_value",
                "max_completion_tokens", "\"max_tokens\" says something else");
}

Test(ask, stop_is_a_text_or_a_list_without_its_empty_entries) {
    static const char *const texts[] = {"\"stop\": \"x\"", "\"stop\": [null, \"x\", \"\"]",
                                        "\"stop\": [\"x\"]"};
    for (int i = 0; i < 3; i++) {
        TAKEN(&demo, i == 0, texts[i]);
        cr_assert(a.o.n_stop == 1 && a.o.stop == (const char *const *)a.stop, "%s", texts[i]);
        cr_expect_str_eq(a.stop[0], "x");
        api_ask_free(&a);
    }
    static const char *const none[] = {"\"stop\": \"\"", "\"stop\": null", "\"stop\": []",
                                       "\"stop\": [null]"};
    for (int i = 0; i < 4; i++) {
        TAKEN(&demo, false, none[i]);
        cr_expect(a.o.n_stop == 0);
        api_ask_free(&a);
    }
    TAKEN(
        &demo, false,
        "\"stop\": [\"0\",\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"a\",\"b\",\"c\",\"\",\"d\","
        "\"e\",\"f\"]");
    cr_expect(a.o.n_stop == 16);
    cr_expect_str_eq(a.stop[15], "f");
    api_ask_free(&a);
    ask_refused(
        &demo, false,
        "\"stop\": [\"0\",\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"a\",\"b\",\"c\",\"d\","
        "\"e\",\"f\",\"g\"]",
        "invalid_value", "stop", "17 strings, expected at most 16");
}

Test(ask, the_server_s_stop_strings_hold_until_others_are_said) {
    static const char *const stop[] = {"END", "FIN"};
    api_server s = demo;
    s.defaults.stop = stop;
    s.defaults.n_stop = 2;
    {
        TAKEN(&s, false, "");
        cr_assert(a.o.n_stop == 2 && a.stop && a.o.stop[1] == a.stop[1] && a.stop[1] != stop[1]);
        cr_expect_str_eq(a.stop[1], "FIN");
        api_ask_free(&a);
    }
    TAKEN(&s, false, "\"stop\": []");
    cr_expect(a.o.n_stop == 0);
    api_ask_free(&a);
}

Test(ask, the_rule_and_its_knobs) {
    TAKEN(&demo, true,
          "\"deferral_rule\": \"lossy\", \"deferral_alpha\": 0.25, \"deferral_beta\": \"auto\", "
          "\"num_speculative_tokens\": 8, \"exact_first\": 3, \"gate\": \"scaled\", \"bonus\": \"verifier\", "
          "\"block_verify\": true, \"ignore_eos\": true, \"method\": \"speculative\", \"speculative\": true");
    cr_expect(a.o.law.rule == WEIR_RULE_LOSSY && a.o.law.alpha == 0.25f && isnan(a.o.law.beta));
    cr_expect(a.o.n_draft == 8 && a.o.law.exact_first == 3 && a.o.law.gate_scaled && !a.o.law.bonus_pi);
    cr_expect(a.o.law.block_verify && a.o.ignore_eos && a.o.method == WEIR_METHOD_SPECULATIVE);
    api_ask_free(&a);
}

Test(ask, another_rule_never_keeps_the_alpha_of_the_one_before) {
    {
        TAKEN(&demo, false, "\"model\": \"demo:fast\"");
        cr_expect(a.o.law.rule == WEIR_RULE_TOKEN_V3 && a.o.law.alpha == 0.4f && a.o.n_draft == 7);
        api_ask_free(&a);
    }
    {
        TAKEN(&demo, false, "\"model\": \"demo:fast\", \"deferral_rule\": \"token-v3\"");
        cr_expect(a.o.law.alpha == 0.4f);
        api_ask_free(&a);
    }
    TAKEN(&demo, false, "\"model\": \"demo:fast\", \"deferral_rule\": \"opt\"");
    cr_expect(a.o.law.rule == WEIR_RULE_OPT && a.o.n_draft == 7);
    cr_expect(a.o.law.alpha == weir_rule_facts(WEIR_RULE_OPT)->alpha_default);
    api_ask_free(&a);
}

Test(ask, a_method_brings_its_own_rule) {
    static const struct {
        const char *fields;
        weir_method method;
        weir_rule rule;
    } cases[] = {
        {"\"method\": \"token-cascade\"", WEIR_METHOD_TOKEN_CASCADE, WEIR_RULE_CHOW},
        {"\"method\": \"oracle-cascade\"", WEIR_METHOD_ORACLE_CASCADE, WEIR_RULE_DIFF},
        {"\"method\": \"oracle-cascade\", \"deferral_rule\": \"opt\"", WEIR_METHOD_ORACLE_CASCADE,
         WEIR_RULE_OPT},
        {"\"method\": \"drafter\"", WEIR_METHOD_DRAFTER, WEIR_RULE_EXACT},
        {"\"speculative\": false", WEIR_METHOD_VERIFIER, WEIR_RULE_EXACT},
        {"\"speculative\": false, \"method\": \"verifier\"", WEIR_METHOD_VERIFIER, WEIR_RULE_EXACT},
        {"\"model\": \"demo:verifier\", \"speculative\": true", WEIR_METHOD_SPECULATIVE, WEIR_RULE_EXACT},
        {"\"method\": \"sequence-cascade\", \"deferral_alpha\": 1.5, \"seq_confidence\": \"sum\"",
         WEIR_METHOD_SEQUENCE_CASCADE, WEIR_RULE_EXACT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TAKEN(&demo, i % 2, cases[i].fields);
        cr_expect(a.o.method == cases[i].method && a.o.law.rule == (int)cases[i].rule, "%s", cases[i].fields);
        cr_expect(a.o.seq_conf_sum == (i == 7) && (i < 7 || a.o.law.alpha == 1.5f));
        api_ask_free(&a);
    }
    ask_refused(&demo, false, "\"method\": \"sequence-cascade\"", "invalid_value", "deferral_alpha",
                "missing");
    ask_refused(&demo, false, "\"method\": \"sequence-cascade\", \"deferral_alpha\": -1", "invalid_value",
                "deferral_alpha", "-1 is out of range, expected at least 0");
    ask_refused(&demo, false, "\"method\": \"drafter\", \"speculative\": false", "invalid_value",
                "speculative", "false, but method is drafter");
    ask_refused(&demo, false, "\"method\": \"verifier\", \"speculative\": true", "invalid_value",
                "speculative", "true, but method is verifier");
    ask_refused(&demo, false, "\"model\": \"demo:verifier\", \"deferral_rule\": \"opt\"", "invalid_value",
                "deferral_rule", "has no effect under method verifier");
    ask_refused(&demo, true, "\"deferral_alpha\": 0.5", "invalid_value", "deferral_alpha",
                "has no effect under rule exact");
    ask_refused(&demo, false, "\"deferral_rule\": \"token-v3\", \"deferral_beta\": 1", "invalid_value",
                "deferral_beta", "has no effect under rule token-v3");
}

/* The threshold of a sequence cascade means nothing to a rule. */
Test(ask, a_method_leaves_no_threshold_to_the_next) {
    api_server s = demo;
    s.defaults.method = WEIR_METHOD_SEQUENCE_CASCADE;
    s.defaults.law.rule = WEIR_RULE_OPT;
    s.defaults.law.alpha = 77;
    {
        TAKEN(&s, false, "\"method\": \"sequence-cascade\"");
        cr_expect(a.o.law.alpha == 77);
        api_ask_free(&a);
    }
    TAKEN(&s, false, "\"method\": \"speculative\"");
    cr_expect(a.o.law.rule == WEIR_RULE_OPT);
    cr_expect(a.o.law.alpha == weir_rule_facts(WEIR_RULE_OPT)->alpha_default);
    api_ask_free(&a);
}

Test(ask, without_a_drafter_what_needs_one_is_refused_by_name) {
    ask_refused(&decoder, false, "\"method\": \"drafter\"", "invalid_value", "method", "needs a drafter");
    ask_refused(&decoder, false, "\"speculative\": true", "invalid_value", "speculative", "needs a drafter");
    ask_refused(&decoder, false, "\"deferral_alpha\": 0.5", "invalid_value", "deferral_rule",
                "needs a drafter");
    ask_refused(&decoder, false, "\"model\": \"demo:exact\"", "model_not_found", "model",
                "no \"demo:exact\" here, expected one of demo, demo:verifier, alias, alias:verifier");
}

/* Prompt lookup in place of a drafter. */
static api_server looking_up(void) {
    api_server s = demo;
    s.facts.has_draft = false;
    s.facts.draft = WEIR_DRAFT_LOOKUP;
    s.facts.lookup_min = 2, s.facts.lookup_max = 8;
    return s;
}

Test(ask, prompt_lookup_refuses_by_name_what_it_cannot_serve) {
    static const char rules[] = "use exact, token-v2, token-v3, lossy, bild, token-v3-exact-tail, typical, "
                                "cactus or fuzzy";
    const api_server s = looking_up();
    api_ask a;
    ask_refused(&s, false, "\"method\": \"drafter\"", "invalid_value", "method",
                "use speculative or verifier");
    ask_refused(&s, true, "\"method\": \"oracle-cascade\"", "invalid_value", "method",
                "use speculative or verifier");
    ask_refused(&s, false, "\"deferral_rule\": \"chow\"", "invalid_value", "deferral_rule", rules);
    ask_refused(&s, false, "\"deferral_rule\": \"opt\", \"deferral_alpha\": 0.1", "invalid_value",
                "deferral_rule", rules);
    ask_refused(&s, false, "\"model\": \"demo:drafter\"", "model_not_found", "model", "demo:exact");
    cr_assert(ask(&s, false, "\"deferral_rule\": \"token-v3\"", &a), "%s", said.message.text);
    cr_expect(a.o.method == WEIR_METHOD_SPECULATIVE && a.o.law.rule == WEIR_RULE_TOKEN_V3);
    api_ask_free(&a);
    cr_assert(ask(&s, false, "\"model\": \"demo:exact\", \"speculative\": true", &a), "%s",
              said.message.text);
    cr_expect(a.o.method == WEIR_METHOD_SPECULATIVE && a.o.law.rule == WEIR_RULE_EXACT);
    api_ask_free(&a);
    cr_assert(ask(&s, false, "\"speculative\": false", &a), "%s", said.message.text);
    cr_expect(a.o.method == WEIR_METHOD_VERIFIER);
    api_ask_free(&a);
}

Test(ask, the_shape_of_an_answer) {
    {
        TAKEN(&demo, false,
              "\"stream\": true, \"stream_options\": {\"include_usage\": true, "
              "\"continuous_usage_stats\": true, "
              "\"include_obfuscation\": false}, \"n\": 64, \"logprobs\": 20, \"return_token_ids\": true, "
              "\"return_sources\": true");
        cr_expect(a.stream && a.usage && a.running_usage && a.n == 64 && a.logprobs && a.n_top == 20);
        cr_expect(a.o.n_top == 20 && a.token_ids && a.sources && !a.ignored);
        api_ask_free(&a);
    }
    {
        TAKEN(&demo, false, "\"logprobs\": 0, \"stream_options\": {\"include_usage\": null, \"x\": 1}");
        cr_expect(a.logprobs && a.n_top == 0 && !a.usage && a.n_ignored == 1);
        cr_expect_str_eq(json_string_value(json_array_get(a.ignored, 0)), "stream_options.x");
        api_ask_free(&a);
    }
    {
        TAKEN(&demo, true, "\"logprobs\": true, \"top_logprobs\": 3");
        cr_expect(a.logprobs && a.n_top == 3);
        api_ask_free(&a);
    }
    {
        TAKEN(&demo, true, "\"logprobs\": false, \"top_logprobs\": 0");
        cr_expect(!a.logprobs && a.n_top == 0);
        api_ask_free(&a);
    }
    TAKEN(&decoder, false, "\"echo\": true");
    cr_expect(a.echo);
    api_ask_free(&a);
    ask_refused(&demo, false, "\"echo\": true", "unsupported_parameter", "echo", "/weir/score");
    ask_refused(&demo, true, "\"top_logprobs\": 3", "invalid_value", "top_logprobs", "without logprobs true");
    ask_refused(&demo, true, "\"stream_options\": {\"include_usage\": 1}", "invalid_value",
                "stream_options.include_usage", "expected true or false");
}

Test(ask, how_it_is_served) {
    {
        TAKEN(&demo, true,
              "\"priority\": -8, \"t_max_predict_ms\": 1500, \"cache_salt\": \"a\", \"request_id\": \"r-1\"");
        cr_expect(a.priority == -8 && a.answer_seconds == 1.5 && a.cache_salt != 0);
        cr_expect_str_eq(a.request_id, "r-1");
        const uint64_t salt = a.cache_salt;
        api_ask_free(&a);
        cr_assert(ask(&demo, false, "\"cache_salt\": \"a\"", &a) && a.cache_salt == salt);
        api_ask_free(&a);
        cr_assert(ask(&demo, false, "\"cache_salt\": \"b\"", &a) && a.cache_salt != salt);
        api_ask_free(&a);
    }
    static const char *const endless[] = {"\"t_max_predict_ms\": 0", "\"t_max_predict_ms\": -1"};
    for (int i = 0; i < 2; i++) {
        TAKEN(&demo, true, endless[i]);
        cr_expect(isinf(a.answer_seconds));
        api_ask_free(&a);
    }
    ask_refused(&demo, true, "\"request_id\": \"a b\"", "invalid_value", "request_id", "visible");
    ask_refused(&demo, true, "\"request_id\": \"\"", "invalid_value", "request_id", "visible");
    ask_refused(&demo, true, "\"cache_salt\": \"\"", "invalid_value", "cache_salt", "empty");
}

/* One past each end of every range, with the words that a user reads. */
Test(ask, numbers_out_of_range_are_refused_with_field_value_and_range) {
    static const struct {
        const char *fields, *param, *words;
    } cases[] = {
        {"\"temperature\": 2.1", "temperature", "\"temperature\": 2.1 is out of range, expected 0 to 2"},
        {"\"temperature\": -0.1", "temperature", "-0.1 is out of range, expected 0 to 2"},
        {"\"top_p\": 1.5", "top_p", "1.5 is out of range, expected 0 to 1"},
        {"\"top_p\": -1", "top_p", "-1 is out of range, expected 0 to 1"},
        {"\"min_p\": 2", "min_p", "2 is out of range, expected 0 to 1"},
        {"\"top_k\": -2", "top_k", "-2 is out of range, expected -1 to 2147483647"},
        {"\"max_tokens\": -2", "max_tokens", "-2 is out of range, expected -1 to 2147483647"},
        {"\"n_predict\": 2147483648", "n_predict", "2147483648 is out of range, expected -1 to 2147483647"},
        {"\"seed\": -2", "seed", "-2 is out of range, expected -1 to 9223372036854775807"},
        {"\"seed\": 9223372036854775808", "seed", "9223372036854775808 is out of range, expected -1 to 92"},
        {"\"n\": 0", "n", "0 is out of range, expected 1 to 64"},
        {"\"n\": 65", "n", "65 is out of range, expected 1 to 64"},
        {"\"priority\": -9", "priority", "-9 is out of range, expected -8 to 8"},
        {"\"priority\": 9", "priority", "9 is out of range, expected -8 to 8"},
        {"\"t_max_predict_ms\": -2", "t_max_predict_ms", "-2 is out of range, expected -1 to 2147483647"},
        {"\"num_speculative_tokens\": 0", "num_speculative_tokens", "0 is out of range, expected 1 to 8"},
        {"\"num_speculative_tokens\": 9", "num_speculative_tokens", "9 is out of range, expected 1 to 8"},
        {"\"exact_first\": -1", "exact_first", "-1 is out of range, expected 0 to 2147483647"},
        {"\"deferral_alpha\": 1e39", "deferral_alpha", "1e+39 is out of range"},
        {"\"deferral_rule\": \"lossy\", \"deferral_alpha\": 1", "deferral_alpha", "alpha"},
        {"\"deferral_rule\": \"typical\", \"deferral_beta\": -1", "deferral_beta", "-1 is out of range"},
        {"\"deferral_rule\": \"cactus\", \"block_verify\": true", "block_verify", "block verification"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int chat = 0; chat < 2; chat++)
            ask_refused(&demo, chat, cases[i].fields, "invalid_value", cases[i].param, cases[i].words);
    ask_refused(&demo, false, "\"logprobs\": 21", "invalid_value", "logprobs",
                "21 is out of range, expected 0 to 20");
    ask_refused(&demo, true, "\"logprobs\": true, \"top_logprobs\": 21", "invalid_value", "top_logprobs",
                "21 is out of range, expected 0 to 20");
}

/* Every field of the table with every kind of value: taken, or refused with a line that begins with its name.
 * A value of no kind that the field has is refused. */
Test(ask, a_value_of_a_wrong_type_is_refused_by_its_field) {
    static const char *const values[] = {"true", "3",     "0.5",  "\"x\"",    "[]",
                                         "{}",   "[1.5]", "[{}]", "[[\"a\"]]"};
    static const wire_type plain[] = {WIRE_BOOL, WIRE_INT, WIRE_NUMBER, WIRE_STRING};
    for (int i = 0; i < WIRE_N_FIELD; i++)
        for (size_t k = 0; k < sizeof values / sizeof *values; k++)
            for (int chat = 0; chat < 2; chat++) {
                const wire_field *f = &wire_fields[i];
                char fields[200], quoted[64];
                if (!(f->where & (chat ? WIRE_CHAT : WIRE_COMPLETIONS)) || i == WIRE_PROMPTS ||
                    i == WIRE_MESSAGES)
                    continue;
                snprintf(fields, sizeof fields, "\"%s\": %s", f->name, values[k]);
                snprintf(quoted, sizeof quoted, "\"%s\": ", f->name);
                api_ask a;
                const bool taken = ask(&demo, chat, fields, &a);
                const bool other = k < 4 && plain[k] != f->type;
                const bool number = f->type == WIRE_NUMBER && k == 1;
                const bool text = k == 3 && (f->type == WIRE_STRINGS || f->type == WIRE_NAME || f->words);
                if (k < 4 && (f->type == WIRE_BOOL || f->type == WIRE_INT || f->type == WIRE_UINT ||
                              f->type == WIRE_NUMBER || f->type == WIRE_STRING))
                    cr_expect(!taken || !other || number || text || (f->type == WIRE_UINT && k == 1),
                              "%s is taken", fields);
                if (taken)
                    api_ask_free(&a);
                else
                    cr_expect(said.param[0] && (strncmp(said.message.text, quoted, strlen(quoted)) == 0 ||
                                                strncmp(said.message.text, "\"deferral_", 10) == 0 ||
                                                strstr(said.message.text, "alpha")),
                              "%s: %s", fields, said.message.text);
            }
}

Test(ask, null_is_absent) {
    for (int chat = 0; chat < 2; chat++) {
        char fields[4096] = "\"frequency_penalty\": null, \"tools\": null, \"temprature\": null";
        size_t used = strlen(fields);
        for (int i = 0; i < WIRE_N_FIELD; i++) {
            const wire_field *f = &wire_fields[i];
            if (!(f->where & (chat ? WIRE_CHAT : WIRE_COMPLETIONS)) || i == WIRE_PROMPTS ||
                i == WIRE_MESSAGES)
                continue;
            used += (size_t)snprintf(fields + used, sizeof fields - used, ", \"%s\": null", f->name);
        }
        cr_assert(used < sizeof fields);
        TAKEN(&demo, chat, fields);
        cr_expect(!a.ignored && !a.seed_given && !a.logprobs && a.o.max_tokens == (chat ? 512 : 16));
        api_ask_free(&a);
    }
}

/* ---- fields that are not weir's ------------------------------------------------------------------------ */

Test(ask, what_other_servers_have_is_taken_at_the_value_that_asks_for_nothing) {
    static const char neutral[] =
        "\"frequency_penalty\": 0, \"presence_penalty\": 0.0, \"repetition_penalty\": 1.0, "
        "\"logit_bias\": {}, "
        "\"best_of\": 1, \"suffix\": \"\", \"min_tokens\": 0, \"stop_token_ids\": [], \"tools\": [], "
        "\"tool_choice\": \"auto\", \"functions\": [], \"response_format\": {\"type\": \"text\"}, "
        "\"use_beam_search\": false, \"prompt_logprobs\": null, \"truncate_prompt_tokens\": null, "
        "\"modalities\": [\"text\"], \"prediction\": null, \"user\": \"me\", \"metadata\": {\"a\": \"b\"}, "
        "\"store\": true, \"service_tier\": \"auto\", \"safety_identifier\": \"s\", "
        "\"prompt_cache_key\": \"k\", "
        "\"parallel_tool_calls\": true, \"reasoning_effort\": \"low\"";
    for (int chat = 0; chat < 2; chat++) {
        api_server s = demo;
        s.strict_fields = chat;
        TAKEN(&s, chat, neutral);
        cr_expect(!a.ignored);
        api_ask_free(&a);
    }
    TAKEN(&demo, false, "\"n\": 3, \"best_of\": 3, \"tool_choice\": \"none\"");
    api_ask_free(&a);
    static const char *const asked[][2] = {
        {"frequency_penalty", "0.5"},
        {"presence_penalty", "-1"},
        {"repetition_penalty", "0"},
        {"logit_bias", "{\"5\": 1}"},
        {"best_of", "2"},
        {"suffix", "\"x\""},
        {"min_tokens", "1"},
        {"stop_token_ids", "[1]"},
        {"tools", "[{}]"},
        {"tool_choice", "\"required\""},
        {"functions", "[{}]"},
        {"response_format", "{\"type\": \"json_object\"}"},
        {"use_beam_search", "true"},
        {"prompt_logprobs", "1"},
        {"truncate_prompt_tokens", "9"},
        {"modalities", "[\"text\", \"audio\"]"},
        {"prediction", "{}"},
        {"guided_json", "{}"},
        {"grammar", "\"root ::= x\""},
        {"frequency_penalty", "\"0\""},
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        char fields[100];
        snprintf(fields, sizeof fields, "\"%s\": %s", asked[i][0], asked[i][1]);
        ask_refused(&demo, i % 2, fields, "unsupported_parameter", asked[i][0], "not supported, expected ");
    }
}

Test(ask, unknown_fields_are_listed_unless_they_look_like_a_mistake) {
    {
        TAKEN(&demo, true, "\"zebra\": 1, \"cache_prompt\": true");
        cr_expect(a.n_ignored == 2 && json_array_size(a.ignored) == 2);
        cr_expect_str_eq(json_string_value(json_array_get(a.ignored, 0)), "zebra");
        api_ask_free(&a);
    }
    static const char *const near[][3] = {
        {"temprature", "temperature"},
        {"maxTokens", "max_tokens"},
        {"top-k", "top_k"},
        {"steam", "stream"},
        {"Seed", "seed"},
        {"n_predicts", "n_predict"},
        {"tool", "tools"},
        {"deferral_lambda", "deferral_alpha"},
        {"deferral_", "deferral_rule"},
        {"usr", "user"},
    };
    for (size_t i = 0; i < sizeof near / sizeof *near; i++) {
        char fields[100], words[100];
        snprintf(fields, sizeof fields, "\"%s\": 1", near[i][0]);
        snprintf(words, sizeof words, "unknown field; the nearest is \"%s\"", near[i][1]);
        ask_refused(&demo, i % 2, fields, "unknown_parameter", near[i][0], words);
    }
    /* a name of one letter is not near to every name of three */
    TAKEN(&demo, false, "\"ab\": 1, \"nn\": 2, \"m\": 3");
    cr_expect(a.n_ignored == 3);
    api_ask_free(&a);
    ask_refused(&demo, false, "\"messages\": []", "unknown_parameter", "messages",
                "a field of /v1/chat/completions");
    ask_refused(&demo, true, "\"prompt\": \"a\"", "unknown_parameter", "prompt",
                "a field of /v1/completions");
    api_server strict = demo;
    strict.strict_fields = true;
    ask_refused(&strict, false, "\"zebra\": 1", "unknown_parameter", "zebra", "unknown field");
}

Test(ask, only_so_many_fields_are_looked_at) {
    char fields[8192];
    size_t used = 0;
    for (int i = 0; i < 199; i++)
        used += (size_t)snprintf(fields + used, sizeof fields - used, "%s\"zebra%03d\": 0", i ? ", " : "", i);
    {
        TAKEN(&demo, false, fields);
        cr_expect(a.n_ignored == 199 && json_array_size(a.ignored) == 64);
        api_ask_free(&a);
    }
    snprintf(fields + used, sizeof fields - used, ", \"zebra\": 0");
    ask_refused(&demo, false, fields, "invalid_value", "", "201 fields, expected at most 200");
}

/* ---- models -------------------------------------------------------------------------------------------- */

Test(ask, a_model_is_a_name_with_or_without_settings) {
    static const struct {
        const char *name;
        weir_method method;
        weir_rule rule;
    } cases[] = {{"demo", WEIR_METHOD_SPECULATIVE, WEIR_RULE_OPT},
                 {"alias", WEIR_METHOD_SPECULATIVE, WEIR_RULE_OPT},
                 {"demo:exact", WEIR_METHOD_SPECULATIVE, WEIR_RULE_EXACT},
                 {"demo:verifier", WEIR_METHOD_VERIFIER, WEIR_RULE_OPT},
                 {"alias:drafter", WEIR_METHOD_DRAFTER, WEIR_RULE_OPT},
                 {"demo:fast", WEIR_METHOD_SPECULATIVE, WEIR_RULE_TOKEN_V3}};
    api_server s = demo;
    s.defaults.law.rule = WEIR_RULE_OPT;
    s.defaults.law.alpha = 0.7f;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char fields[64];
        snprintf(fields, sizeof fields, "\"model\": \"%s\"", cases[i].name);
        TAKEN(&s, i % 2, fields);
        cr_expect(a.o.method == cases[i].method && a.o.law.rule == (int)cases[i].rule, "%s", cases[i].name);
        cr_expect_str_eq(a.model, cases[i].name);
        api_ask_free(&a);
    }
    static const char *const none[] = {"gpt-4", "demo:",  "demo:fas", "demo:fast2",
                                       "",      ":exact", "exact",    "demo\\u0000"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        char fields[64];
        snprintf(fields, sizeof fields, "\"model\": \"%s\"", none[i]);
        ask_refused(&demo, false, fields, "model_not_found", "model",
                    "expected one of demo, demo:exact, demo:verifier, demo:drafter, demo:fast, alias, ");
    }
}
