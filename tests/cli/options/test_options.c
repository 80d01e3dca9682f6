/* The table of options against --help, the man page, the environment and the engine's own defaults. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/cli/options/help.h"
#include "tests/cli/program.h"

/* Blanks and line breaks fold into one blank, as wrapping makes them; roff's escapes go. */
static char *folded(const char *text) {
    char *out = malloc(strlen(text) + 2), *p = out;
    for (const char *s = text; *s; s++) {
        if (s[0] == '\\' && s[1] == '-') continue;
        if (s[0] == '\\' && s[1] == ':') {
            s++;
            continue;
        }
        if (strncmp(s, "\\(aq", 4) == 0) {
            *p++ = '\'';
            s += 3;
            continue;
        }
        bool blank = *s == ' ' || *s == '\n';
        if (blank && p > out && p[-1] == ' ') continue;
        *p++ = blank ? ' ' : *s;
    }
    *p = '\0';
    return out;
}

/* Words as main() gets them: a copy that may be written to (it stays: values borrow from it). */
#define PARSE(a, command, ...)                                       \
    parse_words(a, command, (const char *const[]){"x", __VA_ARGS__}, \
                (int)(sizeof((const char *const[]){"x", __VA_ARGS__}) / sizeof(char *)))

static int parse_words(cli_args *a, cli_command command, const char *const *words, int n) {
    char **argv = calloc((size_t)n + 1, sizeof *argv);
    for (int i = 0; i < n; i++) argv[i] = strdup(words[i]);
    return cli_parse(a, command, n, argv);
}

static void expect_option(const char *where, const char *text, const cli_option *o) {
    char want[400];
    help_option_names(o, want, sizeof want);
    cr_expect(strstr(text, want) != NULL, "%s lacks \"%s\"", where, want);
    help_option_facts(o, want, sizeof want);
    cr_expect(strstr(text, want) != NULL, "%s lacks \"%s\"", where, want);
    cr_expect(strstr(text, o->help) != NULL, "%s lacks \"%s\"", where, o->help);
}

Test(options, every_row_of_the_table_is_complete) {
    for (int i = 0; i < OPT_COUNT; i++) {
        const cli_option one = cli_option_at(i), *o = &one;
        cr_assert(o->name && o->help && o->commands, "option %d", i);
        cr_expect(o->preset || o->absent, "%s says no default", o->name);
        cr_expect(o->type == CLI_FLAG || o->value, "%s says no value", o->name);
        for (int j = 0; j < i; j++)
            cr_expect(strcmp(o->name, cli_option_row(j)->name) != 0, "%s twice", o->name);
    }
}

Test(options, help_of_each_command_has_its_options_with_range_default_and_environment) {
    for (int c = 0; c < CMD_COUNT; c++) {
        char line[64];
        snprintf(line, sizeof line, "%s --help", cli_commands[c].name);
        outcome o = run(line);
        expect_success(&o);
        char *text = folded(o.out);
        for (int i = 0; i < OPT_COUNT; i++)
            if (cli_option_row(i)->commands & (1u << c))
                expect_option(line, text, &(cli_option[]){cli_option_at(i)}[0]);
        cr_expect(strlen(o.err) == 0);
    }
}

Test(options, a_range_is_in_its_unit_and_a_default_says_what_it_does) {
    outcome o = run("serve --help");
    cr_expect(strstr(o.out, "Range: 1 to 16 tokens, or auto. Default: auto."), "%s", o.out);
    cr_expect(strstr(o.out, "MiB. Default: 0: every request can have the whole context."), "%s", o.out);
    cr_expect(strstr(o.out, "Range: at least 0, or auto. Default: the rule's"), "%s", o.out);
}

Test(options, help_of_a_command_begins_with_models_and_its_own_options) {
    outcome o = run("serve --help");
    const char *const order[] = {"  -md, --model-draft", "  --host ", "  --log-disable", "  --temp ",
                                 "  -q, "};
    const char *at = o.out;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        const char *next = strstr(o.out, order[i]);
        cr_assert(next && next >= at, "%s", order[i]);
        cr_expect(!strstr(next + 1, order[i]), "%s twice", order[i]);
        at = next;
    }
}

Test(options, help_and_man_page_have_the_fields_of_input_objects) {
    outcome man = run("--man");
    char *page = folded(man.out);
    for (int c = 0; c < CMD_COUNT; c++) {
        char line[64], want[900];
        snprintf(line, sizeof line, "%s --help", cli_commands[c].name);
        outcome o = run(line);
        char *text = folded(o.out);
        cr_expect((strstr(text, "fields of an input object") != NULL) == (cli_commands[c].fields != 0), "%s",
                  line);
        for (int i = 0; i < WIRE_N_FIELD; i++) {
            const wire_field *f = &wire_fields[i];
            if (!(f->where & cli_commands[c].fields)) continue;
            help_field_facts(f, (cli_command)c, want, (int)sizeof want);
            cr_expect(strstr(text, folded(want)) && strstr(page, folded(want)), "%s lacks \"%s\"", line,
                      want);
            snprintf(want, sizeof want, "\n  %s\n", wire_name(f, cli_commands[c].fields));
            cr_expect(strstr(o.out, want), "%s lacks \"%s\"", line, want);
        }
    }
}

Test(options, help_names_every_rule) {
    outcome o = run("generate --help");
    for (int i = 0; i < WEIR_RULE_COUNT; i++) {
        char want[64];
        snprintf(want, sizeof want, "\n  %s\n", weir_rule_facts((weir_rule)i)->name);
        cr_expect(strstr(o.out, want) != NULL, "%s", want);
    }
}

Test(options, the_man_page_has_every_option_command_and_rule) {
    FILE *f = fopen(program_man_page, "r");
    cr_assert(f != NULL);
    char *page = calloc(1, 1 << 18);
    cr_assert(fread(page, 1, (1 << 18) - 1, f) > 1000);
    fclose(f);
    char *text = folded(page);
    for (int i = 0; i < OPT_COUNT; i++) expect_option("weir.1", text, &(cli_option[]){cli_option_at(i)}[0]);
    for (int c = 0; c < CMD_COUNT; c++) cr_expect(strstr(text, cli_commands[c].summary) != NULL);
    for (int i = 0; i < WEIR_RULE_COUNT; i++) {
        char want[500];
        help_rule_facts((weir_rule)i, want, sizeof want);
        cr_expect(strstr(text, want) != NULL, "weir.1 lacks \"%s\"", want);
    }
}

Test(options, groff_has_nothing_to_say_about_the_man_page) {
    if (system("command -v groff >/dev/null 2>&1") != 0) cr_skip_test("no groff");
    setenv("PAGE", program_man_page, 1);
    cr_expect(system("test -z \"$(groff -man -Tutf8 -ww \"$PAGE\" 2>&1 >/dev/null)\"") == 0);
    cr_expect(system("groff -man -Tutf8 \"$PAGE\" | sed 's/.\\x08//g' | grep -q -e '--spec-draft-n-max'") ==
              0);
}

Test(options, presets_are_the_engine_s_defaults) {
    cli_args a;
    cr_assert(PARSE(&a, CMD_GENERATE, "-q") == 0);
    weir_session_options o, d = weir_session_options_default();
    cr_assert(cli_session(&a, &o) == 0);
    cr_expect(o.n_draft == d.n_draft && o.max_tokens == d.max_tokens && o.seed == d.seed);
    cr_expect(o.law.rule == d.law.rule && o.law.temp == d.law.temp && o.law.top_k == d.law.top_k);
    cr_expect(o.law.top_p == d.law.top_p && o.law.min_p == d.law.min_p && o.law.bonus_pi == d.law.bonus_pi);
    cr_expect(o.law.gate_scaled == d.law.gate_scaled && o.law.exact_first == d.law.exact_first);
    cr_expect(o.method == WEIR_METHOD_VERIFIER);
}

/* The last value that is fine and the first that is not, at both ends of each range. */
Test(options, ranges_end_where_the_table_says) {
    for (int i = 0; i < OPT_COUNT; i++) {
        const cli_option one = cli_option_at(i), *o = &one;
        if (o->type != CLI_INT && o->type != CLI_NUMBER) continue;
        double step = o->type == CLI_INT ? 1 : 1e-6;
        struct {
            double x;
            bool fine;
        } tries[] = {{o->lo, !o->lo_open},
                     {o->hi, true},
                     {o->lo - step, false},
                     {o->hi + step, false},
                     {o->lo + step, true}};
        int command = 0;
        while (!(o->commands & (1u << command))) command++;
        for (int k = 0; k < 5; k++) {
            if (isinf(tries[k].x)) continue;
            char name[64], value[64];
            snprintf(name, sizeof name, "--%s", o->name);
            snprintf(value, sizeof value, "%.17g", tries[k].x);
            cli_args a;
            int rc = PARSE(&a, (cli_command)command, name, value);
            cr_expect(rc == (tries[k].fine ? 0 : CLI_USAGE), "%s %s gives %d", name, value, rc);
        }
    }
}

Test(options, numbers_are_whole_words) {
    static const char *const bad[] = {
        "", "1x", "x", "0x10", "1.5", " ", "nan", "inf", "1e999", "--", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cli_args a;
        cr_expect(PARSE(&a, CMD_GENERATE, "--n-predict", bad[i]) == CLI_USAGE, "\"%s\"", bad[i]);
    }
    static const char *const seeds[] = {"-1", "18446744073709551616", "1e3", ""};
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        cli_args a;
        cr_expect(PARSE(&a, CMD_GENERATE, "--seed", seeds[i]) == CLI_USAGE, "\"%s\"", seeds[i]);
    }
    cli_args a;
    cr_assert(PARSE(&a, CMD_GENERATE, "--seed=18446744073709551615", "--deferral-beta", "auto") == 0);
    cr_expect(a.value[OPT_SEED].bits == UINT64_MAX && isnan(a.value[OPT_BETA].number));
    cr_assert(PARSE(&a, CMD_GENERATE, "--draft-tp", "4") == 0 && cli_int(&a, OPT_DRAFT_TP) == 4);
    cr_assert(PARSE(&a, CMD_GENERATE, "--draft-tp", "auto") == 0 && cli_int(&a, OPT_DRAFT_TP) == 0);
    cr_expect(PARSE(&a, CMD_GENERATE, "--draft-tp", "best") == CLI_USAGE);
    cr_assert(PARSE(&a, CMD_SERVE, "--quantize", "q8_0", "--quantize-draft=q8_0") == 0);
    cr_expect(PARSE(&a, CMD_SERVE, "--quantize", "bf16") == CLI_USAGE);
}

Test(options, a_negative_number_is_a_value) {
    cli_args a;
    cr_assert(PARSE(&a, CMD_RULE, "--deferral-alpha", "-0.5") == 0);
    cr_expect(a.value[OPT_ALPHA].number == -0.5);
}

Test(options, arguments_may_stand_between_options) {
    cli_args a;
    cr_assert(PARSE(&a, CMD_DETOKENIZE, "3", "-m", "dir", "4", "-q", "--", "-5") == 0);
    cr_assert(a.n_rest == 3);
    cr_expect(!strcmp(a.rest[0], "3") && !strcmp(a.rest[1], "4") && !strcmp(a.rest[2], "-5"));
    cr_expect(!strcmp(cli_text(&a, OPT_MODEL), "dir"));
}

Test(options, an_unknown_flag_is_named_with_the_nearest_one) {
    outcome o = run("generate --tempp 1");
    expect_failure(&o, 2, "--tempp", "--temp ");
    o = run("generate --n_predict=4");
    expect_failure(&o, 2, "--n_predict", "--n-predict");
    o = run("rule -x");
    expect_failure(&o, 2, "unknown option -x (see weir rule --help)", NULL);
    o = run("generate --frobnicate");
    expect_failure(&o, 2, "unknown option --frobnicate (see weir generate --help)", NULL);
    o = run("frobnicate");
    expect_failure(&o, 2, "unknown command frobnicate (see weir --help)", NULL);
    o = run("generate -md @D --deferral-rule nonsense");
    expect_failure(&o, 2, "--deferral-rule nonsense: unknown rule (see weir generate --help)", NULL);
    o = run("generate --draws 4");
    expect_failure(&o, 2, "--draws", "weir rule");
    o = run("generte");
    expect_failure(&o, 2, "generte", "generate");
    o = run("--jsonl");
    expect_failure(&o, 2, "--jsonl", NULL);
    o = run("");
    expect_failure(&o, 2, "no command", NULL);
    o = run("generate -m @V -p a b");
    expect_failure(&o, 2, "unexpected argument b", NULL);
}

Test(options, values_out_of_range_name_flag_value_and_range) {
    outcome o = run("generate --temp 2.5");
    expect_failure(&o, 2, "--temp 2.5", "0 to 2");
    o = run("generate --top-p 0");
    expect_failure(&o, 2, "--top-p 0", "above 0 to 1");
    o = run("generate --top-p 1e-60");
    expect_failure(&o, 2, "--top-p 1e-60", "above 0 to 1");
    o = run("generate -md @D --deferral-rule opt --deferral-alpha 1e39");
    expect_failure(&o, 2, "--deferral-alpha 1e39", "-3.40282e+38 to 3.40282e+38");
    o = run("generate -md @D --deferral-rule lossy --deferral-beta 1e39");
    expect_failure(&o, 2, "--deferral-beta 1e39", "0 to 3.40282e+38");
    o = run("generate -md @D --deferral-rule opt --deferral-alpha inf");
    expect_failure(&o, 2, "--deferral-alpha inf", "number");
    o = run("generate --gamma 17");
    expect_failure(&o, 2, "--gamma 17", "1 to 16 tokens");
    o = run("generate -c 64 -n 65");
    expect_failure(&o, 2, "65", "1 to 64");
    o = run("generate -md @D --deferral-rule lossy --deferral-alpha 1");
    expect_failure(&o, 2, "lossy", "1");
    o = run("generate -md @D --deferral-rule chow --deferral-beta 1");
    expect_failure(&o, 2, "--deferral-beta", "chow");
    o = run("generate -md @D --deferral-alpha 0.5");
    expect_failure(&o, 2, "--deferral-alpha: rule exact has no knob", NULL);
    o = run("generate -md @D --deferral-rule exact --deferral-alpha 0.5");
    expect_failure(&o, 2, "--deferral-alpha: rule exact has no knob", NULL);
    o = run("generate -md @D --deferral-rule cho");
    expect_failure(&o, 2, "cho", "nearest is chow");
    o = run("generate --gate up");
    expect_failure(&o, 2, "--gate up", "raw|scaled");
    o = run("generate --stop ''");
    expect_failure(&o, 2, "--stop", "empty");
    char line[256] = "generate -m @V -p a";
    for (int i = 0; i < 17; i++) strncat(line, " --stop a", sizeof line - strlen(line) - 1);
    o = run(line);
    expect_failure(&o, 2, "--stop", "16 times");
    o = run("generate -m");
    expect_failure(&o, 2, "-m needs a value", NULL);
    o = run("generate -m --jsonl");
    expect_failure(&o, 2, "-m needs a value", NULL);
    o = run("generate --stats=maybe");
    expect_failure(&o, 2, "--stats maybe", NULL);
}

Test(options, what_other_programs_spell_otherwise) {
    outcome o = run("generate -m @V -ngl 99 -p x");
    expect_failure(&o, 2, "-ngl", "--device");
    o = run_spec_do(&(run_spec){.line = "generate -m plain --draft-max 3 -p x", .fake = true});
    cr_expect(strstr(o.err, "warning: --draft-max") && strstr(o.err, "--spec-draft-n-max"), "%s", o.err);
    o = run_spec_do(&(run_spec){.line = "generate -m plain --draft-max 3 -p x -q", .fake = true});
    cr_expect(!strstr(o.err, "warning"), "%s", o.err);
}

Test(options, flags_that_need_a_drafter_say_so) {
    outcome o = run("generate -m @V --deferral-rule chow -p x");
    expect_failure(&o, 2, "--deferral-rule", "-md");
    o = run("generate -m @V --method speculative -p x");
    expect_failure(&o, 2, "speculative", "-md");
    o = run("generate -m @V -md @D --method drafter --deferral-alpha 1 -p x");
    expect_failure(&o, 2, "--deferral-alpha", "drafter");
    o = run("generate -m @V -md @D --method sequence-cascade -p x");
    expect_failure(&o, 2, "--deferral-alpha", NULL);
    /* In the environment it is a preference for other runs. */
    o = run_spec_do(
        &(run_spec){.line = "generate -m plain -p x", .env = {"WEIR_DEFERRAL_RULE=chow"}, .fake = true});
    expect_success(&o);
}

Test(options, the_environment_fills_in_and_the_command_line_wins) {
    outcome o = run_spec_do(&(run_spec){
        .line = "generate -p abcdef", .env = {"WEIR_MODEL=plain", "WEIR_N_PREDICT=2"}, .fake = true});
    expect_success(&o);
    cr_expect_str_eq(o.out, " w0 w1\n");
    o = run_spec_do(&(run_spec){
        .line = "generate -p abcdef -n 3", .env = {"WEIR_MODEL=plain", "WEIR_N_PREDICT=2"}, .fake = true});
    cr_expect_str_eq(o.out, " w0 w1 w2\n");
    o = run_spec_do(&(run_spec){
        .line = "generate -p abcdef", .env = {"WEIR_MODEL=plain", "WEIR_TEMP=hot"}, .fake = true});
    expect_failure(&o, 2, "WEIR_TEMP hot", NULL);
    /* What the command line says keeps a bad variable from being looked at. */
    o = run_spec_do(&(run_spec){
        .line = "generate -p ab --temp 1", .env = {"WEIR_MODEL=plain", "WEIR_TEMP=hot"}, .fake = true});
    expect_success(&o);
    o = run_spec_do(
        &(run_spec){.line = "generate -p ab", .env = {"WEIR_MODEL=plain", "WEIR_JSONL=1"}, .fake = true});
    cr_expect(json_array_size(json_lines(&o)) == 1);
}

Test(options, version_and_general_help) {
    outcome o = run("--version");
    expect_success(&o);
    cr_expect_str_eq(o.out, "weir " WEIR_VERSION "\n");
    o = run("generate --version");
    cr_expect_str_eq(o.out, "weir " WEIR_VERSION "\n");
    o = run("--help");
    expect_success(&o);
    for (int c = 0; c < CMD_COUNT; c++) cr_expect(strstr(o.out, cli_commands[c].name) != NULL);
    o = run("generate --temp 9 --help");
    cr_expect(o.rc == 2 || strstr(o.out, "usage:"));
    o = run("help rule");
    cr_expect(strstr(o.out, "usage: weir rule") != NULL);
}
