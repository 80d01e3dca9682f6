/* What becomes of an engine when its device fails: the runner of kernels fails on demand, a GPU does not. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/host/pairs/tiny_pair.h"
#include "tests/runner/control.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

static void expect_nothing_left(const char *what, long n) {
    cr_assert(runner_live_blocks() == 0, "%s %ld: %ld device blocks are still held", what, n,
              runner_live_blocks());
    cr_assert(runner_live_objects() == 0, "%s %ld: %ld objects are still held", what, n,
              runner_live_objects());
    cr_assert(alloc_live() == 0, "%s %ld: %ld host blocks are still held", what, n, alloc_live());
}

/* Open, one answer, close. */
static weir_status open_and_run(const tiny_pair *p, weir_err *err) {
    const weir_engine_options o = tiny_options(p, "cuda", 1);
    weir_session_options so = weir_session_options_default();
    so.max_tokens = 3;
    so.n_draft = 2;
    const int32_t prompt[] = {83, 39, 213, 1};
    weir_engine *e = NULL;
    weir_session *s = NULL;
    weir_status st = weir_engine_open(&e, &o, err);
    if (st == WEIR_OK) st = weir_session_create(e, &so, prompt, 4, NULL, NULL, &s, err);
    if (st == WEIR_OK) st = weir_step(e, &s, 1, 100, err);
    weir_session_free(s);
    weir_engine_close(e);
    return st;
}

/* kind 0: device memory, 1: pinned memory, 2: the host's. */
static void fail_from(int kind, long n) {
    runner_fail_malloc(kind == 0 ? n : 0);
    runner_fail_host_alloc(kind == 1 ? n : 0);
    alloc_uninstall();
    alloc_install(kind == 2 ? n : 0);
}

static void survive(int kind) {
    tiny_pair p;
    tiny_pair_write(&p, WEIR_DTYPE_BF16, NULL);
    for (long n = 1;; n++) {
        weir_err err = {""};
        fail_from(kind, n);
        const weir_status st = open_and_run(&p, &err);
        fail_from(kind, 0);
        expect_nothing_left("allocation", n);
        if (st == WEIR_OK) {
            cr_assert(n > (kind == 1 ? 2 : 30), "only %ld allocations", n - 1);
            break;
        }
        cr_assert(st == WEIR_ENOMEM || st == WEIR_EDEVMEM ||
                      (kind == 2 && (st == WEIR_EIO || st == WEIR_EFORMAT)),
                  "kind %d, allocation %ld: status %d", kind, n, (int)st);
        cr_assert(err_is_line(&err, ""), "kind %d, allocation %ld: no word of it", kind, n);
    }
    tiny_pair_remove(&p);
}

Test(engine_failures, every_device_allocation_may_fail) { survive(0); }
Test(engine_failures, every_pinned_allocation_may_fail) { survive(1); }
Test(engine_failures, every_host_allocation_may_fail) { survive(2); }

/* A kernel that never ran ends the step with one line that names the device; later calls say the same;
 * nothing is left. A process has one such loss in it: the driver stays as it is. */
static void lose(weir_method method, bool no_graph, long n) {
    tiny_pair p;
    tiny_pair_write(&p, WEIR_DTYPE_F32, NULL);
    alloc_install(0);
    weir_engine_options o = tiny_options(&p, "cuda", 2);
    o.no_graph = no_graph;
    weir_engine *e = NULL;
    weir_err err = {""}, again = {""};
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "%s", err.text);
    weir_session_options so = weir_session_options_default();
    so.method = method;
    so.max_tokens = 40;
    so.ignore_eos = true;
    weir_session *s = tiny_session(e, &so, 1);
    runner_fail_launch(n);
    const weir_status st = weir_step(e, &s, 1, 100, &err);
    cr_assert(st == WEIR_ECUDA, "status %d", (int)st);
    cr_assert(err_is_line(&err, "cuda:0"), "%s", err.text);
    cr_assert(weir_step(e, &s, 1, 1, &again) == WEIR_ECUDA && strcmp(err.text, again.text) == 0, "%s",
              again.text);
    const int32_t id = 5;
    float logprob;
    cr_assert(weir_score(e, &id, 1, &id, 1, &logprob, &again) == WEIR_ECUDA && err_is_line(&again, "cuda:0"),
              "%s", again.text);
    weir_session_free(s);
    weir_engine_close(e);
    expect_nothing_left("launch", n);
    alloc_uninstall();
    tiny_pair_remove(&p);
}

Test(engine_failures, device_lost_in_the_first_kernel) { lose(WEIR_METHOD_SPECULATIVE, false, 1); }
Test(engine_failures, device_lost_in_a_prompt) { lose(WEIR_METHOD_SPECULATIVE, false, 7); }
Test(engine_failures, device_lost_in_a_graph) { lose(WEIR_METHOD_SPECULATIVE, false, 300); }
Test(engine_failures, device_lost_in_a_called_block) { lose(WEIR_METHOD_SPECULATIVE, true, 300); }
Test(engine_failures, device_lost_in_a_tick) { lose(WEIR_METHOD_DRAFTER, false, 100); }

/* "auto" without a device: the CPU, and the reason; "cuda": a refusal. */
Test(engine_failures, without_a_device_auto_is_the_cpu_and_says_why) {
    tiny_pair p;
    tiny_pair_write(&p, WEIR_DTYPE_F32, NULL);
    for (int devices = -1; devices <= 0; devices++) {
        runner_devices(devices);
        weir_engine_options o = tiny_options(&p, "auto", 1);
        weir_engine *e = NULL;
        weir_engine_facts f;
        weir_err err = {""};
        cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "%s", err.text);
        weir_engine_get_facts(e, &f);
        cr_assert(strcmp(f.device, "cpu") == 0 && f.device_note && f.device_note[0] && f.isa);
        weir_engine_close(e);
        o.device = "cuda";
        e = NULL;
        cr_assert(weir_engine_open(&e, &o, &err) == WEIR_ENOTSUP && !e && err_is_line(&err, "cuda:0"), "%s",
                  err.text);
    }
    tiny_pair_remove(&p);
}
