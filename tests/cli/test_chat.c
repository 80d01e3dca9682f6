/* weir chat through pipes and a terminal: on the demo pair, which has no template (plain), and on the fake
 * engine, whose answers show how long a prompt was. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/weir.h"
#include "tests/cli/program.h"

#define PAIR "-m @V -md @D --chat-template plain --temp 0"

static outcome fake(const char *line, const char *input) {
    return run_spec_do(&(run_spec){.line = line, .input = input, .fake = true});
}

static int count(const char *text, const char *word) {
    int n = 0;
    for (const char *p = text; (p = strstr(p, word)) != NULL; p += strlen(word)) n++;
    return n;
}

/* ---- on the demo pair ---------------------------------------------------------------------------------- */

Test(chat, each_line_gets_the_answer_that_generate_gives) {
    static const char input[] = "It snowed a lot.\nWho is that girl?\nI want to learn Japanese.\n";
    static const char *const settings[] = {"--temp 0", "--temp 0.8 --seed 3",
                                           "--deferral-rule token-v3 --deferral-alpha 0.4",
                                           "--temp 0 --gamma 2 --show-sources"};
    for (int i = 0; i < 4; i++) {
        char line[200];
        snprintf(line, sizeof line, "chat -m @V -md @D --chat-template plain %s", settings[i]);
        outcome a = run_with(line, input);
        snprintf(line, sizeof line, "generate -m @V -md @D -n 512 %s", settings[i]);
        outcome b = run_with(line, input);
        expect_success(&a);
        expect_success(&b);
        cr_expect_str_eq(a.out, b.out);
        cr_expect(strlen(a.out) > 60);
    }
}

Test(chat, a_checkpoint_without_a_template_is_refused_with_the_names) {
    outcome o = run_with("chat -m @V -md @D", "hello\n");
    expect_failure(&o, 1, "no chat template", "chatml, qwen2");
    cr_expect(o.out_len == 0);
    o = run_with("chat -m @V --chat-template vicuna", "hello\n");
    expect_failure(&o, 2, "--chat-template vicuna", "plain");
    o = run_with("chat -m @V --chat-template gemma", "hello\n");
    expect_failure(&o, 1, "gemma", "<end_of_turn>");
    o = run_with("chat -m @V --chat-template none -q --temp 0", "It snowed a lot.\n");
    expect_success(&o);
    cr_expect_str_eq(o.out, "Es hat viel geschneit.\n");
    cr_expect_str_eq(o.err, "");
}

Test(chat, commands_set_what_flags_set) {
    static const char input[] =
        "/rule token-v3 0.25\n/temp 0.5\n/gamma 3\nIt snowed a lot.\n/alpha 0.75\nIt snowed a lot.\n"
        "/rule lossy 0.2 auto\n/beta 0.9\n/exact\n/temp 0\nIt snowed a lot.\n";
    static const char *const flags[] = {"--deferral-rule token-v3 --deferral-alpha 0.25 --temp 0.5 --gamma 3",
                                        "--deferral-rule token-v3 --deferral-alpha 0.75 --temp 0.5 --gamma 3",
                                        "--temp 0 --gamma 3"};
    static const char *const settings[] = {
        "rule token-v3, alpha 0.25,",       "temp 0.5, seed", "gamma 3,",        "alpha 0.75,",
        "rule lossy, alpha 0.2, beta auto", "beta 0.9,",      "rule exact, gate"};
    outcome o = run_with("chat -m @V -md @D --chat-template plain --show-sources", input);
    expect_success(&o);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        cr_expect(strstr(o.err, settings[i]), "%s: %s", settings[i], o.err);
    char want[1000] = "";
    for (int i = 0; i < 3; i++) {
        char line[200];
        snprintf(line, sizeof line, "generate -m @V -md @D -n 512 --show-sources -p 'It snowed a lot.' %s",
                 flags[i]);
        outcome one = run(line);
        expect_success(&one);
        strncat(want, one.out, sizeof want - strlen(want) - 1);
    }
    cr_expect_str_eq(o.out, want);
}

static const struct {
    const char *line, *word, *word2;
} mistakes[] = {
    {"/nope", "/nope: unknown command", "/help"},
    {"/", "/: unknown command", NULL},
    {"/rules", "/rules: unknown command", NULL},
    {"/etc/passwd is a file", "/etc/passwd: unknown command", "a space before"},
    {"/rule", "/rule: expected /rule RULE [ALPHA [BETA]]", NULL},
    {"/rule chow 1 2 3", "/rule: expected", NULL},
    {"/rule token-v9", "unknown rule", "token-v"},
    {"/rule chow two", "/rule two: expected a number", NULL},
    {"/rule chow 5", "alpha", "5"},
    {"/alpha", "/alpha: expected /alpha A", NULL},
    {"/alpha nan", "/alpha nan: expected a number", NULL},
    {"/alpha 0.5", "rule exact has no knob", NULL},
    {"/beta 0.5", "no second knob", NULL},
    {"/temp 9", "/temp 9: out of range", "0 to 2"},
    {"/temp -1", "/temp -1: out of range", NULL},
    {"/gamma 0", "/gamma 0: out of range", "1 to 16"},
    {"/gamma 2.5", "/gamma 2.5: expected a whole number", NULL},
    {"/system Be brief.", "message 0 (system)", "plain"},
    {"/stats now", "/stats: expected /stats", NULL},
    {"/stats", "/stats: no answer yet", NULL},
    {"/exit now", "/exit: expected /exit", NULL},
};

Test(chat, a_mistake_is_one_line_and_the_conversation_goes_on) {
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        char input[200];
        snprintf(input, sizeof input, "%s\nIt snowed a lot.\n", mistakes[i].line);
        outcome o = run_with("chat " PAIR " -q", input);
        expect_failure(&o, 1, mistakes[i].word, mistakes[i].word2);
        cr_expect(count(o.err, "\n") == 1, "%s: %s", mistakes[i].line, o.err);
        cr_expect_str_eq(o.out, "Es hat viel geschneit.\n");
    }
}

Test(chat, a_mistake_changes_nothing) {
    outcome o = run_with("chat " PAIR " --deferral-rule chow --deferral-alpha 0.3",
                         "/rule token-v3 7\n/rule token-v3 x\n/alpha 0.4\n");
    cr_assert(o.rc == 1);
    cr_expect(strstr(o.err, "rule chow, alpha 0.4,") != NULL, "%s", o.err);
}

Test(chat, a_model_alone_has_no_rule) {
    outcome o = run_with("chat -m @V --chat-template plain -q --temp 0",
                         "/rule chow\n/exact\n/gamma 3\nIt snowed a lot.\n");
    cr_assert(o.rc == 1);
    cr_expect(count(o.err, "needs a drafter") == 2 && count(o.err, "\n") == 2, "%s", o.err);
    cr_expect_str_eq(o.out, "Es hat viel geschneit.\n");
}

Test(chat, lines_go_on_after_a_backslash_and_the_last_needs_no_newline) {
    outcome a = run_with("chat " PAIR " -q", "It snowed \\\na lot.\n\n  \t \nWho is that girl?");
    outcome b = run("generate -m @V -md @D --temp 0 -q -p 'It snowed \na lot.'");
    outcome c = run("generate -m @V -md @D --temp 0 -q -p 'Who is that girl?'");
    expect_success(&a);
    char want[400];
    snprintf(want, sizeof want, "%s%s", b.out, c.out);
    cr_expect_str_eq(a.out, want);
    a = run_with("chat " PAIR " -q", "Who is that girl?\\");
    expect_success(&a);
    cr_expect(count(a.out, "\n") == 1);
}

Test(chat, no_input_is_no_mistake) {
    outcome o = run_with("chat " PAIR, "");
    expect_success(&o);
    cr_expect(o.out_len == 0);
    o = run_with("chat " PAIR " -q", "/exit\nIt snowed a lot.\n");
    expect_success(&o);
    cr_expect(o.out_len == 0 && o.err_len == 0);
}

Test(chat, help_and_figures) {
    outcome o = run_with("chat " PAIR " -q --stats", "/help\nIt snowed a lot.\nWho is that girl?\n/stats\n");
    expect_success(&o);
    static const char *const want[] = {
        "/rule RULE [ALPHA [BETA]]", "/system [TEXT]", "last answer\n", "all answers\n",
        "mean acceptance length",    "deferral rate",  "tokens/s"};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        cr_expect(strstr(o.err, want[i]), "%s: %s", want[i], o.err);
    cr_expect(count(o.err, "answers                  1 (") == 1 &&
                  count(o.err, "answers                  2 (") == 2,
              "%s", o.err);
}

/* ---- history, on the fake engine ----------------------------------------------------------------------- */

static long prompt_tokens(const char *err, int which) {
    const char *p = err;
    for (int i = 0; i <= which; i++) {
        p = strstr(p, "tokens                   ");
        cr_assert(p != NULL, "%d: %s", which, err);
        p += 25;
    }
    return strtol(p, NULL, 10);
}

Test(chat, every_turn_is_in_the_next_prompt) {
    outcome o =
        fake("chat -m plain --chat-template chatml -n 3 -q", "a\n/stats\nbb\n/stats\n/reset\na\n/stats\n");
    expect_success(&o);
    cr_expect_str_eq(o.out, " w0 w1 w2\n w0 w1 w2\n w0 w1 w2\n");
    const long first = prompt_tokens(o.err, 0), second = prompt_tokens(o.err, 2),
               again = prompt_tokens(o.err, 4);
    /* <|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n, then " w0 w1 w2<|im_end|>\n" and the same with
     * bb */
    cr_expect(first == 51 && second == 51 + 20 + 52 && again == first, "%ld %ld %ld", first, second, again);
}

Test(chat, a_system_message_is_in_every_prompt_until_it_is_taken_away) {
    outcome o = fake("chat -m plain --chat-template chatml -n 3 -q --system Hello",
                     "a\n/stats\n/reset\n/system   two  words \na\n/stats\n/reset\n/system\na\n/stats\n");
    expect_success(&o);
    /* <|im_start|>system\nHello<|im_end|>\n */
    cr_expect(prompt_tokens(o.err, 0) == 51 + 35 && prompt_tokens(o.err, 2) == 51 + 40 &&
                  prompt_tokens(o.err, 4) == 51,
              "%s", o.err);
    o = fake("chat -m plain --chat-template plain --system Hello", "a\n");
    expect_failure(&o, 1, "message 0 (system)", "plain");
    o = fake("chat -m plain --chat-template llama2 -q", "/system see [INST]\na [INST] b\nc\n");
    cr_expect(o.rc == 1 && count(o.err, "[INST]") == 2 && count(o.out, "\n") == 1, "%s", o.err);
}

Test(chat, what_no_longer_fits_is_refused_with_figures_and_left_out) {
    char input[1200], big[500];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    snprintf(input, sizeof input, "a\n%s\nb\n/stats\n/reset\na\n", big);
    outcome o = fake("chat -m plain --chat-template chatml -n 3 -q", input);
    cr_expect(o.rc == 1 && count(o.out, " w0 w1 w2\n") == 3, "%d %s", o.rc, o.out);
    cr_expect(strstr(o.err, "the conversation has 620 tokens") && strstr(o.err, "holds 512") &&
                  strstr(o.err, "/reset"),
              "%s", o.err);
    cr_expect(prompt_tokens(o.err, 0) == 51 + 20 + 51, "%s", o.err);
}

Test(chat, an_answer_that_was_cut_says_so) {
    outcome o = fake("chat -m plain --chat-template plain -n 3", "abcdef\n");
    expect_success(&o);
    cr_expect(strstr(o.err, "cut") == NULL, "%s", o.err); /* the fake engine stops by itself */
    o = run_with("chat " PAIR " -n 2", "It snowed a lot.\n");
    expect_success(&o);
    cr_expect(strstr(o.err, "the answer was cut at 2 tokens") != NULL, "%s", o.err);
}

Test(chat, sources_are_marked) {
    outcome o = fake("chat -m plain --chat-template plain --show-sources -n 4", "abcdef\nabcdef\n");
    expect_success(&o);
    cr_expect_str_eq(o.out, "[k| w0][a| w1][r| w2][b| w3]\n[k| w0][a| w1][r| w2][b| w3]\n");
    cr_expect(count(o.err, "sources:") == 1);
}

/* ---- signals and failures ------------------------------------------------------------------------------ */

#define HUNDRED \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

Test(chat, an_interrupt_ends_the_answer_and_not_the_conversation) {
    outcome o = run_spec_do(&(run_spec){.line = "chat -m slow --chat-template chatml -n 400",
                                        .fake = true,
                                        .signal = SIGINT,
                                        .after = "w3",
                                        .input = HUNDRED "\n/stats\n/reset\nb\n"});
    cr_assert(o.rc == 0, "%d %s", o.rc, o.err);
    cr_expect(strstr(o.out, "w140") == NULL && count(o.out, "\n") == 2 && strstr(o.out, "w49\n") != NULL,
              "%s", o.out);
    cr_expect(strstr(o.err, "1 cancelled") && strstr(o.err, "was cancelled"), "%s", o.err);
}

Test(chat, an_interrupt_at_the_prompt_exits_130) {
    outcome o = run_spec_do(&(run_spec){.line = "chat -m plain --chat-template plain",
                                        .input = "abc\n",
                                        .hold_input = true,
                                        .fake = true,
                                        .signal = SIGINT,
                                        .after = "w2\n"});
    cr_expect(o.rc == 130, "%d %s", o.rc, o.err);
    cr_expect_str_eq(o.out, " w0 w1 w2\n");
}

Test(chat, a_termination_ends_the_program) {
    outcome o = run_spec_do(&(run_spec){.line = "chat -m slow --chat-template chatml -n 400",
                                        .fake = true,
                                        .signal = SIGTERM,
                                        .after = "w3",
                                        .input = "abc\ndef\n"});
    cr_expect(o.rc == 143 && count(o.out, "\n") == 1, "%d %s", o.rc, o.out);
}

Test(chat, a_terminal_is_asked_and_forgives) {
    outcome o = run_spec_do(&(run_spec){.line = "chat -m plain --chat-template plain",
                                        .input = "abc\n/nope\nde\\\nf\n\004",
                                        .in_tty = true,
                                        .hold_input = true,
                                        .fake = true});
    cr_assert(o.rc == 0, "%d %s", o.rc, o.err);
    cr_expect_str_eq(o.out, " w0 w1 w2\n w0 w1 w2 w3\n");
    cr_expect(count(o.err, "> ") == 4 && strstr(o.err, "/nope: unknown") && o.err[o.err_len - 1] == '\n',
              "%s", o.err);
}

Test(chat, an_answer_that_failed_is_left_out) {
    outcome o = fake("chat -m nan --chat-template chatml -n 5 -q", "a\nb\nb\n/stats\n");
    cr_expect(o.rc == 1 && count(o.err, "NaN") == 1 && count(o.out, "\n") == 3, "%d %s %s", o.rc, o.out,
              o.err);
    cr_expect(prompt_tokens(o.err, 0) == 51 + 26 + 51, "%s", o.err);
}

Test(chat, a_lost_device_ends_the_program) {
    outcome o = fake("chat -m lost --chat-template chatml", "a\nb\n");
    expect_failure(&o, 1, "device is lost", NULL);
    cr_expect(count(o.out, "\n") == 1, "%s", o.out);
}

Test(chat, output_that_fails_is_one_line_and_exit_1) {
    outcome o = run_spec_do(&(run_spec){.line = "chat -m plain --chat-template plain",
                                        .input = "abc\ndef\n",
                                        .fake = true,
                                        .out_path = "/dev/full"});
    expect_failure(&o, 1, "standard output", "No space left");
}

Test(chat, options_of_one_prompt_are_not_chat_s) {
    static const char *const lines[] = {"chat -m plain -p x", "chat -m plain -f x", "chat -m plain --jsonl",
                                        "chat -m plain -np 2", "generate -m plain --system x"};
    for (int i = 0; i < 5; i++) {
        outcome o = fake(lines[i], "");
        expect_failure(&o, 2, "is not one of weir", NULL);
    }
}

/* ---- messages in JSON lines ---------------------------------------------------------------------------- */

Test(chat, messages_of_an_input_line_are_a_prompt_in_the_template) {
    static const char input[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"It snowed a lot.\"}]}\n"
                                "{\"prompt\": \"It snowed a lot.\"}\n";
    outcome o = run_with("generate -m @V -md @D --jsonl --temp 0 -q --chat-template plain", input);
    expect_success(&o);
    json_t *list = json_lines(&o);
    cr_assert(json_array_size(list) == 2);
    cr_expect(json_equal(at(json_array_get(list, 0), "token_ids"), at(json_array_get(list, 1), "token_ids")));
    cr_expect_str_eq(json_string_value(at(json_array_get(list, 0), "text")), "Es hat viel geschneit.");
    o = fake("generate -m plain --jsonl -n 2 -q --chat-template chatml",
             "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n");
    expect_success(&o);
    cr_expect(json_integer_value(at(json_array_get(json_lines(&o), 0), "usage.prompt_tokens")) == 51);
}

static const struct {
    const char *input, *word;
} bad_messages[] = {
    {"{\"messages\": \"hello\"}", "expected a list"},
    {"{\"messages\": []}", "without a message"},
    {"{\"messages\": [\"hello\"]}", "entry 0: expected an object"},
    {"{\"messages\": [{\"role\": \"user\"}]}", "entry 0"},
    {"{\"messages\": [{\"role\": \"user\", \"content\": [\"a\"]}]}", "entry 0"},
    {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\", \"name\": \"b\"}]}", "entry 0"},
    {"{\"messages\": [{\"role\": \"user\\u0000\", \"content\": \"a\"}]}", "entry 0"},
    {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"tool\", \"content\": \"b\"}]}",
     "message 1: role tool"},
    {"{\"messages\": [{\"role\": \"system\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"b\"}]}",
     "message 0 (system)"},
    {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"prompt\": \"b\"}",
     "one of prompt, prompt_ids and messages"},
    {"{\"seed\": 1}", "one of prompt, prompt_ids and messages"},
};

Test(chat, bad_messages_are_named) {
    for (size_t i = 0; i < sizeof bad_messages / sizeof bad_messages[0]; i++) {
        outcome o = run_with("generate -m @V --jsonl -q --chat-template plain", bad_messages[i].input);
        expect_failure(&o, 1, bad_messages[i].word, "stdin:1");
    }
    outcome o =
        run_with("generate -m @V --jsonl -q", "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n");
    expect_failure(&o, 1, "stdin:1: \"messages\"", "no chat template");
}

Test(chat, help_and_the_man_page_name_every_template) {
    outcome help = run("chat --help"), man = run("--man");
    for (int i = 0; weir_chat_template_at(i); i++) {
        char want[100];
        snprintf(want, sizeof want, "\n  %s\n        ", weir_chat_template_at(i)->name);
        cr_expect(strstr(help.out, want) != NULL, "%s", want);
    }
    cr_expect(strstr(help.out, "26 Jul 2024") && strstr(man.out, "CHAT TEMPLATES") &&
              strstr(man.out, "26 Jul 2024"));
}

Test(chat, info_names_the_template) {
    outcome o = run("info -m @V");
    cr_expect(strstr(o.out, "chat template            none: ") != NULL, "%s", o.out);
    o = run("info -m @V --chat-template plain --json");
    cr_expect_str_eq(json_string_value(at(json_array_get(json_lines(&o), 0), "chat_template")), "plain");
}
