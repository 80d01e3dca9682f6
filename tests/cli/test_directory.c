/* A model directory with fields that weir does not know: one warning under every command, none where it is
 * quiet, a refusal under --strict-config. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cli/program.h"
#include "tests/support/files.h"

/* The demo drafter, its configuration with two fields more. */
static char *strange_drafter(void) {
    static const char *const links[] = {"model.safetensors", "spiece.model", "tokenizer_config.json"};
    char *dir = files_temp_dir(), text[4096];
    size_t n;
    char *config = (char *)files_read(WEIR_SOURCE_DIR "/models/demo/drafter/config.json", &n);
    cr_assert(config && n < sizeof text - 100);
    snprintf(text, sizeof text,
             "{\"unsloth_version\": \"2024.12.4\", \"use_flash_attn\": false, \"n_max\": 1%030d, %s", 0,
             strchr(config, '{') + 1);
    files_write(dir, "config.json", text, strlen(text));
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        char from[512], *to = files_path(dir, links[i]);
        snprintf(from, sizeof from, "%s/models/demo/drafter/%s", WEIR_SOURCE_DIR, links[i]);
        char *whole = realpath(from, NULL); /* the tree may be named by a relative path */
        cr_assert(whole && symlink(whole, to) == 0);
        free(whole);
        free(to);
    }
    free(config);
    return dir;
}

static int count(const char *text, const char *part) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) n++;
    return n;
}

static outcome run_in(const char *command, const char *dir, const char *rest, const char *env) {
    char line[400];
    snprintf(line, sizeof line, "%s -m %s %s", command, dir, rest);
    const run_spec spec = {.line = line, .input = "{\"prompt\":\"a\",\"completion\":\"b\"}\n", .env = {env}};
    return run_spec_do(&spec);
}

Test(directory, unknown_fields_are_one_warning) {
    static const char *const commands[][2] = {
        {"generate", "-p a -n 1"}, {"score", ""}, {"tokenize", "-p a"},
        {"detokenize", "5"},       {"info", ""},  {"bench", "--repeat 1 --rows 1 --n-prompt 2"},
    };
    char *dir = strange_drafter();
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const char *name = commands[i][0];
        char rest[80];
        outcome o = run_in(name, dir, commands[i][1], NULL);
        expect_success(&o);
        cr_expect_eq(count(o.err, "warning:"), 1, "%s: %s", name, o.err);
        cr_expect(
            strstr(o.err,
                   "not known and ignored (--strict-config refuses them): config.json: unsloth_version, "
                   "use_flash_attn, n_max\n"),
            "%s: %s", name, o.err);
        snprintf(rest, sizeof rest, "%s -q", commands[i][1]);
        o = run_in(name, dir, rest, NULL);
        cr_expect_str_eq(o.err, "", "%s: %s", name, o.err);
        snprintf(rest, sizeof rest, "%s --strict-config", commands[i][1]);
        o = run_in(name, dir, rest, NULL);
        expect_failure(&o, 1, "config.json: unsloth_version = \"2024.12.4\"", "unknown field");
        o = run_in(name, dir, commands[i][1], "WEIR_STRICT_CONFIG=1");
        expect_failure(&o, 1, "config.json: unsloth_version", "unknown field");
    }
    files_remove_dir(dir);
}

Test(directory, a_pair_names_the_one) {
    char *dir = strange_drafter(), rest[200];
    snprintf(rest, sizeof rest, "-md %s -p a -n 1", dir);
    outcome o = run_in("generate", WEIR_SOURCE_DIR "/models/demo/verifier", rest, NULL);
    expect_success(&o);
    cr_expect(count(o.err, "warning:") == 1 && strstr(o.err, dir), "%s", o.err);
    snprintf(rest, sizeof rest, "-md %s -p a -n 1 --strict-config", dir);
    o = run_in("generate", WEIR_SOURCE_DIR "/models/demo/verifier", rest, NULL);
    expect_failure(&o, 1, dir, "unknown field");
    o = run_in("generate", WEIR_SOURCE_DIR "/models/demo/verifier", "-p a -n 1 --strict-config", NULL);
    expect_success(&o);
    files_remove_dir(dir);
}
