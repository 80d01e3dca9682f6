/* The table of fields, and settings read, written and compared by it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/wire/json.h"
#include "host/wire/settings.h"

static weir_err err;

static char failed[64]; /* the field that the last failure was about */

static weir_status take(unsigned where, const char *text, weir_session_options *o) {
    wire_object in;
    err.text[0] = failed[0] = '\0';
    weir_status st = wire_object_parse(&in, text, strlen(text), &err);
    if (st == WEIR_OK) st = wire_check_known(&in, where, &err);
    if (st == WEIR_OK) st = wire_read_settings(&in, where, NULL, o, &err);
    if (st != WEIR_OK && in.failed) snprintf(failed, sizeof failed, "%s", in.failed);
    wire_object_free(&in);
    return st;
}

static char *written(json_t *value) {
    wire_buf b = {0};
    cr_assert(wire_write(value, &b));
    char *text = strdup(b.data);
    wire_buf_free(&b);
    return text;
}

Test(fields, every_row_is_complete_and_named_once) {
    for (int i = 0; i < WIRE_N_FIELD; i++) {
        const wire_field *f = &wire_fields[i];
        char type[200];
        cr_assert(f->name && f->help && (f->preset || f->absent), "field %d", i);
        wire_type_text(f, type, sizeof type);
        cr_expect(type[0] != '\0' && strlen(type) < sizeof type - 1, "%s: \"%s\"", f->name, type);
        for (int where = WIRE_GENERATE; where <= WIRE_LINE; where <<= 1)
            for (int j = 0; j < i; j++)
                cr_expect(!(f->where & wire_fields[j].where & (unsigned)where) ||
                              strcmp(wire_name(f, (unsigned)where),
                                     wire_name(&wire_fields[j], (unsigned)where)) != 0,
                          "%s twice", f->name);
    }
}

/* The words of the table are the engine's. */
Test(fields, words_are_in_the_engine_s_order) {
    for (int m = WEIR_METHOD_SPECULATIVE; m <= WEIR_METHOD_SEQUENCE_CASCADE; m++)
        cr_expect(wire_word_index(wire_fields[WIRE_METHOD].words, weir_method_name((weir_method)m)) == m);
    cr_expect(wire_word_index("raw|scaled", "raw") == 0 && wire_word_index("raw|scaled", "scaled") == 1);
    cr_expect(wire_word_index("raw|scaled", "scale") == -1 && wire_word_index("raw|scaled", "") == -1 &&
              wire_word_index("raw|scaled", "raw|scaled") == -1);
}

/* Presets are the engine's defaults; a member of another type than its row says would show here, too. */
Test(fields, presets_are_the_engine_s_defaults) {
    const weir_session_options o = weir_session_options_default();
    for (int i = 0; i < WIRE_N_SETTING; i++) {
        const wire_field *f = &wire_fields[i];
        if (!f->preset) continue;
        const int word = f->words ? wire_word_index(f->words, f->preset) : -1;
        const double want = f->type == WIRE_SWITCH ? word : strtod(f->preset, NULL);
        cr_expect(wire_get(f, &o) == want, "%s: %g, not %g", f->name, wire_get(f, &o), want);
    }
}

Test(fields, each_is_put_where_it_is_got_and_nowhere_else) {
    for (int i = 0; i < WIRE_N_SETTING; i++) {
        weir_session_options o = weir_session_options_default();
        double before[WIRE_N_SETTING];
        for (int k = 0; k < WIRE_N_SETTING; k++) before[k] = wire_get(&wire_fields[k], &o);
        const double x = before[i] == 1 ? 0 : 1;
        wire_put(&wire_fields[i], &o, x);
        for (int k = 0; k < WIRE_N_SETTING; k++) {
            const double got = wire_get(&wire_fields[k], &o), want = k == i ? x : before[k];
            cr_expect(got == want || (isnan(got) && isnan(want)), "%s changes %s", wire_fields[i].name,
                      wire_fields[k].name);
        }
    }
}

static const char every[] =
    "{\"deferral_rule\": \"lossy\", \"deferral_alpha\": 0.25, \"deferral_beta\": \"auto\", "
    "\"exact_first\": 3, \"num_speculative_tokens\": 7, \"temperature\": 0.5, \"top_k\": 40, "
    "\"top_p\": 0.9, \"min_p\": 0.01, \"max_tokens\": 9, \"seed\": 18446744073709551615}";

Test(settings, a_request_sets_what_it_says) {
    weir_session_options o = weir_session_options_default();
    cr_assert(take(WIRE_GENERATE, every, &o) == WEIR_OK, "%s", err.text);
    cr_expect(o.law.rule == WEIR_RULE_LOSSY && o.law.alpha == 0.25f && isnan(o.law.beta));
    cr_expect(o.law.exact_first == 3 && o.n_draft == 7 && o.law.temp == 0.5f && o.law.top_k == 40);
    cr_expect(o.law.top_p == 0.9f && o.law.min_p == 0.01f && o.max_tokens == 9 && o.seed == UINT64_MAX);
    cr_assert(take(WIRE_REPLAY, "{\"gate\": \"scaled\", \"bonus\": \"verifier\"}", &o) == WEIR_OK);
    cr_expect(o.law.gate_scaled && !o.law.bonus_pi && o.law.rule == WEIR_RULE_LOSSY);
}

Test(settings, a_rule_brings_its_knobs_unless_they_are_said) {
    weir_session_options o = weir_session_options_default();
    cr_assert(take(WIRE_RULE, "{\"rule\": \"token-v3\", \"alpha\": 0.9}", &o) == WEIR_OK);
    cr_assert(take(WIRE_RULE, "{\"rule\": \"token-v3\"}", &o) == WEIR_OK && o.law.alpha == 0.9f);
    cr_assert(take(WIRE_RULE, "{\"rule\": \"chow\"}", &o) == WEIR_OK);
    cr_expect(o.law.alpha == weir_rule_facts(WEIR_RULE_CHOW)->alpha_default);
    cr_assert(take(WIRE_RULE, "{\"alpha\": 0.1, \"rule\": \"opt\"}", &o) == WEIR_OK && o.law.alpha == 0.1f);
}

Test(settings, what_is_wrong_is_one_line_that_begins_with_the_field) {
    static const struct {
        unsigned where;
        const char *text, *field, *words;
    } bad[] = {
        {WIRE_GENERATE, "{\"temperature\": 3}", "temperature", "3 is out of range, expected 0 to 2"},
        {WIRE_GENERATE, "{\"temperature\": \"1\"}", "temperature", "expected a number, got a string"},
        {WIRE_GENERATE, "{\"top_p\": 0}", "top_p", "0 is out of range, expected above 0 to 1"},
        {WIRE_GENERATE, "{\"top_k\": -1}", "top_k", "-1 is out of range, expected 0 to 2147483647"},
        {WIRE_GENERATE, "{\"seed\": -1}", "seed", "-1 is out of range, expected 0 to 18446744073709551615"},
        {WIRE_GENERATE, "{\"max_tokens\": null}", "max_tokens", "expected a whole number, got null"},
        {WIRE_GENERATE, "{\"deferral_rule\": \"lossi\"}", "deferral_rule",
         "unknown rule lossi; the nearest is lossy"},
        {WIRE_GENERATE, "{\"deferral_rule\": \"token-v4\"}", "deferral_rule",
         "unknown rule token-v4; the nearest is token-v1"},
        {WIRE_GENERATE, "{\"deferral_beta\": \"self\"}", "deferral_beta", "expected a number or \"auto\""},
        {WIRE_GENERATE, "{\"deferral_alpha\": -1e39}", "deferral_alpha",
         "-1e+39 is out of range, expected -3.40282e+38"},
        {WIRE_GENERATE, "{\"alpha\": 1}", "alpha", "unknown field"},
        {WIRE_GENERATE, "{\"gate\": \"raw\"}", "gate", "unknown field"},
        {WIRE_REPLAY, "{\"gate\": \"open\"}", "gate", "expected \"raw\" or \"scaled\""},
        {WIRE_REPLAY, "{\"temperature\": 1}", "temperature", "unknown field"},
        {WIRE_RULE, "{\"deferral_alpha\": 1}", "deferral_alpha", "unknown field"},
        {WIRE_RULE, "{\"exact_first\": 1}", "exact_first", "unknown field"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weir_session_options o = weir_session_options_default();
        const weir_session_options before = o;
        char want[200];
        cr_expect(take(bad[i].where, bad[i].text, &o) == WEIR_EINVAL, "%s", bad[i].text);
        snprintf(want, sizeof want, "\"%s\": %s", bad[i].field, bad[i].words);
        cr_expect(strncmp(err.text, want, strlen(want)) == 0, "%s, not %s", err.text, want);
        cr_expect(strcmp(failed, bad[i].field) == 0, "%s", bad[i].text);
        cr_expect(memcmp(&o.law, &before.law, sizeof o.law) == 0 && o.seed == before.seed, "%s", bad[i].text);
    }
}

/* A law that was written and read is the same, whatever the rule. */
Test(settings, laws_come_back) {
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++) {
        weir_law law = weir_law_default();
        if (rule != law.rule) wire_set_rule(&law, (weir_rule)rule);
        if (rule != WEIR_RULE_EXACT) law.alpha = 0.3f;
        if (rule == WEIR_RULE_LOSSY) law.beta = NAN;
        law.temp = 0.7f;
        law.top_k = 12;
        law.gate_scaled = true;
        law.bonus_pi = false;
        law.exact_first = rule;
        char *text = written(wire_law_json(&law));
        weir_session_options o = weir_session_options_default();
        cr_assert(take(WIRE_LAW, text, &o) == WEIR_OK, "%s", err.text);
        cr_expect(wire_law_equal(&law, &o.law), "%s", text);
        cr_expect((strstr(text, "alpha") != NULL) == (rule != WEIR_RULE_EXACT), "%s", text);
        o.law.min_p = 0.5f;
        cr_expect(!wire_law_equal(&law, &o.law));
        free(text);
    }
}

Test(settings, what_has_no_effect_is_null_or_zero) {
    weir_session_options o = weir_session_options_default();
    o.method = WEIR_METHOD_VERIFIER;
    o.law.exact_first = 4;
    o.seed = UINT64_MAX;
    json_t *v = json_object();
    wire_set_settings(v, WIRE_ANSWER, &o);
    static const char *const none[] = {"rule", "alpha", "beta", "gamma", "gate", "bonus"};
    static const char *const some[] = {"method", "exact_first", "block_verify", "temperature", "top_k",
                                       "top_p",  "min_p",       "max_tokens",   "seed"};
    for (int i = 0; i < 9; i++) cr_expect(json_object_get(v, some[i]), "%s", some[i]);
    cr_expect_eq(json_object_size(v), 15);
    for (int i = 0; i < 6; i++) cr_expect(json_is_null(json_object_get(v, none[i])), "%s", none[i]);
    cr_expect(json_is_false(json_object_get(v, "block_verify")));
    cr_expect(json_integer_value(json_object_get(v, "exact_first")) == 0);
    cr_expect(!json_object_get(v, "seq_confidence"));
    cr_expect_str_eq(json_string_value(json_object_get(v, "seed")), "18446744073709551615");
    cr_expect_str_eq(json_string_value(json_object_get(v, "method")), "verifier");
    json_decref(v);
    o.method = WEIR_METHOD_SEQUENCE_CASCADE;
    o.law.alpha = 0.5f;
    v = json_object();
    wire_set_settings(v, WIRE_ANSWER, &o);
    cr_expect(json_number_value(json_object_get(v, "alpha")) == 0.5 &&
              json_is_null(json_object_get(v, "rule")));
    cr_expect_str_eq(json_string_value(json_object_get(v, "seq_confidence")), "mean");
    json_decref(v);
}

Test(settings, the_description_fits_any_buffer) {
    weir_session_options o = weir_session_options_default();
    char text[300];
    wire_settings_text(&o, text, sizeof text);
    cr_expect_str_eq(text, "method speculative, rule exact, gate raw, gamma auto, bonus pi, temp 1, seed 0");
    wire_set_rule(&o.law, WEIR_RULE_LOSSY);
    o.law.beta = NAN;
    o.law.alpha = 0.2f;
    o.law.exact_first = 12345678;
    o.law.block_verify = true;
    o.law.top_p = 0.9f;
    o.seed = UINT64_MAX;
    wire_settings_text(&o, text, sizeof text);
    cr_expect_str_eq(text,
                     "method speculative, rule lossy, alpha 0.2, beta auto, gate raw, exact-first 12345678, "
                     "gamma auto, bonus pi, block-verify, temp 1, top-p 0.9, seed 18446744073709551615");
    const size_t whole = strlen(text) + 1;
    for (size_t cap = 1; cap < whole; cap++) {
        char *exact = malloc(cap);
        wire_settings_text(&o, exact, cap);
        cr_expect(strncmp(exact, text, cap - 1) == 0 && exact[cap - 1] == '\0', "%zu", cap);
        free(exact);
    }
}
