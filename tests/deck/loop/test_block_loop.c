/* The block loop on the CPU backend: the same tokens, text, books and calls back as host-driven blocks. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "host/deck/block_loop.h"
#include "tests/deck/loop/loop_cases.h"
#include "tests/support/alloc.h"

static weir_engine *open_cpu(int n_parallel, loop_mode mode) {
    (void)mode;
    return demo_open(n_parallel, 2, NULL, true);
}

static const loop_bed cpu = {open_cpu, loop_start_demo, {LOOP_CALLED}, 1, LOOP_SETTINGS, 60,
                             1.0f,     {1, 3, 1000}};

Test(block_loop, every_setting_alone) { loop_same_alone(&cpu); }

Test(block_loop, mixed_settings_together) {
    loop_same_together(&cpu, (loop_crowd[]){{2, 2}, {3, 1000}, {4, 2}, {5, 1000}, {6, 2}, {7, 1000}}, 6);
}

Test(block_loop, every_limit_inside_a_block) {
    loop_same_at_every_limit(&cpu, 0, 20);
    loop_same_at_every_limit(&cpu, 3, 5); /* the verifier alone */
    loop_same_at_every_limit(&cpu, 7, 12);
    loop_same_at_every_limit(&cpu, 12, 20);
    loop_same_at_every_limit(&cpu, 13, 20);
}

Test(block_loop, end_of_text_inside_a_block) { loop_same_at_end_of_text(&cpu, 10); }
Test(block_loop, stop_strings_over_block_edges) { loop_same_stop_strings(&cpu, 24); }
Test(block_loop, callback_that_says_no) { loop_same_when_callback_ends(&cpu, 8); }
Test(block_loop, cancel_from_a_callback) { loop_same_when_cancelled_in_callback(&cpu, 8); }
Test(block_loop, turns_with_host_driven_blocks) { loop_takes_turns_with_the_host(&cpu); }

Test(block_loop, verifier_alone_needs_no_drafter) {
    static answer want, got;
    weir_session_options o = loop_setting(&cpu, 3);
    weir_engine *pair = open_cpu(1, LOOP_CALLED), *e = demo_open(1, 1, NULL, false);
    answer_run(pair, &o, demo_prompts[4], &want);
    answer_run(e, &o, demo_prompts[4], &got);
    weir_engine_close(pair);
    answer_assert_same(&want, &got, "without a drafter");
    cr_assert(got.stats.blocks == 0 && got.stats.from_verifier == (int64_t)got.n && got.n > 0);
    weir_engine_close(e);
}

/* Sequential methods beside the loop: neither notices the other. */
Test(block_loop, beside_sequential_methods) {
    static answer want[2], got[2];
    weir_session_options o[2] = {loop_setting(&cpu, 0), loop_setting(&cpu, 1)};
    o[1].method = WEIR_METHOD_DRAFTER;
    weir_engine *e = open_cpu(2, LOOP_CALLED);
    for (int i = 0; i < 2; i++) answer_run(e, &o[i], demo_prompts[i], &want[i]);
    weir_session *s[2];
    weir_err err;
    for (int i = 0; i < 2; i++) s[i] = demo_session(e, &o[i], demo_prompts[i]);
    cr_assert(weir_step(e, s, 2, 1000, &err) == WEIR_OK);
    for (int i = 0; i < 2; i++) {
        answer_take(s[i], &got[i]);
        answer_assert_same(&want[i], &got[i], "beside another method");
        weir_session_free(s[i]);
    }
    weir_engine_close(e);
}

/* ---- a row that is not finite -------------------------------------------------------------------------- */

static weir_status (*true_linear)(weir_backend *be, weir_linear *a);
static const float *poisoned; /* logits of this row become NaN in call number `poison_at` that writes it */
static int poison_at;

static weir_status poisoning_linear(weir_backend *be, weir_linear *a) {
    const weir_status st = true_linear(be, a);
    if (a->y == poisoned && poison_at-- == 0) a->y[5] = NAN;
    return st;
}

Test(block_loop, rows_that_are_not_finite_end_their_session_only) {
    static answer want, got;
    const weir_session_options o = loop_setting(&cpu, 0);
    for (int side = 0; side < 2; side++) {
        weir_engine *e = open_cpu(2, LOOP_CALLED);
        answer_run(e, &o, demo_prompts[1], &want);
        weir_session *s[2] = {demo_session(e, &o, demo_prompts[2]), demo_session(e, &o, demo_prompts[1])};
        true_linear = e->pair.be->op.linear;
        e->pair.be->op.linear = poisoning_linear;
        poisoned = side == WEIR_VERIFIER ? e->deck.dev.p_logits : e->deck.dev.q_logits;
        poison_at = 2; /* the third block's first row of the first seat */
        weir_err err = {""};
        cr_assert(weir_step(e, s, 2, 1000, &err) == WEIR_ELOGITS);
        cr_assert(strstr(err.text, "not finite"), "%s", err.text);
        weir_session_view v;
        weir_session_get(s[0], &v);
        cr_assert(v.finish == WEIR_FINISH_CANCELLED && v.stats.blocks == 2);
        answer_take(s[1], &got);
        answer_assert_same(&want, &got, "beside a broken one");
        weir_session_free(s[0]);
        weir_session_free(s[1]);
        weir_engine_close(e);
    }
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static size_t counted;

static void *count_alloc(void *ud, size_t align, size_t bytes) {
    void *p = NULL;
    (void)ud;
    counted += bytes;
    return posix_memalign(&p, align, bytes) == 0 ? p : NULL;
}

static void count_free(void *ud, void *p) {
    (void)ud;
    free(p);
}

/* But for an index that is made and uploaded, and for what the plan rounds up. */
Test(block_loop, takes_the_bytes_it_says) {
    const weir_allocator a = {count_alloc, count_free, NULL};
    weir_set_allocator(&a);
    weir_engine *e = demo_open(2, 1, NULL, true);
    weir__block_loop_close(e->deck.loop);
    const size_t before = counted, said = weir__block_loop_bytes(e).backend;
    cr_assert(weir__block_loop_open(&e->deck.loop, e, true) == WEIR_OK);
    const size_t took = counted - before;
    cr_expect(took < said + 1024 && said < took + 1024, "%zu bytes, said %zu", took, said);
    weir_engine_close(e);
    weir_set_allocator(NULL);
}

Test(block_loop, failing_allocations_leave_nothing_behind) {
    alloc_install(0);
    weir_engine *e = demo_open(2, 1, NULL, true);
    weir__block_loop_close(e->deck.loop);
    e->deck.loop = NULL;
    for (long fail_at = 1; !e->deck.loop; fail_at++) {
        const long live = alloc_live();
        alloc_fail_after(alloc_count() + fail_at - 1);
        const weir_status st = weir__block_loop_open(&e->deck.loop, e, true);
        cr_assert(st == (e->deck.loop ? WEIR_OK : WEIR_ENOMEM), "allocation %ld", fail_at);
        cr_assert(e->deck.loop || alloc_live() == live, "allocation %ld failed: %ld left", fail_at,
                  alloc_live() - live);
    }
    weir_engine_close(e);
    cr_assert_eq(alloc_live(), 0);
    alloc_uninstall();
}
