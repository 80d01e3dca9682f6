/* What becomes of the CUDA backend when the machine fails it: the runner fails on demand, a GPU does not. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kernels/backend.h"
#include "kernels/base/mem.h"
#include "tests/runner/control.h"
#include "tests/support/alloc.h"

static weir_backend *open_or_fail(void) {
    weir_backend *be = NULL;
    weir_err err = {{0}};
    cr_assert_eq(weir__backend_cuda_open(&be, 0, &err), WEIR_OK, "%s", err.text);
    return be;
}

static void expect_nothing_left(const char *when, long n) {
    cr_assert_eq(runner_live_blocks(), 0, "%s %ld: %ld device blocks left", when, n, runner_live_blocks());
    cr_assert_eq(runner_live_objects(), 0, "%s %ld: %ld objects left", when, n, runner_live_objects());
}

Test(cuda_failures, opening_and_closing_leaves_nothing) {
    alloc_install(0);
    weir_backend *be = open_or_fail();
    void *seen, *mapped = be->stream->alloc_mapped(be, 100, &seen);
    cr_assert_eq(be->stream->stamp(be, 3), WEIR_OK);
    cr_assert_eq(weir__backend_reserve(be, be->scratch_floats + 1), WEIR_OK);
    be->stream->free_mapped(be, mapped);
    weir__backend_close(be);
    expect_nothing_left("close", 0);
    cr_assert_eq(alloc_live(), 0);
    alloc_uninstall();
}

/* kind 0: device memory, 1: pinned memory, 2: host memory. */
static void set_failure(int kind, long n) {
    if (kind == 0) runner_fail_malloc(n);
    if (kind == 1) runner_fail_host_alloc(n);
    if (kind == 2) {
        alloc_uninstall();
        alloc_install(n);
    }
}

Test(cuda_failures, every_allocation_of_opening_may_fail_and_nothing_stays_behind) {
    const weir_status want[] = {WEIR_EDEVMEM, WEIR_ENOMEM, WEIR_ENOMEM};
    alloc_install(0);
    for (int kind = 0; kind < 3; kind++) {
        long n = 1;
        for (;; n++) {
            set_failure(kind, n);
            weir_backend *be = NULL;
            weir_err err = {{0}};
            const weir_status s = weir__backend_cuda_open(&be, 0, &err);
            weir__backend_close(be);
            set_failure(kind, 0);
            expect_nothing_left("allocation", n);
            cr_assert_eq(alloc_live(), 0, "kind %d allocation %ld: %ld left", kind, n, alloc_live());
            if (s == WEIR_OK) break;
            cr_assert_eq(s, want[kind], "kind %d allocation %ld: status %d", kind, n, (int)s);
            cr_assert(strncmp(err.text, "device cuda:0", 13) == 0, "%s", err.text);
            cr_assert_null(be);
        }
        cr_assert_gt(n, 1, "kind %d: nothing was allocated", kind);
    }
    alloc_uninstall();
}

Test(cuda_failures, a_machine_without_a_device_is_told_in_one_line) {
    const struct {
        int devices, cc;
        const char *why;
    } cases[] = {
        {-1, 90, "no NVIDIA driver on this machine"},
        {0, 90, "no CUDA device on this machine"},
        {2, 75, "is sm_75; sm_80 or newer is needed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        runner_devices(cases[i].devices);
        runner_compute_capability(cases[i].cc);
        weir_err err = {{0}};
        cr_assert_eq(weir__backend_cuda_count(&err), 0);
        cr_assert(strstr(err.text, cases[i].why), "%s", err.text);
        weir_backend *be = NULL;
        cr_assert_eq(weir__backend_cuda_open(&be, 0, &err), WEIR_ENOTSUP);
        cr_assert(strncmp(err.text, "device cuda:0: ", 15) == 0 && strstr(err.text, cases[i].why), "%s",
                  err.text);
        cr_assert_null(strchr(err.text, '\n'));
        cr_assert_null(be);
        cr_assert_eq(weir__backend_cuda_count(NULL), 0);
    }
    expect_nothing_left("refusal", 0);
}

Test(cuda_failures, devices_are_counted_from_zero) {
    runner_devices(3);
    cr_assert_eq(weir__backend_cuda_count(NULL), 3);
    weir_backend *be = NULL;
    weir_err err;
    cr_assert_eq(weir__backend_cuda_open(&be, 3, &err), WEIR_EINVAL);
    cr_assert_str_eq(err.text, "device cuda:3: this machine has 3, counted from 0");
    cr_assert_eq(weir__backend_cuda_open(&be, 2, &err), WEIR_OK, "%s", err.text);
    cr_assert_str_eq(be->name, "cuda:2");
    weir__backend_close(be);
}

Test(cuda_failures, without_cublaslt_the_backend_opens_and_says_so) {
    runner_blaslt(1);
    weir_backend *be = open_or_fail();
    cr_assert(strstr(be->about, "; cuBLASLt in the runner"), "%s", be->about);
    weir__backend_close(be);
    runner_blaslt(0);
    be = open_or_fail();
    cr_assert(strstr(be->about, "libcublasLt.so.13") && strstr(be->about, "own products"), "%s", be->about);
    weir__backend_close(be);
    expect_nothing_left("close", 0);
}

/* ---- the first failure --------------------------------------------------------------------------------- */

typedef struct norm {
    weir_backend *be;
    float *x, *w;
} norm;

static norm norm_new(void) {
    norm n = {.be = open_or_fail()};
    n.x = weir__backend_alloc(n.be, 64 * sizeof(float));
    n.w = weir__backend_alloc(n.be, 32 * sizeof(float));
    cr_assert(n.x && n.w);
    cr_assert_eq(weir__backend_zero(n.be, n.x, 64 * sizeof(float)), WEIR_OK);
    cr_assert_eq(weir__backend_zero(n.be, n.w, 32 * sizeof(float)), WEIR_OK);
    return n;
}

static weir_status norm_run(void *ctx) {
    norm *n = ctx;
    return n->be->op.rmsnorm(
        n->be, &(weir_rmsnorm){.x = n->x, .y = n->x, .w = n->w, .n_row = 2, .dim = 32, .eps = 1.0f});
}

static void norm_free(norm *n) {
    weir__backend_free(n->be, n->x);
    weir__backend_free(n->be, n->w);
    weir__backend_close(n->be);
}

/* Every call of a broken backend, none of which may reach the device. */
static void expect_all_refused(norm *n, weir_graph *g) {
    weir_backend *be = n->be;
    const weir_backend_stream *q = be->stream;
    char text[sizeof be->err.text], host[8] = {0};
    memcpy(text, be->err.text, sizeof text);
    bool busy;
    double seconds;
    void *seen;
    weir_graph *other = NULL;
    runner_api_reset();
    cr_assert_eq(norm_run(n), WEIR_ECUDA);
    cr_assert_eq(q->upload(be, n->x, host, 4), WEIR_ECUDA);
    cr_assert_eq(q->download(be, host, n->x, 4), WEIR_ECUDA);
    cr_assert_eq(q->copy(be, n->x, n->w, 4), WEIR_ECUDA);
    cr_assert_eq(q->zero(be, n->x, 4), WEIR_ECUDA);
    cr_assert_eq(q->wait(be), WEIR_ECUDA);
    cr_assert_eq(q->poll(be, &busy), WEIR_ECUDA);
    cr_assert_eq(q->reserve(be, be->scratch_floats + 1), WEIR_ECUDA);
    cr_assert_eq(q->capture(be, norm_run, n, false, &other), WEIR_ECUDA);
    cr_assert_eq(q->launch(be, g), WEIR_ECUDA);
    cr_assert_eq(q->stamp(be, 0), WEIR_ECUDA);
    cr_assert_eq(q->elapsed(be, 0, 0, &seconds), WEIR_ECUDA);
    cr_assert_null(q->alloc(be, 4));
    cr_assert_null(q->alloc_mapped(be, 4, &seen));
    cr_assert_null(other);
    weir__backend_free(be, host); /* fails on top of it */
    cr_assert_eq(runner_api_count("cudaLaunchKernelExC") + runner_api_count("cudaMemcpyAsync"), 0);
    cr_assert_str_eq(be->err.text, text, "the first failure stays");
    weir_err err;
    cr_assert_eq(weir__backend_failure(be, &err), WEIR_ECUDA);
    cr_assert_str_eq(err.text, text);
}

Test(cuda_failures, a_kernel_that_fails_is_reported_once_and_ends_the_backend) {
    norm n = norm_new();
    weir_graph *g = NULL;
    cr_assert_eq(n.be->stream->capture(n.be, norm_run, &n, false, &g), WEIR_OK);
    cr_assert_eq(norm_run(&n), WEIR_OK);
    cr_assert_eq(n.be->stream->wait(n.be), WEIR_OK);
    runner_fail_launch(1);
    weir_status s = norm_run(&n);
    if (s == WEIR_OK) s = n.be->stream->wait(n.be);
    cr_assert_eq(s, WEIR_ECUDA);
    cr_assert(strncmp(n.be->err.text, "cuda:0: ", 8) == 0, "%s", n.be->err.text);
    cr_assert(strstr(n.be->err.text, "illegal memory access"), "%s", n.be->err.text);
    expect_all_refused(&n, g);
    n.be->stream->graph_free(n.be, g);
    norm_free(&n);
}

Test(cuda_failures, a_failure_met_at_the_next_op_says_before_which) {
    norm n = norm_new();
    runner_fail_launch(1);
    cr_assert_eq(norm_run(&n), WEIR_OK, "a launch does not wait for its kernel");
    cr_assert_eq(norm_run(&n), WEIR_ECUDA);
    cr_assert_str_eq(n.be->err.text, "cuda:0: before rmsnorm: an illegal memory access was encountered");
    norm_free(&n);
}

/* One that CUDA forgets: the backend does not. */
Test(cuda_failures, a_call_that_cuda_refuses_ends_the_backend_too) {
    norm n = norm_new();
    float host[4];
    cr_assert_eq(weir__backend_zero(n.be, host, sizeof host), WEIR_ECUDA);
    cr_assert_str_eq(n.be->err.text, "cuda:0: zero of 16 bytes: invalid argument");
    expect_all_refused(&n, NULL);
    norm_free(&n);
    expect_nothing_left("close", 0);
}

Test(cuda_failures, a_lack_of_memory_is_forgotten_once_it_was_answered) {
    norm n = norm_new();
    runner_fail_malloc(1);
    cr_assert_null(weir__backend_alloc(n.be, 4));
    cr_assert_eq(weir__backend_reserve(n.be, n.be->scratch_floats + 1), WEIR_EDEVMEM);
    runner_fail_malloc(0);
    runner_fail_host_alloc(1);
    void *seen = &n;
    cr_assert_null(n.be->stream->alloc_mapped(n.be, 4, &seen));
    cr_assert_eq(seen, (void *)&n);
    runner_fail_host_alloc(0);
    cr_assert_eq(norm_run(&n), WEIR_OK, "%s", n.be->err.text);
    cr_assert_eq(n.be->stream->wait(n.be), WEIR_OK);
    norm_free(&n);
}

/* The runtime keeps "not ready" as it keeps an error: the next launch must not find it. */
Test(cuda_failures, a_busy_queue_is_no_failure) {
    norm n = norm_new();
    for (int i = 0; i < 2; i++) {
        bool busy = false;
        runner_busy(1);
        cr_assert_eq(n.be->stream->poll(n.be, &busy), WEIR_OK, "%s", n.be->err.text);
        cr_assert(busy);
        cr_assert_eq(norm_run(&n), WEIR_OK, "%s", n.be->err.text);
    }
    bool busy = true;
    cr_assert_eq(n.be->stream->poll(n.be, &busy), WEIR_OK, "%s", n.be->err.text);
    cr_assert_not(busy);
    norm_free(&n);
}

Test(cuda_failures, a_failure_inside_a_replayed_graph_comes_to_light) {
    norm n = norm_new();
    weir_graph *g = NULL;
    cr_assert_eq(n.be->stream->capture(n.be, norm_run, &n, false, &g), WEIR_OK);
    runner_fail_launch(1);
    weir_status s = n.be->stream->launch(n.be, g);
    bool busy = true;
    if (s == WEIR_OK) s = n.be->stream->poll(n.be, &busy);
    cr_assert_eq(s, WEIR_ECUDA);
    cr_assert_not(busy);
    expect_all_refused(&n, g);
    n.be->stream->graph_free(n.be, g);
    norm_free(&n);
}

static weir_status norm_then_stop(void *ctx) {
    const weir_status s = norm_run(ctx);
    return s == WEIR_OK ? WEIR_ECANCELED : s;
}

Test(cuda_failures, a_recording_that_fails_leaves_nothing) {
    alloc_install(0);
    norm n = norm_new();
    const long blocks = runner_live_blocks(), objects = runner_live_objects(), held = alloc_live();
    alloc_fail_after(0);
    weir_graph *g = NULL;
    for (int looped = 0; looped < 2; looped++) {
        cr_assert_eq(n.be->stream->capture(n.be, norm_run, &n, looped, &g), WEIR_ENOMEM);
    }
    cr_assert(!g && runner_live_blocks() == blocks && runner_live_objects() == objects &&
              alloc_live() == held);
    cr_assert_str_empty(n.be->err.text);
    alloc_fail_after(1L << 40);
    for (int looped = 0; looped < 2; looped++) {
        cr_assert_eq(n.be->stream->capture(n.be, norm_then_stop, &n, looped, &g), WEIR_ECANCELED);
    }
    cr_assert(!g && runner_live_objects() == objects && alloc_live() == held);
    cr_assert_eq(n.be->stream->capture(n.be, norm_run, &n, false, &g), WEIR_OK);
    n.be->stream->graph_free(n.be, g);
    cr_assert_eq(runner_live_objects(), objects);
    norm_free(&n);
    expect_nothing_left("close", 0);
    cr_assert_eq(alloc_live(), 0);
    alloc_uninstall();
}

/* ---- the host does not wait ---------------------------------------------------------------------------- */

Test(cuda_failures, ops_uploads_and_replays_never_wait_for_the_device) {
    norm n = norm_new();
    weir_graph *g = NULL;
    float host[64] = {0};
    cr_assert_eq(n.be->stream->capture(n.be, norm_run, &n, false, &g), WEIR_OK);
    runner_api_reset();
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(weir__backend_upload(n.be, n.x, host, sizeof host), WEIR_OK);
        cr_assert_eq(norm_run(&n), WEIR_OK);
        cr_assert_eq(n.be->stream->launch(n.be, g), WEIR_OK);
        cr_assert_eq(weir__backend_zero(n.be, n.x, 4), WEIR_OK);
    }
    cr_assert_eq(runner_api_count("cudaGraphLaunch"), 10);
    cr_assert_geq(runner_api_count("cudaLaunchKernelExC"), 10);
    const char *const waits[] = {"cudaStreamSynchronize",
                                 "cudaDeviceSynchronize",
                                 "cudaEventSynchronize",
                                 "cudaMemcpy",
                                 "cudaMalloc",
                                 "cudaFree",
                                 "cudaHostAlloc"};
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        cr_assert_eq(runner_api_count(waits[i]), 0, "%s", waits[i]);
    }
    n.be->stream->graph_free(n.be, g);
    norm_free(&n);
}

/* The runner's copies are over at once, so only the calls show it: a part of the ring is written again after
 * its event. */
Test(cuda_failures, uploads_that_go_round_the_ring_wait_for_the_part_they_write_again) {
    weir_backend *be = open_or_fail();
    enum { PART = 2 << 20, ROUNDS = 3 * 8 };
    char *host = weir_alloc(PART, 1), *p = weir__backend_alloc(be, PART);
    memset(host, 1, PART);
    runner_api_reset();
    for (int i = 0; i < ROUNDS; i++) cr_assert_eq(weir__backend_upload(be, p, host, PART), WEIR_OK);
    cr_assert_eq(runner_api_count("cudaEventRecord"), ROUNDS - 1, "the last part is still open");
    cr_assert_eq(runner_api_count("cudaEventSynchronize"), ROUNDS - 1);
    weir__backend_free(be, p);
    weir_free(host);
    weir__backend_close(be);
}
