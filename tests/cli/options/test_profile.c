/* Profiles: what they set, what wins over them, what is refused. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/cli/program.h"

TestSuite(profile, .fini = own_file_remove);

static const char *profile_of(const char *text) {
    const char *path = own_file("profile", "json");
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL);
    fputs(text, f);
    fclose(f);
    return path;
}

/* What ran, as the line of the setting says it. */
static outcome run_profile(const char *text, const char *flags, const char *env) {
    char line[320];
    snprintf(line, sizeof line, "generate -m @V -md @D -n 2 -p a --profile %s %s", profile_of(text), flags);
    run_spec spec = {.line = line, .env = {env}};
    return run_spec_do(&spec);
}

#define TUNED                                                                                            \
    "{\"weir_profile\": 1, \"deferral_rule\": \"token-v2\", \"deferral_alpha\": 0.3,\n"                  \
    " \"num_speculative_tokens\": 3, \"gate\": \"scaled\", \"bonus\": \"verifier\", \"exact_first\": 2," \
    " \"deferral_beta\": null, \"about\": {\"x\": [1]}}\n"

static void expect_setting(const outcome *o, const char *const *want, size_t n) {
    cr_assert(o->rc == 0, "%s", o->err);
    for (size_t i = 0; i < n; i++) cr_expect(strstr(o->err, want[i]), "no \"%s\" in %s", want[i], o->err);
}

Test(profile, sets_what_was_not_said) {
    outcome o = run_profile(TUNED, "", NULL);
    static const char *const want[] = {"rule token-v2", "alpha 0.3",      "gamma 3",
                                       "gate scaled",   "bonus verifier", "exact-first 2"};
    expect_setting(&o, want, 6);
}

Test(profile, the_command_line_and_the_environment_win) {
    outcome o = run_profile(TUNED, "--deferral-alpha 0.1", "WEIR_SPEC_DRAFT_N_MAX=4");
    expect_setting(&o, (const char *[]){"rule token-v2", "alpha 0.1", "gamma 4"}, 3);
}

Test(profile, another_rule_brings_its_own_knobs) {
    outcome o = run_profile(TUNED, "--deferral-rule opt", NULL);
    expect_setting(&o, (const char *[]){"rule opt, alpha 0,", "gamma 3"}, 2);
}

Test(profile, a_rule_s_alpha_is_no_threshold_of_the_sequence_cascade) {
    outcome none = run_profile(TUNED, "--method sequence-cascade", NULL);
    expect_failure(&none, 2, "sequence-cascade", "--deferral-alpha");
    outcome own = run_profile(TUNED, "--method sequence-cascade --deferral-alpha 0.7", NULL);
    expect_setting(&own, (const char *[]){"method sequence-cascade", "alpha 0.7"}, 2);
}

Test(profile, the_second_knob_may_be_auto) {
    outcome o = run_profile("{\"weir_profile\": 1, \"deferral_rule\": \"lossy\", \"deferral_alpha\": 0.2,"
                            " \"deferral_beta\": \"auto\"}",
                            "", NULL);
    expect_setting(&o, (const char *[]){"rule lossy, alpha 0.2, beta auto"}, 1);
}

Test(profile, mistakes_are_named) {
    static const struct {
        const char *text, *word;
    } bad[] = {{"", "JSON"},
               {"{", "JSON"},
               {"[1]", "object"},
               {"{}", "weir_profile"},
               {"{\"weir_profile\": 2}", "weir_profile"},
               {"{\"weir_profile\": 1, \"alpha\": 1}", "alpha"},
               {"{\"weir_profile\": 1, \"deferral_rule\": [1]}", "deferral_rule"},
               {"{\"weir_profile\": 1, \"num_speculative_tokens\": 99}", "num_speculative_tokens"},
               {"{\"weir_profile\": 1, \"gate\": \"open\"}", "gate"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        outcome o = run_profile(bad[i].text, "", NULL);
        expect_failure(&o, 1, bad[i].word, "weir-profile");
    }
    outcome rule = run_profile("{\"weir_profile\": 1, \"deferral_rule\": \"nonsense\"}", "", NULL);
    expect_failure(&rule, 2, "nonsense", NULL);
    outcome none = run("generate -m @V -p a --profile /nowhere/p.json");
    expect_failure(&none, 1, "/nowhere/p.json", NULL);
}

Test(profile, every_cut_of_one_is_refused) {
    char text[sizeof TUNED];
    for (size_t n = 0; n + 2 < sizeof TUNED; n += 11) {
        memcpy(text, TUNED, n);
        text[n] = '\0';
        outcome o = run_profile(text, "", NULL);
        expect_failure(&o, 1, "weir-profile", NULL);
    }
}
