/* weir generate on the demo pair, as users run it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cli/program.h"

#define PROMPTS                                                                                     \
    "It snowed a lot.\nThe aliens are coming.\nI want to learn Japanese.\n\nWho is that girl?\n"    \
    "He is, without a doubt, a really talented young man.\nTom is drinking a cup of coffee in the " \
    "kitchen.\n"                                                                                    \
    "I don't know what you're talking about.\n"
enum { N_PROMPT = 8 };

static int count_lines(const char *s) {
    int n = 0;
    for (; *s; s++) n += *s == '\n';
    return n;
}

Test(generate, one_prompt_gives_its_answer_on_one_line) {
    outcome o = run("generate -m @V --temp 0 -p 'It snowed a lot.' -q");
    expect_success(&o);
    cr_expect_str_eq(o.out, "Es hat viel geschneit.\n");
    cr_expect_str_eq(o.err, "");
}

Test(generate, the_setting_that_ran_is_on_stderr) {
    outcome o = run(
        "generate -m @V -md @D --deferral-rule cascade_tokenV3 --deferral-alpha 0.25 --gamma 3 --temp 0.5 "
        "--bonus verifier --seed 9 -p 'It snowed a lot.'");
    expect_success(&o);
    static const char *const want[] = {"device cpu",     "rule token-v3", "alpha 0.25",
                                       "gamma 3",        "temp 0.5",      "gate raw",
                                       "bonus verifier", "seed 9",        "method speculative"};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        cr_expect(strstr(o.err, want[i]), "%s: %s", want[i], o.err);
}

Test(generate, what_was_measured_for_the_drafter_is_on_stderr) {
    outcome o = run("generate -m @V -md @D -tp 2 -t 1 -p 'It snowed a lot.' --temp 0 -n 8"),
            given = run("generate -m @V -md @D -tp 2 -t 1 --draft-tp 2 -p 'It snowed a lot.' --temp 0 -n 8");
    expect_success(&o);
    expect_success(&given);
    cr_expect(strstr(o.err, "weir: drafter's layers: exchange ") && strstr(o.err, " GB/s: "), "%s", o.err);
    cr_expect(!strstr(given.err, "drafter's layers"), "%s", given.err);
    cr_expect_str_eq(o.out, given.out);
}

Test(generate, the_cascade_without_a_rule_is_exact_and_equals_the_verifier_at_temp_0) {
    outcome a = run_with("generate -m @V --temp 0 -q", PROMPTS),
            b = run_with("generate -m @V -md @D --temp 0 -q", PROMPTS);
    expect_success(&a);
    cr_expect(count_lines(a.out) == N_PROMPT);
    cr_expect_str_eq(a.out, b.out);
}

/* A drafter in blocks drafts other tokens; the verifier's word stands. */
Test(generate, a_quantised_drafter_changes_no_greedy_answer_and_is_said) {
    outcome a = run_with("generate -m @V --temp 0 -q", PROMPTS),
            b = run_with("generate -m @V -md @D --quantize-draft q8_0 --temp 0", PROMPTS);
    expect_success(&a);
    expect_success(&b);
    cr_expect_str_eq(a.out, b.out);
    cr_expect(strstr(b.err,
                     "drafter quantised to q8_0: 26 matrices, 0 stay as in the file; the law stays the "
                     "verifier's, only the speed changes\n"),
              "%s", b.err);
    cr_expect(!strstr(b.err, "verifier quantised"), "%s", b.err);
    b = run(
        "generate -m @V -md @D --quantize-draft q8_0 --deferral-rule token-v3 -n 2 -p 'It snowed a lot.'");
    cr_expect(strstr(b.err, "the rule goes by the quantised model\n"), "%s", b.err);
}

Test(generate, a_quantised_verifier_is_said_and_is_the_same_on_ranks_and_threads) {
    outcome one = run_with("generate -m @V -md @D --quantize q8_0 --temp 0 --gamma 4 -t 1", PROMPTS);
    expect_success(&one);
    cr_expect(strstr(one.err,
                     "verifier quantised to q8_0: 55 matrices, 0 stay as in the file; the law is the "
                     "quantised model's\n"),
              "%s", one.err);
    static const char *const more[] = {"-t 2", "-tp 2 -t 1", "-tp 4 -t 1 --draft-tp 4", "-np 5"};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        char line[200];
        snprintf(line, sizeof line, "generate -m @V -md @D --quantize q8_0 --temp 0 --gamma 4 -q %s",
                 more[i]);
        outcome b = run_with(line, PROMPTS);
        expect_success(&b);
        cr_expect_str_eq(b.out, one.out, "%s", more[i]);
    }
}

Test(generate, settings_of_an_answer_have_what_was_quantised) {
    outcome o = run("generate -m @V -md @D --quantize q8_0 --jsonl -n 2 -p 'It snowed a lot.'"),
            file = run("generate -m @V -md @D --jsonl -n 2 -p 'It snowed a lot.'");
    expect_success(&o);
    expect_success(&file);
    json_t *v = json_array_get(json_lines(&o), 0), *f = json_array_get(json_lines(&file), 0);
    cr_expect_str_eq(json_string_value(at(v, "settings.quantize")), "q8_0");
    cr_expect(!at(v, "settings.quantize_draft") && !at(f, "settings.quantize"));
}

/* A prompt that says things twice: the translation does, too, so that drafts are accepted. */
#define TWICE "-p 'Where is my hat? Where is my hat? Where is my coat?'"

Test(generate, prompt_lookup_equals_the_verifier_at_temp_0_and_needs_no_drafter) {
    outcome a = run("generate -m @V --temp 0 -q " TWICE);
    expect_success(&a);
    static const char *const more[] = {"",
                                       "--gamma 1",
                                       "--gamma 16",
                                       "--prompt-lookup-min 1",
                                       "--prompt-lookup-max 3 --method speculative",
                                       "-tp 2 -t 1"};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        char line[300];
        snprintf(line, sizeof line, "generate -m @V -md ngram --temp 0 --jsonl " TWICE " %s", more[i]);
        outcome b = run(line);
        expect_success(&b);
        json_t *v = json_array_get(json_lines(&b), 0);
        char text[200];
        snprintf(text, sizeof text, "%s\n", json_string_value(at(v, "text")));
        cr_expect_str_eq(text, a.out, "%s", more[i]);
        cr_expect(strstr(b.err, "looked up in prompt and answer, suffixes of "), "%s", b.err);
    }
}

Test(generate, what_prompt_lookup_cannot_serve_is_refused_in_one_line) {
    static const struct {
        const char *line, *word, *use;
    } of[] = {
        {"generate -m @V -md ngram -p x --deferral-rule chow", "rule chow", "use exact, token-v2, "},
        {"generate -m @V -md ngram -p x --deferral-rule ensemble", "rule ensemble", "cactus or fuzzy"},
        {"generate -m @V -md ngram -p x --method token-cascade", "token-cascade", "speculative or verifier"},
        {"generate -m @V -md ngram -p x --method drafter", "method drafter", "speculative or verifier"},
        {"generate -m @V -md @D -p x --prompt-lookup-min 3", "--prompt-lookup-min", "-md ngram"},
        {"generate -m @V -p x --prompt-lookup-max 3", "--prompt-lookup-max", "-md ngram"},
        {"generate -m @V -md ngram -p x --prompt-lookup-max 65", "--prompt-lookup-max", "64"},
        {"record -m @V -md ngram -p x", "ngram", "no distribution"},
        {"tune -m @V -md ngram --out x.json --min-speedup 1 x.txt", "ngram", "no distribution"},
    };
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        outcome o = run(of[i].line);
        expect_failure(&o, 2, of[i].word, of[i].use);
    }
    outcome o = run("generate -m @V -md ngram -p x --prompt-lookup-min 9");
    expect_failure(&o, 1, "shortest suffix of prompt lookup 9 is outside [1, 8]", NULL);
    o = run_with("generate -m @V -md ngram --jsonl", "{\"prompt\": \"a\", \"deferral_rule\": \"opt\"}\n");
    expect_failure(&o, 1, "rule opt goes by the drafter's confidence", "use exact");
}

Test(generate, answers_do_not_depend_on_how_many_run_at_once_or_on_threads) {
    static const char *const more[] = {"-np 2", "-np 7", "-np 3 -t 1", "-np 1 -t 2"};
    static const char *const sets[] = {
        "", "-md @D --deferral-rule token-v3 --deferral-alpha 0.5 --seed 4 --top-p 0.9",
        "-md ngram --prompt-lookup-min 1 --deferral-rule token-v3 --deferral-alpha 0.9 --seed 4"};
    for (int k = 0; k < 3; k++) {
        char line[300];
        snprintf(line, sizeof line, "generate -m @V -q %s", sets[k]);
        outcome first = run_with(line, PROMPTS);
        expect_success(&first);
        cr_expect(count_lines(first.out) == N_PROMPT);
        for (int i = 0; i < 4; i++) {
            snprintf(line, sizeof line, "generate -m @V -q %s %s", sets[k], more[i]);
            outcome o = run_with(line, PROMPTS);
            expect_success(&o);
            cr_expect_str_eq(o.out, first.out);
        }
    }
}

Test(generate, a_seed_decides_the_answer) {
    outcome a = run("generate -m @V -md @D -s 1 -q -p 'I want to learn Japanese.' --temp 1.5");
    outcome b = run("generate -m @V -md @D -s 1 -q -p 'I want to learn Japanese.' --temp 1.5");
    outcome c = run("generate -m @V -md @D -s 2 -q -p 'I want to learn Japanese.' --temp 1.5");
    cr_expect_str_eq(a.out, b.out);
    cr_expect(strcmp(a.out, c.out) != 0);
}

Test(generate, a_seed_of_a_line_is_that_of_the_command_line) {
    static const char *const seeds[] = {"0", "9223372036854775807", "9223372036854775808",
                                        "18446744073709551615"};
    static char last[4096];
    for (int i = 0; i < 4; i++) {
        char line[200], object[200];
        snprintf(line, sizeof line,
                 "generate -m @V -md @D -q --temp 1.5 -s %s -p 'Who is that girl?' --jsonl", seeds[i]);
        snprintf(object, sizeof object, "{\"prompt\": \"Who is that girl?\", \"seed\": %s}\n", seeds[i]);
        outcome a = run(line), b = run_with("generate -m @V -md @D -q --temp 1.5 --jsonl", object);
        expect_success(&a);
        expect_success(&b);
        const char *text = json_string_value(at(json_array_get(json_lines(&a), 0), "text"));
        cr_expect_str_eq(text, json_string_value(at(json_array_get(json_lines(&b), 0), "text")));
        cr_expect(strcmp(text, last) != 0, "seed %s", seeds[i]);
        snprintf(last, sizeof last, "%s", text);
    }
}

Test(generate, a_file_is_one_prompt) {
    char path[] = "/tmp/weir_cli_XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    fputs("It snowed a lot.\n", f);
    fclose(f);
    char line[100];
    snprintf(line, sizeof line, "generate -m @V --temp 0 -q -f %s", path);
    outcome o = run(line);
    remove(path);
    expect_success(&o);
    cr_expect_str_eq(o.out, "Es hat viel geschneit.\n");
    o = run_with("generate -m @V --temp 0 -q -f -", "It snowed a lot.\n");
    cr_expect_str_eq(o.out, "Es hat viel geschneit.\n");
}

Test(generate, limits_and_stop_strings_end_an_answer) {
    outcome o = run("generate -m @V --temp 0 -q -n 2 --jsonl -p 'It snowed a lot.'");
    json_t *a = json_array_get(json_lines(&o), 0);
    cr_expect_str_eq(json_string_value(at(a, "finish_reason")), "length");
    cr_expect(json_integer_value(at(a, "usage.completion_tokens")) == 2);
    o = run("generate -m @V --temp 0 -q --stop nope --stop viel -p 'It snowed a lot.'");
    cr_expect_str_eq(o.out, "Es hat \n");
    o = run("generate -m @V --temp 0 -q --ignore-eos -n 40 --jsonl -p 'It snowed a lot.'");
    a = json_array_get(json_lines(&o), 0);
    cr_expect(json_integer_value(at(a, "usage.completion_tokens")) == 40);
}

Test(generate, the_empty_prompt_is_legal) {
    outcome o = run_spec_do(&(run_spec){.line = "generate -m @V -q -n 8 -p ''"});
    expect_success(&o);
    cr_expect(count_lines(o.out) == 1);
}

Test(generate, a_prompt_of_a_megabyte_is_refused_with_both_lengths) {
    enum { N = 1 << 20 };
    char *text = malloc(N + 1);
    for (int i = 0; i < N; i++) text[i] = "It snowed a lot. "[i % 17];
    text[N] = '\0';
    outcome o = run_spec_do(&(run_spec){.line = "generate -m @V -f -", .input = text, .input_len = N});
    expect_failure(&o, 1, "context", "512");
    cr_expect(o.out_len == 0);
    o = run_spec_do(&(run_spec){.line = "tokenize -m @V -f -", .input = text, .input_len = N});
    expect_success(&o);
    cr_expect(o.out_len > N / 4);
}

Test(generate, invalid_utf8_in_a_prompt_is_no_error) {
    outcome o = run_with("generate -m @V -q -n 20 --temp 0", "It \xff\xfe snowed \xc3.\n\xed\xa0\x80\n");
    expect_success(&o);
    cr_expect(count_lines(o.out) == 2);
    o = run_with("tokenize -m @V --jsonl", "a\xff\n");
    expect_success(&o);
    cr_expect(json_array_size(json_lines(&o)) == 1);
}

/* ---- JSON lines ---------------------------------------------------------------------------------------- */

static const char objects[] =
    "{\"prompt\": \"It snowed a lot.\", \"seed\": 3, \"max_tokens\": 30}\n"
    "\n"
    "{\"prompt_ids\": [98, 1215, 55, 16, 297, 3, 1], \"temperature\": 0, \"speculative\": false}\n"
    "{\"prompt\": \"I want to learn Japanese.\", \"deferral_rule\": \"lossy\", \"deferral_alpha\": 0.3, "
    "\"deferral_beta\": \"auto\", \"num_speculative_tokens\": 9, \"top_k\": 50, \"top_p\": 0.9, \"min_p\": "
    "0.01, "
    "\"exact_first\": 2, \"stop\": [\"xyzzy\"]}\n"
    "{\"prompt\": \"Who is that girl?\", \"deferral_rule\": \"chow\", \"stop\": \"?\", \"temperature\": "
    "0.5}\n";

static void expect_sums(json_t *a) {
    size_t n = json_array_size(at(a, "token_ids"));
    cr_expect(json_array_size(at(a, "sources")) == n && json_array_size(at(a, "logprobs")) == n);
    cr_expect(json_array_size(at(a, "policy_logprobs")) == n);
    json_int_t prompt = json_integer_value(at(a, "usage.prompt_tokens"));
    cr_expect(json_integer_value(at(a, "usage.completion_tokens")) == (json_int_t)n);
    cr_expect(json_integer_value(at(a, "usage.total_tokens")) == prompt + (json_int_t)n);
    json_t *m = at(a, "metrics.speculative_decoding");
    json_t *h = at(m, "acceptance_histogram");
    json_int_t blocks = 0, accepted = 0;
    for (size_t i = 0; i < json_array_size(h); i++) {
        json_int_t c = json_integer_value(json_array_get(h, i));
        blocks += c;
        accepted += (json_int_t)i * c;
    }
    cr_expect(blocks == json_integer_value(at(m, "num_spec_steps")));
    cr_expect(accepted == json_integer_value(at(m, "num_accepted_draft_tokens")));
    cr_expect((json_int_t)json_array_size(h) == json_integer_value(at(m, "num_spec_tokens")) + 1);
    if (blocks > 0) {
        double want = 1.0 + (double)accepted / (double)blocks;
        cr_expect(fabs(json_number_value(at(m, "mean_acceptance_length")) - want) < 1e-6);
    } else {
        cr_expect(json_is_null(at(m, "mean_acceptance_length")));
    }
    json_int_t by_source = 0;
    static const char *const counts[] = {"kept_tokens",  "accepted_tokens", "resampled_tokens",
                                         "bonus_tokens", "drafter_tokens",  "verifier_tokens"};
    for (int i = 0; i < 6; i++) by_source += json_integer_value(at(m, counts[i]));
    cr_expect(by_source == (json_int_t)n);
    cr_expect(json_integer_value(at(a, "usage.completion_tokens_details.accepted_prediction_tokens")) ==
              json_integer_value(at(m, "kept_tokens")) + json_integer_value(at(m, "accepted_tokens")));
}

Test(generate, json_lines_in_json_lines_out) {
    outcome o = run_with("generate -m @V -md @D --jsonl -q -np 3", objects);
    expect_success(&o);
    json_t *list = json_lines(&o);
    cr_assert(json_array_size(list) == 4);
    for (size_t i = 0; i < 4; i++) {
        json_t *a = json_array_get(list, i);
        cr_expect(json_integer_value(at(a, "index")) == (json_int_t)i);
        expect_sums(a);
    }
    json_t *verifier = json_array_get(list, 1), *lossy = json_array_get(list, 2),
           *chow = json_array_get(list, 3);
    cr_expect_str_eq(json_string_value(at(verifier, "settings.method")), "verifier");
    cr_expect_str_eq(json_string_value(at(verifier, "text")), "Es hat viel geschneit.");
    cr_expect(json_is_true(at(verifier, "metrics.speculative_decoding.lossless")));
    cr_expect(json_is_true(at(json_array_get(list, 0), "metrics.speculative_decoding.lossless")));
    cr_expect(json_is_false(at(lossy, "metrics.speculative_decoding.lossless")));
    cr_expect_str_eq(json_string_value(at(lossy, "settings.beta")), "auto");
    cr_expect(json_integer_value(at(lossy, "settings.gamma")) == 9);
    cr_expect(json_number_value(at(lossy, "settings.alpha")) == 0.3);
    cr_expect(json_integer_value(at(lossy, "settings.exact_first")) == 2);
    cr_expect_str_eq(json_string_value(at(chow, "settings.rule")), "chow");
    cr_expect(strchr(json_string_value(at(chow, "text")), '?') == NULL);
}

/* A rule in a line brings its own alpha unless the line gives one; the same rule keeps the flag's. */
Test(generate, knobs_belong_to_the_rule_they_were_given_with) {
    static const char lines[] = "{\"prompt\": \"a\", \"deferral_rule\": \"token-v3\"}\n"
                                "{\"prompt\": \"a\", \"deferral_rule\": \"chow\"}\n"
                                "{\"prompt\": \"a\", \"deferral_alpha\": 0.75}\n";
    outcome o = run_with(
        "generate -m @V -md @D --jsonl -q -n 4 --deferral-rule token-v3 --deferral-alpha 0.9", lines);
    expect_success(&o);
    json_t *list = json_lines(&o);
    cr_expect(json_number_value(at(json_array_get(list, 0), "settings.alpha")) == 0.9);
    cr_expect(json_number_value(at(json_array_get(list, 1), "settings.alpha")) == 0.5);
    cr_expect(json_number_value(at(json_array_get(list, 2), "settings.alpha")) == 0.75);
}

Test(generate, the_same_tokens_as_text_and_as_json) {
    outcome text =
        run_with("generate -m @V -md @D -q --seed 5", "I want to learn Japanese.\nWho is that girl?\n");
    outcome json =
        run_with("generate -m @V -md @D -q --seed 5 --jsonl",
                 "{\"prompt\": \"I want to learn Japanese.\"}\n{\"prompt\": \"Who is that girl?\"}\n");
    json_t *list = json_lines(&json);
    char want[1000];
    snprintf(want, sizeof want, "%s\n%s\n", json_string_value(at(json_array_get(list, 0), "text")),
             json_string_value(at(json_array_get(list, 1), "text")));
    cr_expect_str_eq(text.out, want);
}

/* What generate prints can be read back: its ids, scored, give its logprobs. */
Test(generate, output_ids_score_as_their_logprobs) {
    outcome o = run("generate -m @V -q --temp 1 --seed 2 --jsonl -p 'I want to learn Japanese.'");
    json_t *a = json_array_get(json_lines(&o), 0);
    json_t *line =
        json_pack("{s:s, s:O}", "prompt", "I want to learn Japanese.", "completion_ids", at(a, "token_ids"));
    outcome s = run_with("score -m @V", json_dumps(line, 0));
    expect_success(&s);
    json_t *got = at(json_array_get(json_lines(&s), 0), "logprobs"), *want = at(a, "logprobs");
    cr_assert(json_array_size(got) == json_array_size(want) && json_array_size(got) > 0);
    for (size_t i = 0; i < json_array_size(got); i++) {
        double x = json_number_value(json_array_get(got, i)), y = json_number_value(json_array_get(want, i));
        /* Rows are the same bits in any batch; what is left is the logarithm, libm's in double there, the
         * accept path's in float here: a few roundings of 2^-24 of a number near 10. */
        cr_expect(fabs(x - y) < 1e-5, "%zu: %g, %g", i, x, y);
    }
}

#define FOUR "\"a\", \"a\", \"a\", \"a\""
#define SIXTEEN FOUR ", " FOUR ", " FOUR ", " FOUR

Test(generate, a_bad_line_is_named_and_the_answers_before_it_stand) {
    static const struct {
        const char *line, *word, *word2;
    } bad[] = {
        {"{\"prompt\": 5}", "\"prompt\"", "string"},
        {"{\"prompt\": \"a\", \"temprature\": 1}", "\"temprature\"", "unknown"},
        {"{\"prompt\": \"a\", \"seed\": -1}", "\"seed\"", "-1"},
        {"{\"prompt\": \"a\", \"seed\": 1.5}", "\"seed\"", "whole"},
        {"{\"prompt\": \"a\", \"seed\": 18446744073709551616}", "\"seed\"", "0 to 18446744073709551615"},
        {"{\"prompt\": \"a\", \"top_k\": 9223372036854775808}", "\"top_k\"",
         "9223372036854775808 is out of range"},
        {"{\"prompt\": \"a\", \"temperature\": 1e400}", "\"temperature\"", "0 to 2"},
        {"{\"prompt\": \"a\", \"top_p\": 1e-60}", "\"top_p\"", "above 0 to 1"},
        {"{\"prompt\": \"a\", \"deferral_rule\": \"opt\", \"deferral_alpha\": 1e39}", "\"deferral_alpha\"",
         "3.40282e+38"},
        {"{\"prompt\": \"a\", \"deferral_rule\": \"lossy\", \"deferral_beta\": -1e39}", "\"deferral_beta\"",
         "3.40282e+38"},
        {"{\"prompt\": \"a\", \"temperature\": 3}", "\"temperature\"", "0 to 2"},
        {"{\"prompt\": \"a\", \"max_tokens\": 513}", "\"max_tokens\"", "512"},
        {"{\"prompt\": \"a\", \"deferral_rule\": \"none\"}", "\"deferral_rule\"", "none"},
        {"{\"prompt\": \"a\", \"deferral_rule\": \"lossy\", \"deferral_alpha\": 2}", "lossy", "2"},
        {"{\"prompt\": \"a\", \"num_speculative_tokens\": 0}", "\"num_speculative_tokens\"", "1 to 16"},
        {"{\"prompt\": \"a\", \"stop\": [\"\"]}", "\"stop\"", NULL},
        {"{\"prompt\": \"a\", \"stop\": 3}", "\"stop\"", NULL},
        {"{\"prompt\": \"a\", \"stop\": [\"b\", \"a\\u0000b\"]}", "\"stop\"", "entry 1"},
        {"{\"prompt\": \"a\", \"stop\": [" SIXTEEN ", \"a\"]}", "\"stop\"", "at most 16"},
        {"{\"prompt\": \"a\", \"top_p\": 0}", "\"top_p\"", "above 0"},
        {"{\"prompt\": \"a\", \"speculative\": 1}", "\"speculative\"", "true or false"},
        {"{\"prompt\": \"a\", \"prompt_ids\": [1]}", "\"prompt\"", "one of prompt"},
        {"{\"prompt_ids\": [1, 70000]}", "70000", NULL},
        {"{\"prompt_ids\": [1, -2]}", "\"prompt_ids\"", "entry 1"},
        {"{\"prompt_ids\": [1, 4294967297]}", "\"prompt_ids\"", "entry 1"},
        {"{\"prompt_ids\": []}", "prompt", NULL},
        {"{}", "\"prompt\"", NULL},
        {"[1]", "object", NULL},
        {"{\"prompt\": \"a\"", "JSON", NULL},
        {"{\"prompt\": \"a\", \"top_p\": NaN}", "\"top_p\"", "NaN"},
        {"plain text", "JSON", NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char input[400];
        snprintf(input, sizeof input, "{\"prompt\": \"It snowed a lot.\"}\n%s\n{\"prompt\": \"never\"}\n",
                 bad[i].line);
        outcome o = run_with("generate -m @V -md @D --jsonl -q -np 2 -n 8", input);
        expect_failure(&o, 1, bad[i].word, bad[i].word2);
        cr_expect(strstr(o.err, "stdin:2: ") != NULL, "%s", o.err);
        cr_expect(json_array_size(json_lines(&o)) == 1, "%s: %s", bad[i].line, o.out);
    }
}

Test(generate, a_line_may_not_ask_for_a_drafter_that_is_not_there) {
    outcome o = run_with("generate -m @V --jsonl -q", "{\"prompt\": \"a\", \"deferral_rule\": \"chow\"}\n");
    expect_failure(&o, 1, "\"deferral_rule\"", "-md");
    o = run_with("generate -m @V --jsonl -q", "{\"prompt\": \"a\", \"speculative\": true}\n");
    expect_failure(&o, 1, "\"speculative\"", "-md");
}

Test(generate, input_from_a_file_prints_objects) {
    char path[] = "/tmp/weir_cli_XXXXXX";
    FILE *f = fdopen(mkstemp(path), "w");
    fputs(objects, f);
    fclose(f);
    char line[120];
    snprintf(line, sizeof line, "generate -m @V -md @D -q --input %s", path);
    outcome o = run(line);
    cr_expect(json_array_size(json_lines(&o)) == 4);
    snprintf(line, sizeof line, "generate -m @V -md @D -q --input %s -p x", path);
    o = run(line);
    expect_failure(&o, 2, "-p, -f and --input", NULL);
    remove(path);
}

Test(generate, every_method_runs) {
    static const char *const sets[] = {
        "verifier",
        "drafter",
        "token-cascade --deferral-rule chow",
        "oracle-cascade --deferral-rule diff",
        "sequence-cascade --deferral-alpha 0.5 --seq-confidence sum",
        "speculative --deferral-rule opt --block-verify --gate scaled --exact-first 3"};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        char line[200];
        snprintf(line, sizeof line, "generate -m @V -md @D --jsonl -q -p 'It snowed a lot.' --method %s",
                 sets[i]);
        outcome o = run(line);
        expect_success(&o);
        json_t *a = json_array_get(json_lines(&o), 0);
        expect_sums(a);
        cr_expect(strncmp(sets[i], json_string_value(at(a, "settings.method")), 6) == 0);
    }
}

/* The rejection rate is a number where asked for, or free; else null, and in the summary the name of the
 * flag. The tokens are the same. */
Test(generate, rejection_is_measured_where_it_is_asked_for) {
    static const char *const asked[] = {"", "--measure-rejection", "--deferral-rule opt", "--temp 0"};
    json_t *ids[4];
    for (int i = 0; i < 4; i++) {
        char line[200];
        snprintf(line, sizeof line, "generate -m @V -md @D --stats --jsonl -p 'It snowed a lot.' --seed 4 %s",
                 asked[i]);
        outcome o = run(line);
        expect_success(&o);
        json_t *a = json_array_get(json_lines(&o), 0);
        const json_t *rate = at(a, "metrics.speculative_decoding.rejection_rate");
        const double x = json_number_value(rate);
        cr_expect(i == 0 ? json_is_null(rate) : json_is_number(rate) && x >= 0 && x <= 1, "%s: %g", line, x);
        const char *said = strstr(o.err, "rejection rate");
        static const char unknown[] = "n/a (see --measure-rejection)\n";
        cr_assert(said && (strncmp(said + 25, unknown, sizeof unknown - 1) == 0) == (i == 0), "%s", o.err);
        ids[i] = json_deep_copy(at(a, "token_ids"));
    }
    cr_expect(json_array_size(ids[0]) > 3 && json_equal(ids[0], ids[1]));
    for (int i = 0; i < 4; i++) json_decref(ids[i]);
}

/* ---- for the eye --------------------------------------------------------------------------------------- */

Test(generate, sources_are_marks_in_a_pipe_and_colours_on_a_terminal) {
    const char *line = "generate -m plain -p abcdefg --show-sources";
    outcome o = run_spec_do(&(run_spec){.line = line, .fake = true});
    expect_success(&o);
    cr_expect_str_eq(o.out, "[k| w0][a| w1][r| w2][b| w3][d| w4][v| w5][k| w6]\n");
    cr_expect(strstr(o.err, "k=kept") && strstr(o.err, "v=verifier"), "%s", o.err);
    o = run_spec_do(&(run_spec){.line = line, .fake = true, .out_tty = true, .env = {"TERM=xterm"}});
    cr_expect(strstr(o.out, "\033[32m w0\033[0m\033[34m w1") != NULL, "%s", o.out);
    cr_expect(strchr(o.out, '[') == NULL || strstr(o.out, "[k|") == NULL);
    o = run_spec_do(
        &(run_spec){.line = line, .fake = true, .out_tty = true, .env = {"TERM=xterm", "NO_COLOR=1"}});
    cr_expect(strstr(o.out, "[k| w0]") && !strchr(o.out, '\033'), "%s", o.out);
}

Test(generate, stats_count_what_json_counts) {
    outcome o = run_with("generate -m @V -md @D --stats --jsonl --seed 3 -np 2",
                         "{\"prompt\": \"It snowed a lot.\"}\n{\"prompt\": \"I want to learn Japanese.\"}\n");
    expect_success(&o);
    json_t *list = json_lines(&o);
    json_int_t out = 0, blocks = 0;
    for (size_t i = 0; i < 2; i++) {
        out += json_integer_value(at(json_array_get(list, i), "usage.completion_tokens"));
        blocks +=
            json_integer_value(at(json_array_get(list, i), "metrics.speculative_decoding.num_spec_steps"));
    }
    char want[100];
    snprintf(want, sizeof want, "%lld output", (long long)out);
    cr_expect(strstr(o.err, want) != NULL, "%s: %s", want, o.err);
    snprintf(want, sizeof want, "%lld at gamma", (long long)blocks);
    cr_expect(strstr(o.err, want) != NULL, "%s: %s", want, o.err);
}

Test(generate, the_progress_bar_shows_on_a_terminal_only) {
    const char *input = "aaaaaaaaaaaaaaaaaaaa\nbbbbbbbbbbbbbbbbbbbbbb\ncccccccccccccccccccccccc\n";
    outcome o =
        run_spec_do(&(run_spec){.line = "generate -m slow", .input = input, .fake = true, .err_tty = true});
    expect_success(&o);
    cr_expect(strstr(o.err, "tokens/s") != NULL, "%s", o.err);
    o = run_spec_do(&(run_spec){.line = "generate -m slow", .input = input, .fake = true});
    cr_expect(strstr(o.err, "tokens/s") == NULL, "%s", o.err);
    o = run_spec_do(
        &(run_spec){.line = "generate -m slow -q", .input = input, .fake = true, .err_tty = true});
    cr_expect_str_eq(o.err, "");
}
