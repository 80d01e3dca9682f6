/* Opening: refusals, the memory plan, failing allocations. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/host/pairs/pair_fixture.h"
#include "tests/support/alloc.h"
#include "tests/support/build.h"

#define VERIFIER WEIR_SOURCE_DIR "/models/demo/verifier"
#define DRAFTER WEIR_SOURCE_DIR "/models/demo/drafter"

static weir_engine_options options(void) {
    weir_engine_options o = weir_engine_options_default();
    o.model = VERIFIER;
    o.model_draft = DRAFTER;
    o.n_thread = 2;
    o.ctx_size = 64;
    o.max_draft = 5;
    return o;
}

Test(engine, plan_is_what_is_allocated) {
    weir_engine_options o = options();
    weir_engine *e = NULL;
    weir_err err = {""};
    o.dry_run = true;
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "%s", err.text);
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    weir_engine_close(e);
    cr_assert(f.n_param[0] > 8900000 && f.n_param[0] < 9100000 && f.n_param[1] > 900000 &&
              f.n_param[1] < 1000000);
    cr_assert(f.weights[0] >= 2u * (size_t)f.n_param[0]);
    cr_assert(f.plan_total == f.weights[0] + f.weights[1] + f.kv_total + f.scratch);
    o.dry_run = false;
    o.memory_limit = f.plan_total; /* exactly enough */
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "%s", err.text);
    weir_engine_close(e);
}

Test(engine, too_little_memory_is_refused_with_the_figures) {
    weir_engine_options o = options();
    o.memory_limit = 1 << 20;
    weir_engine *e = NULL;
    weir_err err = {""};
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_ENOMEM);
    cr_assert(!e && strstr(err.text, "MiB") && strstr(err.text, "weights") && strstr(err.text, "1.0 MiB"),
              "%s", err.text);
    o = options();
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "%s", err.text);
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    weir_engine_close(e);
    for (int more = 0; more < 2; more++) { /* the plan to the byte, and one byte less */
        o.memory_limit = f.plan_total - 1 + (size_t)more;
        e = NULL;
        cr_expect(weir_engine_open(&e, &o, &err) == (more ? WEIR_OK : WEIR_ENOMEM), "%s", err.text);
        weir_engine_close(e);
    }
    o = options();
    o.n_parallel = 1024;
    o.ctx_size = 1 << 20; /* terabytes of pages: no product may overflow */
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_ENOMEM, "%s", err.text);
}

Test(engine, options_out_of_range_are_named) {
    const struct {
        const char *word;
        weir_engine_options o;
    } bad[] = {
        {"model", {.model = NULL}},
        {"no-such", {.model = "/no-such-directory"}},
        {"threads", {.model = VERIFIER, .n_thread = 257}},
        {"parallel", {.model = VERIFIER, .n_parallel = -1}},
        {"context", {.model = VERIFIER, .ctx_size = -5}},
        {"gamma", {.model = VERIFIER, .max_draft = 17}},
        {"isa", {.model = VERIFIER, .isa = "sse9"}},
        {"cuda", {.model = VERIFIER, .device = "cuda:0"}},
        {"device", {.model = VERIFIER, .device = "tpu"}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weir_engine *e = NULL;
        weir_err err = {""};
        cr_assert(weir_engine_open(&e, &bad[i].o, &err) != WEIR_OK && !e, "%s", bad[i].word);
        cr_assert(strstr(err.text, bad[i].word) && !strchr(err.text, '\n'), "\"%s\" lacks \"%s\"", err.text,
                  bad[i].word);
    }
}

/* Open, one whole answer, close, with every allocation failing in turn: an error each time, nothing held. */
static weir_status open_and_run(void) {
    weir_engine_options o = options();
    weir_engine *e = NULL;
    weir_err err = {""};
    weir_status st = weir_engine_open(&e, &o, &err);
    if (st != WEIR_OK) {
        cr_assert(err.text[0] && !e);
        return st;
    }
    static const char *const stops[] = {"xyzzy"};
    weir_session_options so = weir_session_options_default();
    so.max_tokens = 8;
    so.stop = stops;
    so.n_stop = 1;
    const int32_t prompt[] = {83, 39, 213, 1};
    weir_session *s = NULL;
    st = weir_session_create(e, &so, prompt, 4, NULL, NULL, &s, &err);
    if (st == WEIR_OK) st = weir_step(e, &s, 1, 100, &err);
    if (st == WEIR_OK) {
        weir_session_view v;
        weir_session_get(s, &v);
        if (v.finish == WEIR_FINISH_CANCELLED) st = WEIR_ENOMEM; /* text could not be kept */
    }
    weir_session_free(s);
    weir_engine_close(e);
    return st;
}

Test(engine, every_failing_allocation_is_survived) {
    alloc_install(0);
    cr_assert(open_and_run() == WEIR_OK);
    const long total = alloc_count();
    cr_assert(alloc_live() == 0, "%ld allocations are still held", alloc_live());
    alloc_uninstall();
    cr_assert(total > 50);
    for (long k = 1; k <= total; k += build_is_sanitized() ? 1 + k / 32 : 1) { /* all: a minute */
        alloc_install(k);
        const weir_status st = open_and_run();
        cr_assert(st == WEIR_ENOMEM || st == WEIR_EIO || st == WEIR_EFORMAT, "allocation %ld: status %d", k,
                  (int)st);
        cr_assert(alloc_live() == 0, "allocation %ld: %ld are still held", k, alloc_live());
        alloc_uninstall();
    }
}

Test(engine, ids_of_a_text_that_memory_ends_for_leave_nothing) {
    weir_engine *e = demo_open(1, 1, NULL, false);
    weir_status st = WEIR_ENOMEM;
    for (long k = 1; st != WEIR_OK; k++) {
        int32_t *ids = NULL;
        size_t n = 0;
        alloc_install(k);
        st = weir_tokenize(e, "It snowed a lot.", 16, true, true, &ids, &n, NULL);
        cr_assert(st == WEIR_ENOMEM || (st == WEIR_OK && n > 1), "allocation %ld: status %d", k, (int)st);
        weir_ids_free(ids);
        cr_assert(alloc_live() == 0 && k < 50, "allocation %ld: %ld are still held", k, alloc_live());
        alloc_uninstall();
    }
    weir_engine_close(e);
}
