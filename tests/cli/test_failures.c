/* What goes wrong around the program: signals, closed pipes, full disks, engines that fail. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cli/program.h"

static outcome fake(const char *line, const char *input) {
    return run_spec_do(&(run_spec){.line = line, .input = input, .fake = true});
}

/* ---- files --------------------------------------------------------------------------------------------- */

Test(failures, files_that_are_not_there_or_not_files) {
    outcome o = run("generate -m @V -f /nonexistent/prompt");
    expect_failure(&o, 1, "/nonexistent/prompt", "No such file");
    o = run("generate -m @V --input /");
    expect_failure(&o, 1, "/", "directory");
    o = run("generate -m /nonexistent -p x");
    expect_failure(&o, 1, "/nonexistent", NULL);
    o = run("generate -m @V -md /dev/null -p x");
    expect_failure(&o, 1, "/dev/null", NULL);
    o = run("generate -p x");
    expect_failure(&o, 2, "-m DIR", "WEIR_MODEL");
}

Test(failures, a_directory_that_may_not_be_read) {
    /* Root reads everything: as somebody else, if that one may run the program. */
    if (geteuid() == 0 && (setuid(65534) != 0 || access(program_weir, X_OK) != 0))
        cr_skip_test("root reads everything");
    char dir[] = "/tmp/weir_cli_XXXXXX";
    cr_assert(mkdtemp(dir) != NULL && chmod(dir, 0) == 0);
    char line[100];
    snprintf(line, sizeof line, "info -m %s", dir);
    outcome o = run(line);
    rmdir(dir);
    expect_failure(&o, 1, dir, "ermission");
}

Test(failures, an_empty_directory_is_no_checkpoint) {
    char dir[] = "/tmp/weir_cli_XXXXXX";
    cr_assert(mkdtemp(dir) != NULL);
    char line[100];
    snprintf(line, sizeof line, "info -m %s", dir);
    outcome o = run(line);
    rmdir(dir);
    expect_failure(&o, 1, dir, "config.json");
}

/* One line, whoever opens it: what the checkpoint is, and the field that stops it. */
Test(failures, what_is_not_supported_is_named_by_every_command) {
    static const struct {
        const char *config, *part;
    } cases[] = {
        {"{\"architectures\":[\"MambaForCausalLM\"],\"model_type\":\"mamba\"}",
         "architectures = \"MambaForCausalLM\", model_type = \"mamba\": not supported, expected t5, "},
        {"{\"architectures\":[\"GPT2LMHeadModel\"]}",
         "architectures = \"GPT2LMHeadModel\": not supported without a model_type"},
        {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}",
         "rope_scaling's rope_type = \"dynamic\": not supported, expected default, linear, llama3 or yarn"},
        {"{\"model_type\":\"olmo2\",\"attention_bias\":true}", "attention_bias = true: not supported"},
        {"{\"_class_name\":\"Unet\"}", "neither model_type nor architectures says what model this is"},
    };
    static const char *const commands[] = {"info", "generate -p x", "serve --port 0"};
    char dir[] = "/tmp/weir_cli_XXXXXX", path[64];
    cr_assert(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/config.json", dir);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FILE *f = fopen(path, "w");
        cr_assert(f && fputs(cases[i].config, f) >= 0 && fclose(f) == 0);
        for (size_t k = 0; k < sizeof commands / sizeof *commands; k++) {
            char line[100];
            snprintf(line, sizeof line, "%s -m %s", commands[k], dir);
            outcome o = run(line);
            const char *at = strstr(o.err, path); /* a server says where it listens, before it or after */
            cr_expect(o.rc == 1 && at && strstr(at, cases[i].part), "%s: rc %d, \"%s\" is not in: %s", line,
                      o.rc, cases[i].part, o.err);
        }
    }
    unlink(path);
    rmdir(dir);
}

/* ---- output that fails --------------------------------------------------------------------------------- */

static const char *const writers[] = {"generate -m @V --temp 0 -p 'It snowed a lot.'",
                                      "generate -m @V --jsonl --temp 0 -p 'It snowed a lot.'",
                                      "tokenize -m @V -p hello",
                                      "detokenize -m @V 83 39",
                                      "info -m @V",
                                      "info -m @V --json",
                                      "--help",
                                      "generate --help",
                                      "--man",
                                      "--version"};
enum { N_WRITER = sizeof writers / sizeof writers[0] };

Test(failures, a_full_disk_is_one_line_and_exit_1) {
    for (int i = 0; i < N_WRITER; i++) {
        outcome o = run_spec_do(&(run_spec){.line = writers[i], .out_path = "/dev/full"});
        expect_failure(&o, 1, "standard output", "No space left");
    }
}

Test(failures, a_reader_that_went_away_is_one_line_and_exit_1) {
    for (int i = 0; i < N_WRITER; i++) {
        outcome o = run_spec_do(&(run_spec){.line = writers[i], .broken_out = true});
        expect_failure(&o, 1, "standard output", "Broken pipe");
    }
}

Test(failures, closed_standard_output_is_one_line_and_exit_1) {
    for (int i = 0; i < N_WRITER; i++) {
        outcome o = run_spec_do(&(run_spec){.line = writers[i], .close_out = true});
        expect_failure(&o, 1, "standard output", NULL);
    }
}

Test(failures, a_file_that_may_not_grow_is_one_line_and_exit_1) {
    struct rlimit r;
    cr_assert(getrlimit(RLIMIT_FSIZE, &r) == 0);
    r.rlim_cur = 1000;
    cr_assert(setrlimit(RLIMIT_FSIZE, &r) == 0);
    char path[] = "/tmp/weir_cli_XXXXXX";
    cr_assert(close(mkstemp(path)) == 0);
    outcome o = run_spec_do(&(run_spec){.line = "--man", .out_path = path});
    unlink(path);
    expect_failure(&o, 1, "standard output", "too large");
}

Test(failures, output_that_fails_ends_a_long_run) {
    enum { LINE = 31, N_LINE = 2000 };
    char *input = malloc(LINE * N_LINE + 1);
    for (int i = 0; i < LINE * N_LINE; i++) input[i] = i % LINE == LINE - 1 ? '\n' : 'a';
    input[LINE * N_LINE] = '\0';
    outcome o = run_spec_do(
        &(run_spec){.line = "generate -m slow", .input = input, .fake = true, .broken_out = true});
    expect_failure(&o, 1, "Broken pipe", NULL); /* 2,000 answers of 30 tokens of 5 ms would be five minutes */
}

/* ---- signals ------------------------------------------------------------------------------------------- */

#define LONG "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONGER LONG LONG LONG LONG LONG

Test(failures, an_interrupt_finishes_the_line_and_exits_130) {
    outcome o = run_spec_do(&(run_spec){
        .line = "generate -m slow -n 500 -p '" LONGER "'", .fake = true, .signal = SIGINT, .after = "w3"});
    cr_assert(o.rc == 130, "%d %s", o.rc, o.err);
    cr_expect(o.out_len > 3 && o.out[o.out_len - 1] == '\n');
    cr_expect(strstr(o.out, " w0 w1 w2 w3") == o.out && strstr(o.out, "w400") == NULL);
}

Test(failures, an_interrupt_prints_what_is_done_of_every_session) {
    static const char input[] =
        "{\"prompt\": \"abc\"}\n{\"prompt\": \"" LONGER "\", \"max_tokens\": 500}\n"
        "{\"prompt\": \"" LONGER "\", \"max_tokens\": 500}\n{\"prompt\": \"never\"}\n";
    outcome o = run_spec_do(&(run_spec){.line = "generate -m slow --jsonl -np 2",
                                        .input = input,
                                        .fake = true,
                                        .signal = SIGINT,
                                        .after = "w2"});
    cr_assert(o.rc == 130, "%d %s", o.rc, o.err);
    json_t *list = json_lines(&o);
    cr_assert(json_array_size(list) == 3, "%s", o.out);
    cr_expect_str_eq(json_string_value(at(json_array_get(list, 0), "finish_reason")), "stop");
    cr_expect_str_eq(json_string_value(at(json_array_get(list, 1), "finish_reason")), "cancelled");
    cr_expect_str_eq(json_string_value(at(json_array_get(list, 2), "finish_reason")), "cancelled");
}

Test(failures, a_termination_exits_143) {
    outcome o = run_spec_do(&(run_spec){
        .line = "generate -m slow -n 500 -p '" LONGER "'", .fake = true, .signal = SIGTERM, .after = "w3"});
    cr_assert(o.rc == 143, "%d %s", o.rc, o.err);
    cr_expect(o.out[o.out_len - 1] == '\n');
}

Test(failures, an_interrupt_while_waiting_for_input) {
    static const char *const lines[] = {"generate -m plain -np 2", "tokenize -m plain", "score -m plain"};
    static const char *const inputs[] = {"abc\n", "abc\n", "{\"prompt\": \"a\", \"completion\": \"w2\"}\n"};
    static const char *const after[] = {"w2", "99", "completion_ids"};
    for (int i = 0; i < 3; i++) {
        outcome o = run_spec_do(&(run_spec){.line = lines[i],
                                            .input = inputs[i],
                                            .hold_input = true,
                                            .fake = true,
                                            .signal = SIGINT,
                                            .after = after[i]});
        cr_expect(o.rc == 130, "%s: %d %s", lines[i], o.rc, o.err);
        cr_expect(o.out[o.out_len - 1] == '\n');
    }
}

Test(failures, the_real_engine_is_interrupted_too) {
    /* Waits for more input with an answer out: the session is gone, the engine is closed, nothing is lost. */
    outcome o = run_spec_do(&(run_spec){.line = "generate -m @V -md @D --temp 0",
                                        .input = "It snowed a lot.\n",
                                        .hold_input = true,
                                        .signal = SIGINT,
                                        .after = "geschneit"});
    cr_expect(o.rc == 130, "%d %s", o.rc, o.err);
    cr_expect_str_eq(o.out, "Es hat viel geschneit.\n");
}

/* 18,001 tokens behind an encoder are minutes of work: what a signal leaves of them shows that nothing waited
 * for their end. */
Test(failures, an_interrupt_ends_a_long_prompt) {
    static const char *const lines[] = {"generate -m @V -md @D -c 20000 --jsonl --temp 0 --device cpu",
                                        "score -m @V -c 20000", "record -m @V -md @D -c 20000 --temp 0"};
    static const char *const shapes[] = {
        "{\"prompt_ids\": [83, 39, 213, 1], \"max_tokens\": 2}\n{\"prompt_ids\": [",
        "{\"prompt_ids\": [83], \"completion_ids\": [39]}\n{\"completion_ids\": [39], \"prompt_ids\": [",
        "{\"prompt_ids\": [83, 39, 213, 1], \"max_tokens\": 2}\n{\"prompt_ids\": ["};
    enum { TOKENS = 18001, CAP = TOKENS * 4 + 300 };
    for (int i = 0; i < 3; i++) {
        char *input = malloc(CAP);
        size_t n = (size_t)snprintf(input, CAP, "%s", shapes[i]);
        for (int t = 0; t < TOKENS; t++) n += (size_t)snprintf(input + n, CAP - n, "%s83", t ? "," : "");
        snprintf(input + n, CAP - n, "]}\n");
        char line[120];
        snprintf(line, sizeof line, "%s%s", lines[i], i == 2 ? " --input -" : "");
        outcome o = run_spec_do(&(run_spec){
            .line = line, .input = input, .signal = SIGINT, .after = i == 1 ? "logprobs" : "token_ids"});
        cr_assert(o.rc == 130, "%s: %d %s", line, o.rc, o.err);
        json_t *list = json_lines(&o);
        cr_expect(json_array_size(list) == (i == 0 ? 2 : 1), "%s: %s", line, o.out);
        if (i == 0)
            cr_expect_str_eq(json_string_value(at(json_array_get(list, 1), "finish_reason")), "cancelled");
        if (i == 0) cr_expect(json_array_size(at(json_array_get(list, 1), "token_ids")) == 0);
        free(input);
    }
}

/* Work that nobody could see the end of, and that says nothing on the way. (A signal that comes before the
 * program listens kills.) */
static bool interrupted(const outcome *o) {
    return o->out_len == 0 && (o->rc == 130 || o->rc == 1000 + SIGINT);
}

Test(failures, an_interrupt_ends_draws_and_timings) {
    outcome o = run_spec_do(&(run_spec){.line = "rule --draws 1000000000000 --deferral-rule chow",
                                        .signal = SIGINT,
                                        .after = "zz",
                                        .input = "{\"q_logits\": [0, 1], \"p_logits\": [1, 0]}\n",
                                        .wait_ms = 300});
    cr_expect(interrupted(&o), "%d %s", o.rc, o.err);
    o = run_spec_do(&(run_spec){.line = "bench -m @V -md @D --n-prompt 500 --repeat 1000",
                                .signal = SIGINT,
                                .after = "zz",
                                .wait_ms = 1500});
    cr_expect(interrupted(&o), "%d %s", o.rc, o.err);
}

/* ---- engines that fail --------------------------------------------------------------------------------- */

Test(failures, a_plan_that_does_not_fit_is_told_with_its_figures) {
    outcome o = fake("generate -m memory -p x", NULL);
    expect_failure(&o, 1, "9.0 GiB", "2.0 GiB");
}

Test(failures, a_session_with_unusable_logits_ends_alone) {
    outcome o = fake("generate -m nan -np 3 --jsonl",
                     "{\"prompt\": \"aaaaa\"}\n{\"prompt\": \"bbbbb\"}\n{\"prompt\": \"ccccc\"}\n");
    expect_failure(&o, 1, "NaN", NULL);
    json_t *list = json_lines(&o);
    cr_assert(json_array_size(list) == 3);
    cr_expect_str_eq(json_string_value(at(json_array_get(list, 0), "finish_reason")), "stop");
    cr_expect_str_eq(json_string_value(at(json_array_get(list, 1), "finish_reason")), "cancelled");
    cr_expect_str_eq(json_string_value(at(json_array_get(list, 2), "finish_reason")), "stop");
}

Test(failures, a_device_that_is_lost_ends_the_run_after_what_was_done) {
    outcome o = fake("generate -m lost -np 2 --jsonl",
                     "{\"prompt\": \"aa\"}\n{\"prompt\": \"" LONG "\"}\n{\"prompt\": \"b\"}\n");
    expect_failure(&o, 1, "device is lost", NULL);
    json_t *list = json_lines(&o);
    cr_assert(json_array_size(list) >= 1);
    cr_expect(json_integer_value(at(json_array_get(list, 0), "index")) == 0);
    o = fake("generate -m lost -p '" LONG "'", NULL);
    expect_failure(&o, 1, "device is lost", NULL);
    cr_expect(o.out_len > 0 && o.out[o.out_len - 1] == '\n', "%s", o.out);
}

Test(failures, a_step_that_fails_and_ends_nothing_ends_the_run) {
    static const struct {
        const char *line, *input;
    } runs[] = {
        {"generate -m stuck -p '" LONG "'", NULL},
        {"generate -m stuck -np 3 --jsonl", "{\"prompt\": \"" LONG "\"}\n{\"prompt\": \"" LONG "\"}\n"},
        {"chat -m stuck --chat-template plain", LONG "\n" LONG "\n"},
        {"record -m stuck -md plain", LONG "\n"}};
    for (int i = 0; i < 4; i++) {
        outcome o = fake(runs[i].line, runs[i].input);
        expect_failure(&o, 1, "invalid argument", NULL);
        const char *first = strstr(o.err, "invalid argument");
        cr_expect(strstr(first + 1, "invalid argument") == NULL, "%s", o.err);
    }
}

Test(failures, bytes_that_are_no_text_pass_as_text_and_are_mended_as_json) {
    outcome o = fake("generate -m bytes", "abc\nabc\n");
    expect_success(&o);
    /* Tokens of an answer: newline, 0xff, u umlaut. A line an answer: the newline is a blank. */
    cr_expect(o.out_len == 10 && memcmp(o.out, " \xff\xc3\xbc\n \xff\xc3\xbc\n", 10) == 0, "%zu", o.out_len);
    o = fake("generate -m bytes -p abc", NULL);
    cr_expect(o.out_len == 5 && memcmp(o.out, "\n\xff\xc3\xbc\n", 5) == 0);
    o = fake("generate -m plain -q -f -", "ab\n"); /* a file's last line break is not part of it */
    cr_expect_str_eq(o.out, " w0 w1\n");
    o = fake("generate -m bytes -p abc --jsonl", NULL);
    cr_expect_str_eq(json_string_value(at(json_array_get(json_lines(&o), 0), "text")),
                     "\n\xef\xbf\xbd\xc3\xbc");
}

Test(failures, a_checkpoint_without_a_tokenizer_works_for_ids) {
    outcome o = fake("generate -m noids --jsonl", "{\"prompt_ids\": [5, 6, 7]}\n");
    expect_success(&o);
    json_t *a = json_array_get(json_lines(&o), 0);
    cr_expect(json_is_null(at(a, "text")) && json_array_size(at(a, "token_ids")) == 2);
    o = fake("generate -m noids --jsonl", "{\"prompt\": \"text\"}\n");
    expect_failure(&o, 1, "stdin:1", "tokenizer");
    o = fake("score -m noids", "{\"prompt_ids\": [5], \"completion_ids\": [6]}\n");
    expect_success(&o);
}

Test(failures, answers_that_finish_early_wait_for_their_turn) {
    outcome o = fake("generate -m plain -np 4 -q", "aaaaaaaa\nb\n\ncccc\ndd\n");
    expect_success(&o);
    cr_expect_str_eq(o.out, " w0 w1 w2 w3 w4 w5 w6 w7\n w0\n\n w0 w1 w2 w3\n w0 w1\n");
}

Test(failures, log_probabilities_of_minus_infinity_are_null) {
    outcome o = fake("score -m plain", "{\"prompt\": \"a\", \"completion\": \"bcd\"}\n");
    expect_success(&o);
    json_t *a = json_array_get(json_lines(&o), 0);
    cr_expect(json_is_null(json_array_get(at(a, "logprobs"), 1)) && json_is_null(at(a, "sum")));
    cr_expect(json_array_size(at(a, "completion_ids")) == 3);
}
