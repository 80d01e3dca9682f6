/* A drafter with a vocabulary of its own, as users run it. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cli/program.h"
#include "tests/host/pairs/text_model.h"
#include "tests/support/files.h"

static char *dir[2];

static void make_pair(void) {
    const text_side side[2] = {{"tiny_qwen2", false, 0.3f, 0}, {"tiny_smollm", true, 0.3f, 24}};
    for (int i = 0; i < 2; i++) dir[i] = text_model_write(&side[i]);
}

static void remove_pair(void) {
    for (int i = 0; i < 2; i++) files_remove_dir(dir[i]);
}

TestSuite(vocabularies, .init = make_pair, .fini = remove_pair);

/* "V" and "VD": the verifier, and with its drafter. */
static outcome run_pair(const char *command, bool drafter, const char *input, const char *words) {
    char line[900];
    snprintf(line, sizeof line, "%s -m %s %s%s %s", command, dir[0], drafter ? "-md " : "",
             drafter ? dir[1] : "", words);
    return run_with(line, input);
}

#define LINES "The quick\nnaïve caf\n\nWORD <tool_call> x\n東京タ\n"

Test(vocabularies, generate_equals_the_verifier_at_temp_0) {
    outcome a = run_pair("generate", false, LINES, "--temp 0 -q -n 50");
    expect_success(&a);
    static const char *const more[] = {"",      "--gamma 1",       "--gamma 16",
                                       "-np 3", "-tp 2 --gamma 4", "-tp 4 --draft-tp 4 -np 2"};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        char words[100];
        snprintf(words, sizeof words, "--temp 0 -q -n 50 %s", more[i]);
        outcome b = run_pair("generate", true, LINES, words);
        expect_success(&b);
        cr_expect_str_eq(a.out, b.out, "%s", more[i]);
    }
    outcome s = run_pair("generate", true, "", "--temp 0 -n 50 --stats -p 'The quick'");
    expect_success(&s);
    cr_expect(strstr(s.err, "vocabularies differ first at token") && strstr(s.err, "tokens per block"), "%s",
              s.err);
}

Test(vocabularies, info_says_how_drafts_are_made) {
    outcome t = run_pair("info", true, "", ""), ranks = run_pair("info", true, "", "-tp 2"),
            j = run_pair("info", true, "", "--json"), alone = run_pair("info", false, "", "--json");
    expect_success(&t);
    cr_expect(strstr(t.out, "its text in the verifier's tokens; the vocabularies differ first at"), "%s",
              t.out);
    expect_success(&ranks);
    cr_expect(strstr(ranks.out, "its text in the verifier's tokens, made on rank 0; ") &&
                  strstr(ranks.out, "ranks of the drafter\n"),
              "%s", ranks.out);
    json_t *v = json_array_get(json_lines(&j), 0);
    cr_expect_str_eq(json_string_value(at(v, "drafts")), "text");
    cr_expect(json_is_object(at(v, "drafter")) && json_is_null(at(v, "prompt_lookup")));
    cr_expect_str_eq(json_string_value(at(json_array_get(json_lines(&alone), 0), "drafts")), "none");
}

Test(vocabularies, score_is_the_verifiers) {
    static const char line[] = "{\"prompt\": \"The\", \"completion\": \" quick brown\"}\n";
    outcome a = run_pair("score", false, line, "");
    expect_success(&a);
    cr_expect(strstr(a.out, "logprob"), "%s", a.out);
}

Test(vocabularies, what_is_lost_is_refused_in_one_line) {
    static const struct {
        const char *command, *words, *word, *word2;
    } cases[] = {
        {"generate", "-q -p x", "temperature 1", "use temperature 0, or method verifier"},
        {"generate", "-q -p x --temp 0 --deferral-rule chow", "rule chow", "use exact, token-v2, "},
        {"generate", "-q -p x --temp 0 --method drafter", "method drafter", "use speculative or verifier"},
        {"record", "-q -p x", "another vocabulary", "no distribution to record"},
        {"serve", "-q --port 0", "requests without settings", "temperature 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        outcome o = run_pair(cases[i].command, true, "", cases[i].words);
        cr_expect(o.rc != 0 && strstr(o.err, cases[i].word) && strstr(o.err, cases[i].word2), "%s %s: %d %s",
                  cases[i].command, cases[i].words, o.rc, o.err);
    }
    outcome line = run_pair("generate", true, "{\"prompt\": \"x\", \"temperature\": 0.5}\n", "--jsonl -q");
    expect_failure(&line, 1, "temperature 0.5", "another vocabulary");
    outcome zero = run_pair("generate", true, "{\"prompt\": \"x\", \"temperature\": 0}\n", "--jsonl -q -n 9");
    expect_success(&zero);
}

Test(vocabularies, its_parts_are_timed) {
    outcome o = run_pair("bench", true, "", "--rows 2 --repeat 2 --n-prompt 8 --gamma 2 --json");
    expect_success(&o);
    json_t *parts = at(json_array_get(json_lines(&o), 0), "parts");
    int found = 0;
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const char *name = json_string_value(at(json_array_get(parts, i), "part"));
        found += strcmp(name, "draft step") == 0 || strcmp(name, "block") == 0;
    }
    cr_expect_eq(found, 2);
}
