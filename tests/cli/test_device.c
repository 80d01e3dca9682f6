/* The program with the CUDA backend in the runner of kernels: what a user with a GPU sees. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/cli/program.h"

static outcome run_device(const char *line) {
    return run_spec_do(&(run_spec){.line = line, .on_runner = true});
}

Test(device, answers_are_the_same_with_and_without_graphs_and_the_device_is_named) {
    outcome a = run_device("generate -m @V -md @D --device cuda --temp 0 -n 8 -p 'It snowed a lot.'");
    outcome b =
        run_device("generate -m @V -md @D --device cuda:0 --no-graph --temp 0 -n 8 -p 'It snowed a lot.'");
    outcome c = run_device("generate -m @V --device auto --temp 0 -n 8 -p 'It snowed a lot.'");
    outcome *all[] = {&a, &b, &c};
    for (int i = 0; i < 3; i++) {
        expect_success(all[i]);
        cr_expect_str_eq(all[i]->out, "Es hat viel geschneit.\n");
        cr_expect(strstr(all[i]->err, "device cuda:0 (CPU runner, sm_90"), "%s", all[i]->err);
    }
}

/* Both models in blocks, of which the device multiplies what the host has made. */
Test(device, quantised_models_write_there_too) {
    static const char *const flags[] = {"--quantize q8_0 --quantize-draft fp8",
                                        "--quantize fp8 --quantize-draft q8_0"};
    for (int i = 0; i < 2; i++) {
        char line[200];
        snprintf(line, sizeof line,
                 "generate -m @V -md @D --device cuda --temp 0 -n 8 -p 'It snowed a lot.' %s", flags[i]);
        outcome o = run_device(line);
        expect_success(&o);
        cr_expect_str_eq(o.out, "Es hat viel geschneit.\n", "%s", flags[i]);
        cr_expect(strstr(o.err, "verifier quantised to ") && strstr(o.err, "drafter quantised to "), "%s",
                  o.err);
    }
}

Test(device, drafts_are_looked_up_there) {
    static const char line[] =
        "generate -m @V --device cuda --temp 0 -n 12 -p 'Is it? Is it? It is! It is!' %s";
    char text[2][200];
    snprintf(text[0], sizeof text[0], line, "-q");
    snprintf(text[1], sizeof text[1], line, "-md ngram --prompt-lookup-min 1 --gamma 3");
    outcome a = run_device(text[0]), b = run_device(text[1]);
    expect_success(&a);
    expect_success(&b);
    cr_expect_str_eq(a.out, b.out);
    cr_expect(strstr(b.err, "suffixes of 1 to 8 tokens"), "%s", b.err);
}

Test(device, info_shows_the_plan_of_both_memories) {
    outcome t = run_device("info -m @V -md @D --device cuda"),
            j = run_device("info -m @V -md @D --device cuda --json");
    expect_success(&t);
    expect_success(&j);
    cr_expect(strstr(t.out, "cuda:0 (CPU runner") && strstr(t.out, "memory plan, cuda:0") &&
                  strstr(t.out, "host memory beside it"),
              "%s", t.out);
    json_t *o = json_array_get(json_lines(&j), 0);
    cr_expect_str_eq(json_string_value(at(o, "device")), "cuda:0");
    cr_expect(strstr(json_string_value(at(o, "about")), "sm_90") && json_is_null(at(o, "isa")) &&
              json_is_null(at(o, "threads")));
    const json_int_t total = json_integer_value(at(o, "memory.total_bytes")),
                     kv = json_integer_value(at(o, "memory.kv_bytes"));
    cr_expect(total == kv + json_integer_value(at(o, "memory.scratch_bytes")) +
                           json_integer_value(at(o, "verifier.weights_bytes")) +
                           json_integer_value(at(o, "drafter.weights_bytes")));
    cr_expect(json_integer_value(at(o, "memory.host_bytes")) > 0 && json_is_true(at(o, "memory.fits")));
}

Test(device, one_that_is_not_there_is_refused_in_one_line) {
    outcome a = run_device("generate -m @V --device cuda:3 -p hi"),
            b = run_device("generate -m @V --device cuda:x -p hi");
    expect_failure(&a, 1, "cuda:3", NULL);
    expect_failure(&b, 1, "cuda:x", "cuda[:N[,N...]]");
}

Test(device, the_cpu_can_be_asked_for) {
    outcome o = run_device("generate -m @V --device cpu --temp 0 -n 8 -p 'It snowed a lot.'");
    expect_success(&o);
    cr_expect(strstr(o.err, "device cpu ("), "%s", o.err);
}
