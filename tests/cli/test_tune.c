/* weir tune up to the lab's door: which Python is started, with which words, and what is refused before. The
 * search itself is tested in tests/lab. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cli/program.h"

/* A program in the place of Python that prints PYTHONPATH and its words, one a line, and ends with 7. */
static const char *echo_path(void) {
    const char *path = own_file("tune", "sh");
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL);
    fputs("#!/bin/sh\necho \"path $PYTHONPATH\"\nfor word in \"$@\"; do echo \"$word\"; done\nexit 7\n", f);
    fclose(f);
    cr_assert(chmod(path, 0700) == 0);
    return path;
}

static outcome run_tune(const char *flags, const char *env) {
    char line[700], lab[96], path[300];
    snprintf(line, sizeof line, "tune -m @V -md @D --out p.json %s", flags);
    const char *echo = echo_path();
    snprintf(lab, sizeof lab, "WEIR_LAB_PYTHON=%s", echo);
    /* test programs need not lie in the tree */
    snprintf(path, sizeof path, "WEIR_LAB=%s/bench", WEIR_SOURCE_DIR);
    run_spec spec = {.line = line, .env = {lab, path, env}};
    const outcome o = run_spec_do(&spec);
    unlink(echo);
    return o;
}

static void expect_words(const outcome *o, const char *const *want, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char whole[400];
        snprintf(whole, sizeof whole, "\n%s\n", want[i]);
        cr_expect(strstr(o->out, whole) != NULL, "no line \"%s\" in %s", want[i], o->out);
    }
}
#define WORDS(o, ...)                                   \
    expect_words(o, (const char *const[]){__VA_ARGS__}, \
                 sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

Test(tune, becomes_the_lab_with_the_same_program) {
    const outcome o = run_tune("--max-quality-loss 1 'a b.jsonl'", NULL);
    cr_assert_eq(o.rc, 7, "%s", o.err);
    cr_expect(
        strncmp(o.out, "path " WEIR_SOURCE_DIR "/bench\n", strlen("path " WEIR_SOURCE_DIR "/bench\n")) == 0,
        "%s", o.out);
    WORDS(&o, "-m\nlab\ntune");
    char program[380];
    snprintf(program, sizeof program, "--program=%s", program_weir);
    WORDS(&o, program);
    WORDS(&o, "--task=prompts", "--data=a b.jsonl", "--gamma=1,3,5", "--max-quality-loss=1", "--out=p.json",
          "--temp=1");
    cr_expect(!strstr(o.out, "--modifier") && !strstr(o.out, "--min-speedup") && !strstr(o.out, "--threads"),
              "%s", o.out);
}

Test(tune, hands_on_what_was_said) {
    const outcome o = run_tune(
        "--min-speedup 1.2 --task gsm8k --option shots=2 --option max_tokens=9 --limit 5 --gammas 2,4 "
        "--temp 0.5 "
        "--seed 3 -t 2 -np 4 -c 100 --top-k 40 --top-p 0.9 --min-p 0.1 --gate scaled --bonus verifier "
        "--isa portable --strict-config test.jsonl train.jsonl",
        NULL);
    cr_assert_eq(o.rc, 7, "%s", o.err);
    WORDS(&o, "--min-speedup=1.2", "--task=gsm8k", "--option=shots=2", "--option=max_tokens=9", "--limit=5",
          "--gamma=2,4", "--temp=0.5", "--seed=3", "--threads=2", "--parallel=4", "--ctx-size=100",
          "--modifier=top_k=40", "--modifier=top_p=0.9", "--modifier=min_p=0.1", "--modifier=gate=scaled",
          "--modifier=bonus=verifier", "--flag=--isa=portable", "--flag=--strict-config", "--data=test.jsonl",
          "--data=train.jsonl");
}

/* The lab strips WEIR_* from what it starts; a setting of the environment must reach it as a word. */
Test(tune, the_environment_counts) {
    const outcome o = run_tune("--max-quality-loss 1 p.jsonl", "WEIR_TOP_K=7");
    cr_assert_eq(o.rc, 7, "%s", o.err);
    WORDS(&o, "--modifier=top_k=7", "--flag=--device=cpu"); /* run_spec sets WEIR_DEVICE */
}

Test(tune, refuses_before_the_lab_is_started) {
    outcome o = run("tune -md @D --out p.json --max-quality-loss 1 a.jsonl");
    expect_failure(&o, 2, "no model", "-m DIR");
    o = run("tune -m @V --out p.json --max-quality-loss 1 a.jsonl");
    expect_failure(&o, 2, "drafter", "-md DIR");
    o = run("tune -m @V -md @D --max-quality-loss 1 a.jsonl");
    expect_failure(&o, 2, "--out FILE.json", NULL);
    o = run("tune -m @V -md @D --out p.json a.jsonl");
    expect_failure(&o, 2, "--max-quality-loss", "--min-speedup");
    o = run("tune -m @V -md @D --out p.json --max-quality-loss 1");
    expect_failure(&o, 2, "no prompts", NULL);
    o = run("tune -m @V -md @D --out p.json --min-speedup 0 a.jsonl");
    expect_failure(&o, 2, "--min-speedup 0", "above 0");
    o = run("tune -m @V -md @D --out p.json --max-quality-loss 1 --lab /nowhere a.jsonl");
    expect_failure(&o, 1, "/nowhere", "lab/tune.py");
    o = run("tune -m @V -md @D --out p.json --max-quality-loss 1 --lab " WEIR_SOURCE_DIR
            "/bench --lab-python /nowhere/python a.jsonl");
    expect_failure(&o, 1, "/nowhere/python: No such file", "make.sh lab");
}
