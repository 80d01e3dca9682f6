/* Exchanges inside kernels: devices that reach each other's memory, or ranks that share one. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/clock.h"
#include "tests/ranks/comm_cases.h"
#include "tests/ranks/group.h"
#include "tests/support/device.h"

static void expect(found *f, bool ok) {
    if (!ok) atomic_fetch_add(&f->wrong, 1);
}

#ifdef __SANITIZE_THREAD__
enum { MOST_RANKS = 4 }; /* it has room for so many threads */
#else
enum { MOST_RANKS = WEIR_RANKS };
#endif

static int n_device;

static void on_devices(void *arg, weir_comm *c) {
    found *f = arg;
    weir_backend *be = NULL;
    const int r = c->rank;
    f->status[r] = weir__backend_cuda_open(&be, r % n_device, &f->err[r]);
    if (f->status[r] == WEIR_OK) f->status[r] = be->exchange->join(be, c, EXCHANGE_FLOATS, &f->err[r]);
    for (int i = 0; f->status[r] == WEIR_OK && i < EXCHANGE_CASES; i++) exchange_cases[i].fn(f, be);
    if (f->status[r] == WEIR_OK) expect(f, be->stream->wait(be) == WEIR_OK);
    weir__backend_close(be);
}

static void run_on(int devices) {
    n_device = devices;
    for (int n = 2; n <= MOST_RANKS; n *= 2) {
        found f = {0};
        group_run(n, 60.0, on_devices, &f);
        for (int r = 0; r < n; r++) cr_expect_eq(f.status[r], WEIR_OK, "rank %d: %s", r, f.err[r].text);
        cr_expect_eq(f.wrong, 0, "%d ranks on %d devices", n, devices);
    }
}

Test(cuda_exchange, ranks_of_one_device) {
    (void)device_ranks("1");
    run_on(1);
}

Test(cuda_exchange, ranks_with_a_device_each) {
    const int n = device_ranks("8");
    if (n < 2) cr_skip("one device");
    run_on(n);
}

/* ---- the end ---- */

typedef struct ending {
    found f;
    double deadline;
    int silent,
        aborts; /* ranks that do not come to the second exchange, or end the group instead; -1: none */
} ending;

static weir_status exchange_once(weir_backend *be) {
    float *x = weir__backend_alloc(be, 512);
    const weir_reduce a = {
        .part = x, .y = x + 64, .ldy = 64, .n_row = 1, .n = 64, .has = (1u << be->comm->n_rank) - 1};
    weir_status s = x ? weir__backend_zero(be, x, 512) : WEIR_EDEVMEM;
    if (s == WEIR_OK) s = be->exchange->reduce(be, &a);
    if (s == WEIR_OK) s = be->stream->wait(be);
    if (x) weir__backend_free(be, x);
    return s;
}

static void end_of_a_group(void *arg, weir_comm *c) {
    ending *a = arg;
    found *f = &a->f;
    weir_backend *be = NULL;
    const int r = c->rank;
    expect(f, weir__backend_cuda_open(&be, r % n_device, &f->err[r]) == WEIR_OK);
    expect(f, be->exchange->join(be, c, 4096, &f->err[r]) == WEIR_OK && exchange_once(be) == WEIR_OK);
    int32_t here = 0, all[WEIR_RANKS];
    expect(f, weir__comm_agree(c, &here, all, sizeof here) == WEIR_OK);
    c->seconds = a->deadline;
    const double t0 = weir_seconds();
    if (r == a->aborts) weir__comm_abort(c, WEIR_EIO, "the disk is on fire");
    f->status[r] = r == a->silent || r == a->aborts ? WEIR_ECOMM : exchange_once(be);
    f->seconds[r] = weir_seconds() - t0;
    if (r != a->silent) expect(f, weir__comm_failure(c, &f->err[r]) == WEIR_ECOMM);
    while (!weir__comm_ended(c))
        continue; /* the silent one has its memory for as long as others store there */
    expect(f, exchange_once(be) == WEIR_ECOMM); /* and from now on at once */
    weir__backend_close(be);
}

static ending end_group(double deadline, int silent, int aborts) {
    ending a = {.deadline = deadline, .silent = silent, .aborts = aborts};
    n_device = device_ranks("4");
    group_run(4, 60.0, end_of_a_group, &a);
    cr_expect_eq(a.f.wrong, 0);
    for (int r = 0; r < 4; r++) cr_expect_eq(a.f.status[r], WEIR_ECOMM, "rank %d", r);
    return a;
}

Test(cuda_exchange, a_rank_that_does_not_come_is_named_within_the_deadline) {
    const ending a = end_group(2.0, 2, -1);
    for (int r = 0; r < 4; r++) {
        if (r == 2) continue;
        const char *says = strstr(a.f.err[r].text, "rank 2 silent for 2 s, exchange ");
        cr_expect(says, "%s", a.f.err[r].text);
        cr_expect(a.f.seconds[r] >= 1.9, "%g s", a.f.seconds[r]);
    }
}

Test(cuda_exchange, a_group_that_ends_frees_those_that_wait_in_a_kernel) {
    const ending a = end_group(60.0, -1, 1);
    for (int r = 0; r < 4; r++) {
        cr_expect_str_eq(a.f.err[r].text, "rank 1: the disk is on fire");
        cr_expect(a.f.seconds[r] < 30.0, "%g s", a.f.seconds[r]);
    }
}
