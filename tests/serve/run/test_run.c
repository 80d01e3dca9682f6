/* A whole server: its life, its bounds, and what a client sees of both. */
#include <criterion/criterion.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/host/pairs/text_model.h"
#include "tests/serve/run/running.h"
#include "tests/support/files.h"

#define ASK "{\"prompt\": \"Where is my hat?\", \"temperature\": 0, \"max_tokens\": 20"
#define LONG "{\"prompt\": \"It snowed.\", \"seed\": 1, \"ignore_eos\": true, \"max_tokens\": 200"

static running r;

static void begin(void) {
    running_start(&r);
    running_wait_ready(&r);
}

static void expect_code(answer a, int status, const char *code) {
    json_t *v = running_json(a, status);
    const char *got = json_string_value(json_object_get(json_object_get(v, "error"), "code"));
    cr_assert(got && strcmp(got, code) == 0, "%s, not %s", got, code);
    json_decref(v);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

Test(run, says_that_it_loads_until_it_is_ready) {
    running_init(&r);
    atomic_store(&r.hold_open, true);
    running_start(&r);
    expect_code(running_get(&r, "/health"), 503, "loading");
    expect_code(running_post(&r, "/v1/completions", ASK "}"), 503, "loading");
    expect_code(running_post(&r, "/tokenize", "{\"content\": \"a\"}"), 503, "loading");
    expect_code(running_get(&r, "/v1/models"), 503, "loading");
    answer_expect(running_get(&r, "/ping"), 200, NULL);
    atomic_store(&r.hold_open, false);
    running_wait_ready(&r);
    answer_expect(running_get(&r, "/health"), 200, "{\"status\":\"ok\"}");
    cr_assert_eq(running_stop(&r), WEIR_OK, "%s", r.err.text);
}

Test(run, ends_if_the_models_cannot_be_opened) {
    running_init(&r);
    atomic_store(&r.refuse_open, true);
    running_start(&r);
    cr_assert_neq(running_join(&r), WEIR_OK);
}

Test(run, a_signal_while_it_loads_ends_it) {
    running_init(&r);
    atomic_store(&r.hold_open, true);
    running_start(&r);
    expect_code(running_get(&r, "/health"), 503, "loading");
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    atomic_store(&r.hold_open, false);
    cr_assert_eq(running_join(&r), WEIR_OK, "%s", r.err.text);
}

Test(run, can_be_run_again_in_one_process) {
    for (int i = 0; i < 3; i++) {
        running_init(&r);
        begin();
        char *text = running_text(running_post(&r, "/v1/completions", ASK "}"));
        cr_assert_str_eq(text, "Wo ist mein Hut?");
        free(text);
        cr_assert_eq(running_stop(&r), WEIR_OK, "%s", r.err.text);
    }
}

/* What runs is answered, whole. */
Test(run, drains) {
    running_init(&r);
    begin();
    atomic_store(&r.hold_steps, true);
    const int whole = running_send(&r, "/v1/completions", LONG "}"),
              stream = running_send(&r, "/v1/completions", LONG ", \"stream\": true}");
    running_wait_requests(&r, 2);
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    atomic_store(&r.hold_steps, false);
    char *texts[2] = {running_text(client_read(whole)), running_text(client_read(stream))};
    cr_assert(strlen(texts[0]) > 50);
    cr_assert_str_eq(texts[0], texts[1]);
    for (int i = 0; i < 2; i++) free(texts[i]);
    close(whole);
    close(stream);
    cr_assert_eq(running_join(&r), WEIR_OK, "%s", r.err.text);
}

/* ---- bounds -------------------------------------------------------------------------------------------- */

Test(run, a_full_queue_refuses_and_says_when_to_come_again) {
    running_init(&r);
    r.o.max_requests = 3;
    begin();
    atomic_store(&r.hold_steps, true);
    int fd[3];
    for (int i = 0; i < 3; i++) fd[i] = running_send(&r, "/v1/completions", ASK "}");
    running_wait_requests(&r, 3);
    answer a = running_post(&r, "/v1/completions", ASK "}");
    char after[32];
    const char *seconds = answer_field(&a, "Retry-After", after, sizeof after);
    const long wait = seconds ? strtol(seconds, NULL, 10) : 0;
    cr_assert(wait >= 1 && wait <= 60, "%ld", wait);
    expect_code(a, 503, "queue_full");
    expect_code(running_post(&r, "/v1/completions", ASK ", \"n\": 4}"), 400, "invalid_request");
    atomic_store(&r.hold_steps, false);
    for (int i = 0; i < 3; i++) {
        char *text = running_text(client_read(fd[i]));
        cr_assert_str_eq(text, "Wo ist mein Hut?");
        free(text);
        close(fd[i]);
    }
    cr_assert_eq(
        running_metric(&r, "weir:admission_rejections_total{model_name=\"demo\",reason=\"queue_full\""), 1);
    cr_assert_eq(running_stop(&r), WEIR_OK, "%s", r.err.text);
}

static bool has_answer(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

/* On a slow machine the deadline may come before the request runs, which is as good. */
Test(run, a_deadline_before_the_first_token_is_an_error) {
    running_init(&r);
    r.o.request_seconds = 0.05;
    begin();
    atomic_store(&r.hold_steps, true);
    const int fd = running_send(&r, "/v1/completions", ASK "}"),
              stream = running_send(&r, "/v1/completions", ASK ", \"stream\": true}");
    while (running_metric(&r, "weir:num_requests_running{") < 1 && !has_answer(fd)) usleep(1000);
    usleep(200 * 1000); /* past the deadline, however slow the machine is */
    atomic_store(&r.hold_steps, false);
    expect_code(client_read(fd), 504, "deadline_exceeded");
    expect_code(client_read(stream), 504, "deadline_exceeded");
    close(fd);
    close(stream);
    cr_assert_eq(running_stop(&r), WEIR_OK, "%s", r.err.text);
}

Test(run, a_deadline_after_it_ends_the_answer) {
    running_init(&r);
    begin();
    json_t *v = running_json(running_post(&r, "/v1/completions", LONG ", \"t_max_predict_ms\": 1}"), 200);
    const json_t *c = json_array_get(json_object_get(v, "choices"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(c, "finish_reason")), "length");
    cr_assert_str_eq(json_string_value(json_object_get(json_object_get(c, "weir"), "ended_by")), "deadline");
    json_decref(v);
    cr_assert_eq(running_stop(&r), WEIR_OK, "%s", r.err.text);
}

Test(run, health_knows_of_a_step_that_does_not_return) {
    running_init(&r);
    r.o.watchdog_seconds = 0.02;
    begin();
    atomic_store(&r.hold_steps, true);
    const int fd = running_send(&r, "/v1/completions", ASK "}");
    for (int status = 0; status != 503;) {
        const answer a = running_get(&r, "/health");
        status = a.status;
        free(a.body);
    }
    atomic_store(&r.hold_steps, false);
    free(running_text(client_read(fd)));
    close(fd);
    answer_expect(running_get(&r, "/health"), 200, NULL);
    cr_assert_eq(running_stop(&r), WEIR_OK, "%s", r.err.text);
}

/* ---- the prefix cache ---------------------------------------------------------------------------------- */

static json_int_t cached_with(const char *path, const char *key, const char *body) {
    const int fd = running_send_as(&r, key, path, body);
    json_t *v = running_json(client_read(fd), 200);
    close(fd);
    const json_t *details = json_object_get(json_object_get(v, "usage"), "prompt_tokens_details");
    const json_int_t n = json_integer_value(json_object_get(details, "cached_tokens"));
    json_decref(v);
    return n;
}

/* A prompt that is read faster than before has been asked by somebody: by oneself. */
Test(run, keys_and_salts_share_no_prompts) {
    static const char *const keys[] = {"one,two"};
    static const char score[] = "{\"prompt\": \"Where is my hat?\", \"completion\": \"Wo?\"}";
    running_init(&r);
    r.o.keys = keys;
    r.o.n_key = 1;
    r.o.metrics = false;
    begin();
    const char *const at = "/v1/completions";
    (void)cached_with("/weir/score", "one", score); /* reads it, too */
    cr_expect_eq(cached_with(at, "two", ASK "}"), 0);
    cr_expect_gt(cached_with(at, "two", ASK "}"), 0);
    cr_expect_gt(cached_with(at, "one", ASK "}"), 0);
    cr_expect_eq(cached_with(at, "one", ASK ", \"cache_salt\": \"a\"}"), 0);
    cr_expect_gt(cached_with(at, "one", ASK ", \"cache_salt\": \"a\"}"), 0);
    cr_expect_eq(cached_with(at, "two", ASK ", \"cache_salt\": \"a\"}"), 0);
    cr_assert_eq(running_stop(&r), WEIR_OK, "%s", r.err.text);
}

/* ---- who leaves ---------------------------------------------------------------------------------------- */

Test(run, who_leaves_costs_nothing_more) {
    running_init(&r);
    r.engine.n_parallel = 1;
    begin();
    atomic_store(&r.hold_steps, true);
    const int runs = running_send(&r, "/v1/completions", LONG ", \"stream\": true}");
    running_wait_metric(&r, "weir:num_requests_running{", 1);
    const int waits = running_send(&r, "/v1/completions", ASK "}");
    running_wait_metric(&r, "weir:num_requests_waiting{", 1);
    close(waits);
    close(runs);
    running_wait_metric(
        &r, "weir:http_requests_total{model_name=\"demo\",path=\"/v1/completions\",code=\"499\"", 2);
    atomic_store(&r.hold_steps, false);
    running_wait_metric(&r, "weir:request_success_total{model_name=\"demo\",finished_reason=\"abort\"", 2);
    cr_assert_eq(running_metric(&r, "weir:cancelled_total{model_name=\"demo\",phase=\"queued\""), 1);
    cr_assert_eq(running_metric(&r, "weir:kv_cache_usage_perc{model_name=\"demo\",model=\"verifier\""), 0);
    cr_assert_leq(running_metric(&r, "weir:generation_tokens_total{"), 20);
    cr_assert_eq(running_stop(&r), WEIR_OK, "%s", r.err.text);
}

/* ---- routes -------------------------------------------------------------------------------------------- */

Test(run, every_route_answers) {
    static const char *const gets[] = {
        "/",      "/health", "/ping",   "/v1/models", "/models", "/v1/models/demo:exact", "/tokenizer_info",
        "/props", "/slots",  "/metrics"};
    static const struct {
        const char *path, *body;
    } posts[] = {{"/tokenize", "{\"content\": \"Hi.\"}"},
                 {"/detokenize", "{\"tokens\": [12, 121]}"},
                 {"/apply-template", "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi.\"}]}"},
                 {"/weir/rule", "{\"rule\": \"exact\", \"q_logits\": [1, 2], \"p_logits\": [2, 1]}"},
                 {"/weir/score", "{\"prompt\": \"I am tired.\", \"completion\": \"Ich bin müde.\"}"},
                 {"/v1/completions", ASK ", \"logprobs\": 3, \"n\": 2}"},
                 {"/completions", ASK ", \"stream\": true, \"logprobs\": 3, \"n\": 2}"},
                 {"/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi.\"}]}"}};
    running_init(&r);
    begin();
    for (size_t i = 0; i < sizeof gets / sizeof *gets; i++) {
        const answer a = running_get(&r, gets[i]);
        cr_expect(a.status == 200 && a.whole && a.n > 0, "%s: %d %s", gets[i], a.status, a.body);
        free(a.body);
    }
    for (size_t i = 0; i < sizeof posts / sizeof *posts; i++) {
        const answer a = running_post(&r, posts[i].path, posts[i].body);
        cr_expect(a.status == 200 && a.whole && a.n > 0, "%s: %d %s", posts[i].path, a.status, a.body);
        free(a.body);
    }
    answer_expect(running_get(&r, "/v1/model"), 404, "/v1/models");
    answer_expect(running_post(&r, "/health", "{}"), 405, NULL);
    cr_assert_eq(running_stop(&r), WEIR_OK, "%s", r.err.text);
}

/* ---- load ---------------------------------------------------------------------------------------------- */

#define SOME "{\"prompt\": \"It snowed.\", \"seed\": 1, \"ignore_eos\": true, \"max_tokens\": 50"

enum { CLIENTS = 6, EACH = 6, KINDS = 6 };
static const char *const kinds[KINDS] = {
    ASK "}",
    ASK ", \"stream\": true}",
    SOME "}",
    SOME ", \"stream\": true}",
    "{\"prompt\": \"I am tired.\", \"seed\": 4, \"deferral_rule\": \"token-v3\", \"deferral_alpha\": 0.5}",
    "{\"prompt\": \"I am tired.\", \"seed\": 4, \"method\": \"drafter\", \"stream\": true}"};
static char *alone[KINDS];

static void *client(void *ud) {
    const int first = *(int *)ud;
    for (int i = 0; i < EACH; i++) {
        const int kind = (first + i) % KINDS;
        if ((first + i) % 4 == 3) close(running_send(&r, "/v1/completions", kinds[kind]));
        char *text = running_text(running_post(&r, "/v1/completions", kinds[kind]));
        cr_assert_str_eq(text, alone[kind]);
        free(text);
    }
    return NULL;
}

/* Texts are those of a server that has nothing else to do; some clients leave at once. */
Test(run, many_at_once_get_what_one_gets) {
    running_init(&r);
    begin();
    for (int k = 0; k < KINDS; k++) alone[k] = running_text(running_post(&r, "/v1/completions", kinds[k]));
    cr_assert_str_eq(alone[2], alone[3]);
    pthread_t threads[CLIENTS];
    int which[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        which[i] = i;
        cr_assert_eq(pthread_create(&threads[i], NULL, client, &which[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) pthread_join(threads[i], NULL);
    for (int k = 0; k < KINDS; k++) free(alone[k]);
    cr_assert_eq(running_stop(&r), WEIR_OK, "%s", r.err.text);
}

/* ---- a drafter with a vocabulary of its own ------------------------------------------------------------ */

/* Several at once: each answer is the verifier's own, and what the drafter cannot serve is an error. */
Test(run, a_drafter_of_another_vocabulary) {
    static const text_side side[2] = {{"tiny_qwen2", false, 0.3f, 0}, {"tiny_smollm", true, 0.3f, 24}};
    char *dir[2], *texts[4][2];
    int fd[4];
    running_init(&r);
    for (int i = 0; i < 2; i++) dir[i] = text_model_write(&side[i]);
    r.engine.model = dir[0];
    r.engine.model_draft = dir[1];
    r.engine.chat_template = NULL;
    r.engine.ctx_size = 128;
    begin();
    for (int off = 0; off < 2; off++) {
        atomic_store(&r.hold_steps, true);
        for (int i = 0; i < 4; i++) {
            static const char *const prompt[] = {"The quick", "Zürich →", "12345", "WORD <tool_call>"};
            char body[200];
            snprintf(body, sizeof body,
                     "{\"prompt\": \"%s\", \"temperature\": 0, \"max_tokens\": %d, \"speculative\": %s}",
                     prompt[i], 30 + 5 * i, off ? "false" : "true");
            fd[i] = running_send(&r, "/v1/completions", body);
        }
        running_wait_requests(&r, 4);
        atomic_store(&r.hold_steps, false);
        for (int i = 0; i < 4; i++) texts[i][off] = running_text(client_read(fd[i]));
    }
    for (int i = 0; i < 4; i++) {
        cr_expect_str_eq(texts[i][0], texts[i][1]);
        for (int off = 0; off < 2; off++) free(texts[i][off]);
    }
    json_t *v = running_json(running_get(&r, "/props"), 200);
    cr_expect_str_eq(json_string_value(json_object_get(v, "drafts")), "text");
    cr_expect_eq(json_array_size(json_object_get(v, "rules")), 9);
    json_decref(v);
    v = running_json(running_post(&r, "/v1/completions", "{\"prompt\": \"x\", \"temperature\": 1}"), 400);
    const char *message = json_string_value(json_object_get(json_object_get(v, "error"), "message"));
    cr_expect(message && strstr(message, "use temperature 0"), "%s", message);
    json_decref(v);
    cr_assert_eq(running_stop(&r), WEIR_OK, "%s", r.err.text);
    for (int i = 0; i < 2; i++) files_remove_dir(dir[i]);
}
