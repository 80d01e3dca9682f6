#include "host/serve/watch/line.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void watch_line_time(struct timespec now, char out[32]) {
    struct tm t;
    char seconds[24] = "";
    if (gmtime_r(&now.tv_sec, &t)) strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &t);
    snprintf(out, 32, "%s.%03dZ", seconds, (int)(now.tv_nsec / 1000000));
}

/* Everything is made in the caller's array: a line costs no memory and cannot fail. It fits because a word is
 * cut at WORD_MAX bytes, there are five of them, and the rest takes less than 600. */
typedef struct line {
    char *text;
    size_t n;
} line;
enum { WORD_MAX = 640 };
static_assert(5 * WORD_MAX + 600 < WATCH_LINE_MAX, "a line may not fit");

__attribute__((format(printf, 2, 3))) static void put(line *l, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(l->text + l->n, WATCH_LINE_MAX - l->n, fmt, args);
    va_end(args);
    if (n > 0) l->n += (size_t)n < WATCH_LINE_MAX - l->n ? (size_t)n : WATCH_LINE_MAX - 1 - l->n;
}

/* One word. In JSON a byte is escaped as \u00XX, which reads back as the character of that number. */
static void put_word(line *l, const char *s, bool json) {
    if (!s || !*s) s = "-";
    for (const size_t end = l->n + WORD_MAX; *s && l->n + 6 <= end; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c > ' ' && c < 0x7f && c != '\\' && c != '"')
            l->text[l->n++] = (char)c;
        else
            put(l, json ? "\\u%04x" : "\\x%02x", c);
    }
}

static bool known(double x) { return isfinite(x); }

static void put_answer(line *l, const watch_request *r) {
    if (known(r->queue_seconds)) put(l, " queue=%.1f", 1e3 * r->queue_seconds);
    if (known(r->first_seconds)) put(l, " ttft=%.1f", 1e3 * r->first_seconds);
    put(l, " prompt=%" PRId64 "(%" PRId64 ") output=%" PRId64, r->prompt, r->cached, r->output);
    put(l, " rule=");
    put_word(l, r->rule, false);
    put(l, " accepted=%" PRId64 "/%" PRId64, r->accepted, r->drafted);
}

size_t watch_line_text(const watch_request *r, struct timespec now, char text[WATCH_LINE_MAX]) {
    line l = {.text = text};
    char time[32];
    watch_line_time(now, time);
    put(&l, "%s ", time);
    put_word(&l, r->id, false);
    put(&l, " ");
    put_word(&l, r->peer, false);
    put(&l, " ");
    put_word(&l, r->route, false);
    put(&l, " %d ms=%.1f", r->status, 1e3 * r->seconds);
    if (r->n_choice > 0) put_answer(&l, r);
    if (r->end) {
        put(&l, " end=");
        put_word(&l, r->end, false);
    }
    put(&l, "\n");
    return l.n;
}

static void put_json_word(line *l, const char *key, const char *s) {
    put(l, ",\"%s\":\"", key);
    put_word(l, s, true);
    put(l, "\"");
}

static void put_json_ms(line *l, const char *key, double seconds) {
    if (known(seconds))
        put(l, ",\"%s\":%.3f", key, 1e3 * seconds);
    else
        put(l, ",\"%s\":null", key);
}

static void put_json_answer(line *l, const watch_request *r) {
    put_json_ms(l, "queue_ms", r->queue_seconds);
    put_json_ms(l, "ttft_ms", r->first_seconds);
    put(l, ",\"choices\":%d,\"prompt\":%" PRId64 ",\"cached\":%" PRId64, r->n_choice, r->prompt, r->cached);
    put(l, ",\"output\":%" PRId64 ",\"drafted\":%" PRId64 ",\"accepted\":%" PRId64, r->output, r->drafted,
        r->accepted);
    put_json_word(l, "rule", r->rule);
}

size_t watch_line_json(const watch_request *r, struct timespec now, char text[WATCH_LINE_MAX]) {
    line l = {.text = text};
    char time[32];
    watch_line_time(now, time);
    put(&l, "{\"time\":\"%s\"", time);
    put_json_word(&l, "id", r->id);
    put_json_word(&l, "peer", r->peer);
    put_json_word(&l, "route", r->route);
    put(&l, ",\"status\":%d", r->status);
    put_json_ms(&l, "ms", r->seconds);
    if (r->n_choice > 0) put_json_answer(&l, r);
    if (r->end) put_json_word(&l, "end", r->end);
    put(&l, "}\n");
    return l.n;
}
