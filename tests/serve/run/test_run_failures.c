/* Failures of one request are its own; those of the device end the server, and say so. */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/state.h"
#include "tests/serve/run/running.h"
#include "tests/support/alloc.h"
#include "tests/support/build.h"

#define ASK "{\"prompt\": \"Where is my hat?\", \"temperature\": 0"

static running r;

static void begin(void (*opened)(weir_engine *e)) {
    running_init(&r);
    r.opened = opened;
    running_start(&r);
    running_wait_ready(&r);
}

/* ---- the models ---------------------------------------------------------------------------------------- */

static weir_backend_ops real;
static atomic_int spoil; /* accept steps until one is spoilt */
static atomic_bool lost;

static weir_status accept_or_spoil(weir_backend *be, weir_accept_args *a) {
    WEIR_TRY(real.accept(be, a));
    if (atomic_fetch_sub(&spoil, 1) == 1) a->session[0].status = WEIR_EINVAL; /* as for a row of NaN */
    return atomic_load(&lost) ? WEIR_ECUDA : WEIR_OK;
}

static void take_accept(weir_engine *e) {
    real = e->pair.be->op;
    e->pair.be->op.accept = accept_or_spoil;
}

Test(run_failures, a_row_of_nan_is_one_request_s_error) {
    begin(take_accept);
    for (int stream = 0; stream < 2; stream++) {
        int fd[4], n_failed = 0;
        atomic_store(&r.hold_steps, true);
        for (int i = 0; i < 4; i++)
            fd[i] = running_send(&r, "/v1/completions", stream ? ASK ", \"stream\": true}" : ASK "}");
        atomic_store(&spoil, 1);
        atomic_store(&r.hold_steps, false);
        for (int i = 0; i < 4; i++) {
            const answer a = client_read(fd[i]);
            close(fd[i]);
            if (strstr(a.body, "\"error\"")) {
                n_failed++;
                cr_assert(a.status == (stream ? a.status : 500) && strstr(a.body, "internal_error") &&
                              strstr(a.body, "not finite"),
                          "%d %s", a.status, a.body);
                if (stream && a.status == 200) cr_assert(strstr(a.body, "data: [DONE]"), "%s", a.body);
                free(a.body);
                continue;
            }
            char *text = running_text(a);
            cr_assert_str_eq(text, "Wo ist mein Hut?");
            free(text);
        }
        cr_assert_eq(n_failed, 1, "%d", n_failed);
    }
    answer_expect(running_get(&r, "/health"), 200, NULL);
    cr_assert_eq(running_stop(&r), WEIR_OK, "%s", r.err.text);
}

/* All that run get an error, and the process is to be started again. */
Test(run_failures, a_lost_device_ends_the_server) {
    begin(take_accept);
    int fd[3];
    atomic_store(&r.hold_steps, true);
    for (int i = 0; i < 3; i++) fd[i] = running_send(&r, "/v1/completions", ASK "}");
    running_wait_requests(&r, 3);
    atomic_store(&lost, true);
    atomic_store(&r.hold_steps, false);
    int n_told = 0;
    for (int i = 0; i < 3; i++) {
        const answer a = client_read(fd[i]);
        cr_assert(a.status == 500 || a.status == 503 || a.status == 0, "%d %s", a.status, a.body);
        n_told += a.status == 500;
        free(a.body);
        close(fd[i]);
    }
    cr_assert_geq(n_told, 1);
    cr_assert_eq(running_join(&r), WEIR_ECUDA, "%s", r.err.text);
}

/* Over two ranks: a server writes what it writes on one, and a group that fails ends it as a lost device
 * does. */
static weir_engine *ranked;
static weir_comm *group;
static void take_group(weir_engine *e) { ranked = e, group = e->pair.be->comm; }

Test(run_failures, a_broken_group_of_ranks_ends_the_server) {
    running_init(&r);
    r.engine.tp = 2;
    r.opened = take_group;
    running_start(&r);
    running_wait_ready(&r);
    char *text = running_text(running_post(&r, "/v1/completions", ASK "}"));
    cr_assert_str_eq(text, "Wo ist mein Hut?");
    free(text);
    json_t *props = running_json(running_get(&r, "/props"), 200);
    json_decref(props);
    weir_ranks_facts f;
    weir_engine_ranks(ranked, &f);
    cr_assert_eq(running_metric(&r, "weir:ranks{"), 2);
    cr_assert_eq(running_metric(&r, "weir:rank_exchanges_total{"), (double)f.exchanges);
    cr_assert_eq(running_metric(&r, "weir:rank_sent_bytes_total{"), (double)f.bytes);
    cr_assert_eq(running_metric(&r, "weir:ranks_ended{"), 0);
    atomic_store(&r.hold_steps, true);
    const int fd = running_send(&r, "/v1/completions", ASK "}");
    running_wait_requests(&r, 1);
    weir__comm_abort(group, WEIR_EIO, "the disk is on fire");
    atomic_store(&r.hold_steps, false);
    const answer a = client_read(fd);
    close(fd);
    cr_assert(a.status == 500 && strstr(a.body, "the disk is on fire"), "%d %s", a.status, a.body);
    free(a.body);
    cr_assert_eq(running_join(&r), WEIR_ECOMM, "%s", r.err.text);
}

/* A group that ends while nothing runs is seen by who asks how it is; the next request brings the server
 * down. */
Test(run_failures, an_idle_server_knows_that_its_group_has_ended) {
    running_init(&r);
    r.engine.tp = 2;
    r.opened = take_group;
    running_start(&r);
    running_wait_ready(&r);
    answer_expect(running_get(&r, "/health"), 200, NULL);
    weir__comm_abort(group, WEIR_EIO, "the disk is on fire");
    json_t *v = running_json(running_get(&r, "/health"), 503);
    const json_t *e = json_object_get(v, "error");
    cr_expect_str_eq(json_string_value(json_object_get(e, "code")), "ranks_ended");
    cr_expect_str_eq(json_string_value(json_object_get(e, "message")),
                     "the group of ranks has ended: rank 0: the disk is on fire");
    json_decref(v);
    cr_expect_eq(running_metric(&r, "weir:ranks_ended{"), 1);
    const answer a = running_post(&r, "/v1/completions", ASK "}");
    cr_expect(a.status == 500 && strstr(a.body, "the disk is on fire"), "%d %s", a.status, a.body);
    free(a.body);
    cr_assert_eq(running_join(&r), WEIR_ECOMM, "%s", r.err.text);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

/* Every allocation of a request, on whatever thread, fails once. It is answered or refused, and the next one
 * is answered. */
static void starve(const char *path, const char *body, const char *part) {
    long n = 0, n_refused = 0;
    for (bool hit = true; hit; n += n < (build_is_sanitized() ? 30 : 150) ? 1 : 13) {
        const long before = alloc_count();
        alloc_fail_only(before + n);
        const int fd = running_connect(&r);
        const answer a = client_post(fd, path, body);
        close(fd);
        hit = alloc_count() > before + n;
        alloc_fail_only(LONG_MAX - 1);
        const bool broken = strstr(a.body, "\"internal_error\"") != NULL;
        cr_assert(a.status == 200 || a.status == 500 || a.status == 0, "%ld: %d %s", n, a.status, a.body);
        cr_assert(a.status != 500 || (broken && strstr(a.body, "memory")), "%ld: %s", n, a.body);
        if (a.status == 200 && !broken) cr_assert(!a.whole || strstr(a.body, part), "%ld: %s", n, a.body);
        n_refused += a.status != 200 || broken;
        free(a.body);
        const answer next = running_post(&r, path, body);
        cr_assert(next.status == 200 && strstr(next.body, part), "after %ld: %d %s", n, next.status,
                  next.body);
        free(next.body);
    }
    cr_assert_geq(n_refused, 3, "%s: %ld", path, n_refused);
}

Test(run_failures, no_allocation_takes_more_than_its_request) {
    alloc_install(LONG_MAX - 1);
    begin(NULL);
    starve("/v1/completions", ASK "}", "Wo ist mein Hut?");
    starve("/v1/completions", ASK ", \"stream\": true, \"logprobs\": 2}", "Hut");
    starve("/v1/chat/completions",
           "{\"temperature\": 0, \"n\": 2, \"messages\": [{\"role\": \"user\", "
           "\"content\": \"Where is my hat?\"}]}",
           "Wo ist mein Hut?");
    starve("/weir/score", "{\"prompt\": \"I am tired.\", \"completion\": \"Ich bin müde.\"}", "-0.");
    starve("/tokenize", "{\"content\": \"I am tired.\"}", "[");
    answer_expect(running_get(&r, "/health"), 200, NULL);
    cr_assert_eq(running_stop(&r), WEIR_OK, "%s", r.err.text);
    cr_assert_eq(alloc_live(), 0);
    alloc_uninstall();
}
