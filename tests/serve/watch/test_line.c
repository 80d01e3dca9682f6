/* Lines of the request log. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "host/serve/watch/line.h"

static const struct timespec noon = {.tv_sec = 1795953606, .tv_nsec = 123999999};

static watch_request a_request(void) {
    return (watch_request){.id = "req-1",
                           .peer = "127.0.0.1",
                           .route = "/v1/completions",
                           .status = 200,
                           .seconds = 0.12345,
                           .n_choice = 1,
                           .queue_seconds = 0.0001,
                           .first_seconds = 0.0123,
                           .prompt = 14,
                           .cached = 8,
                           .output = 32,
                           .drafted = 40,
                           .accepted = 25,
                           .rule = "token-v3",
                           .end = "stop"};
}

static const char *text_of(const watch_request *r) {
    static char line[WATCH_LINE_MAX + 1];
    const size_t n = watch_line_text(r, noon, line);
    cr_assert(n < WATCH_LINE_MAX && line[n - 1] == '\n' && strlen(line) == n);
    cr_assert(strchr(line, '\n') == line + n - 1);
    return line;
}

static json_t *json_of(const watch_request *r) {
    char line[WATCH_LINE_MAX + 1];
    json_error_t why;
    const size_t n = watch_line_json(r, noon, line);
    cr_assert(n < WATCH_LINE_MAX && line[n - 1] == '\n' && memchr(line, '\n', n) == line + n - 1);
    json_t *o = json_loadb(line, n, JSON_REJECT_DUPLICATES, &why);
    cr_assert(o, "%s: %s", why.text, line);
    return o;
}

Test(watch_line, text) {
    const watch_request r = a_request();
    cr_expect_str_eq(text_of(&r),
                     "2026-11-29T12:00:06.123Z req-1 127.0.0.1 /v1/completions 200 ms=123.5 queue=0.1 "
                     "ttft=12.3 prompt=14(8) output=32 rule=token-v3 accepted=25/40 end=stop\n");
}

Test(watch_line, text_without_an_answer) {
    watch_request r = a_request();
    r.n_choice = 0;
    r.status = 404;
    r.route = r.end = NULL;
    cr_expect_str_eq(text_of(&r), "2026-11-29T12:00:06.123Z req-1 127.0.0.1 - 404 ms=123.5\n");
    r.n_choice = 1;
    r.queue_seconds = r.first_seconds = NAN;
    r.rule = NULL;
    r.end = "cancelled";
    cr_expect_str_eq(text_of(&r),
                     "2026-11-29T12:00:06.123Z req-1 127.0.0.1 - 404 ms=123.5 prompt=14(8) output=32 "
                     "rule=- accepted=25/40 end=cancelled\n");
}

Test(watch_line, json) {
    const watch_request r = a_request();
    json_t *o = json_of(&r);
    cr_expect_str_eq(json_string_value(json_object_get(o, "time")), "2026-11-29T12:00:06.123Z");
    cr_expect_str_eq(json_string_value(json_object_get(o, "id")), "req-1");
    cr_expect_str_eq(json_string_value(json_object_get(o, "peer")), "127.0.0.1");
    cr_expect_str_eq(json_string_value(json_object_get(o, "route")), "/v1/completions");
    cr_expect_str_eq(json_string_value(json_object_get(o, "rule")), "token-v3");
    cr_expect_str_eq(json_string_value(json_object_get(o, "end")), "stop");
    const struct {
        const char *key;
        double value;
    } numbers[] = {{"status", 200}, {"ms", 123.45}, {"queue_ms", 0.1}, {"ttft_ms", 12.3}, {"choices", 1},
                   {"prompt", 14},  {"cached", 8},  {"output", 32},    {"drafted", 40},   {"accepted", 25}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        cr_expect(fabs(json_number_value(json_object_get(o, numbers[i].key)) - numbers[i].value) < 1e-9, "%s",
                  numbers[i].key);
    cr_expect(json_object_size(o) == 16);
    json_decref(o);
}

Test(watch_line, json_without_an_answer) {
    watch_request r = a_request();
    r.n_choice = 0;
    r.end = NULL;
    json_t *o = json_of(&r);
    cr_expect(json_object_size(o) == 6 && !json_object_get(o, "prompt"));
    json_decref(o);
    r.n_choice = 1;
    r.first_seconds = NAN;
    o = json_of(&r);
    cr_expect(json_is_null(json_object_get(o, "ttft_ms")));
    json_decref(o);
}

/* Every byte, in what a peer chooses. */
Test(watch_line, escapes) {
    for (int c = 1; c < 256; c++) {
        const char id[] = {'a', (char)c, 'b', '\0'};
        watch_request r = a_request();
        r.id = id;
        r.peer = id;
        const char *text = text_of(&r);
        for (const char *s = text; s[1]; s++) cr_assert(*s >= ' ' && *s < 0x7f, "byte %d", c);
        json_t *o = json_of(&r);
        const char *back = json_string_value(json_object_get(o, "id"));
        if (c < 0x80)
            cr_expect_str_eq(back, id);
        else
            cr_expect(strlen(back) == 4);
        json_decref(o);
    }
    watch_request r = a_request();
    r.id = "x\x1b[2J y\\\"";
    cr_expect(strstr(text_of(&r), " x\\x1b[2J\\x20y\\x5c\\x22 127.0.0.1 "));
}

/* Nothing a peer sends makes a line too long, or cuts off what comes after it. */
Test(watch_line, long_fields) {
    char many[3000], plain[3000];
    memset(many, 1, sizeof many - 1);
    memset(plain, 'x', sizeof plain - 1);
    many[sizeof many - 1] = plain[sizeof plain - 1] = '\0';
    watch_request r = a_request();
    r.prompt = r.cached = r.output = r.drafted = r.accepted = INT64_MIN;
    r.seconds = r.queue_seconds = r.first_seconds = 1e300;
    r.id = r.peer = r.route = r.rule = many;
    r.seconds = r.queue_seconds = r.first_seconds = 1e9;
    cr_expect(strstr(text_of(&r), " end=stop\n"));
    json_decref(json_of(&r));
    r.id = r.peer = r.route = r.rule = r.end = plain;
    cr_expect(strstr(text_of(&r), " end=xxx"));
    json_decref(json_of(&r));
    plain[128] = '\0'; /* a request's id can be this long, and is whole */
    r = a_request();
    r.id = plain;
    json_t *o = json_of(&r);
    cr_expect_str_eq(json_string_value(json_object_get(o, "id")), plain);
    json_decref(o);
}
