/* score, rule, tokenize, detokenize, info and bench. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cli/program.h"

static double number(json_t *v, const char *path) { return json_number_value(at(v, path)); }
static double entry(json_t *v, const char *path, size_t i) {
    return json_number_value(json_array_get(at(v, path), i));
}

/* ---- score --------------------------------------------------------------------------------------------- */

Test(score, text_and_ids_give_the_same) {
    outcome t = run_with("score -m @V",
                         "{\"prompt\": \"It snowed a lot.\", \"completion\": \"Es hat viel geschneit.\"}\n");
    outcome i = run_with("score -m @V", "{\"prompt_ids\": [98, 1215, 55, 16, 297, 3, 1], "
                                        "\"completion_ids\": [83, 39, 213, 2293, 303, 470, 3]}\n");
    expect_success(&t);
    cr_expect_str_eq(t.out, i.out);
    json_t *a = json_array_get(json_lines(&t), 0);
    double sum = 0;
    for (size_t k = 0; k < 7; k++) sum += entry(a, "logprobs", k);
    cr_expect(json_array_size(at(a, "logprobs")) == 7 && fabs(sum - number(a, "sum")) < 1e-6);
    cr_expect(number(a, "sum") < -0.5 && number(a, "sum") > -5);
}

/* The verifier's weights widened to fp32 in transformers 4.57, log_softmax of the logits. Portable code: the
 * same arithmetic in another order of sums (measured over 60 answers: 5e-6); bf16 hardware rounds activations
 * too and is not meant. */
Test(score, transformers_gives_the_same) {
    static const double want[] = {-0.191736, -0.259477, -0.280354, -0.639258,
                                  -0.430816, -0.019536, -0.066309};
    outcome o =
        run_with("score -m @V --isa portable", "{\"prompt\": \"It snowed a lot.\", "
                                               "\"completion_ids\": [83, 39, 213, 2293, 303, 470, 3]}\n");
    expect_success(&o);
    json_t *a = json_array_get(json_lines(&o), 0);
    for (size_t i = 0; i < 7; i++)
        cr_expect(fabs(entry(a, "logprobs", i) - want[i]) < 1e-4, "%zu: %g", i, entry(a, "logprobs", i));
}

Test(score, an_empty_completion_has_the_sum_0) {
    outcome o = run_with("score -m @V", "{\"prompt\": \"a\", \"completion\": \"\"}\n");
    expect_success(&o);
    json_t *a = json_array_get(json_lines(&o), 0);
    cr_expect(json_array_size(at(a, "logprobs")) == 0 && number(a, "sum") == 0);
}

Test(score, bad_lines_are_named) {
    static const struct {
        const char *line, *word, *word2;
    } bad[] = {
        {"{\"prompt\": \"a\"}", "stdin:2", "completion"},
        {"{\"completion\": \"a\"}", "stdin:2", "prompt"},
        {"{\"prompt\": \"a\", \"completion\": \"b\", \"completion_ids\": [1]}", "completion", "either"},
        {"{\"prompt\": \"a\", \"completion_ids\": [1, 6000]}", "stdin:2", "6000"},
        {"{\"prompt\": \"a\", \"completion_ids\": \"x\"}", "completion_ids", "list"},
        {"{\"prompt\": \"a\", \"completion\": \"b\", \"x\": 1}", "\"x\"", "unknown"},
        {"nothing", "stdin:2", "JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char input[300];
        snprintf(input, sizeof input, "{\"prompt\": \"a\", \"completion\": \"b\"}\n%s\n", bad[i].line);
        outcome o = run_with("score -m @V", input);
        expect_failure(&o, 1, bad[i].word, bad[i].word2);
        cr_expect(json_array_size(json_lines(&o)) == 1);
    }
}

/* ---- rule ---------------------------------------------------------------------------------------------- */

static json_t *rule(const char *flags, const char *fields) {
    char line[200], input[600];
    snprintf(line, sizeof line, "rule %s", flags);
    snprintf(input, sizeof input, "{%s\"q_logits\": [0, 1, 2, -1], \"p_logits\": [2, 1, 0, 0.5]}\n", fields);
    outcome o = run_with(line, input);
    expect_success(&o);
    return json_array_get(json_lines(&o), 0);
}

static void softmax(const double *x, double temp, double *out) {
    double sum = 0;
    for (int i = 0; i < 4; i++) sum += out[i] = exp(x[i] / temp);
    for (int i = 0; i < 4; i++) out[i] /= sum;
}

static const double q_logits[] = {0, 1, 2, -1}, p_logits[] = {2, 1, 0, 0.5};

Test(rule, exact_is_speculative_decoding) {
    double q[4], p[4], reject = 0;
    softmax(q_logits, 0.7, q);
    softmax(p_logits, 0.7, p);
    for (int i = 0; i < 4; i++) reject += q[i] > p[i] ? q[i] - p[i] : 0;
    json_t *a = rule("", "\"temperature\": 0.7, ");
    /* 32-bit sums of four terms below 1: a few units of 6e-8 */
    for (size_t i = 0; i < 4; i++) {
        cr_expect(fabs(entry(a, "pi", i) - p[i]) < 1e-6);
        cr_expect(fabs(entry(a, "accept", i) - fmin(1, p[i] / q[i])) < 1e-5);
        cr_expect(fabs(entry(a, "residual", i) - fmax(0, p[i] - q[i]) / reject) < 1e-5);
    }
    cr_expect(fabs(number(a, "reject") - reject) < 1e-6);
    cr_expect(json_is_true(at(a, "deferred")) && number(a, "eta") == 1);
    cr_expect_str_eq(json_string_value(at(a, "rule")), "exact");
}

Test(rule, a_token_rule_is_q_keep_plus_eta_p) {
    double q[4], p[4];
    softmax(q_logits, 1, q);
    softmax(p_logits, 1, p);
    json_t *a = rule("", "\"rule\": \"token-v3\", \"alpha\": 0.5, ");
    double eta = number(a, "eta"), want_eta = 0;
    for (size_t i = 0; i < 4; i++) {
        double keep = p[i] >= 0.5 * p[0];
        want_eta += (1 - keep) * q[i];
        cr_expect(entry(a, "keep", i) == keep);
        cr_expect(fabs(entry(a, "pi", i) - (q[i] * keep + eta * p[i])) < 1e-6);
    }
    cr_expect(fabs(eta - want_eta) < 1e-6);
}

Test(rule, fields_win_over_flags_and_absent_ones_take_them) {
    json_t *a = rule("--deferral-rule chow --deferral-alpha 0.9 --temp 0.5", "\"temperature\": 1, ");
    cr_expect_str_eq(json_string_value(at(a, "rule")), "chow");
    cr_expect(number(a, "alpha") == 0.9 && json_is_false(at(a, "deferred")));
    cr_expect(number(a, "reject") == 0 && json_is_null(at(a, "residual")));
    a = rule("--deferral-rule chow --deferral-alpha 0.9",
             "\"rule\": \"lossy\", \"alpha\": 0.2, \"beta\": \"auto\", ");
    cr_expect_str_eq(json_string_value(at(a, "rule")), "lossy");
    cr_expect(json_is_null(at(a, "keep")) && json_is_null(at(a, "eta")) && number(a, "beta") >= 1);
    a = rule("", "\"rule\": \"cactus\", ");
    cr_expect(json_is_null(at(a, "pi")));
}

Test(rule, draws_follow_pi) {
    json_t *a = rule("--draws 200000 --seed 7", "\"rule\": \"token-v2\", \"alpha\": 0.1, ");
    double chi2 = 0, sum = 0;
    for (size_t i = 0; i < 4; i++) {
        double want = 200000 * entry(a, "pi", i), got = entry(a, "counts", i);
        chi2 += (got - want) * (got - want) / want;
        sum += got;
    }
    cr_expect(sum == 200000 && number(a, "draws") == 200000);
    cr_expect(chi2 < 21.1, "%g", chi2); /* 3 degrees of freedom, p = 1e-4 */
    double accepted = number(a, "accepted_fraction"), want = 1 - number(a, "reject");
    cr_expect(fabs(accepted - want) < 5 * sqrt(want * (1 - want) / 200000));
    json_t *b = rule("--draws 200000 --seed 7", "\"rule\": \"token-v2\", \"alpha\": 0.1, ");
    cr_expect(json_equal(a, b));
}

Test(rule, bad_input_is_named_by_line_and_field) {
    static const struct {
        const char *line, *word, *word2;
    } bad[] = {
        {"{\"q_logits\": [0, NaN], \"p_logits\": [0, 1]}", "\"q_logits\"", "NaN"},
        {"{\"q_logits\": [0, 1], \"p_logits\": [0, null]}", "\"p_logits\"", "entry 1"},
        {"{\"q_logits\": [0, 1], \"p_logits\": [0, Infinity]}", "\"p_logits\"", "Infinity"},
        {"{\"q_logits\": [0, \"1\"], \"p_logits\": [0, 1]}", "\"q_logits\"", "a string"},
        {"{\"q_logits\": [0, 1e60], \"p_logits\": [0, 1]}", "\"q_logits\"", "32-bit"},
        {"{\"q_logits\": [0, 1e999], \"p_logits\": [0, 1]}", "\"q_logits\"", NULL},
        {"{\"q_logits\": [0, 1, 2], \"p_logits\": [0, 1]}", "\"p_logits\"", "3"},
        {"{\"q_logits\": [], \"p_logits\": []}", "\"q_logits\"", "empty"},
        {"{\"p_logits\": [0, 1]}", "\"q_logits\"", "missing"},
        {"{\"q_logits\": 3, \"p_logits\": [0, 1]}", "\"q_logits\"", "list"},
        {"{\"rule\": \"chaw\", \"q_logits\": [0, 1], \"p_logits\": [0, 1]}", "\"rule\"", "chow"},
        {"{\"rule\": \"lossy\", \"alpha\": 1, \"q_logits\": [0, 1], \"p_logits\": [0, 1]}", "alpha", "lossy"},
        {"{\"temperature\": 2.5, \"q_logits\": [0, 1], \"p_logits\": [0, 1]}", "temp", "2.5"},
        {"{\"gate\": \"both\", \"q_logits\": [0, 1], \"p_logits\": [0, 1]}", "\"gate\"", "scaled"},
        {"{\"gamma\": 2, \"q_logits\": [0, 1], \"p_logits\": [0, 1]}", "\"gamma\"", "unknown"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char input[300];
        snprintf(input, sizeof input, "{\"q_logits\": [0, 1], \"p_logits\": [1, 0]}\n%s\n", bad[i].line);
        outcome o = run_with("rule", input);
        expect_failure(&o, 1, bad[i].word, bad[i].word2);
        cr_expect(strstr(o.err, "stdin:2") != NULL, "%s", o.err);
        cr_expect(json_array_size(json_lines(&o)) == 1);
    }
}

Test(rule, an_engine_error_is_passed_on) {
    outcome o = run_spec_do(
        &(run_spec){.line = "rule", .input = "{\"q_logits\": [0], \"p_logits\": [0]}\n", .fake = true});
    expect_failure(&o, 1, "stdin:1", "out of memory for 1 tokens");
}

/* ---- tokenize ------------------------------------------------------------------------------------------ */

Test(tokenize, ids_of_lines_and_back) {
    outcome o = run_with("tokenize -m @V", "It snowed a lot.\n\nIt\n");
    expect_success(&o);
    cr_expect_str_eq(o.out, "98 1215 55 16 297 3 1\n1\n98 1\n");
    o = run_with("detokenize -m @V", o.out);
    cr_expect_str_eq(o.out, "It snowed a lot.\n\nIt\n");
    o = run("tokenize -m @V --no-special -p 'It snowed a lot.'");
    cr_expect_str_eq(o.out, "98 1215 55 16 297 3\n");
}

/* What spells a control token is one in a raw prompt, unless the command line, the environment or the line
 * says otherwise. */
Test(tokenize, control_tokens_in_a_prompt) {
    outcome o = run("tokenize -m @V --no-special -p 'It</s>It'");
    cr_expect_str_eq(o.out, "98 1 98\n");
    o = run("tokenize -m @V --no-special --no-parse-special -p 'It</s>'");
    expect_success(&o);
    cr_expect(strncmp(o.out, "98 ", 3) == 0 && !strstr(o.out, " 1\n"), "%s", o.out);
    o = run_with("tokenize -m @V --no-special --input -",
                 "{\"text\":\"It</s>\",\"parse_special\":false}\n{\"text\":\"It</s>\"}\n");
    json_t *lines = json_lines(&o);
    cr_expect_gt(json_array_size(at(json_array_get(lines, 0), "token_ids")), 2);
    cr_expect_eq(json_array_size(at(json_array_get(lines, 1), "token_ids")), 2);
    o = run_with("tokenize -m @V --input -", "{\"text\":\"It\",\"parse_special\":1}\n");
    cr_expect(o.rc == 1 && strstr(o.err, "\"parse_special\": expected true or false"), "%s", o.err);
}

Test(tokenize, json_has_the_pieces) {
    outcome o = run("tokenize -m @V --jsonl -p 'It snowed'");
    json_t *a = json_array_get(json_lines(&o), 0);
    cr_expect(json_array_size(at(a, "token_ids")) == 4 && json_array_size(at(a, "pieces")) == 4);
    cr_expect_str_eq(json_string_value(json_array_get(at(a, "pieces"), 0)), "\xe2\x96\x81It");
}

Test(tokenize, objects_in_and_nul_bytes_kept) {
    outcome o =
        run_spec_do(&(run_spec){.line = "tokenize -m plain --input -",
                                .fake = true,
                                .input = "{\"text\": \"a\\u0000b\"}\n{\"prompt\": \"c\", \"seed\": 1}\n"});
    expect_success(&o);
    json_t *list = json_lines(&o);
    cr_expect(json_array_size(at(json_array_get(list, 0), "token_ids")) == 4);
    cr_expect(json_array_size(at(json_array_get(list, 1), "token_ids")) == 2);
    o = run_spec_do(
        &(run_spec){.line = "tokenize -m plain", .fake = true, .input = "a\0b\n", .input_len = 4});
    cr_expect_str_eq(o.out, "97 0 98 1\n");
}

Test(detokenize, ids_from_everywhere) {
    outcome o = run("detokenize 83 -m @V 39 213");
    expect_success(&o);
    cr_expect_str_eq(o.out, "Es hat viel\n");
    o = run_with("detokenize -m @V", "[83, 39, 213]\n83,39\n");
    cr_expect_str_eq(o.out, "Es hat viel\nEs hat\n");
    o = run_with("detokenize -m @V --input -", "{\"token_ids\": [83, 39], \"text\": \"ignored\"}\n");
    cr_expect_str_eq(json_string_value(at(json_array_get(json_lines(&o), 0), "text")), "Es hat");
    o = run_spec_do(&(run_spec){.line = "detokenize -m plain --jsonl 97 255", .fake = true});
    cr_expect_str_eq(json_string_value(at(json_array_get(json_lines(&o), 0), "text")), "a\xef\xbf\xbd");
}

Test(detokenize, bad_ids_are_named) {
    outcome o = run("detokenize -m @V 83 6000");
    expect_failure(&o, 1, "6000", NULL);
    o = run("detokenize -m @V 83 x1");
    expect_failure(&o, 1, "x1", NULL);
    o = run_with("detokenize -m @V", "83\n-4\n");
    expect_failure(&o, 1, "stdin:2", "-4");
    o = run_with("detokenize -m @V", "99999999999999999999\n");
    expect_failure(&o, 1, "stdin:1", NULL);
    o = run("detokenize -m @V --input x 5");
    expect_failure(&o, 2, "--input", NULL);
}

/* ---- info and bench ------------------------------------------------------------------------------------ */

Test(info, table_and_object_agree) {
    outcome t = run("info -m @V -md @D -np 3"), j = run("info -m @V -md @D -np 3 --json");
    expect_success(&t);
    expect_success(&j);
    json_t *a = json_array_get(json_lines(&j), 0);
    cr_expect(number(a, "verifier.parameters") == 8983040 && number(a, "drafter.n_vocab_rows") == 6016);
    cr_expect(number(a, "n_vocab") == 5988 && number(a, "parallel") == 3);
    double total = number(a, "verifier.weights_bytes") + number(a, "drafter.weights_bytes") +
                   number(a, "memory.kv_bytes") + number(a, "memory.scratch_bytes");
    cr_expect(total == number(a, "memory.total_bytes"));
    char want[40];
    snprintf(want, sizeof want, "%.0f bytes", total);
    cr_expect(strstr(t.out, want) != NULL, "%s: %s", want, t.out);
    cr_expect(strstr(t.out, " 3 sessions of ") != NULL, "%s", t.out);
    t = run("info -m @V");
    cr_expect(strstr(t.out, " 1 session of ") != NULL, "%s", t.out);
    j = run("info -m @V --json");
    cr_expect(json_is_null(at(json_array_get(json_lines(&j), 0), "drafter")));
}

Test(info, what_is_quantised_at_load_is_said_and_planned) {
    outcome t = run("info -m @V -md @D --quantize q8_0 --quantize-draft q8_0"),
            j = run("info -m @V -md @D --quantize q8_0 --json"), file = run("info -m @V -md @D --json");
    expect_success(&t);
    expect_success(&j);
    cr_expect(strstr(t.out,
                     "quantised at load        q8_0: 55 matrices, 0 stay as in the file; another law than "
                     "the file's\n"),
              "%s", t.out);
    cr_expect(strstr(t.out,
                     "quantised at load        q8_0: 26 matrices, 0 stay as in the file; under rule exact "
                     "only the speed changes\n"),
              "%s", t.out);
    json_t *a = json_array_get(json_lines(&j), 0), *b = json_array_get(json_lines(&file), 0);
    cr_expect_str_eq(json_string_value(at(a, "verifier.quantized.dtype")), "q8_0");
    cr_expect_str_eq(json_string_value(at(a, "verifier.dtype")), "q8_0");
    cr_expect(number(a, "verifier.quantized.matrices") == 55 && number(a, "verifier.quantized.left") == 0);
    cr_expect(json_is_false(at(a, "verifier.quantized.same_law_under_exact")));
    cr_expect(json_is_null(at(a, "drafter.quantized")) && json_is_null(at(b, "verifier.quantized")));
    const double before = number(b, "verifier.weights_bytes"), after = number(a, "verifier.weights_bytes");
    cr_expect(after < 0.75 * before && after > 0.5 * before, "%g of %g", after,
              before); /* the embedding stays */
    cr_expect(number(a, "memory.total_bytes") == number(b, "memory.total_bytes") - (before - after));
    cr_expect(number(a, "drafter.weights_bytes") == number(b, "drafter.weights_bytes"));
}

Test(info, what_cannot_be_quantised_is_refused) {
    outcome o = run("info -m @V --quantize q4_0");
    expect_failure(&o, 2, "--quantize q4_0", "q8_0");
    o = run("info -m @V --quantize-draft q8_0");
    expect_failure(&o, 2, "--quantize-draft needs a drafter", NULL);
    o = run("info -m @V -md ngram --quantize-draft q8_0");
    expect_failure(&o, 2, "--quantize-draft needs a drafter", NULL);
    o = run_spec_do(&(run_spec){.line = "info -m @V", .env = {"WEIR_QUANTIZE_DRAFT=q8_0"}});
    expect_success(&o);
}

Test(info, prompt_lookup_has_no_weights_and_no_pages) {
    outcome t = run("info -m @V -md ngram --prompt-lookup-max 6"),
            j = run("info -m @V -md ngram --prompt-lookup-max 6 --json"), alone = run("info -m @V --json");
    expect_success(&t);
    expect_success(&j);
    json_t *a = json_array_get(json_lines(&j), 0), *b = json_array_get(json_lines(&alone), 0);
    cr_expect(json_is_null(at(a, "drafter")) && json_is_null(at(b, "prompt_lookup")));
    cr_expect(number(a, "prompt_lookup.min") == 2 && number(a, "prompt_lookup.max") == 6);
    cr_expect(number(a, "memory.kv_bytes") == number(b, "memory.kv_bytes"));
    cr_expect(strstr(t.out, "suffixes of 2 to 6 tokens"), "%s", t.out);
}

/* What is measured when models are loaded is not known here, and the plan is the larger one. */
Test(info, the_place_of_the_drafters_layers_is_said) {
    static const struct {
        const char *line, *says;
    } tries[] = {
        {"info -m @V -md @D -tp 4",
         "auto: measured when the engine opens; here whole on every rank, which takes the most\n"},
        {"info -m @V -md @D -tp 4 --draft-tp 1", "whole on every rank (--draft-tp 1)\n"},
        {"info -m @V -md @D -tp 4 --draft-tp 4", "shared out, as the verifier's\n"},
    };
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        outcome o = run(tries[i].line);
        expect_success(&o);
        cr_expect(strstr(o.out, tries[i].says), "%s", o.out);
    }
    outcome j = run("info -m @V -md @D -tp 4 --json"), one = run("info -m @V -md @D --json"),
            wrong = run("info -m @V -md @D -tp 4 --draft-tp 2");
    json_t *v = json_array_get(json_lines(&j), 0);
    cr_expect(number(v, "draft_ranks") == 1 && number(v, "tensor_parallel_size") == 4);
    cr_expect_str_eq(json_string_value(at(v, "draft_choice")), "measured when the engine opens");
    cr_expect(json_is_null(at(json_array_get(json_lines(&one), 0), "draft_choice")));
    expect_failure(&wrong, 1, "tensor-parallel size of the drafter 2 is neither 1 nor the verifier's 4",
                   NULL);
}

Test(info, a_plan_beyond_any_memory_is_shown_and_not_refused) {
    outcome o = run("info -m @V -c 1048576 -np 256 --json");
    expect_success(&o);
    cr_expect(json_is_false(at(json_array_get(json_lines(&o), 0), "memory.fits")));
    o = run("generate -m @V -c 1048576 -np 256 -p x");
    expect_failure(&o, 1, "plan", "available");
}

Test(bench, three_forms_of_the_same_figures) {
    outcome o = run_spec_do(&(run_spec){.line = "bench -m plain --rows 3 --repeat 2", .fake = true});
    expect_success(&o);
    cr_expect(strstr(o.out, "copy 10.0 GB/s") && strstr(o.out, "% copy"), "%s", o.out);
    o = run_spec_do(&(run_spec){.line = "bench -m plain --rows 3 --csv", .fake = true});
    cr_expect_str_eq(o.out,
                     "part,rows,us_p50,us_p99,gbps,percent_of_copy,copy_gbps\n"
                     "verify,1,1.000,2.000,5.000,50.00,10.000\nverify,2,2.000,2.000,2.500,25.00,10.000\n"
                     "verify,3,3.000,2.000,1.667,16.67,10.000\n");
    o = run_spec_do(&(run_spec){.line = "bench -m plain --rows 3 --json", .fake = true});
    json_t *a = json_array_get(json_lines(&o), 0);
    cr_expect(number(a, "copy_gbps") == 10);
    cr_expect(number(json_array_get(at(a, "parts"), 1), "percent_of_copy") == 25);
}

/* A part's name with a comma in it is one field. */
Test(bench, csv_of_ranks_has_as_many_fields_as_its_header) {
    outcome o = run("bench -m @V -md @D -tp 2 -t 1 --rows 1 --repeat 1 --n-prompt 8 --gamma 2 --csv");
    expect_success(&o);
    cr_expect(strstr(o.out, "\n\"exchange, 4 KiB a rank\",2,"), "%s", o.out);
    int n_field = 1, n_line = 0;
    bool quoted = false;
    for (const char *p = o.out; *p; p++) {
        quoted ^= *p == '"';
        n_field += !quoted && *p == ',';
        if (*p != '\n') continue;
        cr_expect(!quoted && n_field == 7, "line %d: %d fields", n_line + 1, n_field);
        n_field = 1, n_line++;
    }
    cr_expect(n_line > 8, "%d lines", n_line);
}

Test(bench, the_real_engine_is_timed) {
    outcome o = run("bench -m @V -md @D --rows 2 --repeat 2 --n-prompt 8 --gamma 2 --json");
    expect_success(&o);
    json_t *a = json_array_get(json_lines(&o), 0);
    cr_expect(json_array_size(at(a, "parts")) >= 4 && number(a, "copy_gbps") > 0.1);
    o = run("bench -m @V -md ngram --rows 1 --repeat 2 --n-prompt 40 --gamma 3 --json");
    expect_success(&o);
    json_t *parts = at(json_array_get(json_lines(&o), 0), "parts");
    int found = 0;
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const char *name = json_string_value(at(json_array_get(parts, i), "part"));
        found +=
            strcmp(name, "lookup") == 0 || strcmp(name, "accept step") == 0 || strcmp(name, "block") == 0;
    }
    cr_expect_eq(found, 3);
    o = run("bench -m @V --n-prompt 600");
    expect_failure(&o, 2, "--n-prompt 600", "1 to 512");
}
