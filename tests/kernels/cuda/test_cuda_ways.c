/* Which of CUDA's ways the backend takes: what the environment says, what the kernels' code can, and a trial
 * that hangs. What happens to tokens is in deck/test_loop_ways.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "tests/runner/control.h"

static weir_backend *open_or_fail(void) {
    weir_backend *be = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__backend_cuda_open(&be, 0, &err), WEIR_OK, "%s", err.text);
    return be;
}

Test(cuda_ways, a_bad_choice_is_refused_in_one_line) {
    static const struct {
        const char *name, *value, *expected;
    } bad[] = {
        {"WEIR_PDL", "yes", "WEIR_PDL=yes: expected 0 or 1"},
        {"WEIR_TEAM", "1", "WEIR_TEAM=1: expected cooperative or plain"},
        {"WEIR_GRAPH", "loop", "WEIR_GRAPH=loop: expected while, straight or none"},
        {"WEIR_BRANCH", "2", "WEIR_BRANCH=2: expected 0 or 1"},
        {"WEIR_CARVEOUT", "50", "WEIR_CARVEOUT=50: expected driver or shared"},
        {"WEIR_BLOCK_SECONDS", "10s", "WEIR_BLOCK_SECONDS=10s: expected seconds, 0 (for ever) to 86400"},
        {"WEIR_BLOCK_SECONDS", "-1", "WEIR_BLOCK_SECONDS=-1: expected seconds, 0 (for ever) to 86400"},
        {"WEIR_BLOCK_SECONDS", "nan", "WEIR_BLOCK_SECONDS=nan: expected seconds, 0 (for ever) to 86400"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weir_backend *be = NULL;
        weir_err err = {""};
        setenv(bad[i].name, bad[i].value, 1);
        cr_assert_eq(weir__backend_cuda_open(&be, 0, &err), WEIR_EINVAL, "%s", bad[i].value);
        char want[128];
        snprintf(want, sizeof want, "device cuda:0 cannot be opened: %s", bad[i].expected);
        cr_assert_str_eq(err.text, want);
        cr_assert(!be && runner_live_blocks() == 0 && runner_live_objects() == 0);
        setenv(bad[i].name, "", 1); /* as if it were not set */
        weir__backend_close(open_or_fail());
    }
}

Test(cuda_ways, patience_is_ten_seconds_and_shares_are_the_drivers_unless_others_are_chosen) {
    weir_backend *be = open_or_fail();
    cr_assert_eq(runner_api_count("carve-out"), 0, "the driver chooses");
    cr_assert_eq(be->patience, 10.0);
    weir__backend_close(be);
    setenv("WEIR_BLOCK_SECONDS", "0", 1);
    be = open_or_fail();
    cr_assert_eq(be->patience, 0.0);
    weir__backend_close(be);
}

/* ---- code ---------------------------------------------------------------------------------------------- */

/* Two rows of 32, and their weights. */
static float *rows(weir_backend *be) {
    float *x = weir__backend_alloc(be, 96 * sizeof *x);
    cr_assert_eq(weir__backend_zero(be, x, 96 * sizeof *x), WEIR_OK);
    return x;
}

static void normalise(weir_backend *be, float *x) {
    weir_rmsnorm a = {.x = x, .y = x, .w = x + 64, .n_row = 2, .dim = 32, .eps = 1.0f};
    cr_assert_eq(be->op.rmsnorm(be, &a), WEIR_OK, "%s", be->err.text);
}

/* Launches of `n` norms, of which so many may begin early. */
static long early_of(weir_backend *be, int n) {
    float *x = rows(be);
    runner_api_reset();
    for (int i = 0; i < n; i++) normalise(be, x);
    cr_assert_eq(be->stream->wait(be), WEIR_OK);
    const long early = runner_api_count("programmatic launch");
    cr_assert_eq(runner_api_count("cudaLaunchKernelExC"), n);
    weir__backend_free(be, x);
    return early;
}

Test(cuda_ways, kernels_of_new_code_begin_early) {
    weir_backend *be = open_or_fail();
    cr_assert_str_eq(be->ways.pdl, "on");
    cr_assert_eq(early_of(be, 3), 3);
    cr_assert_eq(runner_api_count("cudaFuncGetAttributes"), 1, "a kernel is asked about once");
    weir__backend_close(be);
}

/* As a build for sm_80 that the driver translates for a newer card: its kernels have no wait. */
Test(cuda_ways, kernels_of_old_code_on_a_new_card_do_not) {
    runner_code(80);
    weir_backend *be = open_or_fail();
    cr_assert(strstr(be->about, "sm_90") && strstr(be->about, "pdl off"), "%s", be->about);
    cr_assert_null(strstr(be->about, "refused"), "%s", be->about);
    cr_assert_eq(early_of(be, 3), 0);
    weir__backend_close(be);
}

/* One kernel alone: the trial's is new. */
Test(cuda_ways, it_is_the_kernel_that_counts) {
    weir_backend *be = open_or_fail();
    runner_code(80);
    cr_assert_eq(early_of(be, 2), 0);
    weir__backend_close(be);
}

Test(cuda_ways, a_share_of_shared_memory_can_be_asked_for) {
    setenv("WEIR_CARVEOUT", "shared", 1);
    weir_backend *be = open_or_fail();
    cr_assert_eq(runner_api_count("carve-out"), 1, "the trial's kernel");
    (void)early_of(be, 3); /* counts anew */
    cr_assert_eq(runner_api_count("carve-out"), 1, "once a kernel");
    weir__backend_close(be);
}

/* ---- launches outside graphs --------------------------------------------------------------------------- */

Test(cuda_ways, a_launch_that_is_refused_is_made_in_another_way) {
    setenv("WEIR_GRAPH", "none", 1);
    weir_backend *be = open_or_fail();
    const char *before = be->about;
    cr_assert_str_eq(be->ways.pdl, "on");
    runner_refuse(RUNNER_AT_ONCE, RUNNER_EARLY);
    float *x = rows(be);
    normalise(be, x);
    cr_assert_str_eq(be->ways.pdl, "off");
    cr_assert(strstr(be->about, "refused here: programmatic launches"), "%s", be->about);
    cr_assert(strstr(before, "pdl on"), "who has read the line keeps it: %s", before);
    runner_api_reset();
    normalise(be, x);
    cr_assert_eq(runner_api_count("cudaLaunchKernelExC"), 1, "it is not tried again");
    weir__backend_free(be, x);
    weir__backend_close(be);
}

/* ---- a trial that hangs -------------------------------------------------------------------------------- */

#ifndef __SANITIZE_ADDRESS__ /* what a device that hangs may hold is not freed */
Test(cuda_ways, a_trial_that_does_not_end_fails_the_opening) {
    setenv("WEIR_BLOCK_SECONDS", "0.02", 1);
    runner_hang(2);
    weir_backend *be = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__backend_cuda_open(&be, 0, &err), WEIR_ECUDA);
    cr_assert(strstr(err.text, "does not end; WEIR_GRAPH=straight or none asks for less"), "%s", err.text);
    cr_assert_null(be);
}
#endif
