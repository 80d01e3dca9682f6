/* record and replay as a user runs them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cli/program.h"

enum { N_VOCAB = 5988 }; /* of the demo pair, without padding rows */

static double number(json_t *v, const char *path) { return json_number_value(at(v, path)); }

TestSuite(record, .fini = own_file_remove);
TestSuite(replay, .fini = own_file_remove);

/* A recording of two short answers. */
static const char *recording_of(const char *flags) {
    static char line[256];
    const char *path = own_file("replay", "jsonl");
    snprintf(line, sizeof line, "record -m @V -md @D -q -t 1 -s 3 %s", flags);
    run_spec spec = {
        .line = line, .input = "It snowed a lot.\nI want to learn Japanese.\n", .out_path = path};
    outcome o = run_spec_do(&spec);
    cr_assert(o.rc == 0, "%s", o.err);
    return path;
}

static json_t *replayed(const char *path, const char *settings) {
    char line[256];
    snprintf(line, sizeof line, "replay --recording %s", path);
    outcome o = run_with(line, settings);
    expect_success(&o);
    return json_lines(&o);
}

static json_t *recorded(const char *path) {
    FILE *f = fopen(path, "r");
    cr_assert(f != NULL);
    json_t *list = json_array();
    char *text = NULL;
    size_t cap = 0;
    while (getline(&text, &cap, f) > 0) json_array_append_new(list, json_loads(text, 0, NULL));
    free(text);
    fclose(f);
    return list;
}

Test(record, answers_are_those_of_generate_and_every_token_has_its_rows) {
    json_t *list = recorded(recording_of("--tail 0"));
    outcome g = run_with("generate -m @V -md @D -q -t 1 -s 3 --jsonl",
                         "{\"prompt\": \"It snowed a lot.\"}\n{\"prompt\": \"I want to learn Japanese.\"}\n");
    expect_success(&g);
    json_t *generated = json_lines(&g);
    cr_assert(json_array_size(list) == 2 && json_array_size(generated) == 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *r = json_array_get(list, i), *ids = at(r, "token_ids");
        json_t *want = at(json_array_get(generated, i), "token_ids");
        const size_t n = json_array_size(want);
        cr_expect(json_array_size(ids) == n + 1 && json_is_true(at(r, "ended")));
        for (size_t k = 0; k < n; k++) cr_expect(json_equal(json_array_get(ids, k), json_array_get(want, k)));
        cr_expect(json_array_size(at(r, "rows")) == n + 1 && number(r, "tail_mass") == 0);
        for (size_t k = 0; k <= n; k++) {
            json_t *row = json_array_get(at(r, "rows"), k);
            cr_expect(json_array_size(at(row, "q")) == (size_t)N_VOCAB);
            cr_expect(json_array_size(at(row, "q")) == json_array_size(at(row, "p")));
            cr_expect(json_integer_value(at(row, "token")) == json_integer_value(json_array_get(ids, k)));
        }
    }
}

Test(record, a_merged_tail_changes_no_more_than_its_mass) {
    static const char settings[] =
        "{\"deferral_rule\": \"exact\"}\n"
        "{\"deferral_rule\": \"token-v3\", \"deferral_alpha\": 0.3}\n"
        "{\"deferral_rule\": \"lossy\", \"deferral_alpha\": 0.2, \"deferral_beta\": \"auto\"}\n"
        "{\"deferral_rule\": \"opt\", \"deferral_alpha\": 0.1, \"num_speculative_tokens\": 3}\n";
    json_t *whole = replayed(recording_of("--tail 0"), settings);
    json_t *merged = replayed(recording_of("--tail 1e-3"), settings);
    cr_assert(json_array_size(whole) == 4 && json_array_size(merged) == 4);
    for (size_t i = 0; i < 4; i++) {
        json_t *a = json_array_get(whole, i), *b = json_array_get(merged, i);
        cr_expect(number(b, "tail_mass") > 0 && number(b, "tail_mass") <= 1e-3 &&
                  number(a, "tail_mass") == 0);
        /* a row's R is half an L1 distance or less: merging cells lowers it by at most the merged mass */
        cr_expect(fabs(number(a, "recorded.rejection_rate") - number(b, "recorded.rejection_rate")) < 1e-3);
        cr_expect(json_is_null(at(a, "quality")) && number(a, "texts") == 2);
    }
    cr_expect(number(json_array_get(whole, 3), "gamma") == 3);
}

Test(record, no_tail_is_merged_where_its_mass_would_not_bound_the_change) {
    static const struct {
        const char *flags;
        bool whole;
    } cases[] = {{"--temp 1.2", true},  {"--top-k 5", true},   {"--top-p 0.9", true},
                 {"--min-p 0.1", true}, {"--temp 0.8", false}, {"--temp 0", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[160];
        snprintf(line, sizeof line, "record -m @V -md @D -t 1 -n 3 --tail 1e-3 -p Hello %s", cases[i].flags);
        outcome o = run(line);
        expect_success(&o);
        json_t *r = json_array_get(json_lines(&o), 0);
        const size_t n = json_array_size(at(json_array_get(at(r, "rows"), 0), "q"));
        cr_expect((n == (size_t)N_VOCAB) == cases[i].whole && (number(r, "tail_mass") == 0) == cases[i].whole,
                  "%s", cases[i].flags);
        cr_expect((strstr(o.err, "no tail is merged") != NULL) == cases[i].whole, "%s", cases[i].flags);
    }
}

Test(replay, the_recorded_rule_s_own_figures_need_no_weights) {
    json_t *list = replayed(
        recording_of("--deferral-rule token-v3 --deferral-alpha 0.3"),
        "{\"deferral_rule\": \"token-v3\", \"deferral_alpha\": 0.3}\n{\"deferral_rule\": \"cactus\"}\n");
    json_t *own = json_array_get(list, 0), *cactus = json_array_get(list, 1);
    /* weights are 1 to fp32's rounding */
    cr_expect(fabs(number(own, "reweighted.effective_texts") - 2) < 1e-6);
    cr_expect(fabs(number(own, "reweighted.tokens_per_answer") - number(own, "recorded.tokens_per_answer")) <
              1e-4);
    cr_expect(json_is_null(at(cactus, "reweighted.rejection_rate")) &&
              number(cactus, "recorded.rejection_rate") >= 0);
}

Test(replay, flags_are_a_setting_too) {
    char line[256];
    snprintf(line, sizeof line, "replay --recording %s --deferral-rule opt --deferral-alpha 0.2 --gamma 2",
             recording_of("--temp 0"));
    outcome o = run(line);
    expect_success(&o);
    json_t *v = json_array_get(json_lines(&o), 0);
    cr_expect_str_eq(json_string_value(at(v, "rule")), "opt");
    cr_expect(number(v, "gamma") == 2 && number(v, "temperature") == 0);
}

Test(replay, what_is_no_recording_is_named) {
    static const struct {
        const char *text, *word, *word2;
    } bad[] = {
        {"", "no text", NULL},
        {"{}\n", ":1", "law"},
        {"{\"law\": {}}\n", "rows", "list"},
        {"{\"law\": {\"rule\": \"nonsense\"}, \"rows\": []}\n", "nonsense", NULL},
        {"{\"law\": {\"temperature\": 9}, \"rows\": []}\n", ":1", "temp"},
        {"{\"law\": {}, \"rows\": [1]}\n", "entry 0", NULL},
        {"{\"law\": {}, \"rows\": [{\"q\": [0], \"p\": [0]}]}\n", "token", NULL},
        {"{\"law\": {}, \"rows\": [{\"token\": 0, \"q\": [0], \"p\": [0, 1]}]}\n", "2 logits", "q has 1"},
        {"{\"law\": {}, \"rows\": [{\"token\": 1, \"q\": [0], \"p\": [0]}]}\n", "token 1", NULL},
        {"{\"law\": {}, \"rows\": [{\"token\": 0, \"q\": [null], \"p\": [0]}]}\n", "\"q\"", NULL},
        {"{\"law\": {}, \"rows\": [{\"token\": 0, \"q\": [0, -1e39], \"p\": [0, 0]}]}\n", "\"q\"", "32-bit"},
        {"{\"law\": {}, \"rows\": []}\n{\"law\": {\"temperature\": 0.5}, \"rows\": []}\n", ":2",
         "not the law"},
        {"{\"law\": {}, \"rows\": []}\n{\"law\": {\"min_p\": 0.5}, \"rows\": []}\n", ":2", "not the law"},
        {"{\"law\": {}, \"rows\": []}\n{\"law\": {\"top_p\": 0.5}, \"rows\": []}\n", ":2", "not the law"},
        {"{\"law\": {}, \"rows\": []}\n{\"law\": {\"top_k\": 5}, \"rows\": []}\n", ":2", "not the law"},
        {"{\"law\": {}, \"rows\": []}\n{\"law\": {\"exact_first\": 5}, \"rows\": []}\n", ":2", "not the law"},
        {"{\"law\": {}, \"rows\": []}\n", "nothing was recorded", NULL},
        {"{\"law\": {", ":1", "JSON"},
    };
    char path[64], line[128];
    snprintf(path, sizeof path, "/tmp/weir-bad-%d.jsonl", (int)getpid());
    snprintf(line, sizeof line, "replay --recording %s --deferral-rule exact", path);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        FILE *f = fopen(path, "w");
        fputs(bad[i].text, f);
        fclose(f);
        outcome o = run(line);
        expect_failure(&o, 1, bad[i].word, bad[i].word2);
    }
    remove(path);
}

Test(replay, a_recording_cut_anywhere_is_refused_or_read_up_to_a_line) {
    static const char text[] =
        "{\"index\": 0, \"law\": {\"rule\": \"opt\", \"alpha\": 0.5}, \"ended\": true, \"rows\": ["
        "{\"token\": 0, \"q\": [0.5, 1], \"p\": [1, 0]}, {\"token\": 1, \"q\": [0.5, 1], \"p\": [1, 0]}]}\n";
    char path[64], line[128];
    snprintf(path, sizeof path, "/tmp/weir-cut-%d.jsonl", (int)getpid());
    snprintf(line, sizeof line, "replay --recording %s --deferral-rule exact", path);
    for (size_t n = 0; n < sizeof text; n += n + 8 < sizeof text - 1 ? 7 : 1) {
        FILE *f = fopen(path, "w");
        cr_assert(fwrite(text, 1, n, f) == n);
        fclose(f);
        outcome o = run(line);
        if (n + 1 < sizeof text - 1)
            expect_failure(&o, 1, path + 5, NULL);
        else
            expect_success(&o); /* whole, with or without its newline */
    }
    remove(path);
}

/* The end of text is a row like others, and no token of the answer. */
Test(replay, an_end_of_text_counts_as_a_row_alone) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/weir-ended-%d.jsonl", (int)getpid());
    for (int ended = 0; ended < 2; ended++) {
        FILE *f = fopen(path, "w");
        fprintf(f,
                "{\"law\": {}, \"ended\": %s, \"rows\": [{\"token\": 0, \"q\": [1, 0], \"p\": [1, 0]}, "
                "{\"token\": 1, \"q\": [0, 1], \"p\": [0, 1]}]}\n",
                ended ? "true" : "false");
        fclose(f);
        json_t *v = json_array_get(replayed(path, "{\"deferral_rule\": \"exact\"}\n"), 0);
        cr_expect(fabs(number(v, "recorded.tokens_per_answer") - (2 - ended)) < 1e-9, "%d: %g", ended,
                  number(v, "recorded.tokens_per_answer"));
    }
    remove(path);
}

Test(replay, mistakes_on_the_command_line_are_usage) {
    outcome none = run("replay --deferral-rule exact");
    expect_failure(&none, 2, "--recording", NULL);
    outcome nowhere = run("replay --recording /nowhere/r.jsonl");
    expect_failure(&nowhere, 1, "/nowhere/r.jsonl", NULL);
    outcome alone = run("record -m @V -p a");
    expect_failure(&alone, 2, "-md", NULL);
    run_spec spec = {.line = "record -m @V -md @D --input - -q",
                     .input = "{\"prompt\": \"a\", \"speculative\": false}\n"};
    outcome verifier = run_spec_do(&spec);
    expect_failure(&verifier, 1, "speculative", "stdin:1");
    outcome room = run("record -m @V -md @D -p a -n 1000");
    expect_failure(&room, 2, "--n-predict 1000", "--ctx-size");
    outcome format = run("record -m @V -md @D -p a --chat-template nonsense");
    expect_failure(&format, 2, "nonsense", "chatml");
    char line[256];
    snprintf(line, sizeof line, "replay --recording %s", recording_of("--temp 1"));
    outcome field = run_with(line, "{\"temperature\": 1}\n");
    expect_failure(&field, 1, "temperature", "unknown field");
    outcome range = run_with(line, "{\"deferral_rule\": \"lossy\", \"deferral_alpha\": 1.5}\n");
    expect_failure(&range, 1, "stdin:1", "alpha");
}
